"""A datasource with a given access, and the verdict of its verification."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator

if TYPE_CHECKING:
    from tests.integration.access_situations import Access


def configure(access: Access, dataset_id: str, conn_id: str, context: dict[str, Any]) -> None:
    """Give the dataset a datasource in the access's location, with the access of a connection."""
    arguments = {} if access.purpose is Purpose.INPUT else {"generate_thumbnails": True}
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        purpose=str(access.purpose),
        resource_path=access.uri,
        datasource_aws_conn_id=conn_id,
        region=access.region or access.sandbox.region,
        kms_key_arn=access.kms_key_arn,
        **arguments,
    ).execute(context)


def verdict_of(dataset_id: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Verify the dataset; return the verdict, also of a verification that fails."""
    operator = VerifyDatasourcePermissionsOperator(
        task_id="verify", dataset_id=dataset_id, aws_conn_id="aws_default", **arguments
    )
    with suppress(LightlyPermissionsError):
        operator.execute(context)
    return dict(context["ti"].pushed["verdict"])


def not_passed(checks: list[dict[str, Any]]) -> dict[str, str]:
    """Return the status of each required permission that is not PASS."""
    return {c["permission"]: c["status"] for c in checks if c["required"] and c["status"] != "PASS"}
