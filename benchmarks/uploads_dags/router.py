"""What ``benchmarks/uploads.py`` measures: a router that a watcher starts, and a DAG that records what it got."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, AssetWatcher

from lightly_provider.operators.events import DrainUploadsOperator
from lightly_provider.triggers.events import LightlyUploadTrigger

SETTINGS: dict[str, Any] = json.loads(os.environ["UPLOADS_BENCHMARK"])

UPLOADS = Asset(
    name="lightly-uploads",
    watchers=[
        AssetWatcher(
            name="uploads", trigger=LightlyUploadTrigger(queue_url=SETTINGS["queue_url"], **SETTINGS["trigger"])
        )
    ],
)
# Airflow itself starts a task again that was killed.
PATIENT = {"retries": 10, "retry_delay": timedelta(seconds=1), "retry_exponential_backoff": False}


def note_process(_: Any) -> None:
    """Say which process drains, for whoever kills it."""
    path = Path(SETTINGS["folder"]) / "drain.pid"
    new = path.with_suffix(".new")
    new.write_text(str(os.getpid()))
    new.replace(path)


with DAG(
    "uploads_router",
    schedule=[UPLOADS],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=PATIENT,
):
    drain = DrainUploadsOperator(
        task_id="drain",
        queue_url=SETTINGS["queue_url"],
        datasets=SETTINGS["datasets"],
        manifest_prefix=SETTINGS["manifest_prefix"],
        visibility_timeout=SETTINGS["visibility_timeout"],
        on_execute_callback=note_process,
    )

    @task
    def runs(manifests: Any) -> list[dict[str, Any]]:
        """One DAG run per manifest."""
        return [{"trigger_run_id": one["run_id"], "conf": {"manifest": one["manifest"]}} for one in manifests]

    TriggerDagRunOperator.partial(
        task_id="start", trigger_dag_id="uploads_consumer", skip_when_already_exists=True
    ).expand_kwargs(runs(drain.output))

with DAG(
    "uploads_consumer",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_runs=100,
    default_args=PATIENT,
):

    @task
    def record(**context: Any) -> str:
        """What this DAG run is for."""
        return str(context["dag_run"].conf["manifest"])

    record()
