"""The metrics as they arrive at a server, and what the guide and the dashboard say of them."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider import metrics
from lightly_provider.api import calls
from lightly_provider.api.client import LightlyClient
from lightly_provider.api.models.run import Run
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.metrics import METRICS, Kind, Metric
from lightly_provider.runs.measuring import measure_end
from lightly_provider.runs.state import Step
from tests.statsd import Listener, listening, sent_to_statsd, settings
from tests.unit.api.scripted_platform import Answer, NoAnswer, ScriptedPlatform
from tests.unit.documents import REPOSITORY, all_rows, code

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_NAME = {metric.name: metric for metric in METRICS}
PAGE = REPOSITORY / "docs" / "metrics.md"
DASHBOARD = REPOSITORY / "docs" / "metrics_dashboard.json"


@pytest.fixture
def statsd() -> Iterator[Listener]:
    """A StatsD server that gets this process's metrics."""
    with sent_to_statsd() as listener:
        yield listener


def send(metric: Metric, **tags: str) -> None:
    """Send a value of a metric."""
    given = dict.fromkeys(metric.tags, "some") | tags
    match metric.kind:
        case Kind.COUNTER:
            metrics.count(metric, 3, **given)
        case Kind.GAUGE:
            metrics.set_gauge(metric, 3, **given)
        case Kind.TIMER:
            metrics.record_duration(metric, 3, **given)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_arrives_with_its_tags(statsd: Listener, metric: Metric) -> None:
    send(metric)
    sample = statsd.wait_for(metric.name)
    assert (sample.kind, set(sample.tags)) == (metric.kind.value, set(metric.tags))
    assert sample.value == (3000 if metric.kind is Kind.TIMER else 3)


def test_a_tag_is_of_few_characters_and_short(statsd: Listener) -> None:
    metrics.count(metrics.RUNS_SCHEDULED, connection="a b,c=d:1|c\n" + "x" * 300)
    sample = statsd.wait_for(metrics.RUNS_SCHEDULED.name)
    assert sample.tags["connection"].startswith("a_b_c_d_1_c_xxx")
    assert len(sample.tags["connection"]) == 100


def test_nothing_to_count_is_not_sent(statsd: Listener) -> None:
    metrics.count(metrics.SAMPLES_SELECTED, 0, connection="c")
    metrics.record_duration(metrics.PICKUP_TIME, -5, connection="c")
    assert statsd.wait_for(metrics.PICKUP_TIME.name).value == 0
    assert statsd.names() == {f"airflow.{metrics.PICKUP_TIME.name}"}


def test_a_backend_that_fails_fails_no_task(statsd: Listener) -> None:
    metrics.count(metrics.RUNS_ENDED, connection="c")  # a tag is missing
    statsd.socket.close()
    metrics.count(metrics.RUNS_SCHEDULED, connection="c")


def test_requests_are_counted_by_connection_operation_and_result(
    statsd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [Answer(429, {"code": "RATE", "error": "slow"}, {"Retry-After": "0"}), NoAnswer(), Answer(200, "1000")]
    with ScriptedPlatform(script) as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": "CANARY-token"}
        monkeypatch.setenv("AIRFLOW_CONN_MY_LIGHTLY", json.dumps(connection))
        hook = LightlyHook("my_lightly")
        LightlyClient(replace(hook.connection.settings, longest_wait=0.01)).send(calls.get_quota())
    for result in ("4xx", "no_answer", "2xx"):
        sample = statsd.wait_for(metrics.REQUESTS.name, result=result)
        assert sample.tags["connection"] == "my_lightly"
        assert re.fullmatch("[a-z_]+", sample.tags["operation"])
    assert statsd.wait_for(metrics.RATE_LIMITED.name).tags == {"connection": "my_lightly"}
    assert "CANARY" not in str(statsd.samples)


@pytest.mark.exhaustive(sample="test_each_metric_arrives_with_its_tags")
def test_a_triggerer_sends_them_too() -> None:
    # Airflow 3.2 and newer have their metrics twice: for its services, and for what tasks and triggers import.
    script = (
        "import airflow.jobs.triggerer_job_runner\n"
        "from lightly_provider import metrics\n"
        "metrics.count(metrics.POLLS, connection='c', where='triggerer')"
    )
    with listening() as listener:
        environment = os.environ | settings(listener.port)
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, timeout=120)
        assert listener.wait_for(metrics.POLLS.name).tags == {"connection": "c", "where": "triggerer"}


