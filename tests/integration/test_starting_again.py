"""What happens to a run when its task is cleared, fails, is killed or is deferred: with Airflow's own tries."""

from __future__ import annotations

import os
import signal
import time
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import (
    LightlyNotFoundError,
    LightlyNoWorkerError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunNotTakenError,
)
from lightly_provider.operators.cancellation import CancelLightlyRunOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.final_errors import final
from tests.integration.airflow_run import outcome_of
from tests.integration.staged_worker import SIZES, StagedWorker, of_the_dataset, ready_dataset
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.sandbox import Sandbox
    from tests.integration.task_tries import TaskTries

MODES = ["waiting", "deferred"]
SELECTION = {"n_samples": 4, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}
has_task_state_store = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)


@pytest.fixture
def worker(lightly: Sandbox) -> StagedWorker:
    """A worker of the test's own."""
    return StagedWorker(lightly, f"again-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def dataset_id(lightly: Sandbox) -> str:
    """A dataset on which runs can be scheduled."""
    return ready_dataset(lightly, f"again {uuid.uuid4().hex[:12]}")


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.05)


class Task:
    """One task of a new DAG run."""

    def __init__(self, sandbox: Sandbox, tries: TaskTries, worker: StagedWorker, dataset_id: str, mode: str) -> None:
        self._tries, self._worker, self._dataset_id, self._mode = tries, worker, dataset_id, mode
        self._connection = sandbox.lightly_connection()
        self._run_id = tries.begin("worker_tries", {"dataset_id": dataset_id, "label": worker.label})

    def start(self) -> int:
        """Start the next try; its process id."""
        return self._tries.start(self._run_id, self._mode, AIRFLOW_CONN_LIGHTLY_DEFAULT=self._connection)

    def states(self) -> list[str]:
        """The states of the dataset's schedule, oldest first."""
        return [entry["state"] for entry in self._worker.schedule(self._dataset_id)]

    def scheduled_run_id(self) -> str:
        """The first that was scheduled on the dataset."""
        return str(self._worker.schedule(self._dataset_id)[0]["id"])

    def complete(self) -> str:
        """Let the worker do the open run; the run's id."""
        until(lambda: "OPEN" in self.states())
        run_id = self._worker.take(self._dataset_id)
        self._worker.finish(self._dataset_id, run_id)
        return run_id

    def clear(self) -> None:
        """Clear it."""
        self._tries.clear(self._run_id, self._mode)

    def set_state(self, state: str) -> None:
        """Set the task's state behind its back."""
        self._tries.set_state(self._run_id, self._mode, state)

    def result(self, database: Path) -> dict[str, Any]:
        """What it returned."""
        value: dict[str, Any] = outcome_of(database, "worker_tries", self._run_id).xcoms[self._mode, "return_value"]
        return value


@pytest.fixture(params=[pytest.param("waiting", marks=pytest.mark.exhaustive), "deferred"])
def task(
    request: pytest.FixtureRequest, lightly: Sandbox, tries: TaskTries, worker: StagedWorker, dataset_id: str
) -> Task:
    """The task, in both modes."""
    return Task(lightly, tries, worker, dataset_id, request.param)


def test_a_retry_after_the_run_failed_schedules_anew(
    task: Task, tries: TaskTries, worker: StagedWorker, dataset_id: str, database: Path
) -> None:
    task.start()
    until(lambda: task.states() == ["OPEN"])
    worker.finish(dataset_id, worker.take(dataset_id), state="FAILED")
    assert tries.end() == "up_for_retry"

    task.start()
    run_id = task.complete()
    assert tries.end() == "success"
    assert task.states() == ["DONE", "DONE"]
    assert task.result(database)["run_id"] == run_id


