"""What becomes of worker runs when Airflow's own servers go away for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.system.conftest import new_dataset
from tests.system.services import CELERY_WORKER
from tests.system.worker_run_task import WorkerRunTask

if TYPE_CHECKING:
    from tests.system.conftest import Platform
    from tests.system.hand_worker import HandWorker
    from tests.system.rest import AirflowRest
    from tests.system.services import Services

AWAY_S = 20


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_airflows_own_servers_may_go_away_and_come_back_and_each_task_has_one_run(
    server: str,
    rest: AirflowRest,
    worker: HandWorker,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    airflow: Services,
) -> None:
    runs = [
        WorkerRunTask.start(dag_id, new_dataset(platform, monkeypatch), rest, worker)
        for dag_id in ("waiting", "deferred")
    ]
    for run in runs:
        run.wait_until_waiting(airflow)
    airflow.stop_server(server)
    gone = time.monotonic()
    rest.wait_for("it to be away for a while", lambda: time.monotonic() - gone > AWAY_S, within=AWAY_S + 10)
    airflow.start_server(server)
    airflow.start_again_what_ended()
    airflow.await_healthy()
    assert [run.states_of_scheduled_runs() for run in runs] == [["OPEN"]] * 2
    for run in runs:
        run_id = run.begin()
        run.finish(run_id)
        try:
            run.wait_until("success", "failed", within=45)
        except AssertionError:
            # After its broker was away, a Celery worker may take a message and never start it (celery/celery #8091).
            airflow.start_anew(CELERY_WORKER)
        run.ended_well(run_id)
