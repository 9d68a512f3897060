from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.platform.database import Database, new_id, now_ms
from lightly_sandbox.platform.lifecycle import crash_silent_runs
from lightly_sandbox.platform.tables import Dataset, Run, ScheduledRun, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

SILENT_SECONDS = 300.0


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(tmp_path / "platform.sqlite")
    with database.session(writes=True) as session:
        yield session
    database.close()


def _taken(session: Session, *, scheduled: int, run: int, worker: int) -> tuple[ScheduledRun, Run]:
    """A run that a worker took, each part last changed so many seconds ago."""
    now = now_ms()

    def stamps(age: int) -> dict[str, object]:
        then = now - age * 1000
        return {"id": new_id(), "user_id": "user", "created_at": then, "last_modified_at": then}

    dataset = Dataset(name=new_id(), type="Images", **stamps(scheduled))
    owner = Worker(name=new_id(), worker_type="FULL", state="BUSY", labels=[], **stamps(worker))
    session.add_all((dataset, owner))
    session.flush()
    entry = ScheduledRun(
        dataset_id=dataset.id,
        config_id=new_id(),
        priority="MID",
        runs_on=[],
        state="LOCKED",
        worker_id=owner.id,
        **stamps(scheduled),
    )
    session.add(entry)
    session.flush()
    begun = Run(docker_version="1", state="EMBEDDING", scheduled_id=entry.id, **stamps(run))
    session.add(begun)
    session.flush()
    return entry, begun


@pytest.mark.parametrize(
    ("ages", "state"),
    [
        ({"scheduled": 400, "run": 400, "worker": 400}, "CRASHED"),
        ({"scheduled": 400, "run": 10, "worker": 400}, "EMBEDDING"),
        ({"scheduled": 400, "run": 400, "worker": 10}, "EMBEDDING"),
        ({"scheduled": 10, "run": 10, "worker": 10}, "EMBEDDING"),
    ],
    ids=["silent", "the run logs", "the worker lives", "just taken"],
)
def test_a_run_crashes_when_nothing_was_heard_of_it(
    session: Session, ages: dict[str, int], state: str
) -> None:
    scheduled, run = _taken(session, **ages)
    crash_silent_runs(session, SILENT_SECONDS)
    assert run.state == state
    assert scheduled.state == ("DONE" if state == "CRASHED" else "LOCKED")
    assert (run.message is not None) == (state == "CRASHED")


def test_what_was_taken_and_never_begun_is_open_again_when_its_worker_is_gone(session: Session) -> None:
    scheduled, run = _taken(session, scheduled=400, run=400, worker=400)
    session.delete(run)
    session.flush()
    crash_silent_runs(session, SILENT_SECONDS)
    assert (scheduled.state, scheduled.worker_id) == ("OPEN", None)


def test_a_run_that_ended_stays_as_it_ended_when_its_worker_is_gone(session: Session) -> None:
    scheduled, run = _taken(session, scheduled=400, run=400, worker=400)
    run.state = "COMPLETED"
    session.flush()
    crash_silent_runs(session, SILENT_SECONDS)
    assert (run.state, scheduled.state) == ("COMPLETED", "DONE")