SCHEDULED_RUN, RUN, DATASET = "a" * 24, "b" * 24, "c" * 24


@pytest.mark.parametrize(
    ("step", "state", "outcome"),
    [
        (Step.SUCCEED, "COMPLETED", "completed"),
        (Step.FAIL, "CRASHED", "crashed"),
        (Step.FAIL, "A_NEW_STATE", "other"),
        (Step.TIMED_OUT, "EMBEDDING", "timed_out"),
        (Step.CANCELED, None, "canceled"),
    ],
)
def test_the_end_of_a_run_is_counted_with_the_platforms_own_times(
    statsd: Listener, monkeypatch: pytest.MonkeyPatch, step: Step, state: str | None, outcome: str
) -> None:
    scheduled = {"id": SCHEDULED_RUN, "datasetId": DATASET, "configId": "d" * 24, "state": "DONE", "createdAt": 1_000}
    run = {"id": RUN, "state": state, "createdAt": 4_000, "lastModifiedAt": 64_000}
    with ScriptedPlatform([Answer(200, run), Answer(200, [scheduled])]) as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": "CANARY-token"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        seen = None if state is None else Run.model_validate({"id": RUN, "state": state})
        measure_end(LightlyHook(), DATASET, SCHEDULED_RUN, step, seen)
    ended = statsd.wait_for(metrics.RUNS_ENDED.name)
    assert ended.tags == {"connection": "lightly_default", "outcome": outcome}
    if step in (Step.SUCCEED, Step.FAIL):
        assert statsd.wait_for(metrics.RUN_DURATION.name, outcome=outcome).value == 60_000
        assert statsd.wait_for(metrics.PICKUP_TIME.name).value == 3_000
    else:
        assert statsd.names() == {f"airflow.{metrics.RUNS_ENDED.name}"}, "no time of a run that goes on"


