"""How a deferred sensor ends: like one that waits itself."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from lightly_provider.operators.deadline import SPARE_S, deadline_of, spare_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseSensorOperator


# A sensor has no run to cancel. If it is resumed later, Airflow 2 fails it with AirflowTaskTimeout itself.
_SPARE_S = 5.0


def deadline_of_sensor(sensor: BaseSensorOperator, ti: Any) -> float | None:
    """
    Return when a sensor that defers now must stop waiting, in seconds since the epoch.

    :param sensor: The sensor.
    :param ti: Its task instance.
    """
    return deadline_of(sensor, ti, timeout=sensor.timeout, now=time.time(), spare=_spare_of(sensor))


def _spare_of(sensor: BaseSensorOperator) -> float:
    # Airflow 2 knows nothing of these two if it fails the task itself.
    return SPARE_S if sensor.soft_fail or sensor.never_fail else _SPARE_S


def limit_of(sensor: BaseSensorOperator, *, deferred: bool) -> tuple[str, float, type[BaseException]]:
    """
    Return which limit ends a sensor's wait: the argument, its seconds, and what Airflow raises then.

    :param sensor: The sensor.
    :param deferred: Whether it waits in the triggerer, where Airflow does not raise at ``execution_timeout``.
    """
    if deferred and sensor.execution_timeout is not None:
        limit = sensor.execution_timeout.total_seconds()
        if limit - spare_of(limit, _spare_of(sensor)) < sensor.timeout:
            return "execution_timeout", limit, AirflowTaskTimeout
    return "timeout", sensor.timeout, AirflowSensorTimeout


@contextmanager
def failing_softly(sensor: BaseSensorOperator) -> Iterator[None]:
    """
    Handle ``soft_fail`` and ``never_fail`` as Airflow does around a poke (airflow 3.3.2, sdk/bases/sensor.py, and
    2.11.2, sensors/base.py): ``soft_fail`` is about the time that is up, ``never_fail`` about every error.
    """
    try:
        yield
    except AirflowSkipException:
        raise
    except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
        if not sensor.soft_fail and not sensor.never_fail:
            raise
        flag = "soft_fail" if sensor.soft_fail else "never_fail"
        raise AirflowSkipException(f"Skipped, as {flag} is set: {error}") from error
    except Exception as error:
        if not sensor.never_fail:
            raise
        raise AirflowSkipException(f"Skipped, as never_fail is set: {error}") from error
