"""``/v1/docker/runs``: what workers do, with their logs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from lightly_sandbox.contract.enums import (
    DockerRunArtifactStorageLocation,
    DockerRunArtifactType,
    DockerRunScheduledState,
    DockerRunState,
)
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import glances, lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError, unknown
from lightly_sandbox.platform.lifecycle import advance
from lightly_sandbox.platform.models.runs import (
    DockerRunArtifactData,
    DockerRunCreateRequest,
    DockerRunData,
    DockerRunLogCreateEntryData,
    DockerRunLogData,
    DockerRunLogEntryData,
    DockerRunUpdateRequest,
)
from lightly_sandbox.platform.models.tags import TagData
from lightly_sandbox.platform.requests import (
    CREATED,
    DONE,
    Config,
    Db,
    Flag,
    Paged,
    answer,
    created,
    done,
    json_body,
)
from lightly_sandbox.platform.scopes import TeamScope
from lightly_sandbox.platform.tables import Run, RunLog, Tag
from lightly_sandbox.platform.tag_data import tag_data

router = APIRouter(prefix="/v1/docker/runs")

LOG_PAGE = 1000


def run_data(run: Run) -> DockerRunData:
    """The run as the API shows it."""
    return DockerRunData(
        id=run.id,
        user_id=run.user_id,
        docker_version=run.docker_version,
        state=DockerRunState(run.state),
        archived=False,
        dataset_id=run.dataset_id,
        config_id=run.config_id,
        scheduled_id=run.scheduled_id,
        created_at=run.created_at,
        last_modified_at=run.last_modified_at,
        message=run.message,
        artifacts=[
            DockerRunArtifactData(
                id=artifact.id,
                type=DockerRunArtifactType(artifact.type),
                file_name=artifact.file_name,
                storage_location=DockerRunArtifactStorageLocation(artifact.storage_location),
                created_at=artifact.created_at,
            )
            for artifact in run.artifacts
        ],
    )


@router.post("", **CREATED)
def create(
    body: Annotated[DockerRunCreateRequest, Depends(json_body(DockerRunCreateRequest))],
    db: Db,
    config: Config,
) -> JSONResponse:
    """A worker begins a run; of a scheduled run, only while that is taken, and once."""
    dataset_id, config_id = body.dataset_id, body.config_id
    if body.scheduled_id is not None:
        scheduled = lookups.scheduled_run(db, body.scheduled_id, config.user_id, dataset_id)
        if scheduled.state != DockerRunScheduledState.LOCKED:
            raise ApiError(
                HTTPStatus.CONFLICT,
                ApiErrorCode.CONFLICT,
                f"Scheduled run {scheduled.id} is {scheduled.state}; a worker takes it (LOCKED) first.",
            )
        dataset_id, config_id = scheduled.dataset_id, config_id or scheduled.config_id
    elif dataset_id is not None:
        lookups.dataset(db, dataset_id, config.user_id)
    now = now_ms()
    run = Run(
        id=new_id(),
        user_id=config.user_id,
        created_at=now,
        last_modified_at=now,
        docker_version=body.docker_version,
        state=DockerRunState.STARTED,
        dataset_id=dataset_id,
        config_id=config_id,
        scheduled_id=body.scheduled_id,
        message=body.message,
    )
    db.add(run)
    try:
        db.flush()
    except IntegrityError as twice:
        raise ApiError(
            HTTPStatus.CONFLICT,
            ApiErrorCode.CONFLICT,
            f"Scheduled run {body.scheduled_id} has a run already.",
        ) from twice
    return created(run.id)


@router.get("", response_model=list[DockerRunData])
def list_all(
    scope: TeamScope,
    page: Paged,
    db: Db,
    config: Config,
    _archived: Annotated[Flag, Query(alias="showArchived")] = False,
) -> JSONResponse:
    """The runs, newest first."""
    query = (
        select(Run).where(scope.has(Run.user_id, db, config.user_id)).order_by(Run.created_at.desc(), Run.id)
    )
    return answer([run_data(run) for run in db.scalars(query.limit(page.size).offset(page.offset))])


@router.get("/count", response_model=str, response_class=PlainTextResponse)
def count(
    scope: TeamScope, db: Db, config: Config, _archived: Annotated[Flag, Query(alias="showArchived")] = False
) -> PlainTextResponse:
    """How many runs there are, as text."""
    query = select(func.count()).select_from(Run).where(scope.has(Run.user_id, db, config.user_id))
    return PlainTextResponse(str(db.scalar(query) or 0))


@router.get("/query/datasetId/{dataset_id}", response_model=list[DockerRunData])
def of_dataset(dataset_id: str, scope: TeamScope, page: Paged, db: Db, config: Config) -> JSONResponse:
    """The runs on a dataset, newest first."""
    query = (
        select(Run)
        .where(scope.has(Run.user_id, db, config.user_id), Run.dataset_id == dataset_id)
        .order_by(Run.created_at.desc(), Run.id)
    )
    return answer([run_data(run) for run in db.scalars(query.limit(page.size).offset(page.offset))])


@router.get("/schedule/{scheduled_id}", response_model=DockerRunData)
async def of_scheduled(scheduled_id: str, request: Request, config: Config) -> JSONResponse:
    """The run of a scheduled run; 404 until a worker has begun it."""
    run = glances.run_of_scheduled(request.app.state.database.glance, config.user_id, scheduled_id)
    if run is None:
        raise unknown(ApiErrorCode.DOCKER_RUN_UNKNOWN, "run of scheduled run", scheduled_id)
    return answer(run_data(run))


@router.get("/{run_id}", response_model=DockerRunData)
def get(run_id: str, db: Db, config: Config) -> JSONResponse:
    """One run."""
    return answer(run_data(lookups.run(db, run_id, config.user_id)))


@router.put("/{run_id}", **DONE)
def update(
    run_id: str,
    body: Annotated[DockerRunUpdateRequest, Depends(json_body(DockerRunUpdateRequest))],
    db: Db,
    config: Config,
) -> Response:
    """Set a run's state, never backwards, until it has ended."""
    advance(db, lookups.run(db, run_id, config.user_id), body.state, body.message)
    return done()


