"""How scheduled runs and runs may change, and what ends them when their worker is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from lightly_sandbox.platform.database import now_ms
from lightly_sandbox.platform.enums import DockerRunScheduledState, DockerRunState
from lightly_sandbox.platform.tables import Run, ScheduledRun, Worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TERMINAL = frozenset(
    {DockerRunState.COMPLETED, DockerRunState.FAILED, DockerRunState.CRASHED, DockerRunState.ABORTED}
)


def crash(session: Session, scheduled: ScheduledRun, why: str) -> None:
    """End a taken scheduled run whose worker is gone, and its run if there is one."""
    now = now_ms()
    scheduled.state, scheduled.last_modified_at = DockerRunScheduledState.DONE, now
    run = session.scalar(select(Run).where(Run.scheduled_id == scheduled.id))
    if run is not None and run.state not in TERMINAL:
        run.state, run.message, run.last_modified_at = DockerRunState.CRASHED, why, now


def crash_runs_of(session: Session, worker: Worker) -> None:
    """End what ``worker`` had taken."""
    taken = select(ScheduledRun).where(
        ScheduledRun.worker_id == worker.id, ScheduledRun.state == DockerRunScheduledState.LOCKED
    )
    for scheduled in session.scalars(taken).all():
        crash(session, scheduled, f"Worker '{worker.name}' ended before the run did.")


def crash_silent_runs(session: Session, silent_seconds: float) -> None:
    """End the taken scheduled runs without a sign of life for ``silent_seconds``.

    A sign of life is any change of the scheduled run, of its run (a log line counts) or of its worker.
    """
    since = now_ms() - int(silent_seconds * 1000)
    taken = (
        select(ScheduledRun)
        .outerjoin(Run, Run.scheduled_id == ScheduledRun.id)
        .outerjoin(Worker, Worker.id == ScheduledRun.worker_id)
        .where(
            ScheduledRun.state == DockerRunScheduledState.LOCKED,
            ScheduledRun.last_modified_at < since,
            Run.id.is_(None) | (Run.last_modified_at < since),
            Worker.id.is_(None) | (Worker.last_modified_at < since),
        )
    )
    for scheduled in session.scalars(taken).all():
        crash(session, scheduled, f"There was no sign of life for {silent_seconds:.0f} s.")


def lock(session: Session, scheduled: ScheduledRun, worker: Worker) -> bool:
    """Let ``worker`` take ``scheduled`` if it is open and no other run of its dataset is taken.

    One statement, so that of several workers exactly one succeeds.
    """
    other = ScheduledRun.__table__.alias()
    taken = (
        select(other.c.id)
        .where(other.c.dataset_id == scheduled.dataset_id, other.c.state == DockerRunScheduledState.LOCKED)
        .exists()
    )
    changed = session.execute(
        update(ScheduledRun)
        .where(ScheduledRun.id == scheduled.id, ScheduledRun.state == DockerRunScheduledState.OPEN, ~taken)
        .values(state=DockerRunScheduledState.LOCKED, worker_id=worker.id, last_modified_at=now_ms())
        .returning(ScheduledRun.id)
    )
    return changed.scalar_one_or_none() is not None
