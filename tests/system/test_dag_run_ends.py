"""What becomes of a worker run when its DAG run is ended, and when nobody in Airflow could be told of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.conftest import new_dataset
from tests.system.services import TRIGGERERS
from tests.system.worker_run_task import WorkerRunTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.conftest import Platform
    from tests.system.hand_worker import HandWorker
    from tests.system.rest import AirflowRest
    from tests.system.services import Services

MODES = ["waiting", "deferred"]


@pytest.mark.parametrize("dag_id", MODES)
def test_when_the_dag_run_is_marked_failed_a_run_that_no_worker_took_is_canceled(
    dag_id: str, dataset_id: str, rest: AirflowRest, worker: HandWorker, airflow: Services
) -> None:
    run = WorkerRunTask.start(dag_id, dataset_id, rest, worker)
    run.wait_until_waiting(airflow)
    run.mark_dag_run_failed()
    run.wait_until_canceled()
    assert run.wait_until("failed", "up_for_retry") == "failed"


@pytest.mark.parametrize("dag_id", MODES)
def test_when_the_dag_run_is_marked_failed_a_run_that_a_worker_took_goes_on_and_the_log_says_so(
    dag_id: str, dataset_id: str, rest: AirflowRest, worker: HandWorker, airflow: Services
) -> None:
    run = WorkerRunTask.start(dag_id, dataset_id, rest, worker)
    run.wait_until_waiting(airflow)
    run_id = run.begin()
    run.mark_dag_run_failed()
    run.wait_for_log(airflow, "no way to stop it")
    assert worker.run_state(run_id) == "SAMPLING"
    run.finish(run_id)


@pytest.mark.parametrize("dag_id", MODES)
def test_when_the_time_of_the_dag_run_is_up_a_run_that_no_worker_took_is_canceled(
    dag_id: str, dataset_id: str, rest: AirflowRest, worker: HandWorker
) -> None:
    run = WorkerRunTask.start(f"{dag_id}_in_a_dag_run_of_limited_time", dataset_id, rest, worker)
    run.wait_until_scheduled()
    # Airflow skips the tasks of a DAG run whose dagrun_timeout is over.
    assert run.wait_until("success", "failed", "skipped") == "skipped"
    run.wait_until_canceled()


@pytest.fixture
def no_triggerer(airflow: Services) -> Iterator[None]:
    """As in the second before a triggerer takes a trigger, for as long as it is needed."""
    for name in TRIGGERERS:
        airflow.stop(name)
    yield
    for name in TRIGGERERS:
        airflow.start(name)


@pytest.mark.usefixtures("no_triggerer")
def test_marked_failed_before_a_triggerer_has_it_the_run_goes_on_until_the_dag_cancels_it(
    rest: AirflowRest, worker: HandWorker, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, with_teardown = (
        WorkerRunTask.start(dag_id, new_dataset(platform, monkeypatch), rest, worker)
        for dag_id in ("deferred", "deferred_with_teardown")
    )
    for run in (alone, with_teardown):
        run.wait_until("deferred")
        run.mark_failed()
    with_teardown.wait_until_canceled()
    assert alone.states_of_scheduled_runs() == ["OPEN"]