@pytest.mark.exhaustive(sample="test_a_retry_after_the_run_failed_schedules_anew")
def test_a_retry_after_the_run_was_canceled_schedules_anew(
    task: Task, tries: TaskTries, dataset_id: str, worker: StagedWorker, context: dict[str, Any]
) -> None:
    task.start()
    until(lambda: task.states() == ["OPEN"])
    (entry,) = worker.schedule(dataset_id)
    cancel = CancelLightlyRunOperator(task_id="cancel", dataset_id=dataset_id, scheduled_run_id=entry["id"])
    assert cancel.execute(context) is True
    assert tries.end() == "up_for_retry"

    task.start()
    task.complete()
    assert tries.end() == "success"
    assert task.states() == ["CANCELED", "DONE"]


@pytest.mark.exhaustive(sample="test_a_retry_after_the_run_failed_schedules_anew")
def test_a_retry_after_the_process_was_killed_returns_the_result_of_the_run_that_completed(
    task: Task, tries: TaskTries, database: Path
) -> None:
    pid = task.start()
    until(lambda: task.states() == ["OPEN"])
    os.kill(pid, signal.SIGKILL)
    assert tries.end() == "killed"
    run_id = task.complete()

    task.start()
    assert tries.end() == "success"
    assert task.states() == ["DONE"]
    assert task.result(database)["run_id"] == run_id


def test_a_clear_after_success_starts_over(task: Task, tries: TaskTries, database: Path) -> None:
    task.start()
    first = task.complete()
    assert tries.end() == "success"

    task.clear()
    task.start()
    until(lambda: len(task.states()) == 2)
    second = task.complete()
    assert tries.end() == "success"
    assert task.result(database)["run_id"] == second != first


@pytest.mark.exhaustive(sample="test_a_clear_after_success_starts_over")
def test_a_clear_while_the_run_is_active_reattaches(task: Task, tries: TaskTries, database: Path) -> None:
    pid = task.start()
    until(lambda: task.states() == ["OPEN"])
    os.kill(pid, signal.SIGKILL)
    assert tries.end() == "killed"
    task.clear()

    task.start()
    # One that completes before the task looks for it is over, and a clear starts over then.
    until(lambda: f"Reattached to scheduled run {task.scheduled_run_id()}" in tries.log())
    run_id = task.complete()
    assert tries.end() == "success"
    assert task.states() == ["DONE"]
    assert task.result(database)["run_id"] == run_id


@pytest.mark.parametrize(
    ("state", "schedule"),
    thinned(
        [
            ("failed", ["CANCELED"]),
            ("success", ["CANCELED"]),
            ("skipped", ["CANCELED"]),
            ("restarting", ["OPEN"]),
            ("running", ["OPEN"]),
        ],
        keep=2,
        covering=lambda state, schedule: schedule[0],
    ),
)
def test_a_kill_cancels_the_run_only_if_no_next_try_will_want_it(
    state: str, schedule: list[str], lightly: Sandbox, tries: TaskTries, worker: StagedWorker, dataset_id: str
) -> None:
    task = Task(lightly, tries, worker, dataset_id, "waiting")
    pid = task.start()
    until(lambda: task.states() == ["OPEN"])
    until(lambda: f"{task.scheduled_run_id()}: OPEN: waiting for a worker" in tries.log())
    # What a user's click, the end of the DAG run's time, a clear, and nobody at all make of a running task.
    task.set_state(state)
    os.kill(pid, signal.SIGTERM)
    tries.end()
    assert task.states() == schedule, tries.log()[-3000:]
    if schedule == ["OPEN"]:
        assert f"Scheduled run {task.scheduled_run_id()} continues, and the next try will reattach" in tries.log()
        task.start()
        until(lambda: f"Reattached to scheduled run {task.scheduled_run_id()}" in tries.log())
        task.complete()
        assert tries.end() == "success"
        assert task.states() == ["DONE"]


