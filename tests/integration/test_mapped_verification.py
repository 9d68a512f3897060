"""In a mapped task group, a verification sees the grant of its own map index, and waits until it takes effect."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, task_group

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import statements_for
from lightly_provider.contract import Permission
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.airflow_run import run_own_dag

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

READING = (Permission.LIST, Permission.READ)


class CreateLightlyAccessRoleOperator(BaseOperator):
    """Stands by its name for the one that creates access: it says that it changed something just now, or nothing."""

    template_fields = ("changed",)

    def __init__(self, *, changed: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.changed = changed

    def execute(self, context: Any) -> dict[str, Any]:
        """The outcome, as far as a verification reads it."""
        return {"changed_at": datetime.now(UTC).isoformat() if self.changed else None}


@pytest.mark.exhaustive(
    sample="tests/integration/test_permissions.py::test_a_denial_is_tried_again_while_the_grant_may_be_on_its_way"
)
def test_the_grant_of_the_same_map_index_is_waited_for_and_no_others(
    lightly: Sandbox,
    bucket: str,
    traffic: Traffic,
    database: Path,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = S3Location(bucket, "raw/")
    keys, others = lightly.user(), lightly.user()
    monkeypatch.setenv("AIRFLOW_CONN_GRANTED", lightly.aws_connection(keys))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", lightly.aws_connection(others))
    ids = []
    for name in "granted", "other":
        create = CreateLightlyDatasetOperator(task_id="create", dataset_name=f"{dataset_name} {name}")
        ids.append(create.execute(context))
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=ids[-1],
            purpose="INPUT",
            resource_path=location.uri,
            datasource_aws_conn_id=name,
            region=lightly.region,
        ).execute(context)

    with DAG("verifies_in_a_mapped_group", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

        @task_group
        def each(dataset_id: Any, changed: Any) -> None:
            access = CreateLightlyAccessRoleOperator(task_id="access", changed=changed)
            access >> VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id, on_failure="warn")

        each.expand_kwargs([{"dataset_id": ids[1], "changed": False}, {"dataset_id": ids[0], "changed": True}])

    def grant_after_the_first_look() -> None:
        path, deadline = f"/v1/datasets/{ids[0]}/datasource/verify"[3:], time.monotonic() + 120
        while ("GET", path) not in traffic.sent and time.monotonic() < deadline:
            time.sleep(0.05)
        lightly.grant(keys.user_name, *statements_for(READING, location))

    granting = threading.Thread(target=grant_after_the_first_look)
    granting.start()
    try:
        run = run_own_dag(dag, database)
    finally:
        granting.join()

    assert run.state == "success"
    verdicts = verdicts_by_dataset(database, dag.dag_id)
    assert verdicts == {ids[0]: True, ids[1]: False}, "one waited for its grant; the other had none to wait for"


def verdicts_by_dataset(database: Path, dag_id: str) -> dict[str, bool]:
    with sqlite3.connect(database) as connection:
        query = "SELECT value FROM xcom WHERE dag_id = ? AND task_id = 'each.verify' AND key = 'verdict'"
        values = [json.loads(value) for (value,) in connection.execute(query, (dag_id,))]
    found = [json.loads(value) if isinstance(value, str) else value for value in values]
    return {verdict["dataset_id"]: verdict["ok"] for verdict in found}
