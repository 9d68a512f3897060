"""The state transitions of scheduled runs and runs, and their end if the worker disappears."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from lightly_sandbox.contract.enums import DockerRunScheduledState, DockerRunState
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform.database import now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.tables import Run, Sample, ScheduledRun, Tag, Worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TERMINAL = frozenset(
    {DockerRunState.COMPLETED, DockerRunState.FAILED, DockerRunState.CRASHED, DockerRunState.ABORTED}
)
_PLACES = {state: place for place, state in enumerate(DockerRunState)}


def advance(session: Session, run: Run, state: DockerRunState, message: str | None) -> None:
    """Set the state of ``run``: a later one in the contract's order, or one of the four final ones.

    The order of the states is that of the contract's enum. That the platform rejects an earlier state is a
    guess; a worker may repeat a state, and skip those that its run does not need.

    Raises:
        ApiError: 409, the run has ended, or is already in a later state.
    """
    if run.state in TERMINAL:
        raise refused(run, f"has ended as {run.state}; that is final.")
    if _PLACES[state] < _PLACES[DockerRunState(run.state)]:
        raise refused(run, f"is at {run.state} and cannot go back to {state}.")
    run.state, run.last_modified_at = state, now_ms()
    if message is not None:
        run.message = message
    if state in TERMINAL and state != DockerRunState.COMPLETED:
        _withdraw_unpublished(session, run)


def refused(run: Run, why: str) -> ApiError:
    """Create a 409 CONFLICT: the state of ``run`` does not allow the request."""
    return ApiError(HTTPStatus.CONFLICT, ApiErrorCode.CONFLICT, f"Run {run.id} {why}")


def _withdraw_unpublished(session: Session, run: Run) -> None:
    """Delete the samples that ``run`` added and that no tag counts, because it ended before creating its tag.

    A tag counts (``totSize``) every sample that existed when it was created. Samples beyond that are in no
    tag, and the other samples keep their bits.
    """
    if run.dataset_id is None or run.scheduled_id is None:
        return
    counted = select(func.coalesce(func.max(Tag.tot_size), 0)).where(Tag.dataset_id == run.dataset_id)
    session.execute(
        delete(Sample).where(
            Sample.dataset_id == run.dataset_id,
            Sample.position >= counted.scalar_subquery(),
            Sample.created_at >= run.created_at,
        )
    )


def finish(session: Session, scheduled: ScheduledRun, why: str) -> None:
    """Set a taken scheduled run to DONE. Its run, if not ended, becomes CRASHED with the message ``why``."""
    scheduled.state, scheduled.last_modified_at = DockerRunScheduledState.DONE, now_ms()
    run = session.scalar(select(Run).where(Run.scheduled_id == scheduled.id))
    if run is not None and run.state not in TERMINAL:
        advance(session, run, DockerRunState.CRASHED, why)


def _abandon(session: Session, scheduled: ScheduledRun, why: str) -> None:
    """End a taken scheduled run whose worker is gone; if it has no run yet, it becomes OPEN again.

    DONE without a run would make clients that poll for the run (404 until there is one) wait forever.
    """
    if session.scalar(select(Run.id).where(Run.scheduled_id == scheduled.id)) is None:
        give_back(scheduled)
    else:
        finish(session, scheduled, why)


def give_back(scheduled: ScheduledRun) -> None:
    """Set a taken scheduled run to OPEN, for any worker."""
    scheduled.state, scheduled.worker_id = DockerRunScheduledState.OPEN, None
    scheduled.last_modified_at = now_ms()


def crash_runs_of(session: Session, worker: Worker) -> None:
    """End the scheduled runs that ``worker`` had taken."""
    taken = select(ScheduledRun).where(
        ScheduledRun.worker_id == worker.id, ScheduledRun.state == DockerRunScheduledState.LOCKED
    )
    for scheduled in session.scalars(taken).all():
        _abandon(session, scheduled, f"Worker '{worker.name}' ended before the run did.")


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
        _abandon(session, scheduled, f"There was no sign of life for {silent_seconds:g} s.")


def lock(session: Session, scheduled: ScheduledRun, worker: Worker) -> bool:
    """Assign ``scheduled`` to ``worker`` if it is open and no other run of its dataset is taken.

    It is a single statement, so that exactly one of several workers succeeds.
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
