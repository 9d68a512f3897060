"""The health DAG verifies all datasets of an account, and reports what changed since its last run."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, statements_for
from lightly_provider.contract import Purpose
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from tests.integration.access_situations import Access
from tests.integration.airflow_run import run_dag

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

DAG_ID = "lightly_access_health"


def verdicts(database: Path) -> int:
    """How many verdicts the mapped tasks of the last run left."""
    with sqlite3.connect(database) as connection:
        query = (
            "SELECT count(*) FROM xcom WHERE dag_id = ? AND task_id = 'verify' AND key = 'verdict' AND run_id = "
            "(SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1)"
        )
        return int(connection.execute(query, (DAG_ID, DAG_ID)).fetchone()[0])


@pytest.mark.exhaustive(
    sample="tests/unit/test_access_health_dag.py::test_a_listing_that_failed_is_a_failure_and_no_dataset_is_gone"
)
def test_all_datasets_are_verified_and_what_changed_is_told(
    masking_sandbox: Sandbox,
    database: Path,
    traffic: Traffic,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = masking_sandbox
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", platform.lightly_connection())
    bucket = platform.bucket()
    platform.aws("s3").put_object(Bucket=bucket, Key="raw/a.jpg", Body=b"content")
    location = S3Location(bucket, "raw/")
    keys = platform.user(*statements_for(PURPOSE_PERMISSIONS[Purpose.INPUT], location))
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", platform.aws_connection(keys))
    ids = []
    for name in (f"{dataset_name} a", f"{dataset_name} b"):
        ids.append(CreateLightlyDatasetOperator(task_id="create", dataset_name=name).execute(context))
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=ids[-1],
            resource_path=location.uri,
            purpose="INPUT",
            datasource_aws_conn_id="lightly_bucket",
        ).execute(context)

    sent = len(traffic.sent)
    first = run_dag(DAG_ID, {"datasource_aws_conn_id": "lightly_bucket"}, database)
    n_datasets = verdicts(database)
    second = run_dag(DAG_ID, {"datasource_aws_conn_id": "lightly_bucket"}, database)

    assert n_datasets >= 2
    assert first.xcoms["verify", "lightly_dataset_url"].startswith(f"{platform.web_url}/dataset/")
    assert len(traffic.sent) - sent <= 2 * (1 + 6 * n_datasets)
    changes = json.dumps(second.xcoms["report", "changes"])
    assert not any(dataset_id in changes for dataset_id in ids), "nothing changed"

    platform.aws("iam").delete_user_policy(UserName=keys.user_name, PolicyName="access")
    third = run_dag(DAG_ID, {"datasource_aws_conn_id": "lightly_bucket"}, database)

    assert third.tasks["report"] == "failed"
    reported = [change for change in third.xcoms["report", "changes"] if ids[0] in change]
    assert any(
        "INPUT list (Lightly says, from this worker): PASS -> FAIL, no policy allows it at s3://" in one
        for one in reported
    )
    assert first.tasks["find_datasets"] == "success"


@pytest.mark.exhaustive(
    sample="tests/unit/test_access_health_dag.py::test_a_listing_that_failed_is_a_failure_and_no_dataset_is_gone"
)
def test_airflows_own_identity_looks_at_roles_beside_the_keys_of_others(
    masking_sandbox: Sandbox,
    database: Path,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = masking_sandbox
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", platform.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", platform.aws_connection(platform.admin))
    role, user = (Access(platform, by, Purpose.INPUT) for by in ("role", "user"))
    monkeypatch.setenv("AIRFLOW_CONN_ROLE", role.connection())
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", user.connection())
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=role.uri,
        purpose="INPUT",
        region=platform.region,
        datasource_aws_conn_id="role",
    ).execute(context)
    conf = {"datasource_aws_conn_id": "lightly_bucket", "aws_conn_id": "aws_default"}

    run_dag(DAG_ID, conf, database)
    platform.aws("iam").update_role(RoleName=role.principal.rpartition("/")[2], MaxSessionDuration=3600)
    second = run_dag(DAG_ID, conf, database)

    (change,) = [change for change in second.xcoms["report", "changes"] if dataset_id in change]
    assert "INPUT list, read, role (Lightly says, from this worker): PASS -> FAIL, short session at s3://" in change


# One that does not answer is asked again for half a minute.
NO_ANSWER = pytest.param({"host": "http://127.0.0.1:9"}, id="no answer", marks=pytest.mark.exhaustive)


@pytest.mark.exhaustive(
    sample="tests/unit/test_access_health_dag.py::test_a_listing_that_failed_is_a_failure_and_no_dataset_is_gone"
)
@pytest.mark.parametrize("change", [pytest.param({"password": "refused"}, id="a refusal"), NO_ANSWER])
def test_a_platform_that_cannot_be_asked_makes_the_run_fail(
    change: dict[str, str], sandbox: Sandbox, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", sandbox.lightly_connection(**change))
    run = run_dag(DAG_ID, {}, database)
    assert run.tasks["find_datasets"] == "failed"
    assert run.tasks["report"] == "failed"
