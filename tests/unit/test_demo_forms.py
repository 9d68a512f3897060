"""The trigger forms that `make airflow` shows: those of the example DAGs, with values that work with the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from demo.airflow_settings.airflow_local_settings import dag_policy
from demo.bucket import BUCKET, INPUT, LIGHTLY
from tests.unit.documents import REPOSITORY, dags_in

pytest.importorskip("airflow.sdk", reason="`make airflow` runs Airflow 3")


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    found, errors = dags_in(REPOSITORY / "dags")
    assert not errors
    for dag in found.values():
        dag_policy(dag)
    return found


def test_no_form_has_a_location_of_another_bucket(dags: dict[str, Any]) -> None:
    """Not one default is left that the sandbox does not have."""
    locations = {
        (dag_id, name): value
        for dag_id, dag in dags.items()
        for name, value in dag.params.dump().items()
        if isinstance(value, str) and value.startswith("s3://")
    }
    assert len(locations) >= 8
    assert {at: value for at, value in locations.items() if not value.startswith(f"s3://{BUCKET}/")} == {}


def test_the_onboarding_reads_the_photos_that_are_there(dags: dict[str, Any]) -> None:
    params = dags["lightly_s3_onboarding"].params
    assert (params["input_path"], params["lightly_path"]) == (INPUT, LIGHTLY)
    assert params["poll_interval"] < 60


def test_two_dags_that_set_datasources_do_not_share_a_dataset_by_default(dags: dict[str, Any]) -> None:
    owners = ("lightly_s3_onboarding", "lightly_active_learning", "lightly_delegated_access")
    for name in ("dataset_name", "lightly_path"):
        assert len({dags[dag_id].params[name] for dag_id in owners}) == len(owners)


def test_a_run_without_a_form_has_the_same_values(dags: dict[str, Any]) -> None:
    """A task's own copy of the parameters wins over the DAG's."""
    dag = dags["lightly_s3_onboarding"]
    assert dag.tasks
    for task in dag.tasks:
        assert task.params.dump() == dag.params.dump()


def test_values_still_have_the_form_that_the_dag_demands(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        dag.params.validate()


def test_only_a_dag_that_a_schedule_would_start_is_paused(dags: dict[str, Any]) -> None:
    paused = {dag_id for dag_id, dag in dags.items() if dag.is_paused_upon_creation}
    assert paused == {"lightly_access_health", "lightly_ended_runs", "lightly_uploads"}
