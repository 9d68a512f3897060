"""The sensor's looks, against a platform on this machine."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from lightly_provider.exceptions import LightlyForbiddenError, LightlyRunCanceledError, LightlyRunFailedError
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.final_errors import final
from tests.unit.api.scripted_platform import Answer
from tests.unit.triggers.waiting_platform import DATASET, ScheduledRun, WaitingPlatform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


CONTEXT: Any = {"ti": TaskInstance()}


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


def test_execution_timeout_holds_while_it_is_deferred(platform: WaitingPlatform) -> None:
    run = platform.add(1, scheduled_state="LOCKED", run_state="EMBEDDING")
    limited = sensor(scheduled_run_id=run.id, deferrable=True, timeout=3600, execution_timeout=timedelta(minutes=10))
    with pytest.raises(TaskDeferred) as deferred:
        limited.execute(CONTEXT)
    deadline = deferred.value.trigger.serialize()[1]["deadline"]
    assert 0 < deadline - time.time() <= 600
    event = {"step": "timed_out", "status": "EMBEDDING", "scheduled_run_id": run.id, "run": None, "log_cursor": 0}
    with pytest.raises(AirflowTaskTimeout, match="did not end within 600 s"):
        limited.execute_complete(CONTEXT, event | {"deadline": deadline, "error": None})


FAILURES = [Answer(403, {"code": "FORBIDDEN", "error": "no"})] * 20


def waiting(run: ScheduledRun, platform: WaitingPlatform, **arguments: Any) -> Any:
    """How a sensor that waits itself ends."""
    return sensor(scheduled_run_id=run.id, poke_interval=0.05, **arguments).execute(CONTEXT)


def looking_first(run: ScheduledRun, platform: WaitingPlatform, **arguments: Any) -> Any:
    """How one ends that would defer, at its look before that."""
    return waiting(run, platform, deferrable=True, **arguments)


def deferred(run: ScheduledRun, platform: WaitingPlatform, **arguments: Any) -> Any:
    """How one ends after its wait in the triggerer."""
    arguments |= {"scheduled_run_id": run.id, "poke_interval": 0.05, "deferrable": True}
    end, run.run_state, fails, platform.fails = run.run_state, "EMBEDDING", platform.fails, []
    with pytest.raises(TaskDeferred) as deferral:
        sensor(**arguments).execute(CONTEXT)
    run.run_state, platform.fails = end, fails

    async def fired() -> Any:
        async with aclosing(deferral.value.trigger.run()) as events:
            return json.loads(json.dumps((await anext(events)).payload))

    return sensor(**arguments).resume_execution("execute_complete", {"event": asyncio.run(fired())}, CONTEXT)


# The time is not up at the first look, and a run that was taken is not canceled.
WAYS = {"timeout": (waiting, deferred), "CANCELED": (waiting, looking_first)}


@pytest.mark.parametrize(
    ("way", "flag", "end", "raises"),
    [
        (way, flag, end, raises)
        for flag, end, raises in [
            ("soft_fail", "timeout", AirflowSkipException),
            ("soft_fail", "FAILED", LightlyRunFailedError),
            ("soft_fail", "CANCELED", LightlyRunCanceledError),
            ("soft_fail", "refused", final(LightlyForbiddenError)),
            *(("never_fail", end, AirflowSkipException) for end in ("timeout", "FAILED", "CANCELED", "refused")),
            (None, "timeout", AirflowSensorTimeout),
            (None, "refused", final(LightlyForbiddenError)),
        ]
        for way in WAYS.get(end, (waiting, looking_first, deferred))
    ],
)
def test_a_sensor_ends_alike_in_all_modes(
    platform: WaitingPlatform, way: Callable[..., Any], flag: str | None, end: str, raises: type[Exception]
) -> None:
    arguments: dict[str, Any] = {flag: True} if flag else {}
    run = platform.add(1, scheduled_state="DONE", run_state="EMBEDDING")
    if end == "timeout":
        arguments["timeout"] = 0.1
    elif end == "refused":
        platform.fails = list(FAILURES)
    elif end == "CANCELED":
        run.scheduled_state, run.run_state = "CANCELED", ""
    else:
        run.run_state = end
    with pytest.raises(raises):
        way(run, platform, **arguments)
