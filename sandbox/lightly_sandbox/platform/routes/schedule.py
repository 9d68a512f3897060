"""Scheduled runs: made for a dataset, found and taken by workers, canceled while nobody has taken them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import case, select

from lightly_sandbox.contract.enums import (
    DatasourcePurpose,
    DockerRunScheduledPriority,
    DockerRunScheduledState,
)
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.lifecycle import finish, give_back, lock
from lightly_sandbox.platform.models.workers import (
    DockerRunScheduledCreateRequest,
    DockerRunScheduledData,
    DockerRunScheduledUpdateRequest,
)
from lightly_sandbox.platform.requests import (
    CREATED,
    DONE,
    S3,
    Config,
    Db,
    Flag,
    ReadOnlyDb,
    answer,
    created,
    done,
    json_body,
    refusing,
)
from lightly_sandbox.platform.scopes import TeamScope
from lightly_sandbox.platform.selection_checks import check_selection
from lightly_sandbox.platform.tables import Run, ScheduledRun

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/v1")

OPEN, LOCKED = DockerRunScheduledState.OPEN, DockerRunScheduledState.LOCKED
_FIRST = [
    DockerRunScheduledPriority.CRITICAL,
    DockerRunScheduledPriority.HIGH,
    DockerRunScheduledPriority.MID,
    DockerRunScheduledPriority.LOW,
]
_URGENCY = case({priority: place for place, priority in enumerate(_FIRST)}, value=ScheduledRun.priority)


def _data(scheduled: ScheduledRun) -> DockerRunScheduledData:
    return DockerRunScheduledData(
        id=scheduled.id,
        dataset_id=scheduled.dataset_id,
        user_id=scheduled.user_id,
        config_id=scheduled.config_id,
        priority=DockerRunScheduledPriority(scheduled.priority),
        runs_on=scheduled.runs_on,
        state=DockerRunScheduledState(scheduled.state),
        created_at=scheduled.created_at,
        last_modified_at=scheduled.last_modified_at,
        owner=scheduled.worker_id,
    )


def _refused(error: str) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, ApiErrorCode.DOCKER_WORKER_SCHEDULE_UPDATE_FAILED, error)


@router.post(
    "/datasets/{dataset_id}/docker/worker/schedule",
    **CREATED,
    responses=refusing(HTTPStatus.UNPROCESSABLE_ENTITY),
)
def create(
    dataset_id: str,
    body: Annotated[DockerRunScheduledCreateRequest, Depends(json_body(DockerRunScheduledCreateRequest))],
    db: Db,
    reading: ReadOnlyDb,
    config: Config,
    access: S3,
    unvalidated: Annotated[Flag, Query(alias="disableConfigValidation")] = False,
) -> JSONResponse:
    """Ask for a run of a configuration on a dataset that has an input and a place for Lightly's own files.

    What the selection needs must be there, unless the client asks not to have it checked.
    """
    dataset = lookups.dataset(reading, dataset_id, config.user_id)
    worker_config = lookups.worker_config(reading, body.config_id, config.user_id)
    lookups.required_datasource_config(dataset, DatasourcePurpose.INPUT)
    lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    if not unvalidated:
        check_selection(reading, access, config, dataset, worker_config.config)
    # It may have been deleted meanwhile.
    lookups.dataset(db, dataset_id, config.user_id)
    now = now_ms()
    scheduled = ScheduledRun(
        id=new_id(),
        user_id=config.user_id,
        created_at=now,
        last_modified_at=now,
        dataset_id=dataset_id,
        config_id=body.config_id,
        priority=body.priority,
        runs_on=list(body.runs_on or ()),
        state=OPEN,
    )
    db.add(scheduled)
    return created(scheduled.id)


@router.get("/datasets/{dataset_id}/docker/worker/schedule", response_model=list[DockerRunScheduledData])
def of_dataset(
    dataset_id: str,
    db: Db,
    config: Config,
    state: DockerRunScheduledState | None = None,
    states: Annotated[list[DockerRunScheduledState] | None, Query()] = None,
) -> JSONResponse:
    """The dataset's scheduled runs in these states, oldest first; by default the open and the taken ones."""
    lookups.dataset(db, dataset_id, config.user_id)
    wanted = [*(states or ()), *(() if state is None else (state,))] or [OPEN, LOCKED]
    query = (
        select(ScheduledRun)
        .where(ScheduledRun.dataset_id == dataset_id, ScheduledRun.state.in_(wanted))
        .order_by(ScheduledRun.created_at, ScheduledRun.id)
    )
    return answer([_data(scheduled) for scheduled in db.scalars(query)])


