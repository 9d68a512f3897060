"""
### Onboard an upload when its marker file is there

For uploads from outside of Airflow: whoever uploads the files of a day to its folder, e.g.
`s3://my-bucket/photos/2026-11-27/`, puts the file `_SUCCESS` there last.

Each day, `wait_for_marker` waits for that file. Then the bucket is onboarded, if that is not done yet, and the worker
selects from the files that are new. Where no upload has such a last file, see the example `lightly_uploads`.

Set the constants below. The connection `aws_default` looks for the file.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor  # noqa: TID253 (there is no task without it)
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from lightly_provider.task_groups import onboard_s3_dataset

INPUT_PATH = "s3://my-bucket/photos/"
LIGHTLY_PATH = "s3://my-bucket/lightly/"
# A run that is started by hand may have no interval: it waits for the day before.
DAY = "{{ (dag_run.data_interval_start or dag_run.run_after - macros.timedelta(days=1)) | ds }}"

with DAG(
    dag_id="lightly_marker_file",
    description="Wait until the upload of a day is complete, onboard the bucket, and select from what is new",
    # The interval of a run is the day whose upload it waits for, in Airflow 2 and 3 alike.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Only one run at a time works on the dataset.
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
):
    wait = S3KeySensor(
        task_id="wait_for_marker",
        bucket_key=f"{INPUT_PATH}{DAY}/_SUCCESS",
        aws_conn_id="aws_default",
        # Between two looks, it takes no slot of an Airflow worker.
        mode="reschedule",
        timeout=timedelta(hours=12),
    )
    wait >> onboard_s3_dataset(
        dataset_name="my-photos",
        resource_path=INPUT_PATH,
        output_resource_path=LIGHTLY_PATH,
        datasource_aws_conn_id="lightly_bucket",
        selection_config={
            "proportion_samples": 0.1,
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
        },
        only_new=True,
    )
