"""``/v1/datasets/{datasetId}/datasource``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from lightly_sandbox.aws.location import S3Location
from lightly_sandbox.contract.enums import DatasourcePurpose
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.models.datasources import (
    DatasourceConfig,
    DatasourceConfigVerifyData,
    DatasourceProcessedUntilTimestampRequest,
    DatasourceProcessedUntilTimestampResponse,
)
from lightly_sandbox.platform.requests import DONE, S3, Config, Db, answer, done, json_body, refusing
from lightly_sandbox.platform.s3_access import S3Access, S3Config
from lightly_sandbox.platform.settings import Settings
from lightly_sandbox.platform.tables import Dataset, Datasource
from lightly_sandbox.platform.verify import verify

router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")

# What is shown of a secret with --mask-secrets. Clients may check the contract's patterns, and that of an
# external ID allows no asterisk.
MASKED = {"s3SecretAccessKey": "***", "s3ExternalId": "x" * 10}

# Known kinds that this AWS-only sandbox does not have (lightly 1.5.26, models/datasource_config.py).
_OTHER_CLOUDS = frozenset({"AZURE", "GCS", "LIGHTLY", "LOCAL", "OBS"})


def _shown(datasource: Datasource, *, mask: bool) -> dict[str, Any]:
    config = {**datasource.config, "id": datasource.id}
    return {name: MASKED.get(name, value) if mask else value for name, value in config.items()}


@router.put("", **DONE, responses=refusing(HTTPStatus.NOT_IMPLEMENTED))
def put(
    dataset_id: str,
    body: Annotated[
        S3Config,
        Depends(json_body(DatasourceConfig, elsewhere=_OTHER_CLOUDS)),
    ],
    db: Db,
    config: Config,
) -> Response:
    """Set the datasource for one purpose; what was set for it before is replaced."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    try:
        S3Location.parse(body.full_path)
    except ValueError as wrong:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, ApiErrorCode.DATASET_DATASOURCE_INVALID, f"body.fullPath: {wrong}"
        ) from wrong
    now = now_ms()
    stored = {name: value for name, value in body.wire().items() if name != "id"}
    for datasource in dataset.datasources:
        if datasource.purpose == body.purpose:
            datasource.config, datasource.last_modified_at = stored, now
            break
    else:
        dataset.datasources.append(
            Datasource(id=new_id(), purpose=body.purpose, config=stored, last_modified_at=now)
        )
    dataset.last_modified_at = now
    return done()


@router.get("", response_model=DatasourceConfig)
def get(
    dataset_id: str, db: Db, config: Config, purpose: DatasourcePurpose = DatasourcePurpose.INPUT_OUTPUT
) -> JSONResponse:
    """The datasource set for exactly this purpose."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    for datasource in dataset.datasources:
        if datasource.purpose == purpose:
            return JSONResponse(_shown(datasource, mask=config.mask_secrets))
    raise ApiError(
        HTTPStatus.NOT_FOUND,
        ApiErrorCode.DATASET_DATASOURCE_UNKNOWN,
        f"Dataset {dataset_id} has no datasource with purpose {purpose}.",
    )


@router.get("/all", response_model=list[DatasourceConfig])
def get_all(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """Every datasource of the dataset."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return JSONResponse([_shown(datasource, mask=config.mask_secrets) for datasource in dataset.datasources])


@router.get("/processedUntilTimestamp", response_model=DatasourceProcessedUntilTimestampResponse)
def get_processed_until(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """The second up to which the datasource's files were processed; 0 for none."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return answer(
        DatasourceProcessedUntilTimestampResponse(processed_until_timestamp=dataset.processed_until_seconds)
    )


@router.put("/processedUntilTimestamp", **DONE)
def put_processed_until(
    dataset_id: str,
    body: Annotated[
        DatasourceProcessedUntilTimestampRequest, Depends(json_body(DatasourceProcessedUntilTimestampRequest))
    ],
    db: Db,
    config: Config,
) -> Response:
    """Set that second; lowering it makes the next run process files again."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    dataset.processed_until_seconds = body.processed_until_timestamp
    return done()


@router.get("/verify", response_model=DatasourceConfigVerifyData)
def verify_permissions(dataset_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """Try the datasources' permissions with real S3 operations."""
    return answer(verified(lookups.dataset(db, dataset_id, config.user_id), config, access))


def verified(dataset: Dataset, config: Settings, access: S3Access) -> DatasourceConfigVerifyData:
    """Return the four lights of the dataset, or 400 DATASET_DATASOURCE_UNKNOWN."""
    target = lookups.datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    # With one datasource only, all four lights are about that one, whatever the scope.
    source = lookups.datasource_config(dataset, DatasourcePurpose.INPUT) or target
    if source is None:
        raise lookups.no_datasource(dataset, DatasourcePurpose.INPUT)
    return verify(access, source, target or source, config.verify_scope)