def _eligible(
    session: Session,
    is_meant: ColumnElement[bool],
    state: DockerRunScheduledState,
    labels: Collection[str],
    *,
    include_unlockable: bool = False,
) -> Sequence[ScheduledRun]:
    """The scheduled runs for a worker with these labels, the most urgent and then the oldest first."""
    query = (
        select(ScheduledRun)
        .where(is_meant, ScheduledRun.state == state)
        .order_by(_URGENCY, ScheduledRun.created_at, ScheduledRun.id)
    )
    if state == OPEN and not include_unlockable:
        taken = select(ScheduledRun.dataset_id).where(ScheduledRun.state == LOCKED)
        query = query.where(ScheduledRun.dataset_id.not_in(taken))
    return [scheduled for scheduled in session.scalars(query) if set(scheduled.runs_on) <= set(labels)]


@router.get("/docker/worker/schedule", response_model=list[DockerRunScheduledData])
def by_labels(
    scope: TeamScope,
    db: Db,
    config: Config,
    state: DockerRunScheduledState = OPEN,
    labels: Annotated[list[str] | None, Query()] = None,
    include_unlockable: Annotated[Flag, Query(alias="includeUnlockableRuns")] = False,
    _version: Annotated[str | None, Query(alias="version")] = None,
) -> JSONResponse:
    """What a worker with these labels may take, or has taken."""
    is_meant = scope.has(ScheduledRun.user_id, db, config.user_id)
    found = _eligible(db, is_meant, state, labels or (), include_unlockable=include_unlockable)
    return answer([_data(scheduled) for scheduled in found])


@router.get("/docker/worker/{worker_id}/schedule", response_model=list[DockerRunScheduledData])
def by_worker(
    worker_id: str, scope: TeamScope, db: Db, config: Config, state: DockerRunScheduledState = OPEN
) -> JSONResponse:
    """What this worker may take (open), or what it took (every other state)."""
    worker = lookups.worker(db, worker_id, config.user_id)
    # What it took under other labels than it has now is still its own.
    if state == OPEN:
        found = _eligible(db, scope.has(ScheduledRun.user_id, db, config.user_id), state, worker.labels)
    else:
        query = select(ScheduledRun).where(ScheduledRun.worker_id == worker_id, ScheduledRun.state == state)
        found = db.scalars(query.order_by(_URGENCY, ScheduledRun.created_at, ScheduledRun.id)).all()
    return answer([_data(entry) for entry in found])


@router.put("/datasets/{dataset_id}/docker/worker/schedule/{scheduled_id}", **DONE)
def cancel(dataset_id: str, scheduled_id: str, db: Db, config: Config) -> Response:
    """Cancel a scheduled run that no worker has taken yet."""
    scheduled = lookups.scheduled_run(db, scheduled_id, config.user_id, dataset_id)
    if scheduled.state != OPEN:
        raise _refused(
            f"Scheduled run {scheduled_id} is {scheduled.state}; only an OPEN one can be canceled."
        )
    scheduled.state, scheduled.last_modified_at = DockerRunScheduledState.CANCELED, now_ms()
    return done()


@router.put("/datasets/{dataset_id}/docker/worker/{worker_id}/schedule/{scheduled_id}", **DONE)
def update_by_worker(
    dataset_id: str,
    worker_id: str,
    scheduled_id: str,
    body: Annotated[DockerRunScheduledUpdateRequest, Depends(json_body(DockerRunScheduledUpdateRequest))],
    db: Db,
    config: Config,
) -> Response:
    """A worker takes a scheduled run (LOCKED), gives it back (OPEN), or is done with it (DONE)."""
    worker = lookups.worker(db, worker_id, config.user_id)
    scheduled = lookups.scheduled_run(db, scheduled_id, config.user_id, dataset_id)
    match body.state:
        case DockerRunScheduledState.LOCKED:
            if not lock(db, scheduled, worker):
                raise _refused(
                    f"Scheduled run {scheduled_id} or another one of its dataset is taken already."
                )
            db.refresh(scheduled)
        case DockerRunScheduledState.DONE if scheduled.worker_id == worker_id and scheduled.state == LOCKED:
            finish(db, scheduled, f"Worker '{worker.name}' was done with the run before it had ended.")
        case DockerRunScheduledState.OPEN if scheduled.worker_id == worker_id and scheduled.state == LOCKED:
            if db.scalar(select(Run.id).where(Run.scheduled_id == scheduled_id)) is not None:
                raise _refused(f"Scheduled run {scheduled_id} has a run already; it cannot be OPEN again.")
            give_back(scheduled)
        case _:
            raise _refused(
                f"Scheduled run {scheduled_id} is {scheduled.state}; this worker cannot make it {body.state}."
            )
    if body.priority is not None:
        scheduled.priority = body.priority
    if body.runs_on is not None:
        scheduled.runs_on = list(body.runs_on)
    return done()
