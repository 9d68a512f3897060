"""Accesses that the operators create: they work at once, hold no more than they must, and go without a trace."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    DeleteLightlyAccessOperator,
)
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

STORES = ["secretsmanager", "ssm"]


@pytest.fixture
def name() -> str:
    """A name for a role or user that no other test uses."""
    return f"lightly-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket(lightly: Sandbox) -> str:
    """A bucket with a file under raw/."""
    bucket = lightly.bucket()
    lightly.aws("s3").put_object(Bucket=bucket, Key="raw/a.jpg", Body=b"content")
    return bucket


def places(bucket: str) -> dict[str, str]:
    """Where the files are, and where Lightly may write."""
    return {"resource_path": f"s3://{bucket}/raw/", "output_resource_path": f"s3://{bucket}/lightly/"}


def create_role(name: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """What the operator returns."""
    operator = CreateLightlyAccessRoleOperator(task_id="create", role_name=name, **arguments)
    return dict(operator.execute(context))


def create_user(name: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """What the operator returns."""
    operator = CreateLightlyAccessUserOperator(task_id="create", user_name=name, **arguments)
    return dict(operator.execute(context))


def verified(dataset_name: str, conn_id: str, bucket: str, context: dict[str, Any], **arguments: Any) -> str:
    """Onboard the bucket with an access, and verify it; the dataset's id."""
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    ConfigureS3DatasourceOperator(
        task_id="configure", dataset_id=dataset_id, datasource_aws_conn_id=conn_id, **places(bucket), **arguments
    ).execute(context)
    verdict = VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id).execute(context)
    assert verdict["ok"]
    return str(dataset_id)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("create", [create_role, create_user])
def test_an_access_is_created_works_and_goes_without_a_trace(
    create: Any,
    store: str,
    lightly: Sandbox,
    bucket: str,
    name: str,
    dataset_name: str,
    context: dict[str, Any],
) -> None:
    conn_id = f"{store}://aws_default/lightly/{name}"

    outcome = create(name, context, access_conn_id=conn_id, **places(bucket))

    assert outcome["conn_id"] == conn_id
    assert context["ti"].pushed["conn_id"] == conn_id
    assert outcome["arn"].endswith(f"/{name}")
    assert context["ti"].pushed["arn"] == outcome["arn"]
    verified(dataset_name, conn_id, bucket, context)

    again = create(name, context, access_conn_id=conn_id, **places(bucket))

    assert again["changed"] == []
    kind = "role" if create is create_role else "user"
    delete = {f"{kind}_name": name, "access_conn_id": conn_id}
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == [kind, "kept access"]
    iam = lightly.aws("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        getattr(iam, f"get_{kind}")(**{f"{kind.capitalize()}Name": name})
    assert kept(lightly, store, name) is None
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == []


def kept(sandbox: Sandbox, store: str, name: str) -> dict[str, Any] | None:
    """What is kept in AWS under lightly/NAME; None if nothing is."""
    client = sandbox.aws(store)
    if store == "secretsmanager":
        try:
            return dict(json.loads(client.get_secret_value(SecretId=f"lightly/{name}")["SecretString"]))
        except client.exceptions.ResourceNotFoundException:
            return None
    try:
        found = client.get_parameter(Name=f"/lightly/{name}", WithDecryption=True)["Parameter"]
    except client.exceptions.ParameterNotFound:
        return None
    assert found["Type"] == "SecureString"
    return dict(json.loads(found["Value"]))
