"""The example of a marker file against the sandbox's S3: which day it waits for, and that nothing starts before."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import IS_AIRFLOW_2
from tests.integration.airflow_run import run_own_dag
from tests.unit.documents import REPOSITORY, dags_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

SOURCE = REPOSITORY / "dags" / "lightly_marker_file.py"


@pytest.mark.exhaustive(
    sample="tests/integration/test_onboarding_dag.py::test_the_ingestion_dag_runs_and_triggers_the_onboarding"
)
def test_it_waits_for_the_marker_of_the_day_that_has_ended(lightly: Sandbox, database: Path, tmp_path: Path) -> None:
    bucket, s3 = lightly.bucket(), lightly.aws("s3")
    text, n_changed = re.subn(r"s3://my-bucket/", f"s3://{bucket}/", SOURCE.read_text().split('"""', 2)[2])
    assert n_changed == 2
    (tmp_path / SOURCE.name).write_text(f'"""Its text."""\n{text}')
    dags, errors = dags_in(tmp_path)
    assert not errors
    dag = dags["lightly_marker_file"]
    assert dag.get_task("wait_for_marker").downstream_task_ids == {"onboard.create_dataset"}

    def waited(**options: Any) -> str:
        # The group behind it is tested elsewhere; a sensor that does not find its file is not waited for.
        sensor = dag.partial_subset("wait_for_marker", include_downstream=False)
        sensor.get_task("wait_for_marker").timeout = 0
        return run_own_dag(sensor, database, **options).tasks["wait_for_marker"]

    date = {"execution_date" if IS_AIRFLOW_2 else "logical_date": datetime(2026, 11, 27, tzinfo=UTC)}
    s3.put_object(Bucket=bucket, Key="photos/2026-11-27/_SUCCESS")
    assert waited(**date) == "failed"

    s3.put_object(Bucket=bucket, Key="photos/2026-11-26/_SUCCESS")
    assert waited(**date) == "success"

    # By hand, and on Airflow 3 without a logical date: the day before.
    no_date = {} if IS_AIRFLOW_2 else {"logical_date": None, "run_after": datetime.now(UTC)}
    for days in (0, 1):  # the day after, too, if it is midnight
        s3.put_object(Bucket=bucket, Key=f"photos/{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}/_SUCCESS")
    assert waited(**no_date) == "success"
