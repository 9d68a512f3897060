"""``/v1/datasets/{datasetId}/collaboration/access``: whom a dataset is shared with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select

from lightly_sandbox.contract.enums import SharedAccessType
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import unknown
from lightly_sandbox.platform.models.collaboration import (
    SharedAccessConfigCreateRequest,
    SharedAccessConfigData,
)
from lightly_sandbox.platform.requests import CREATED, DONE, Config, Db, answer, created, done, json_body
from lightly_sandbox.platform.tables import SharedAccess

router = APIRouter(prefix="/v1/datasets/{dataset_id}/collaboration/access")


def _data(access: SharedAccess) -> SharedAccessConfigData:
    return SharedAccessConfigData(
        id=access.id,
        owner=access.user_id,
        access_type=SharedAccessType(access.access_type),
        users=access.users,
        teams=access.teams,
        created_at=access.created_at,
        last_modified_at=access.last_modified_at,
    )


@router.post("", **CREATED)
def share(
    dataset_id: str,
    body: Annotated[SharedAccessConfigCreateRequest, Depends(json_body(SharedAccessConfigCreateRequest))],
    db: Db,
    config: Config,
) -> JSONResponse:
    """Share the dataset with exactly these users and teams; whoever is not among them loses the access."""
    lookups.owned_dataset(db, dataset_id, config.user_id)
    query = select(SharedAccess).where(
        SharedAccess.dataset_id == dataset_id, SharedAccess.access_type == body.access_type
    )
    now = now_ms()
    access = db.scalar(query)
    if access is None:
        access = SharedAccess(
            id=new_id(),
            dataset_id=dataset_id,
            user_id=config.user_id,
            access_type=body.access_type,
            created_at=now,
        )
        db.add(access)
    access.users, access.teams = list(body.users or ()), list(body.teams or ())
    access.last_modified_at = now
    return created(access.id)


@router.get("", response_model=list[SharedAccessConfigData])
def list_all(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """Whom the dataset is shared with, one entry per kind of access."""
    lookups.dataset(db, dataset_id, config.user_id)
    query = select(SharedAccess).where(SharedAccess.dataset_id == dataset_id).order_by(SharedAccess.id)
    return answer([_data(access) for access in db.scalars(query)])


@router.delete("/{access_config_id}", **DONE)
def delete(dataset_id: str, access_config_id: str, db: Db, config: Config) -> Response:
    """Share the dataset with nobody any more, in this kind of access."""
    lookups.owned_dataset(db, dataset_id, config.user_id)
    access = db.get(SharedAccess, access_config_id)
    if access is None or access.dataset_id != dataset_id:
        raise unknown(ApiErrorCode.NOT_FOUND, "shared access", access_config_id)
    db.delete(access)
    return done()
