"""A StatsD server on this machine, and Airflow's metrics of this process sent to it."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest

from lightly_provider import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 60.0
_KINDS = {"c": "counter", "g": "gauge", "ms": "timer"}


class Sample(NamedTuple):
    """One value of one metric, as it arrived."""

    name: str
    tags: dict[str, str]
    value: float
    kind: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parse ``name,tag=value:1|c``: StatsD with InfluxDB's form of tags."""
        place, _, rest = line.partition(":")
        name, *tags = place.split(",")
        value, kind, *_ = rest.split("|")
        return cls(name, dict(tag.split("=", 1) for tag in tags), float(value), _KINDS[kind])


@dataclass
class Listener:
    """What arrives at the server."""

    socket: socket.socket
    samples: list[Sample] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Its UDP port."""
        return int(self.socket.getsockname()[1])

    def receive(self) -> list[Sample]:
        """Return all that has arrived so far; datagrams on this machine arrive in order, and at once."""
        while True:
            try:
                self.samples += [Sample.parse(line) for line in self.socket.recv(65536).decode().splitlines()]
            except BlockingIOError:
                return self.samples

    def wait_for(self, name: str, **tags: str) -> Sample:
        """Return the first sample of a metric with these tags among others, of whichever process."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for sample in self.receive():
                if sample.name == f"airflow.{name}" and tags.items() <= sample.tags.items():
                    return sample
            assert time.monotonic() < deadline, f"{name} {tags} did not come; {self.names()} did"
            time.sleep(0.02)

    def names(self) -> set[str]:
        """The names of our own metrics that have arrived."""
        return {sample.name for sample in self.receive() if sample.name.startswith("airflow.lightly.")}


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen on a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        yield Listener(opened)


def settings(port: int) -> dict[str, str]:
    """Airflow's configuration that sends metrics to a StatsD server."""
    return {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
        "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
    }


@contextmanager
def sent_to_statsd() -> Iterator[Listener]:
    """Send this process's metrics to a server of its own, as Airflow's services set it up at their start."""
    with listening() as listener, pytest.MonkeyPatch.context() as patch:
        for name, value in settings(listener.port).items():
            patch.setenv(name, value)
        _set_up()
        try:
            yield listener
        finally:
            patch.undo()
            _set_up()


def _set_up() -> None:
    """Do what the start of Airflow's services and tasks does with metrics."""
    from airflow.providers.common.compat.sdk import Stats, conf

    metrics.are_on.cache_clear()
    try:
        from airflow.sdk.observability.metrics import stats_utils
    except ImportError:  # below 3.2, by itself at the first use
        own: Any = Stats
        own.instance = None
        if not metrics.are_on():
            from airflow.metrics.base_stats_logger import NoStatsLogger

            type(own).factory = NoStatsLogger
        else:
            from airflow.metrics.statsd_logger import get_statsd_logger

            type(own).factory = get_statsd_logger
        return
    Stats.initialize(
        factory=stats_utils.get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on")
    )
