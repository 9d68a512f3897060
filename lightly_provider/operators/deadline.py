"""When a deferred task stops waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

# For the triggerer, the scheduler and a free worker to resume the task, and for the task to cancel its run.
SPARE_S = 60.0


def longest_wait(task: BaseOperator, timeout: float | None) -> float | None:
    """
    Return how long a deferred task may wait, in seconds: the shorter of its timeout and its ``execution_timeout``.

    :param task: The task.
    :param timeout: Its own timeout in seconds; None: none.
    :return: None if it has no limit.
    """
    limit = task.execution_timeout
    limits = [timeout, None if limit is None else limit.total_seconds()]
    return min((seconds for seconds in limits if seconds is not None), default=None)


def spare_of(limit: float, spare: float) -> float:
    """
    Return how many seconds before its ``execution_timeout`` a deferred task stops waiting: on Airflow 3 none.

    :param limit: The ``execution_timeout`` in seconds.
    :param spare: What the task needs to end itself, in seconds; of a short limit at most half of it is spared.
    """
    return 0.0 if AIRFLOW_V_3_0_PLUS else min(spare, limit / 2)


def deadline_of(
    task: BaseOperator, ti: Any, *, timeout: float | None, now: float, spare: float = SPARE_S
) -> float | None:
    """
    Return when a task that defers now must stop waiting, in seconds since the epoch.

    Airflow 3 does not enforce an ``execution_timeout`` while a task is deferred, so it counts from now here. Airflow 2
    enforces it from the start of the task, and then does not resume the task: it only calls ``pre_execute`` and
    ``on_kill`` (airflow 2.11.2, models/taskinstance.py, ``_defer_task`` and ``_execute_task``). There, the wait ends so
    early before it that the task can still end itself, see :func:`spare_of`.

    :param task: The task.
    :param ti: Its task instance.
    :param timeout: Its own timeout in seconds; None: none.
    :param now: Seconds since the epoch.
    :param spare: What the task needs to end itself, in seconds. Default: 60, enough to cancel a run.
    :return: None if it has no limit.
    """
    if AIRFLOW_V_3_0_PLUS or task.execution_timeout is None:
        longest = longest_wait(task, timeout)
        return None if longest is None else now + longest
    limit = task.execution_timeout.total_seconds()
    started: Any = getattr(ti, "start_date", None)
    end = (now if started is None else started.timestamp()) + limit - spare_of(limit, spare)
    return end if timeout is None else min(end, now + timeout)
