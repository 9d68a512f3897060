"""The workers, and what they do."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from lightly_sandbox.contract.enums import DockerRunScheduledState
from lightly_sandbox.platform.lifecycle import TERMINAL
from lightly_sandbox.platform.requests import Config, Db
from lightly_sandbox.platform.routes.pages.page import PageRoute, page
from lightly_sandbox.platform.tables import Run, ScheduledRun, Worker

router = APIRouter(prefix="/web/workers", route_class=PageRoute)


@router.get("")
def workers(db: Db, config: Config) -> HTMLResponse:
    """Every worker by its name, with the run that it has taken."""
    query = (
        select(Worker, Run)
        .outerjoin(
            ScheduledRun,
            (ScheduledRun.worker_id == Worker.id) & (ScheduledRun.state == DockerRunScheduledState.LOCKED),
        )
        .outerjoin(Run, (Run.scheduled_id == ScheduledRun.id) & Run.state.not_in(TERMINAL))
        .where(Worker.user_id == config.user_id)
        .order_by(Worker.name, Worker.id)
    )
    return page("workers.html", workers=[{"worker": worker, "run": run} for worker, run in db.execute(query)])
