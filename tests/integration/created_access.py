"""Roles and users that the operators create, and where their access is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    RotateLightlyAccessOperator,
)
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox


def places(bucket: str) -> dict[str, str]:
    """Return the location of the files, and the one that Lightly may write to."""
    return {"resource_path": f"s3://{bucket}/raw/", "output_resource_path": f"s3://{bucket}/lightly/"}


def create_role(name: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """What the operator returns."""
    operator = CreateLightlyAccessRoleOperator(task_id="create", role_name=name, **arguments)
    return dict(operator.execute(context))


def create_user(name: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """What the operator returns."""
    operator = CreateLightlyAccessUserOperator(task_id="create", user_name=name, **arguments)
    return dict(operator.execute(context))


def rotate(create: Any, name: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Rotate what ``create_role`` or ``create_user`` created; return the operator's result."""
    kind = "role_name" if create is create_role else "user_name"
    operator = RotateLightlyAccessOperator(task_id="rotate", **{kind: name}, **arguments)
    return dict(operator.execute(context))


def verified(dataset_name: str, conn_id: str, bucket: str, context: dict[str, Any], patience: float = 0) -> str:
    """Onboard the bucket with an access, and verify it; return the dataset's id."""
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    ConfigureS3DatasourceOperator(
        task_id="configure", dataset_id=dataset_id, datasource_aws_conn_id=conn_id, **places(bucket)
    ).execute(context)
    verdict = VerifyDatasourcePermissionsOperator(
        task_id="verify", dataset_id=dataset_id, propagation_timeout=patience
    ).execute(context)
    assert verdict["ok"]
    return str(dataset_id)


def kept(sandbox: Sandbox, store: str, name: str) -> dict[str, Any] | None:
    """Return what is stored in AWS under lightly/NAME; None if there is nothing."""
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


def keys_of(sandbox: Sandbox, name: str) -> list[str]:
    """Return the ids of a user's keys."""
    return [key["AccessKeyId"] for key in sandbox.aws("iam").list_access_keys(UserName=name)["AccessKeyMetadata"]]
