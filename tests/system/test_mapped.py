"""A mapped task: each of its indexes has a run of its own, and what happens to one is nothing to the others."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.system.conftest import new_dataset
from tests.system.worker_run_task import WorkerRunTask

if TYPE_CHECKING:
    from tests.system.conftest import Platform
    from tests.system.hand_worker import HandWorker
    from tests.system.rest import AirflowRest
    from tests.system.services import Services


@pytest.fixture
def dataset_ids(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three new datasets."""
    return [new_dataset(platform, monkeypatch) for _ in range(3)]


@pytest.mark.parametrize("dag_id", ["waiting_mapped", "deferred_mapped"])
def test_what_happens_to_one_map_index_happens_to_its_own_run_only(
    dag_id: str, dataset_ids: list[str], rest: AirflowRest, worker: HandWorker, airflow: Services
) -> None:
    cleared, failing, marked = runs = WorkerRunTask.start_mapped(dag_id, dataset_ids, rest, worker)
    for run in runs:
        run.wait_until_waiting(airflow)

    failed_run_id = failing.begin()
    worker.finish(dataset_ids[1], failed_run_id, "FAILED", "as the test wants it")
    cleared.clear()
    marked.mark_failed()

    marked.wait_until_canceled()
    failing.wait_until_scheduled(2)
    cleared.wait_for_log(airflow, "Reattached to scheduled run")
    cleared.ends_well(cleared.begin())
    second_run_id = failing.begin()
    failing.finish(second_run_id)
    assert failing.wait_until("success", "failed") == "success"
    assert failing.result()["run_id"] == second_run_id  # type: ignore[index]
    assert [run.states_of_scheduled_runs() for run in runs] == [["DONE"], ["DONE", "DONE"], ["CANCELED"]]


def test_a_map_index_whose_process_is_killed_reattaches_to_its_own_run(
    dataset_ids: list[str], rest: AirflowRest, worker: HandWorker, airflow: Services
) -> None:
    runs = WorkerRunTask.start_mapped("waiting_mapped", dataset_ids, rest, worker)
    for run in runs:
        run.wait_until_waiting(airflow)
    os.kill(runs[1].pid(), signal.SIGKILL)
    runs[1].wait_for_log(airflow, f"Reattached to scheduled run {runs[1].scheduled_run_id()}")
    assert [run.try_number() for run in runs] == [1, 2, 1]
    for run in reversed(runs):
        run.ends_well(run.begin())


def test_a_map_index_that_means_another_dataset_than_before_has_a_new_run_on_it(
    dataset_ids: list[str], rest: AirflowRest, worker: HandWorker, airflow: Services
) -> None:
    runs = WorkerRunTask.start_mapped("deferred_mapped", dataset_ids, rest, worker)
    for run in runs:
        run.wait_until_waiting(airflow)
        run.ends_well(run.begin())
    runs[0].clear_with_upstream("datasets")

    # The second try of the task before them names them in another order.
    turned = [*dataset_ids[1:], dataset_ids[0]]
    for before, dataset_id in zip(runs, turned, strict=True):
        run = before.on(dataset_id)
        run.wait_until_scheduled(2)
        run_id = run.begin()
        run.finish(run_id)
        assert run.wait_until("success", "failed") == "success"
        assert run.result()["run_id"] == run_id  # type: ignore[index]
        assert run.states_of_scheduled_runs() == ["DONE", "DONE"]
