"""Whatever the platform writes harms no triggerer, and so no other task of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.system.poison import SHOWN, WRITTEN
from tests.system.rest import TaskKey
from tests.system.services import TRIGGERERS
from tests.system.worker_run_task import WorkerRunTask

if TYPE_CHECKING:
    from tests.system.hand_worker import HandWorker
    from tests.system.rest import AirflowRest
    from tests.system.services import Services


def test_a_message_that_postgresql_cannot_store_ends_its_own_task_and_harms_no_other(
    rest: AirflowRest, worker: HandWorker, dataset_id: str, airflow: Services
) -> None:
    run = WorkerRunTask.start("deferred_and_poisoned", dataset_id, rest, worker)
    run.wait_until_in_triggerer(airflow)
    bystander = TaskKey("bystander", rest.start("bystander", {}), "wait")
    rest.wait_for_state(bystander, "deferred")

    worker.finish(dataset_id, run.begin(), "FAILED", WRITTEN)

    assert run.wait_until("success", "failed") == "failed"
    # Airflow's log files are JSON, and the message is broken into lines between any two words.
    for word in ("FAILED:", *SHOWN.replace("\\", r"\\").split()):
        run.wait_for_log(airflow, word)
    assert rest.wait_for_state(bystander, "success", "failed", within=60) == "success"
    assert [airflow.processes[name].poll() for name in TRIGGERERS] == [None, None]
    for name in TRIGGERERS:
        assert "untranslatable" not in airflow.log_of(name)
