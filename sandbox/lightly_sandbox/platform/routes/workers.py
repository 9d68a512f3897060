"""``/v1/docker/worker``: the registry of workers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select

from lightly_sandbox.contract.enums import DockerWorkerState, DockerWorkerType
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import identity, lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.lifecycle import crash_runs_of
from lightly_sandbox.platform.models.workers import (
    CreateDockerWorkerRegistryEntryRequest,
    DockerWorkerRegistryEntryData,
    UpdateDockerWorkerRegistryEntryRequest,
)
from lightly_sandbox.platform.requests import CREATED, DONE, Config, Db, answer, created, done, json_body
from lightly_sandbox.platform.scopes import TeamScope
from lightly_sandbox.platform.tables import Worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/v1/docker/worker")

DEFAULT_NAME = "Default worker"


def _data(worker: Worker) -> DockerWorkerRegistryEntryData:
    return DockerWorkerRegistryEntryData(
        id=worker.id,
        user_id=worker.user_id,
        name=worker.name,
        worker_type=DockerWorkerType(worker.worker_type),
        state=DockerWorkerState(worker.state),
        created_at=worker.created_at,
        last_modified_at=worker.last_modified_at,
        labels=worker.labels,
        is_default=worker.is_default,
        docker_version=worker.docker_version,
    )


def _add(session: Session, user_id: str, name: str, labels: list[str], *, is_default: bool) -> Worker:
    now = now_ms()
    worker = Worker(
        id=new_id(),
        user_id=user_id,
        created_at=now,
        last_modified_at=now,
        name=name,
        worker_type=DockerWorkerType.FULL,
        state=DockerWorkerState.OFFLINE,
        labels=labels,
        is_default=is_default,
    )
    session.add(worker)
    session.flush()
    return worker


def _member(session: Session, user_id: str, of_team: str) -> str:
    """The id ``of_team`` if it is the user's or that of a member of the user's team."""
    mine = identity.user(session, user_id)
    other = mine if of_team == user_id else identity.known_user(session, of_team)
    if other is None or (other.id != user_id and (mine.team is None or other.team != mine.team)):
        error = f"query.forUserId: there is no user {of_team} in your team."
        raise ApiError(HTTPStatus.FORBIDDEN, ApiErrorCode.USER_NOT_KNOWN, error)
    return other.id


@router.post("", **CREATED)
def register(
    body: Annotated[
        CreateDockerWorkerRegistryEntryRequest, Depends(json_body(CreateDockerWorkerRegistryEntryRequest))
    ],
    db: Db,
    config: Config,
    for_user_id: Annotated[str | None, Query(alias="forUserId")] = None,
) -> JSONResponse:
    """Register a worker, perhaps for another member of the team.

    A name that is known keeps its id and gets the new labels. A worker registers when it starts, so what its
    predecessor of that name was working on has ended.
    """
    labels = list(body.labels or ())
    user_id = config.user_id if for_user_id is None else _member(db, config.user_id, for_user_id)
    worker = db.scalar(select(Worker).where(Worker.user_id == user_id, Worker.name == body.name))
    if worker is None:
        worker = _add(db, user_id, body.name, labels, is_default=False)
    else:
        worker.labels, worker.last_modified_at = labels, now_ms()
        crash_runs_of(db, worker)
    worker.docker_version = body.docker_version
    return created(worker.id)


@router.get("", response_model=list[DockerWorkerRegistryEntryData])
def list_all(scope: TeamScope, db: Db, config: Config) -> JSONResponse:
    """The registered workers, oldest first."""
    query = (
        select(Worker)
        .where(scope.has(Worker.user_id, db, config.user_id))
        .order_by(Worker.created_at, Worker.id)
    )
    return answer([_data(worker) for worker in db.scalars(query)])


@router.get("/default", response_model=DockerWorkerRegistryEntryData)
def default(db: Db, config: Config) -> JSONResponse:
    """The default worker; it is registered if there is none."""
    found = db.scalar(select(Worker).where(Worker.user_id == config.user_id, Worker.is_default))
    if found is not None:
        return answer(_data(found))
    # The only reading request that may write; it takes the write lock when its INSERT needs it.
    return answer(_data(_add(db, config.user_id, DEFAULT_NAME, [], is_default=True)))


@router.get("/{worker_id}", response_model=DockerWorkerRegistryEntryData)
def get(worker_id: str, db: Db, config: Config) -> JSONResponse:
    """One worker."""
    return answer(_data(lookups.worker(db, worker_id, config.user_id)))


@router.put("/{worker_id}", **DONE)
def update(
    worker_id: str,
    body: Annotated[
        UpdateDockerWorkerRegistryEntryRequest, Depends(json_body(UpdateDockerWorkerRegistryEntryRequest))
    ],
    db: Db,
    config: Config,
) -> Response:
    """Set a worker's state, which is also its sign of life."""
    worker = lookups.worker(db, worker_id, config.user_id)
    worker.state, worker.last_modified_at = body.state, now_ms()
    if body.docker_version is not None:
        worker.docker_version = body.docker_version
    return done()


@router.delete("/{worker_id}", **DONE)
def delete(worker_id: str, db: Db, config: Config) -> Response:
    """Take a worker off the registry."""
    worker = lookups.worker(db, worker_id, config.user_id)
    crash_runs_of(db, worker)
    db.delete(worker)
    return done()