def test_a_platform_that_does_not_answer_fails_no_task_at_its_end(
    statsd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedPlatform([Answer(403, {"code": "FORBIDDEN", "error": "no"})]) as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": "CANARY-token"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        seen = Run.model_validate({"id": RUN, "state": "COMPLETED"})
        measure_end(LightlyHook(), DATASET, SCHEDULED_RUN, Step.SUCCEED, seen)
    assert statsd.wait_for(metrics.RUNS_ENDED.name).tags["outcome"] == "completed"


@pytest.mark.exhaustive(sample="test_nothing_to_count_is_not_sent")
def test_while_metrics_are_off_nothing_is_imported() -> None:
    script = (
        "import sys, airflow\n"
        "from lightly_provider import metrics\n"
        "before = set(sys.modules)\n"
        "metrics.count_request('c', 'o', 429)\n"
        "print(*[m for m in set(sys.modules) - before if 'stat' in m or 'otel' in m or 'telemetry' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


# --- OpenTelemetry -----------------------------------------------------------------------------------------------


class _Collector(BaseHTTPRequestHandler):
    """Keeps the bodies that are posted."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(
            self.headers["Content-Encoding"] or "", bytes
        )
        self.server.bodies.append((self.path, unpack(body)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


_SENT_BY_OTEL = """
from airflow.providers.common.compat.sdk import Stats, conf
try:
    from airflow.sdk.observability.metrics import stats_utils
except ImportError:
    pass
else:  # what the start of a task does
    Stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
from lightly_provider import metrics
metrics.count(metrics.SAMPLES_SELECTED, 12, connection="lightly_default")
metrics.set_gauge(metrics.RUNS_WAITING, 2, connection="lightly_default", state="open", hostname="h")
metrics.record_duration(metrics.RUN_DURATION, 90, connection="lightly_default", outcome="completed")
from opentelemetry import metrics as otel
otel.get_meter_provider().force_flush()
"""


@pytest.mark.exhaustive(sample="test_each_metric_arrives_with_its_tags")
def test_the_metrics_arrive_by_otlp(tmp_path: Any) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    server.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        environment = {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__OTEL_PORT": str(server.server_address[1]),
            "AIRFLOW__METRICS__OTEL_SSL_ACTIVE": "False",
            "AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS": "60000",
            "NO_PROXY": "127.0.0.1",
        }
        script = tmp_path / "sent.py"
        script.write_text(_SENT_BY_OTEL)
        done = subprocess.run(
            [sys.executable, str(script)], env=os.environ | environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
    finally:
        server.shutdown()
        server.server_close()
    found = {}
    for path, body in server.bodies:  # type: ignore[attr-defined]
        assert path == "/v1/metrics"
        request = ExportMetricsServiceRequest.FromString(body)
        for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
            kind = metric.WhichOneof("data")
            (point, *_) = getattr(metric, kind).data_points
            found[metric.name] = (kind, {tag.key: tag.value.string_value for tag in point.attributes})
    assert found["airflow.lightly.samples.selected"] == ("sum", {"connection": "lightly_default"})
    assert found["airflow.lightly.runs.waiting"] == (
        "gauge",
        {"connection": "lightly_default", "state": "open", "hostname": "h"},
    )
    kind, tags = found["airflow.lightly.runs.duration"]
    assert kind in ("exponential_histogram", "histogram", "gauge")  # Airflow 2.11 has a gauge for it
    assert tags == {"connection": "lightly_default", "outcome": "completed"}


# --- the guide and the dashboard -----------------------------------------------------------------------------------


def test_the_guide_lists_each_metric() -> None:
    listed = {
        code(name): (kind, unit, tuple(code(tag) for tag in tags.split(", ")))
        for name, kind, unit, tags, *_ in all_rows(PAGE, "metric")
    }
    assert listed == {metric.name: (metric.kind.value, metric.unit, metric.tags) for metric in METRICS}


def queries() -> list[str]:
    """The queries of the dashboard, those of its variables included."""
    dashboard = json.loads(DASHBOARD.read_text())
    of_variables = [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    return of_variables + [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


# What the Prometheus exporter of StatsD makes of a metric: a summary of a timer, in seconds.
SUFFIXES = {Kind.COUNTER: ("",), Kind.GAUGE: ("",), Kind.TIMER: ("", "_sum", "_count")}
EXPORTED = {
    f"airflow_{metric.name.replace('.', '_')}{suffix}": metric for metric in METRICS for suffix in SUFFIXES[metric.kind]
}
# Those that PromQL or the exporter knows besides.
OTHER_LABELS = {"quantile"}


@pytest.mark.parametrize("query", queries())
def test_each_query_of_the_dashboard_is_about_a_metric_with_such_tags(query: str) -> None:
    names = re.findall(r"\bairflow_\w+", query)
    assert names
    assert set(names) <= set(EXPORTED)
    tags = {tag for name in names for tag in EXPORTED[name].tags} | OTHER_LABELS
    matched = [label for group in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)\s*[=!]~?", group)]
    grouped = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")]
    assert {*matched, *grouped} <= tags
    for name in names:
        rated = re.search(rf"(rate|increase)\({name}\b", query) is not None
        # A value that only grows is shown as a rate; a gauge and a quantile are not.
        is_growing = EXPORTED[name].kind is Kind.COUNTER or name.endswith(("_sum", "_count"))
        assert rated is is_growing or query.startswith("label_values(")


def test_the_dashboard_shows_each_metric_and_is_importable() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    shown = {EXPORTED[name] for query in queries() for name in re.findall(r"\bairflow_\w+", query)}
    assert shown == set(METRICS)
    assert dashboard["uid"]
    assert dashboard["schemaVersion"] >= 39
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for panel in dashboard["panels"])
    assert all(panel["title"] and panel["description"] for panel in dashboard["panels"])
