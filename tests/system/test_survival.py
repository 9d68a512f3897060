"""What becomes of a worker run when things are killed, marked, cleared or away: the table of the operator's guide."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.conftest import new_dataset
from tests.system.faults import faulty_answers
from tests.system.services import TRIGGERERS
from tests.system.worker_run_task import WorkerRunTask

if TYPE_CHECKING:
    from tests.system.conftest import Platform
    from tests.system.hand_worker import HandWorker
    from tests.system.rest import AirflowRest
    from tests.system.services import Services


def test_both_ways_to_wait_return_the_same(
    rest: AirflowRest, worker: HandWorker, platform: Platform, airflow: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {}
    for dag_id in ("waiting", "deferred"):
        run = WorkerRunTask.start(dag_id, new_dataset(platform, monkeypatch), rest, worker)
        run.wait_until_scheduled()
        run.ends_well(run.begin())
        results[dag_id] = run.result()
    own = {"scheduled_run_id", "run_id", "dataset_id", "dataset_name", "dataset_url"}
    assert all(result[key] for result in results.values() for key in own)
    bare = [{key: value for key, value in result.items() if key not in own} for result in results.values()]
    assert bare[0] == bare[1]


def test_marked_failed_before_a_worker_took_it_the_run_is_canceled(deferred: WorkerRunTask) -> None:
    deferred.mark_failed()
    deferred.wait_until_canceled()


def test_marked_failed_while_a_worker_has_it_the_run_goes_on_and_the_log_says_so(
    deferred: WorkerRunTask, airflow: Services, worker: HandWorker
) -> None:
    run_id = deferred.begin()
    deferred.mark_failed()
    deferred.wait_for_log(airflow, "no way to stop it")
    assert worker.run_state(run_id) == "SAMPLING"
    assert deferred.states_of_scheduled_runs() == ["LOCKED"]
    deferred.finish(run_id)


def test_what_airflow_shows_of_a_trigger_holds_no_secret(
    deferred: WorkerRunTask, rest: AirflowRest, platform: Platform
) -> None:
    shown = rest.task(deferred.key)["trigger"]
    assert shown["classpath"] == "lightly_provider.triggers.worker.LightlyRunTrigger"
    # Airflow 3.3.2 keeps the arguments to itself.
    assert shown["kwargs"] == "{}"
    assert platform.sandbox.token not in str(shown)


def test_cleared_while_deferred_the_task_goes_on_with_the_same_run(deferred: WorkerRunTask) -> None:
    deferred.clear()
    deferred.wait_until("deferred")
    deferred.ends_well(deferred.begin())


def test_cleared_while_it_waits_itself_the_task_goes_on_with_the_same_run(
    rest: AirflowRest, worker: HandWorker, dataset_id: str, airflow: Services
) -> None:
    run = WorkerRunTask.start("waiting", dataset_id, rest, worker)
    run.wait_until_waiting(airflow)
    run.clear()
    run.wait_for_log(airflow, f"Reattached to scheduled run {run.scheduled_run_id()}")
    run.ends_well(run.begin())


def test_cleared_after_success_the_task_starts_over(deferred: WorkerRunTask) -> None:
    deferred.ends_well(deferred.begin())
    deferred.clear()
    deferred.wait_until_scheduled(2)
    second = deferred.begin()
    deferred.finish(second)
    assert deferred.wait_until("success", "failed") == "success"
    assert deferred.result()["run_id"] == second  # type: ignore[index]
    assert deferred.states_of_scheduled_runs() == ["DONE", "DONE"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_end_of_a_triggerer_hands_the_run_to_the_other(
    deferred: WorkerRunTask, airflow: Services, ending: signal.Signals
) -> None:
    waits_in = deferred.triggerer()
    try:
        if ending == signal.SIGTERM:
            airflow.stop(waits_in)
        else:
            airflow.kill(waits_in)
        run_id = deferred.begin()
        deferred.ends_well(run_id)
    finally:
        airflow.start(waits_in)


def test_a_triggerer_that_comes_to_itself_again_does_not_cancel_the_run(
    deferred: WorkerRunTask, airflow: Services
) -> None:
    waits_in = deferred.triggerer()
    other = next(name for name in TRIGGERERS if name != waits_in)
    airflow.signal(waits_in, signal.SIGSTOP)
    try:
        deferred._rest.wait_for("the other triggerer", lambda: deferred.triggerer() == other, within=90)
    finally:
        airflow.signal(waits_in, signal.SIGCONT)
    # It finds out that the task is no longer its own, and lets go of it, at its next heartbeats.
    seen = time.monotonic()
    deferred._rest.wait_for("some heartbeats", lambda: time.monotonic() - seen > 10, within=20)
    assert deferred.states_of_scheduled_runs() == ["OPEN"]
    deferred.ends_well(deferred.begin())


def test_a_celery_worker_killed_while_the_task_waits_in_it_leaves_one_run(
    rest: AirflowRest, worker: HandWorker, dataset_id: str, airflow: Services
) -> None:
    run = WorkerRunTask.start("waiting", dataset_id, rest, worker)
    run.wait_until_scheduled()
    airflow.kill("celery-worker")
    airflow.start("celery-worker")
    run_id = run.begin()
    rest.wait_for("a second try", lambda: run.try_number() >= 2, within=120)
    run.ends_well(run_id)


def test_two_minutes_without_the_platform_are_waited_out(
    rest: AirflowRest, worker: HandWorker, dataset_id: str, platform: Platform, airflow: Services
) -> None:
    run = WorkerRunTask.start("deferred_patiently", dataset_id, rest, worker)
    run.wait_until("deferred")
    run_id = run.begin()
    platform.go_away()
    gone = time.monotonic()
    try:
        rest.wait_for("two minutes to pass", lambda: time.monotonic() - gone > 120, within=130)
        assert run.wait_until("deferred", "failed") == "deferred"
    finally:
        platform.come_back()
    run.ends_well(run_id)


def test_execution_timeout_holds_while_deferred_and_cancels_the_run(
    rest: AirflowRest, worker: HandWorker, dataset_id: str
) -> None:
    run = WorkerRunTask.start("deferred_for_a_while", dataset_id, rest, worker)
    run.wait_until("deferred")
    assert run.wait_until("success", "failed") == "failed"
    run.wait_until_canceled()


def test_with_every_tenth_answer_faulty_each_of_twelve_tasks_has_one_run(
    rest: AirflowRest,
    worker: HandWorker,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    airflow: Services,
) -> None:
    datasets = [new_dataset(platform, monkeypatch) for _ in range(12)]
    with faulty_answers(platform.sandbox, share=0.1):
        runs = [WorkerRunTask.start("deferred", dataset_id, rest, worker) for dataset_id in datasets]
        for run in runs:
            run.wait_until("deferred", within=180)
    begun = [run.begin() for run in runs]
    with faulty_answers(platform.sandbox, share=0.1):
        for run, run_id in zip(runs, begun, strict=True):
            run.finish(run_id)
        ends = [run.wait_until("success", "failed", within=180) for run in runs]
    assert ends == ["success"] * 12
    assert [run.states_of_scheduled_runs() for run in runs] == [["DONE"]] * 12
