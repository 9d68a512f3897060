"""An AWS connection is read once per task: with a secrets backend, each read is a request that is paid for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.contract import Purpose
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.access_situations import Access
from tests.integration.created_access import create_user, places, rotate, verified

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("in_the_sandboxs_region")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often Airflow looked each connection up."""
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    seen: Counter[str] = Counter()
    look_up = EnvironmentVariablesBackend.get_conn_value

    def watched(backend: EnvironmentVariablesBackend, conn_id: str, *rest: Any, **named: Any) -> str | None:
        seen[conn_id] += 1
        return look_up(backend, conn_id, *rest, **named)

    monkeypatch.setattr(EnvironmentVariablesBackend, "get_conn_value", watched)
    return seen


@pytest.mark.parametrize("own", [{}, {"aws_conn_id": "aws_default"}])
@pytest.mark.parametrize("by", ["user", "role"])
def test_a_datasource_is_configured_and_looked_at_with_one_read_of_its_connection(
    by: str,
    own: dict[str, str],
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    reads: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    access = Access(lightly, by, Purpose.INPUT_OUTPUT)
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    reads.clear()

    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=access.uri,
        output_resource_path=f"{access.uri}out/",
        datasource_aws_conn_id="bucket",
        region=lightly.region,
    ).execute(context)

    assert reads["bucket"] == 1
    assert set(reads) == {"bucket", "lightly_default"}
    reads.clear()

    verify = VerifyDatasourcePermissionsOperator(
        task_id="verify",
        dataset_id=dataset_id,
        datasource_aws_conn_id="bucket",
        on_failure="warn",
        propagation_timeout=3,  # looks more than once, as the policy is for one place
        **own,
    )
    verdict = verify.execute(context)

    assert verdict["from_this_worker"]
    assert reads["bucket"] == 1
    # Airflow's own identity looks at a role, and at what denies a user.
    assert reads["aws_default"] <= len(own)
    assert by == "user" or reads["aws_default"] == len(own)


@pytest.mark.exhaustive(sample="test_a_datasource_is_configured_and_looked_at_with_one_read_of_its_connection")
def test_an_access_is_created_and_rotated_with_one_read_of_airflows_own_connection(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any], reads: Counter[str]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"

    create_user(name, context, access_conn_id=conn_id, **places(bucket))

    assert reads["aws_default"] == 1
    verified(dataset_name, conn_id, bucket, context)
    reads.clear()
    rotate(create_user, name, context, access_conn_id=conn_id)
    assert reads["aws_default"] == 1
