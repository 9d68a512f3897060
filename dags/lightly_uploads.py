"""
### Run the Lightly Worker when files have arrived in the bucket

The bucket's event notifications go to a queue of SQS, of which the DAG **`lightly_uploads`** makes DAG runs:

* It starts when the queue has been quiet for half a minute, or after ten minutes at the latest: on Airflow 3 by an
  asset watcher, on Airflow 2 by a sensor that waits in the triggerer.
* `drain` reads the queue, and writes one manifest of the new files per dataset. It deletes the messages last, so
  whatever is killed, each file is in a manifest.
* `start` starts one run of **`lightly_curate_uploads`** per manifest. It always has the same id, so a retry starts no
  second one.

`lightly_curate_uploads` runs the worker on the files of the manifest. Each dataset has its own DAG runs, with their own
logs and retries: a dataset that fails stops no other one.

Set the constants below. The datasets are already onboarded, e.g. by `lightly_s3_onboarding`. The connection
`aws_default` reads the queue, and writes the manifests.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.events import DrainUploadsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.sensors.events import LightlyUploadSensor

try:
    from airflow.sdk import Asset, AssetWatcher

    from lightly_provider.triggers.events import LightlyUploadTrigger
except ImportError:  # Airflow 2 has no watchers
    AssetWatcher = None  # type: ignore[assignment,misc]

QUEUE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/lightly-uploads"
# Where the files of each dataset arrive.
DATASETS = {"my-photos": "s3://my-bucket/photos/"}
# Outside of all datasets. The state of the queue is there too, so keep it.
MANIFEST_PREFIX = "s3://my-bucket/lightly-uploads/"

SCHEDULE: Any = "@continuous"
if AssetWatcher is not None:
    SCHEDULE = [
        Asset(
            name="lightly-uploads",
            watchers=[AssetWatcher(name="lightly-uploads", trigger=LightlyUploadTrigger(queue_url=QUEUE_URL))],
        )
    ]


def dag_run_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that start the DAG run about a manifest."""
    return {
        "trigger_run_id": found["run_id"],
        "conf": {"dataset_name": found["dataset"], "manifest": found["manifest"]},
    }


with DAG(
    dag_id="lightly_uploads",
    description="When files have arrived in the bucket: start lightly_curate_uploads for each dataset that got some",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # Only one at a time may drain the queue.
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
):
    drain = DrainUploadsOperator(
        task_id="drain",
        queue_url=QUEUE_URL,
        datasets=DATASETS,
        manifest_prefix=MANIFEST_PREFIX,
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
    TriggerDagRunOperator.partial(
        task_id="start",
        trigger_dag_id="lightly_curate_uploads",
        skip_when_already_exists=True,
        map_index_template="{{ task.conf['dataset_name'] }}",
        retries=3,
        retry_delay=timedelta(minutes=1),
    ).expand_kwargs(drain.output.map(dag_run_of))
    if AssetWatcher is None:
        LightlyUploadSensor(task_id="wait_for_uploads", queue_url=QUEUE_URL, deferrable=True) >> drain

with DAG(
    dag_id="lightly_curate_uploads",
    description="Run the Lightly Worker on the files of a manifest that lightly_uploads has written",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "dataset_name": Param("my-photos", type="string", title="Dataset (already onboarded)"),
        "manifest": Param(
            f"{MANIFEST_PREFIX}my-photos/batch.jsonl",
            type="string",
            # So that nobody who may start this DAG lets it read another file.
            pattern=f"^{MANIFEST_PREFIX.replace('.', '[.]')}",
            title="Manifest of the new files",
        ),
        "poll_interval": Param(60, type="number", exclusiveMinimum=0, title="Seconds between two polls of the run"),
    },
):
    dataset = CreateLightlyDatasetOperator(
        task_id="find_dataset", dataset_name="{{ params.dataset_name }}", if_missing="fail"
    )
    RunLightlyWorkerOperator(
        task_id="run_worker",
        dataset_id=dataset.output,
        relevant_filenames="{{ params.manifest }}",
        # The manifest says which files are new. What the platform counts as new may leave out some of them: those that
        # arrived before the end of the run on an earlier manifest.
        only_new=False,
        selection_config={
            "proportion_samples": 0.1,
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
        },
        worker_config={"use_datapool": True},
        poll_interval="{{ params.poll_interval }}",
    )
