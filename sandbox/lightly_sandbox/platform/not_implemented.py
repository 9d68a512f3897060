"""Operations of the contract that the sandbox does not serve: known, and answered with 501."""

from __future__ import annotations

from http import HTTPStatus
from typing import NoReturn

from fastapi import APIRouter, Request

from lightly_sandbox.platform.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import ApiError

_DATASET = "/v1/datasets/{datasetId}"
_SOURCE = f"{_DATASET}/datasource"
_TAG = f"{_DATASET}/tags/{{tagId}}"

# lightly 1.5.26, api/*.py: every operation that no router here serves.
OPERATIONS = (
    ("GET", "/v1/datasets/enriched"),
    ("GET", "/v1/datasets/enriched/query/ids"),
    ("GET", "/v1/datasets/enriched/query/name/{datasetName}"),
    ("PUT", f"{_DATASET}/registerDatasetUpload"),
    ("GET", f"{_SOURCE}/embeddings/file"),
    ("GET", f"{_SOURCE}/metadata/list/dnc"),
    ("GET", f"{_SOURCE}/predictions/list/dnc"),
    ("GET", f"{_SOURCE}/metadata/list"),
    ("GET", f"{_SOURCE}/predictions/list"),
    ("GET", f"{_SOURCE}/metadata/file"),
    ("GET", f"{_SOURCE}/predictions/file"),
    ("GET", f"{_SOURCE}/predictions/writeUrl"),
    ("POST", "/v1/docker/worker/config"),
    ("GET", "/v1/docker/worker/config"),
    ("GET", "/v1/docker/worker/config/{configId}"),
    ("PUT", "/v1/docker/worker/config/{configId}"),
    ("POST", "/v1/docker/worker/config/v2"),
    ("GET", "/v1/docker/worker/config/v2/{configId}"),
    ("POST", "/v1/docker/worker/config/v3"),
    ("GET", "/v1/docker/worker/config/v3/{configId}"),
    ("GET", "/v1/docker/licenseInformation"),
    ("GET", "/v1/docker/runs/{runId}/readReportUrl"),
    ("GET", "/v1/docker/runs/{runId}/writeReportUrl"),
    ("POST", "/v1/docker/authorization"),
    ("POST", "/v1/docker"),
    ("POST", "/v1/docker/workerAuthorization"),
    ("GET", f"{_TAG}/export/zip"),
    ("GET", f"{_TAG}/export/LabelBox/datarows"),
    ("GET", f"{_TAG}/export/LabelBoxV4/datarows"),
    ("GET", f"{_TAG}/export/LabelStudio/tasks"),
    ("GET", f"{_TAG}/export/Sama/tasks"),
    ("POST", f"{_DATASET}/tags/arithmetics"),
    ("POST", f"{_DATASET}/tags/arithmetics/bitmask"),
    ("POST", f"{_DATASET}/tags/upsize"),
    ("POST", f"{_DATASET}/collaboration/access"),
    ("DELETE", f"{_DATASET}/collaboration/access/{{accessConfigId}}"),
    ("GET", f"{_DATASET}/collaboration/access"),
    ("GET", f"{_DATASET}/samples/{{sampleId}}/readurlRedirect"),
)

router = APIRouter()


def _refuse(request: Request) -> NoReturn:
    raise ApiError(
        HTTPStatus.NOT_IMPLEMENTED,
        ApiErrorCode.NOT_IMPLEMENTED,
        f"The sandbox does not serve {request.method} {request.url.path}.",
    )


for _method, _path in OPERATIONS:
    router.add_api_route(_path, _refuse, methods=[_method], response_model=None)
