"""The link to a dataset's page is there after each try of a task."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import DAG

from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.airflow_run import run_own_dag

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

NO_DATASET = "0" * 24


@pytest.mark.exhaustive(sample="tests/unit/operators/test_in_a_dag.py::test_an_operator_links_to_the_platforms_pages")
def test_the_link_is_there_after_a_try_that_succeeded_and_after_one_that_failed(
    lightly: Sandbox, photos: str, dataset_name: str, database: Path
) -> None:
    with DAG(f"links_{dataset_name.split()[1]}", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        places = {"resource_path": f"s3://{photos}/raw/", "datasource_aws_conn_id": "aws_default"}
        dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).output
        configure = ConfigureS3DatasourceOperator(task_id="configure", dataset_id=dataset_id, **places)
        configure >> VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id)
        ConfigureS3DatasourceOperator(task_id="configure_nothing", dataset_id=NO_DATASET, **places)

    outcome = run_own_dag(dag, database)

    assert outcome.tasks == {
        "create": "success",
        "configure": "success",
        "verify": "success",
        "configure_nothing": "failed",
    }
    page, made = f"{lightly.web_url}/dataset", outcome.xcoms["create", "return_value"]
    for task_id, dataset in (
        ("create", made),
        ("configure", made),
        ("verify", made),
        ("configure_nothing", NO_DATASET),
    ):
        assert outcome.xcoms[task_id, "lightly_dataset_url"] == f"{page}/{dataset}"
