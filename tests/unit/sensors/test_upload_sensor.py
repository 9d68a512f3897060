"""The sensor for uploads: what it refuses, what it defers with, and how its wait ends."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from lightly_provider.operators import deadline
from lightly_provider.sensors.events import LightlyUploadSensor

CONTEXT: Any = {"ti": SimpleNamespace()}
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"


def sensor(**arguments: Any) -> LightlyUploadSensor:
    return LightlyUploadSensor(task_id="wait", **{"queue_url": QUEUE} | arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"queue_url": "arn:aws:sqs:eu-central-1:123456789012:uploads"}, "which is the queue's ARN"),
        ({"mode": "reschedule"}, "^mode is 'reschedule'.* set deferrable=True instead"),
        ({"quiet_period": -1}, "quiet_period is -1"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"timeout": 1e308}, "timeout is 1e"),
        ({"poke_interval": 0}, "poke_interval is 0"),
        ({"poke_interval": 90_000}, "poke_interval is 90000"),
        ({"soft_fail": "False"}, "soft_fail is 'False'; give True or False"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sensor(**arguments)
    assert sensor(mode="reschedule", deferrable=True).deferrable


def test_it_waits_in_the_triggerer_until_its_own_deadline() -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(deferrable=True, timeout=3600, poke_interval=5, quiet_period=7).execute(CONTEXT)
    trigger, timeout = deferred.value.trigger, deferred.value.timeout
    _, arguments = trigger.serialize()
    assert (arguments["queue_url"], arguments["poll_interval"], arguments["quiet_period"]) == (QUEUE, 5, 7)
    assert 0 < arguments["deadline"] - time.time() <= 3600
    # Airflow's own timeout is for a trigger that nothing runs any more.
    assert timeout is not None
    assert timeout.total_seconds() > 3600


def test_the_end_of_the_wait() -> None:
    assert sensor().execute_complete({}, {"queue_url": QUEUE, "count": 3}) == 3  # type: ignore[typeddict-item]
    with pytest.raises(AirflowSensorTimeout, match="No uploads arrived within 60 s"):
        sensor(timeout=60).execute_complete({}, {"timed_out": True})  # type: ignore[typeddict-item]
    for flag in ("soft_fail", "never_fail"):
        with pytest.raises(AirflowSkipException, match=f"Skipped, as {flag} is set: No uploads arrived within 60 s"):
            sensor(timeout=60, **{flag: True}).execute_complete({}, {"timed_out": True})  # type: ignore[typeddict-item]


def test_execution_timeout_holds_while_it_is_deferred() -> None:
    limited = sensor(deferrable=True, timeout=3600, execution_timeout=timedelta(minutes=10))
    with pytest.raises(TaskDeferred) as deferred:
        limited.execute(CONTEXT)
    assert 0 < deferred.value.trigger.serialize()[1]["deadline"] - time.time() <= 600
    with pytest.raises(AirflowTaskTimeout, match="within 600 s; allow more time with execution_timeout"):
        limited.execute_complete(CONTEXT, {"timed_out": True})


@pytest.mark.parametrize(
    ("limit", "flag", "expected", "named"),
    [
        (3600, None, 3595, "execution_timeout"),
        (3700, None, 3600, "timeout"),
        (3610, "soft_fail", 3550, "execution_timeout"),
        (3610, "never_fail", 3550, "execution_timeout"),
        (6, None, 3, "execution_timeout"),
    ],
)
def test_on_airflow_2_a_deferred_sensor_ends_just_before_airflow_ends_it_and_names_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: float, flag: str | None, expected: float, named: str
) -> None:
    monkeypatch.setattr(deadline, "AIRFLOW_V_3_0_PLUS", False)
    flags: dict[str, Any] = {flag: True} if flag else {}
    limited = sensor(deferrable=True, timeout=3600, execution_timeout=timedelta(seconds=limit), **flags)
    with pytest.raises(TaskDeferred) as deferred:
        limited.execute(CONTEXT)
    assert deferred.value.trigger.serialize()[1]["deadline"] == pytest.approx(time.time() + expected, abs=2)
    error = (
        AirflowSkipException if flag else AirflowTaskTimeout if named == "execution_timeout" else AirflowSensorTimeout
    )
    with pytest.raises(error, match=f"allow more time with {named}"):
        limited.execute_complete(CONTEXT, {"timed_out": True})
