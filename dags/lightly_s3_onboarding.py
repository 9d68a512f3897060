"""
### Onboard a bucket of images into Lightly

Creates the dataset, connects it to your S3 bucket, verifies that Lightly can read and write there, runs the Lightly
Worker, logs which images it selected, and exports them as a manifest, `selected.jsonl` at the location to which
Lightly writes. You can run it repeatedly: it reuses the dataset, and selects only from images that are new in the
bucket.

Before the first run, create three connections (Admin > Connections, or environment variables):

* `lightly_default`, type *Lightly*: your API token.
* `lightly_bucket`, type *Amazon Web Services*: what Lightly shall use to reach the bucket - the keys of an IAM user, or
  a `role_arn` with `assume_role_kwargs.ExternalId` in the extra.
* `aws_default`, type *Amazon Web Services*: with what Airflow itself writes the manifest. It is not handed over.

Then trigger the DAG, and enter the location of your images in the form.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, Param, TaskGroup, task

from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.results import ExportLightlyTagOperator
from lightly_provider.task_groups import onboard_s3_dataset

log = logging.getLogger(__name__)

# Whoever may start this DAG may hand over one of these to Lightly, and no other connection. List yours here.
BUCKET_CONNECTIONS = ["lightly_bucket"]

with DAG(
    dag_id="lightly_s3_onboarding",
    description="Onboard a bucket: dataset, datasources, permissions, one run of the worker, manifest of the selection",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "dataset_name": Param("my-photos", type="string", title="Dataset"),
        "dataset_type": Param("Images", enum=["Images", "Videos"], title="Content of the bucket"),
        "input_path": Param("s3://my-bucket/photos/", type="string", title="Location of the images (only read)"),
        "lightly_path": Param("s3://my-bucket/lightly/", type="string", title="Location to which Lightly writes"),
        "aws_conn_id": Param(
            BUCKET_CONNECTIONS[0], enum=BUCKET_CONNECTIONS, title="AWS connection that is handed over to Lightly"
        ),
        "n_samples": Param(24, type="integer", minimum=1, title="Number of images to select"),
        "poll_interval": Param(60, type="number", exclusiveMinimum=0, title="Seconds between two polls of the run"),
    },
):
    onboarded = onboard_s3_dataset(
        dataset_name="{{ params.dataset_name }}",
        dataset_type="{{ params.dataset_type }}",
        resource_path="{{ params.input_path }}",
        output_resource_path="{{ params.lightly_path }}",
        datasource_aws_conn_id="{{ params.aws_conn_id }}",
        generate_thumbnails=True,
        selection_config="""{
            "n_samples": {{ params.n_samples }},
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]
        }""",
        worker_config={"use_datapool": True},
        poll_interval="{{ params.poll_interval }}",
        prefix_group_id=False,
    )

    with TaskGroup("results", prefix_group_id=False, tooltip="The selection, in the log and as a manifest"):

        @task(multiple_outputs=True)
        def newest_tag(run: dict[str, Any]) -> dict[str, Any]:
            """Return the dataset and the tag that the run created; the newest of earlier runs if nothing was new."""
            dataset_id, tag_name = run["dataset_id"], run["tag_name"]
            if tag_name is None:
                # Tags without a run were made by people.
                of_runs = [tag.name for tag in LightlyHook().get_tags(dataset_id) if tag.run_id]
                if not of_runs:
                    raise AirflowSkipException(
                        "No run has selected anything yet: there were no new images in the bucket."
                    )
                tag_name = of_runs[-1]
                log.info("Nothing new in the bucket; the newest tag is %r.", tag_name)
            return {"dataset_id": dataset_id, "tag_name": tag_name}

        @task
        def print_selection(dataset_id: str, tag_name: str) -> list[str]:
            """Log and return the filenames of the selected images."""
            filenames = LightlyHook().get_filenames(dataset_id, tag_name)
            log.info("%d images are selected:\n  %s", len(filenames), "\n  ".join(filenames))
            return filenames

        selected = newest_tag(onboarded.output)
        print_selection(selected["dataset_id"], selected["tag_name"])
        ExportLightlyTagOperator(
            task_id="export",
            dataset_id=selected["dataset_id"],
            tag_name=selected["tag_name"],
            format="manifest",
            destination="{{ params.lightly_path.rstrip('/') }}/selected.jsonl",
        )
