"""The sensor's looks, against a platform on this machine."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from lightly_provider.sensors.worker import LightlyRunSensor
from tests.unit.api.scripted_platform import Answer
from tests.unit.triggers.waiting_platform import DATASET, WaitingPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator

has_task_state_store = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingPlatform]:
    """A platform with runs that the test moves on, and the connection ``lightly_default`` to it."""
    with WaitingPlatform() as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": started.token}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        yield started


class TaskInstance:
    """Stands for Airflow's, which needs a running task."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Nothing is read here."""


def sensor(**arguments: Any) -> LightlyRunSensor:
    return LightlyRunSensor(task_id="wait", **{"dataset_id": DATASET, "scheduled_run_id": "b" * 24} | arguments)


def test_rescheduling_without_a_memory_is_refused_when_the_dag_is_parsed() -> None:
    if has_task_state_store:
        assert sensor(mode="reschedule").mode == "reschedule"
    else:
        with pytest.raises(ValueError, match=r"^mode is 'reschedule'.* set deferrable=True instead\.$"):
            sensor(mode="reschedule")
    assert sensor(mode="reschedule", deferrable=True).deferrable


@pytest.mark.parametrize("failure", [Answer(403, {"code": "FORBIDDEN", "error": "no"}), Answer(403, b"<html>")])
def test_at_its_timeout_a_sensor_says_so_however_the_last_look_fails(
    platform: WaitingPlatform, failure: Answer
) -> None:
    run = platform.add(1, scheduled_state="LOCKED", run_state="EMBEDDING")
    platform.fails = [failure] * 10
    with pytest.raises(
        AirflowSensorTimeout, match=r"did not end within 0 s \(last status: unknown\);\sthe run continues"
    ):
        sensor(scheduled_run_id=run.id, timeout=0, poke_interval=0.1).execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    assert {r.method for r in platform.received} == {"GET"}, "it cancels nothing"


@pytest.mark.parametrize("failure", [Answer(403, {"code": "FORBIDDEN", "error": "no"}), Answer(403, b"<html>")])
def test_at_its_timeout_a_deferred_sensor_ends_likewise(platform: WaitingPlatform, failure: Answer) -> None:
    run = platform.add(1, scheduled_state="LOCKED", run_state="EMBEDDING")
    platform.fails = [failure] * 10
    event = {"step": "timed_out", "status": "EMBEDDING", "scheduled_run_id": run.id, "run": None, "log_cursor": 0}
    event |= {"deadline": 1.0, "error": None}
    with pytest.raises(AirflowSensorTimeout, match=r"did not end within 60 s \(last status: EMBEDDING\);\sthe run"):
        sensor(scheduled_run_id=run.id, timeout=60, deferrable=True).execute_complete({}, event)  # type: ignore[typeddict-item]
