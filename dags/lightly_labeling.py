"""
### Start labeling when a run of the worker has ended

Also when somebody started the run in Lightly's web app, or another DAG did:

* **`lightly_ended_runs`** lists the runs that have completed since its last look, and starts one run of
  `lightly_labeling` for each. It always has the same id, so nothing is labeled twice. On Airflow 3.3 and newer, it
  starts when a run has ended, by an asset watcher; on older ones, every ten minutes. Its first look remembers the runs
  that have ended already, and starts nothing.
* **`lightly_labeling`** exports the images that the run selected as a manifest, and hands it to your labeling tool:
  replace `label` by your own task.

It needs the connections `lightly_default`, and `aws_default`, which writes the manifest.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, Param, task
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.events import ListEndedRunsOperator
from lightly_provider.operators.results import ExportLightlyTagOperator

log = logging.getLogger(__name__)

SCHEDULE: Any = "*/10 * * * *"
INLETS: list[Any] = []
# An older Airflow can keep the position among the ended runs only from one scheduled DAG run to the next.
if tuple(map(int, airflow_version.split(".")[:2])) >= (3, 3):
    from airflow.sdk import Asset, AssetWatcher

    from lightly_provider.triggers.events import LightlyRunEventTrigger

    SCHEDULE = INLETS = [
        Asset(
            name="lightly-ended-runs",
            watchers=[AssetWatcher(name="lightly-ended-runs", trigger=LightlyRunEventTrigger())],
        )
    ]


def dag_run_of(run: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that start the DAG run about a run of the worker."""
    if run["dataset_id"] is None:
        raise AirflowSkipException(f"Run {run['run_id']} has no dataset.")
    return {
        "trigger_run_id": run["dag_run_id"],
        "conf": {"dataset_id": run["dataset_id"], "run_id": run["run_id"]},
    }


with DAG(
    dag_id="lightly_ended_runs",
    description="When runs of the worker have completed: start lightly_labeling for each",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # Only one at a time may move the position among the ended runs.
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
):
    ended = ListEndedRunsOperator(
        task_id="list_ended_runs", states=["COMPLETED"], inlets=INLETS, retries=3, retry_delay=timedelta(minutes=1)
    )
    TriggerDagRunOperator.partial(
        task_id="start",
        trigger_dag_id="lightly_labeling",
        skip_when_already_exists=True,
        map_index_template="{{ task.conf['run_id'] }}",
        retries=3,
        retry_delay=timedelta(minutes=1),
    ).expand_kwargs(ended.output.map(dag_run_of))

with DAG(
    dag_id="lightly_labeling",
    description="Hand the images that a run of the worker selected to a labeling tool",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "dataset_id": Param("6a9c21d4e8b05f7312c4d9ab", type="string", pattern="^[a-f0-9]{24}$", title="Dataset"),
        "run_id": Param("9034e0183c4ed9f8a130b0bd", type="string", pattern="^[a-f0-9]{24}$", title="Run of the worker"),
        "work_path": Param(
            "s3://my-bucket/to-label/", type="string", pattern="^s3://[^/]+/(.+/)?$", title="Location of the manifests"
        ),
    },
):

    @task.short_circuit
    def find_tag(dataset_id: str, worker_run_id: str) -> str | None:
        """Return the tag of what the run selected; without one, skip the rest."""
        tags = LightlyHook().get_run_tags(worker_run_id, dataset_id)
        return tags[0].name if tags else None

    @task
    def label(exported: dict[str, Any]) -> None:
        """Replace this by the task that hands the manifest to your labeling tool."""
        log.info("To label: %s images, listed in %s", exported["count"], exported["uri"])

    export = ExportLightlyTagOperator(
        task_id="export",
        dataset_id="{{ params.dataset_id }}",
        tag_name=find_tag("{{ params.dataset_id }}", "{{ params.run_id }}"),
        format="manifest",
        destination="{{ params.work_path }}{{ params.run_id }}.jsonl",
    )
    label(export.output)
