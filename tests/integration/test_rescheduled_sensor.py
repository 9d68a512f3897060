"""``LightlyRunSensor(mode="reschedule")`` in Airflow itself: each look is its own process, and knows the others."""

from __future__ import annotations

import json
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import DAG

from lightly_provider.runs.state import FAILED_POLLS_IN_A_ROW
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.integration.airflow_run import run_own_dag
from tests.unit.api.scripted_platform import Answer
from tests.unit.triggers.waiting_platform import DATASET, WaitingPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    tuple(map(int, version("apache-airflow").split(".")[:2])) < (3, 3), reason="the mode needs Airflow 3.3"
)
# The sensor's decisions, which are the same in one process, are tested in each run.
IN_ONE_PROCESS = "tests/integration/test_starting_again.py::test_the_sensor_tells_what_the_operator_left_out"
# What a firewall on the way answers; no client repeats such a request.
REFUSED = Answer(403, b"<html>")


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingPlatform]:
    """A platform with runs that the test moves on, and the connection ``lightly_default`` to it."""
    with WaitingPlatform() as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": started.token}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        yield started


def sensor_dag(scheduled_run_id: str) -> DAG:
    """A DAG with the sensor alone."""
    with DAG(f"rescheduled_{scheduled_run_id[-6:]}", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        LightlyRunSensor(
            task_id="wait",
            dataset_id=DATASET,
            scheduled_run_id=scheduled_run_id,
            mode="reschedule",
            poke_interval=0.1,
            timeout=300,
        )
    return dag


@pytest.mark.exhaustive(sample=IN_ONE_PROCESS)
def test_failed_looks_are_counted_over_all_processes(platform: WaitingPlatform, database: Path) -> None:
    run = platform.add(11)
    platform.fails = [REFUSED] * 100
    outcome = run_own_dag(sensor_dag(run.id), database)
    assert outcome.tasks == {"wait": "failed"}
    assert platform.asked() == FAILED_POLLS_IN_A_ROW


@pytest.mark.exhaustive(sample=IN_ONE_PROCESS)
def test_a_run_that_is_gone_is_found_out(platform: WaitingPlatform, database: Path) -> None:
    run = platform.add(12, scheduled_state=None)
    outcome = run_own_dag(sensor_dag(run.id), database)
    assert outcome.tasks == {"wait": "failed"}
    assert platform.asked("/docker/runs/schedule/") == 2


@pytest.mark.exhaustive(sample=IN_ONE_PROCESS)
def test_each_line_of_the_runs_log_is_asked_for_once(platform: WaitingPlatform, database: Path) -> None:
    run = platform.add(13, scheduled_state="LOCKED", run_state="EMBEDDING", log=["one", "two"])
    platform.after(("/logs", 3), lambda: setattr(run, "run_state", "FAILED"))
    outcome = run_own_dag(sensor_dag(run.id), database)
    assert outcome.tasks == {"wait": "failed"}
    cursors = [dict(r.query)["cursor"] for r in platform.received if r.path.endswith("/logs")]
    assert cursors == ["0", "2", "2", "2"]
