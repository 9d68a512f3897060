"""Metrics of what operators, sensor and poll really do, as they arrive at a StatsD server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider import metrics
from lightly_provider.exceptions import LightlyPermissionsError, LightlyRunCanceledError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.triggers.worker import LightlyRunTrigger
from tests.integration.worker_runs import NOBODY, onboarded, worker_task
from tests.statsd import sent_to_statsd

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox


@pytest.mark.exhaustive(sample="test_a_triggerer_reports_what_it_waits_for")
def test_a_run_from_its_schedule_to_its_end(
    lightly: Sandbox, photos: str, dataset_name: str, context: dict[str, Any]
) -> None:
    with sent_to_statsd() as statsd:
        output = f"s3://{photos}/{dataset_name.split()[-1]}/"
        dataset_id = onboarded(dataset_name, f"s3://{photos}/raw/", output, context)
        VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id).execute(context)
        result = worker_task(dataset_id).execute(context)
        connection = {"connection": "lightly_default"}
        assert statsd.wait_for(metrics.VERDICTS.name).tags == connection | {"status": "UNKNOWN"}
        assert statsd.wait_for(metrics.RUNS_SCHEDULED.name).tags == connection
        assert statsd.wait_for(metrics.POLLS.name).tags == connection | {"where": "task"}
        assert statsd.wait_for(metrics.RUNS_ENDED.name).tags == connection | {"outcome": "completed"}
        assert statsd.wait_for(metrics.SAMPLES_SELECTED.name).value == result["n_selected"] == 4
        duration = statsd.wait_for(metrics.RUN_DURATION.name, outcome="completed").value
        assert 100 < duration < 600_000, "in milliseconds"
        assert 0 <= statsd.wait_for(metrics.PICKUP_TIME.name).value < 600_000
        assert statsd.wait_for(metrics.REQUESTS.name, operation="create_docker_run_scheduled_by_dataset_id")
        sent = str(statsd.samples)
        for secret in (dataset_id, dataset_name.split()[-1], photos, lightly.token, result["tag_name"]):
            assert secret not in sent


def test_a_denied_permission_is_counted_by_its_cause(
    lightly: Sandbox, bucket: str, dataset_name: str, context: dict[str, Any]
) -> None:
    dataset_id = onboarded(dataset_name, f"s3://{bucket}/raw/", f"s3://{bucket}/lightly/", context)
    lightly.aws("s3").delete_object(Bucket=bucket, Key="raw/a.jpg")
    lightly.aws("s3").delete_bucket(Bucket=bucket)
    with sent_to_statsd() as statsd:
        verify = VerifyDatasourcePermissionsOperator(
            task_id="verify", dataset_id=dataset_id, datasource_aws_conn_id="aws_default", propagation_timeout=0
        )
        with pytest.raises(LightlyPermissionsError):
            verify.execute(context)
        assert statsd.wait_for(metrics.VERDICTS.name).tags["status"] == "FAIL"
        assert statsd.wait_for(metrics.VERDICT_CAUSES.name).tags["cause"] == "no_such_bucket"


def test_a_triggerer_reports_what_it_waits_for(
    lightly: Sandbox, bucket: str, dataset_name: str, context: dict[str, Any]
) -> None:
    dataset_id = onboarded(dataset_name, f"s3://{bucket}/raw/", f"s3://{bucket}/lightly/", context)
    task = worker_task(dataset_id, wait_for_completion=False, runs_on=[NOBODY])
    scheduled_run_id = task.execute(context)["scheduled_run_id"]
    trigger = LightlyRunTrigger(
        lightly_conn_id="lightly_default", dataset_id=dataset_id, scheduled_run_id=scheduled_run_id, poll_interval=0.2
    )

    async def wait() -> dict[str, Any]:
        event = asyncio.ensure_future(anext(aiter(trigger.run())))
        while not any(s.name == "airflow.lightly.runs.waiting" and s.value for s in statsd.receive()):
            await asyncio.sleep(0.02)
        await asyncio.to_thread(LightlyHook().cancel_scheduled_run, dataset_id, scheduled_run_id)
        payload: dict[str, Any] = (await event).payload
        return payload

    with sent_to_statsd() as statsd:
        event = asyncio.run(asyncio.wait_for(wait(), 60))
        open_runs = [s.value for s in statsd.receive() if s.name.endswith("runs.waiting") and s.tags["state"] == "open"]
        assert 1 in open_runs
        assert open_runs[-1] == 0, "nothing is left"
        assert statsd.wait_for(metrics.POLLS.name).tags == {"connection": "lightly_default", "where": "triggerer"}
        with pytest.raises(LightlyRunCanceledError):
            task.execute_complete(context, event)
        assert statsd.wait_for(metrics.RUNS_ENDED.name).tags["outcome"] == "canceled"
