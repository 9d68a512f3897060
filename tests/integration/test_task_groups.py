"""A mapped onboarding, run by Airflow: one dataset fails, and the others go on."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from lightly_provider.task_groups import onboard_s3_dataset
from tests.integration.airflow_run import run_own_dag
from tests.unit.operators.example_operators import SELECTION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.airflow_run import DagOutcome
    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.exhaustive(
    sample="tests/unit/test_task_groups.py::test_a_returned_list_is_completed_when_the_tasks_run"
)
N_SAMPLES = 3
LINE = ["create_dataset", "configure", "verify_permissions", "run_worker"]


@dataclass(frozen=True)
class Mapped:
    """
    The outcome of a mapped onboarding.

    :param instances: State and shown name by task id and map index.
    """

    outcome: DagOutcome
    names: list[str]
    instances: dict[tuple[str, int], tuple[str, str | None]]

    def states(self, index: int) -> list[str]:
        """The states of one dataset's tasks."""
        return [self.instances[f"onboard.{name}", index][0] for name in LINE]


def of_the_sandbox(unique: str, bucket: str, *, is_returned: bool) -> DAG:
    """A DAG that onboards one dataset with a selection, one without access to its bucket, and one without selection."""
    selection = SELECTION | {"n_samples": N_SAMPLES}
    cameras: list[dict[str, Any]] = [
        {"dataset_name": f"front {unique}", "resource_path": f"s3://{bucket}/front/", "selection_config": selection},
        {"dataset_name": f"rear {unique}", "resource_path": f"s3://{bucket}/rear/", "selection_config": selection},
        {"dataset_name": f"side {unique}", "resource_path": f"s3://{bucket}/side/"},
    ]
    with DAG(f"onboard_{unique}", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

        @task
        def list_cameras() -> list[dict[str, Any]]:
            return cameras

        @task(trigger_rule="all_done")
        def report(results: Any) -> list[str]:
            # As the guide has it: Airflow 3 hands over a single result as it is.
            found = [results] if isinstance(results, dict) else results or []
            return [each["dataset_name"] for each in found]

        common = onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket", poll_interval=0.2)
        report(common.expand_kwargs(list_cameras() if is_returned else cameras).output)
    return dag


@pytest.fixture(scope="module", params=["a list in the DAG file", "a list that a task returns"])
def mapped(request: pytest.FixtureRequest, sandbox: Sandbox, airflow_db: Path) -> Mapped:
    bucket, unique = sandbox.bucket(), uuid.uuid4().hex[:12]
    statements: list[dict[str, Any]] = []
    for camera in ("front", "side"):
        sandbox.seed(f"s3://{bucket}/{camera}/", 6)
        location = S3Location.parse(f"s3://{bucket}/{camera}/", argument="resource_path")
        statements += policy_document(location, Purpose.INPUT_OUTPUT)["Statement"]
    dag = of_the_sandbox(unique, bucket, is_returned="returns" in request.param)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", sandbox.lightly_connection())
        environment.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", sandbox.aws_connection(sandbox.user(*statements)))
        outcome = run_own_dag(dag, airflow_db)
    with sqlite3.connect(airflow_db) as connection:
        rows = connection.execute(
            "SELECT task_id, map_index, state, rendered_map_index FROM task_instance WHERE dag_id = ?", (dag.dag_id,)
        ).fetchall()
    instances = {(task_id, index): (state, name) for task_id, index, state, name in rows}
    return Mapped(outcome, [f"{camera} {unique}" for camera in ("front", "rear", "side")], instances)


def test_a_dataset_that_fails_stops_no_other(mapped: Mapped) -> None:
    assert mapped.states(0) == ["success"] * 4
    assert mapped.states(1) == ["success", "success", "failed", "upstream_failed"]
    assert mapped.states(2) == ["success", "success", "success", "skipped"]


def test_each_instance_shows_the_name_of_its_dataset(mapped: Mapped) -> None:
    for name in LINE:
        shown = [mapped.instances[f"onboard.{name}", index][1] for index in range(3)]
        ran = [mapped.states(index)[LINE.index(name)] not in ("upstream_failed", "skipped") for index in range(3)]
        assert [each for each, has_run in zip(shown, ran, strict=True) if has_run] == [
            each for each, has_run in zip(mapped.names, ran, strict=True) if has_run
        ]


def test_the_result_of_the_group_is_what_its_last_tasks_returned(mapped: Mapped) -> None:
    assert mapped.outcome.xcoms["report", "return_value"] == mapped.names[:1]
