"""Which role the DAG on delegated access gives to which dataset; whole runs: the integration tests."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.aws.secret_address import check_access_conn_id
from lightly_provider.operators.access import check_principal_name
from tests.unit.documents import REPOSITORY, dags_in


@pytest.fixture(scope="module")
def dag() -> Any:
    found, errors = dags_in(REPOSITORY / "dags")
    assert not errors
    return found["lightly_delegated_access"]


def rendered(dag: Any, dataset_name: str, field: str) -> set[str]:
    """A field of the tasks that create and delete the role."""
    context = {"params": {**dag.params.dump(), "dataset_name": dataset_name}}
    tasks = [dag.get_task(task_id) for task_id in ("create_role", "delete_role")]
    return {str(task.render_template(getattr(task, field), context)) for task in tasks}


def test_each_dataset_has_a_role_and_a_secret_of_its_own(dag: Any) -> None:
    names = ["my-photos", "my photos", "my_photos", "My-photos", "photos", "a" * 56]
    roles = [rendered(dag, name, "role_name") for name in names]
    places = [rendered(dag, name, "access_conn_id") for name in names]

    assert all(len(found) == 1 for found in [*roles, *places]), "what is created is what is deleted"
    assert len(set.union(*roles)) == len(set.union(*places)) == len(names)
    for role in set.union(*roles):
        check_principal_name(role, argument="role_name")
    for place in set.union(*places):
        check_access_conn_id(place, argument="access_conn_id")


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("dataset_name", ""),
        ("dataset_name", "a" * 57),
        ("dataset_name", "a/b"),
        ("input_path", ""),
        ("lightly_path", ""),
    ],
)
def test_the_form_refuses_what_makes_no_role_or_widens_it(dag: Any, param: str, value: str) -> None:
    with pytest.raises(Exception, match=r"Failed validating|Invalid input"):  # its class differs by version
        dag.params.get_param(param).resolve(value)