@pytest.mark.exhaustive(sample="test_a_clear_after_success_starts_over")
def test_a_second_dag_run_has_a_run_of_its_own(
    lightly: Sandbox, tries: TaskTries, worker: StagedWorker, dataset_id: str, database: Path
) -> None:
    first, second = (Task(lightly, tries, worker, dataset_id, "waiting") for _ in range(2))
    results = []
    for task in (first, second):
        task.start()
        run_id = task.complete()
        assert tries.end() == "success"
        results.append(task.result(database))
        assert results[-1]["run_id"] == run_id
    assert results[0]["scheduled_run_id"] != results[1]["scheduled_run_id"]
    assert second.states() == ["DONE", "DONE"]


# --- both modes come to the same ----------------------------------------------------------------------------------


def ran(operator: RunLightlyWorkerOperator, context: dict[str, Any], while_it_waits: Callable[[], None]) -> Any:
    """What the operator returns; where it defers, what it returns after its trigger."""
    import asyncio
    import threading
    from contextlib import aclosing

    from airflow.providers.common.compat.sdk import TaskDeferred

    worker = threading.Thread(target=while_it_waits)
    worker.start()

    async def event_of(trigger: Any) -> Any:
        async with aclosing(trigger.run()) as events:
            return (await anext(events)).payload

    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        event = asyncio.run(asyncio.wait_for(event_of(deferred.trigger), 60))
        resumed = type(operator)(
            task_id="run",
            dataset_id=operator.dataset_id,
            selection_config=SELECTION,
            deferrable=True,
            pickup_timeout=operator.pickup_timeout,
        )
        return getattr(resumed, deferred.method_name)(context, event=event)
    finally:
        worker.join(60)


