"""
### Run the Lightly Worker after an ingestion of new images

Two ways to start it:

* **By trigger**: `ingest_then_trigger` ends with a `TriggerDagRunOperator` that starts `lightly_s3_onboarding`. The
  upstream DAG names the next DAG, and passes the parameters.
* **By asset**: `ingest_and_announce` updates its asset, the images in the bucket. `lightly_on_new_images` is scheduled
  on this asset, onboards the bucket if that is not done yet, and runs the worker. Neither DAG names the other.

`ingest` is a placeholder for your own task; here it checks that files have arrived under the prefix. The example
`lightly_ingestion` has a real one. Each run of the worker selects only from images that are new in the bucket.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, Param, task
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from lightly_provider.task_groups import onboard_s3_dataset

INPUT_PATH = "s3://my-bucket/photos/"
LIGHTLY_PATH = "s3://my-bucket/lightly/"
IMAGES = Asset(INPUT_PATH)
# Whoever may start these DAGs chooses among these connections, and no others. List yours here.
INGESTION_CONNECTIONS = ["aws_default"]
PARAMS = {
    "input_path": Param(INPUT_PATH, type="string", title="Location of the new images"),
    "lightly_path": Param(LIGHTLY_PATH, type="string", title="Location to which Lightly writes"),
    "ingestion_aws_conn_id": Param(
        INGESTION_CONNECTIONS[0], enum=INGESTION_CONNECTIONS, title="AWS connection of the ingestion"
    ),
}


@task
def ingest(input_path: str, aws_conn_id: str) -> int:
    """Placeholder for your ingestion: return the number of files that have arrived; fail if there are none."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    bucket, prefix = S3Hook.parse_s3_url(input_path)
    keys = S3Hook(aws_conn_id).list_keys(bucket, prefix, max_items=1000)
    if not keys:
        raise ValueError(f"Nothing has arrived under {input_path}.")
    return len(keys)


with DAG(
    dag_id="ingest_then_trigger",
    description="Check that new images have arrived, then start lightly_s3_onboarding",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["lightly"],
    doc_md=__doc__,
    params=PARAMS,
):
    arrived = ingest("{{ params.input_path }}", "{{ params.ingestion_aws_conn_id }}")
    onboard = TriggerDagRunOperator(
        task_id="onboard",
        trigger_dag_id="lightly_s3_onboarding",
        conf={"input_path": "{{ params.input_path }}", "lightly_path": "{{ params.lightly_path }}"},
        wait_for_completion=False,
    )
    arrived >> onboard

with DAG(
    dag_id="ingest_and_announce",
    description="Check that new images have arrived, and update the asset that starts lightly_on_new_images",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["lightly"],
    doc_md=__doc__,
    params=PARAMS,
):
    ingest.override(outlets=[IMAGES])("{{ params.input_path }}", "{{ params.ingestion_aws_conn_id }}")

with DAG(
    dag_id="lightly_on_new_images",
    description="Onboard the bucket, and select from what is new in it, whenever the asset of its images is updated",
    schedule=[IMAGES],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
    params={"dataset_name": Param("my-photos", type="string", title="Dataset")},
):
    onboard_s3_dataset(
        dataset_name="{{ params.dataset_name }}",
        resource_path=INPUT_PATH,
        output_resource_path=LIGHTLY_PATH,
        datasource_aws_conn_id="lightly_bucket",
        selection_config={
            "proportion_samples": 0.1,
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
        },
        only_new=True,
    )
