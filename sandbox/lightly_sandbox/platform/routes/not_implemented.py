"""Operations of the contract that the sandbox does not serve: known, and answered with 501."""

from __future__ import annotations

from http import HTTPStatus
from typing import NoReturn

from fastapi import APIRouter, Request

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import ApiError

_DATASET = "/v1/datasets/{datasetId}"
_EMBEDDINGS = f"{_DATASET}/embeddings"
_PREDICTIONS = f"{_DATASET}/predictions"
_METADATA = f"{_DATASET}/configuration/metadata"
_TEAM = "/v1/teams/{teamId}"
_TAG = f"{_DATASET}/tags/{{tagId}}"

# lightly 1.5.26, api/*.py: every operation that no router here serves.
OPERATIONS = (
    ("PUT", f"{_DATASET}/registerDatasetUpload"),
    ("POST", "/v1/docker/worker/config"),
    ("GET", "/v1/docker/worker/config"),
    ("GET", "/v1/docker/worker/config/{configId}"),
    ("PUT", "/v1/docker/worker/config/{configId}"),
    ("POST", "/v1/docker/worker/config/v2"),
    ("GET", "/v1/docker/worker/config/v2/{configId}"),
    ("POST", "/v1/docker/worker/config/v3"),
    ("GET", "/v1/docker/worker/config/v3/{configId}"),
    ("POST", "/v1/docker/authorization"),
    ("GET", _EMBEDDINGS),
    ("GET", f"{_EMBEDDINGS}/writeCSVUrl"),
    ("DELETE", f"{_EMBEDDINGS}/{{embeddingId}}"),
    ("GET", f"{_EMBEDDINGS}/{{embeddingId}}/readCSVUrl"),
    ("PUT", f"{_EMBEDDINGS}/{{embeddingId}}/isProcessed"),
    ("POST", f"{_EMBEDDINGS}/{{embeddingId}}/trigger2dEmbeddingsJob"),
    ("POST", f"{_EMBEDDINGS}/{{embeddingId}}/sampling"),
    ("GET", f"{_EMBEDDINGS}/{{embeddingId}}/2d"),
    ("POST", f"{_EMBEDDINGS}/{{embeddingId}}/2d"),
    ("GET", f"{_EMBEDDINGS}/{{embeddingId}}/2d/{{embedding2dId}}"),
    ("GET", "/users/datasets/{datasetId}/samples/{sampleId}/embeddings"),
    ("GET", f"{_PREDICTIONS}/tasks"),
    ("POST", f"{_PREDICTIONS}/tasks"),
    ("GET", f"{_PREDICTIONS}/tasks/{{taskName}}"),
    ("GET", f"{_PREDICTIONS}/samples"),
    ("GET", f"{_PREDICTIONS}/samples/{{sampleId}}"),
    ("POST", f"{_PREDICTIONS}/samples/{{sampleId}}"),
    ("GET", f"{_PREDICTIONS}/scores"),
    ("POST", f"{_PREDICTIONS}/scores"),
    ("GET", f"{_PREDICTIONS}/scores/{{scoreId}}"),
    ("GET", f"{_TAG}/scores"),
    ("POST", f"{_TAG}/scores"),
    ("GET", f"{_TAG}/scores/{{scoreId}}"),
    ("GET", _METADATA),
    ("POST", _METADATA),
    ("GET", f"{_METADATA}/{{configurationId}}"),
    ("PUT", f"{_METADATA}/{{configurationId}}"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/{jobId}"),
    ("GET", _TEAM),
    ("GET", f"{_TEAM}/members"),
    ("POST", f"{_TEAM}/members"),
    ("PUT", f"{_TEAM}/members/{{userId}}"),
    ("DELETE", f"{_TEAM}/members/{{userId}}"),
    ("GET", f"{_TEAM}/serviceaccounts"),
    ("POST", f"{_TEAM}/serviceaccounts/{{serviceAccountId}}/token"),
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
