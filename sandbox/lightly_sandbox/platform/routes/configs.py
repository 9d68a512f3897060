"""``/v1/docker/worker/config/vX``: worker configurations, version V4."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.models.config import (
    DockerWorkerConfigOmniV4CreateRequest,
    DockerWorkerConfigV4Data,
)
from lightly_sandbox.platform.requests import CREATED, Config, Db, created, json_body, refusing
from lightly_sandbox.platform.tables import WorkerConfig

router = APIRouter(prefix="/v1/docker/worker/config/vX")

# Older versions of the contract that the sandbox does not serve.
_OLDER = frozenset({"V2", "V3"})


@router.post("", **CREATED, responses=refusing(HTTPStatus.NOT_IMPLEMENTED))
def create(
    body: Annotated[
        DockerWorkerConfigOmniV4CreateRequest,
        Depends(json_body(DockerWorkerConfigOmniV4CreateRequest, elsewhere=_OLDER)),
    ],
    db: Db,
    config: Config,
) -> JSONResponse:
    """Make a configuration; it never changes."""
    sent = body.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    worker_config = WorkerConfig(id=new_id(), user_id=config.user_id, created_at=now_ms(), config=sent)
    db.add(worker_config)
    return created(worker_config.id)


@router.get("/{config_id}", response_model=DockerWorkerConfigV4Data)
def get(config_id: str, db: Db, config: Config) -> JSONResponse:
    """One configuration, as it was sent."""
    found = lookups.worker_config(db, config_id, config.user_id)
    return JSONResponse(
        {"id": found.id, "version": "V4", "createdAt": found.created_at, "config": found.config}
    )
