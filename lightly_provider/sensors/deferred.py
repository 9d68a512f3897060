"""How a deferred sensor ends: like one that waits itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from lightly_provider.operators.deadline import longest_wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseSensorOperator


def limit_of(sensor: BaseSensorOperator, *, deferred: bool) -> tuple[str, float, type[BaseException]]:
    """
    Return which limit ends a sensor's wait: the argument, its seconds, and what Airflow raises then.

    :param sensor: The sensor.
    :param deferred: Whether it waits in the triggerer, where Airflow does not raise at ``execution_timeout``.
    """
    longest = longest_wait(sensor, sensor.timeout)
    if deferred and longest is not None and longest < sensor.timeout:
        return "execution_timeout", longest, AirflowTaskTimeout
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