@router.put("/{run_id}/logs", **DONE)
def add_logs(
    run_id: str,
    body: Annotated[list[DockerRunLogCreateEntryData], Depends(json_body(list[DockerRunLogCreateEntryData]))],
    db: Db,
    config: Config,
) -> Response:
    """Add lines to a run's log; a line without a state has the run's."""
    run = lookups.run(db, run_id, config.user_id)
    for line in body:
        entry = {"state": run.state, **line.wire()}
        db.add(RunLog(run_id=run_id, entry=entry))
        db.flush()
    run.last_modified_at = now_ms()
    return done()


@router.get("/{run_id}/logs", response_model=DockerRunLogData)
def get_logs(run_id: str, db: Db, config: Config, cursor: Annotated[int, Query(ge=0)] = 0) -> JSONResponse:
    """The lines after ``cursor``, and the cursor that asks for the next ones."""
    lookups.run(db, run_id, config.user_id)
    query = select(RunLog).where(RunLog.run_id == run_id, RunLog.number > cursor).order_by(RunLog.number)
    lines = db.scalars(query.limit(LOG_PAGE)).all()
    return answer(
        DockerRunLogData(
            cursor=lines[-1].number if lines else cursor,
            logs=[DockerRunLogEntryData.model_validate(line.entry, strict=False) for line in lines],
        )
    )


@router.get("/{run_id}/tags", response_model=list[TagData])
def tags(run_id: str, db: Db, config: Config) -> JSONResponse:
    """The tags that the run made, newest first."""
    lookups.run(db, run_id, config.user_id)
    query = select(Tag).where(Tag.run_id == run_id).order_by(Tag.created_at.desc(), Tag.id)
    return answer([tag_data(tag) for tag in db.scalars(query)])
