"""The list of runs, and one run: its progress while it goes on, its log, its report and its files."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import func, select

from lightly_sandbox.contract.enums import DockerRunScheduledState, DockerRunState
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.lifecycle import TERMINAL
from lightly_sandbox.platform.requests import S3, Config, Db
from lightly_sandbox.platform.routes.artifacts import artifact_of, artifact_place, unavailable
from lightly_sandbox.platform.routes.pages.findings import findings_of
from lightly_sandbox.platform.routes.pages.page import PageNumber, PageRoute, page
from lightly_sandbox.platform.tables import Dataset, Run, RunLog, ScheduledRun, Tag, Worker, WorkerConfig
from lightly_sandbox.platform.tag_data import count
from lightly_sandbox.web import rendering
from lightly_sandbox.web.paging import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

router = APIRouter(prefix="/web/compute/runs", route_class=PageRoute)

SHOWN_RUNS, RUNS_ON_A_PAGE = 10, 50
SHOWN_LINES = 500
LINES_AT_ONCE = 1000

_STEPS = [state for state in DockerRunState if state not in TERMINAL]


def runs_of(session: Session, user_id: str, dataset_id: str | None, part: Part) -> list[dict[str, Any]]:
    """Return the runs, of one dataset or of all, the newest first."""
    query = select(Run, Dataset.name).outerjoin(Dataset, Dataset.id == Run.dataset_id)
    query = query.where(Run.user_id == user_id)
    if dataset_id is not None:
        query = query.where(Run.dataset_id == dataset_id)
    query = query.order_by(Run.created_at.desc(), Run.id).limit(part.size).offset(part.start)
    return [
        {"run": run, "dataset_name": name, "has_ended": run.state in TERMINAL}
        for run, name in session.execute(query)
    ]


def waiting(session: Session, user_id: str, dataset_id: str | None = None) -> list[dict[str, Any]]:
    """Return the scheduled runs that no worker has begun, the oldest first."""
    query = (
        select(ScheduledRun, Dataset.name)
        .join(Dataset, Dataset.id == ScheduledRun.dataset_id)
        .outerjoin(Run, Run.scheduled_id == ScheduledRun.id)
        .where(
            ScheduledRun.user_id == user_id,
            ScheduledRun.state.in_((DockerRunScheduledState.OPEN, DockerRunScheduledState.LOCKED)),
            Run.id.is_(None),
        )
        .order_by(ScheduledRun.created_at, ScheduledRun.id)
        .limit(RUNS_ON_A_PAGE)
    )
    if dataset_id is not None:
        query = query.where(ScheduledRun.dataset_id == dataset_id)
    return [{"scheduled": scheduled, "dataset_name": name} for scheduled, name in session.execute(query)]


@router.get("")
def runs(db: Db, config: Config, number: PageNumber = 1) -> HTMLResponse:
    """Every run, the newest first, after those that wait for a worker."""
    total = db.scalar(select(func.count()).select_from(Run).where(Run.user_id == config.user_id)) or 0
    part = Part.of(number, RUNS_ON_A_PAGE, total)
    return page(
        "runs.html",
        runs=runs_of(db, config.user_id, None, part),
        waiting=waiting(db, config.user_id),
        part=part,
    )


@router.get("/{run_id}")
def run(run_id: str, request: Request, db: Db, config: Config, access: S3) -> HTMLResponse:
    """One run."""
    found = lookups.run(db, run_id, config.user_id)
    dataset = None if found.dataset_id is None else db.get(Dataset, found.dataset_id)
    stored = None if found.config_id is None else db.get(WorkerConfig, found.config_id)
    worker = db.scalar(
        select(Worker)
        .join(ScheduledRun, ScheduledRun.worker_id == Worker.id)
        .where(ScheduledRun.id == found.scheduled_id)
    )
    tags = db.scalars(select(Tag).where(Tag.run_id == run_id).order_by(Tag.created_at, Tag.id))
    lines = _last_lines(db, run_id)
    return page(
        "run.html",
        run=found,
        dataset=dataset,
        worker=worker,
        settings=None if stored is None else stored.config,
        tags=[{"tag": tag, "n_samples": count(tag.bit_mask)} for tag in tags],
        artifacts=[artifact for artifact in found.artifacts if artifact.uploaded],
        sizes=findings_of(db, request.app.state.shelf, access, config, found).sizes,
        lines=lines,
        last_line=lines[-1].number if lines else 0,
        shown_lines=SHOWN_LINES,
        progress=_progress(found),
    )


@router.get("/{run_id}/progress")
def progress(run_id: str, db: Db, config: Config, after: Annotated[int, Query(ge=0)] = 0) -> JSONResponse:
    """What has changed since the page was made: the state, and the lines after the number ``after``."""
    found = lookups.run(db, run_id, config.user_id)
    query = select(RunLog).where(RunLog.run_id == run_id, RunLog.number > after).order_by(RunLog.number)
    lines = db.scalars(query.limit(LINES_AT_ONCE)).all()
    shown = _progress(found)
    return JSONResponse(
        {
            "hasEnded": shown["has_ended"] and not lines,
            "state": found.state,
            "progress": rendering.render("progress.html", run=found, progress=shown),
            "lines": rendering.render("lines.html", lines=lines),
            "last": lines[-1].number if lines else after,
        },
        headers=dict(rendering.HEADERS),
    )


@router.get("/{run_id}/artifacts/{artifact_id}")
def artifact(run_id: str, artifact_id: str, db: Db, config: Config, access: S3) -> RedirectResponse:
    """Go to where a file of the run can be read."""
    lookups.run(db, run_id, config.user_id)
    found = artifact_of(db, run_id, artifact_id)
    if not found.uploaded:
        raise unavailable(found)
    place, path = artifact_place(db, access, config, found)
    return RedirectResponse(place.url("get_object", path), HTTPStatus.FOUND)


def _last_lines(session: Session, run_id: str) -> Sequence[RunLog]:
    query = select(RunLog).where(RunLog.run_id == run_id).order_by(RunLog.number.desc()).limit(SHOWN_LINES)
    return session.scalars(query).all()[::-1]


def _progress(run: Run) -> dict[str, Any]:
    """How far a run is among the contract's states, of which a run skips those that it does not need."""
    has_ended = run.state in TERMINAL
    done = len(_STEPS) if has_ended else _STEPS.index(DockerRunState(run.state)) + 1
    return {"has_ended": has_ended, "done": done, "steps": len(_STEPS)}
