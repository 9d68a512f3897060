"""A mapped task: each map index has a run of its own, and no try of one takes another's."""

from __future__ import annotations

import os
import signal
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.integration.staged_worker import StagedWorker, ready_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sandbox import Sandbox
    from tests.integration.task_tries import TaskTries

INDEXES = range(3)


class MappedTask:
    """A task that is mapped over three new datasets, in a new DAG run."""

    def __init__(self, sandbox: Sandbox, tries: TaskTries, mode: str) -> None:
        self._tries, self._mode = tries, mode
        self._worker = StagedWorker(sandbox, f"mapped-{uuid.uuid4().hex[:8]}")
        self._dataset_ids = [ready_dataset(sandbox, f"mapped {uuid.uuid4().hex[:12]}") for _ in INDEXES]
        self._connection = sandbox.lightly_connection()
        conf = {"dataset_ids": self._dataset_ids, "label": self._worker.label}
        self._run_id = tries.begin("worker_tries_mapped", conf)

    def start(self, index: int) -> int:
        """Start an index's next try; its process id."""
        return self._tries.start(self._run_id, self._mode, index, AIRFLOW_CONN_LIGHTLY_DEFAULT=self._connection)

    def clear(self, index: int) -> None:
        """Clear an index."""
        self._tries.clear(self._run_id, self._mode, index)

    def states(self) -> list[list[str]]:
        """The states of the schedule of each index's dataset."""
        return [[str(entry["state"]) for entry in self._worker.schedule(each)] for each in self._dataset_ids]

    def wait_until_reattached(self, index: int) -> None:
        """Wait until a try of an index says so."""
        (entry,) = self._worker.schedule(self._dataset_ids[index])
        self._until(lambda: f"Reattached to scheduled run {entry['id']}" in self._tries.log())

    def wait_for_states(self, *states: list[str]) -> None:
        """Wait until the schedules are in these states."""
        self._until(lambda: self.states() == [*states])

    def finish(self, index: int, state: str = "COMPLETED") -> None:
        """Let the worker take and end the open run of an index."""
        dataset_id = self._dataset_ids[index]
        self._worker.finish(dataset_id, self._worker.take(dataset_id), state=state)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, f"{self.states()}\n{self._tries.log()[-4000:]}"
            time.sleep(0.05)


@pytest.mark.exhaustive(
    sample="tests/integration/test_crash_matrix.py::test_wherever_the_task_is_cut_off_there_is_one_run_and_its_result"
)
@pytest.mark.parametrize("mode", ["waiting", "deferred"])
def test_one_map_index_is_killed_one_fails_one_is_cleared_and_each_has_its_own_run(
    mode: str, lightly: Sandbox, tries: TaskTries
) -> None:
    task = MappedTask(lightly, tries, mode)
    killed, failing, cleared = INDEXES
    pids = [task.start(index) for index in INDEXES]
    task.wait_for_states(["OPEN"], ["OPEN"], ["OPEN"])

    for index in (killed, cleared):
        os.kill(pids[index], signal.SIGKILL)
        assert tries.end(pids[index]) == "killed"
    task.clear(cleared)
    task.finish(failing, "FAILED")
    assert tries.end(pids[failing]) == "up_for_retry"

    pids = [task.start(index) for index in INDEXES]
    for index in (killed, cleared):
        task.wait_until_reattached(index)
    task.wait_for_states(["OPEN"], ["DONE", "OPEN"], ["OPEN"])
    for index in INDEXES:
        task.finish(index)
    assert [tries.end(pid) for pid in pids] == ["success"] * 3
    assert task.states() == [["DONE"], ["DONE", "DONE"], ["DONE"]]