@pytest.mark.parametrize("deferrable", [False, True], ids=MODES)
def test_the_result_the_links_and_the_failure_are_the_same_in_both_modes(
    deferrable: bool, worker: StagedWorker, dataset_id: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    def operator() -> RunLightlyWorkerOperator:
        return RunLightlyWorkerOperator(
            task_id="run",
            dataset_id=dataset_id,
            selection_config=SELECTION,
            runs_on=[worker.label],
            deferrable=deferrable,
            poll_interval=0.1,
        )

    def work(state: str) -> None:
        until(lambda: "OPEN" in [entry["state"] for entry in worker.schedule(dataset_id)])
        worker.finish(dataset_id, worker.take(dataset_id), state=state)

    result = ran(operator(), context, lambda: work("COMPLETED"))
    entry = worker.schedule(dataset_id)[0]
    assert result == of_the_dataset(lightly, dataset_id) | {
        "scheduled_run_id": entry["id"],
        "run_id": result["run_id"],
        "tag_name": None,
        "n_selected": 0,
        "report": SIZES,
    }
    assert context["ti"].pushed == result | {
        "lightly_dataset_url": f"{lightly.web_url}/dataset/{dataset_id}",
        "lightly_runs_url": f"{lightly.web_url}/compute/runs",
    }
    with pytest.raises(
        LightlyRunFailedError, match=r"(?s)ended as FAILED: ended as FAILED\.\n.*Its log and report: http"
    ):
        ran(operator(), context, lambda: work("FAILED"))


@pytest.mark.parametrize("deferrable", thinned([False, True], keep=1), ids=MODES)
def test_a_run_that_no_worker_takes_is_canceled_and_told_apart_from_one_that_takes_long(
    deferrable: bool, worker: StagedWorker, dataset_id: str, context: dict[str, Any]
) -> None:
    operator = RunLightlyWorkerOperator(
        task_id="run",
        dataset_id=dataset_id,
        selection_config=SELECTION,
        runs_on=[worker.label],
        deferrable=deferrable,
        poll_interval=0.1,
        pickup_timeout=0.5,
    )
    with pytest.raises(
        LightlyRunNotTakenError, match=r"(?s)No worker took the scheduled run within 0.5 s.*was canceled before"
    ):
        ran(operator, context, lambda: None)
    assert [entry["state"] for entry in worker.schedule(dataset_id)] == ["CANCELED"]


def test_a_worker_that_is_not_running_is_warned_of_or_required(
    worker: StagedWorker, dataset_id: str, context: dict[str, Any]
) -> None:
    worker.is_in("OFFLINE")

    def operator(presence: str) -> RunLightlyWorkerOperator:
        return RunLightlyWorkerOperator(
            task_id="run",
            dataset_id=dataset_id,
            runs_on=[worker.label],
            wait_for_completion=False,
            worker_presence=presence,
        )

    with pytest.raises(LightlyNoWorkerError, match=f"with the labels {worker.label} is running"):
        operator("require").execute(context)
    assert worker.schedule(dataset_id) == []
    operator("warn").execute(context)
    assert len(worker.schedule(dataset_id)) == 1


@pytest.mark.parametrize("if_taken", [pytest.param("warn", marks=pytest.mark.exhaustive), "fail"])
def test_a_run_that_a_worker_took_cannot_be_canceled_and_that_is_said(
    if_taken: str, worker: StagedWorker, dataset_id: str, context: dict[str, Any]
) -> None:
    made = RunLightlyWorkerOperator(
        task_id="run", dataset_id=dataset_id, runs_on=[worker.label], wait_for_completion=False
    ).execute(context)
    worker.take(dataset_id)
    cancel = CancelLightlyRunOperator(
        task_id="cancel", dataset_id=dataset_id, scheduled_run_id=made["scheduled_run_id"], if_taken=if_taken
    )
    if if_taken == "warn":
        assert cancel.execute(context) is False
    else:
        with pytest.raises(LightlyRunError, match=r"(?s)a\s+worker took it \(LOCKED\), and it\s+continues.*See http"):
            cancel.execute(context)


def test_a_run_that_is_done_cannot_be_canceled_and_that_is_no_failure(
    worker: StagedWorker, dataset_id: str, context: dict[str, Any]
) -> None:
    made = RunLightlyWorkerOperator(
        task_id="run", dataset_id=dataset_id, runs_on=[worker.label], wait_for_completion=False
    ).execute(context)
    worker.finish(dataset_id, worker.take(dataset_id))
    ids = {"dataset_id": dataset_id, "scheduled_run_id": made["scheduled_run_id"]}
    assert CancelLightlyRunOperator(task_id="cancel", if_taken="fail", **ids).execute(context) is False


@pytest.mark.parametrize("wrong", ["dataset_id", "scheduled_run_id"])
def test_what_the_platform_does_not_know_is_not_said_to_be_canceled(
    wrong: str, worker: StagedWorker, dataset_id: str, context: dict[str, Any]
) -> None:
    made = RunLightlyWorkerOperator(
        task_id="run", dataset_id=dataset_id, runs_on=[worker.label], wait_for_completion=False
    ).execute(context)
    ids = {"dataset_id": dataset_id, "scheduled_run_id": made["scheduled_run_id"]} | {wrong: "0" * 24}
    error = LightlyNotFoundError if wrong == "dataset_id" else LightlyRunError
    with pytest.raises(final(error)):
        CancelLightlyRunOperator(task_id="cancel", **ids).execute(context)


@pytest.mark.parametrize("deferrable", thinned([False, True], keep=1), ids=MODES)
def test_the_sensor_tells_what_the_operator_left_out(
    deferrable: bool, worker: StagedWorker, dataset_id: str, context: dict[str, Any]
) -> None:
    made = RunLightlyWorkerOperator(
        task_id="run", dataset_id=dataset_id, runs_on=[worker.label], wait_for_completion=False
    ).execute(context)
    run_id = worker.take(dataset_id)
    worker.finish(dataset_id, run_id)

    sensor = LightlyRunSensor(
        task_id="wait",
        dataset_id=dataset_id,
        scheduled_run_id=made["scheduled_run_id"],
        deferrable=deferrable,
        poke_interval=0.1,
    )
    assert sensor.execute(context) == made | {"run_id": run_id, "tag_name": None, "n_selected": 0, "report": SIZES}
