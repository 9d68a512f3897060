"""
Metrics through Airflow's own StatsD, Datadog or OpenTelemetry; docs/metrics.md lists them.

While Airflow sends no metrics, a call here returns at once, and imports nothing. A tag has few values: the connection's
id, or a word of a closed set; never an id or a name of the platform, a path, or a text.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """How the values of a metric are combined."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


@dataclass(frozen=True)
class Metric:
    """
    A metric.

    :param name: Its name, without Airflow's prefix.
    :param kind: How its values are combined.
    :param unit: What a value counts.
    :param tags: The names of its tags.
    """

    name: str
    kind: Kind
    unit: str
    tags: tuple[str, ...]


REQUESTS = Metric("lightly.platform.requests", Kind.COUNTER, "requests", ("connection", "operation", "result"))
RATE_LIMITED = Metric("lightly.platform.rate_limited", Kind.COUNTER, "requests", ("connection",))
POLLS = Metric("lightly.polls", Kind.COUNTER, "polls", ("connection", "where"))
POLLS_FAILED = Metric("lightly.polls.failed", Kind.COUNTER, "polls", ("connection", "where"))
RUNS_WAITING = Metric("lightly.runs.waiting", Kind.GAUGE, "runs", ("connection", "state", "hostname"))
RUNS_SCHEDULED = Metric("lightly.runs.scheduled", Kind.COUNTER, "runs", ("connection",))
RUNS_ENDED = Metric("lightly.runs.ended", Kind.COUNTER, "runs", ("connection", "outcome"))
PICKUP_TIME = Metric("lightly.runs.pickup_time", Kind.TIMER, "milliseconds", ("connection",))
RUN_DURATION = Metric("lightly.runs.duration", Kind.TIMER, "milliseconds", ("connection", "outcome"))
SAMPLES_SELECTED = Metric("lightly.samples.selected", Kind.COUNTER, "samples", ("connection",))
VERDICTS = Metric("lightly.verdicts", Kind.COUNTER, "verdicts", ("connection", "status"))
VERDICT_CAUSES = Metric("lightly.verdicts.causes", Kind.COUNTER, "verdicts", ("connection", "cause"))

METRICS = (
    REQUESTS,
    RATE_LIMITED,
    POLLS,
    POLLS_FAILED,
    RUNS_WAITING,
    RUNS_SCHEDULED,
    RUNS_ENDED,
    PICKUP_TIME,
    RUN_DURATION,
    SAMPLES_SELECTED,
    VERDICTS,
    VERDICT_CAUSES,
)

# Where a poll was made: by a task that waits itself, or for all tasks that a triggerer waits for.
IN_TASK, IN_TRIGGERER = "task", "triggerer"
# InfluxDB's form of tags, which StatsD uses, ends a tag at a comma, a colon or an equals sign; Airflow drops metrics
# with other characters (airflow 3.3.2, _shared/observability/metrics/validators.py).
_NOT_IN_TAG = r"[^A-Za-z0-9_.-]+"
_LONGEST_TAG = 100


@cache
def are_on() -> bool:
    """Whether Airflow is configured to send metrics."""
    from airflow.providers.common.compat.sdk import conf

    names = ("statsd_on", "statsd_datadog_enabled", "otel_on")
    return any(conf.getboolean("metrics", name, fallback=False) for name in names)


def count(metric: Metric, number: int = 1, **tags: str) -> None:
    """
    Add to a counter. Never raises.

    :param metric: The counter.
    :param number: What to add; not negative. Default: 1.
    :param tags: Each of the metric's tags.
    """
    if number > 0:
        _send(metric, "incr", number, tags)


def set_gauge(metric: Metric, value: float, **tags: str) -> None:
    """Set a gauge; see :func:`count`."""
    _send(metric, "gauge", value, tags)


def record_duration(metric: Metric, seconds: float, **tags: str) -> None:
    """Report a duration in seconds; see :func:`count`. A negative one, between two clocks, counts as 0."""
    _send(metric, "timing", timedelta(seconds=max(0.0, seconds)), tags)


def count_request(connection: str, operation: str, status: int | None) -> None:
    """
    Count a request to the platform.

    :param connection: Id of the Airflow connection.
    :param operation: The operation's name in the platform's contract.
    :param status: HTTP status of the answer; None: there was no usable answer.
    """
    result = "no_answer" if status is None else f"{status // 100}xx"
    count(REQUESTS, connection=connection, operation=operation, result=result)
    if status == 429:
        count(RATE_LIMITED, connection=connection)


def _send(metric: Metric, method: str, value: Any, tags: dict[str, str]) -> None:
    try:
        if not are_on():
            return
        from airflow.providers.common.compat.sdk import Stats

        clean = {name: re.sub(_NOT_IN_TAG, "_", tags[name])[:_LONGEST_TAG] for name in metric.tags}
        getattr(Stats, method)(metric.name, value, tags=clean)
    except Exception as error:  # noqa: BLE001 - a metric must not fail a task, whatever the backend raises
        log.debug("The metric %s was not sent: %s", metric.name, type(error).__name__)
