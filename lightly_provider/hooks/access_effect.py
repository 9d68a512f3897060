"""Waiting until what was just set in IAM has effect: AWS shows a change a while after it took it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.policy_documents import same_meaning
from lightly_provider.aws.propagation import may_be_on_its_way, wait_until
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.aws.access import IamPrincipals, Wanted
    from lightly_provider.aws.location import S3Location
    from lightly_provider.hooks.kept_access import KeptAccess

log = logging.getLogger(__name__)


def wait_for_role(roles: IamPrincipals, wanted: Wanted, *, timeout: float) -> None:
    """
    Wait until IAM shows the role as it was set.

    :param roles: IAM.
    :param wanted: The role.
    :param timeout: Longest wait, in seconds; 0 looks once.
    :raises LightlyAccessError: It does not show it in time.
    """

    def missing() -> str | None:
        policy = roles.policy(wanted.name) if roles.find(wanted.name) else None
        return None if policy and same_meaning(policy, wanted.policy) else "IAM does not show the role as it was set"

    fault, waited = wait_until(missing, timeout=timeout)
    if fault:
        raise LightlyAccessError(f"After {waited:.0f} s, {fault} ({wanted.name!r}); run the task again.")


def wait_for_user(access: KeptAccess, locations: Sequence[S3Location], *, timeout: float) -> None:
    """
    Wait until the user's keys can list every location.

    :param access: The user's keys.
    :param locations: The locations.
    :param timeout: Longest wait, in seconds; 0 looks once.
    :raises LightlyAccessError: They cannot in time, or are denied for good.
    """
    from botocore.exceptions import ClientError

    s3 = _s3_client(access)

    def missing() -> str | None:
        for location in locations:
            try:
                s3.list_objects_v2(Bucket=location.bucket, Prefix=location.prefix, MaxKeys=1)
            except ClientError as error:
                told = error.response["Error"]
                code, text = str(told.get("Code")), str(told.get("Message"))
                if not may_be_on_its_way(code, text):
                    raise LightlyAccessError(
                        f"The new user cannot list {location}: {code}: {text}. Waiting does not help; check the "
                        "bucket's name and its bucket policy, and run the task again."
                    ) from None
                return f"list in {location} is denied ({code}: {text})"
        return None

    fault, waited = wait_until(missing, timeout=timeout)
    if fault:
        raise LightlyAccessError(
            f"After {waited:.0f} s, {fault}; it may still be on its way: run the task again, or raise "
            "propagation_timeout. If it stays so, the bucket's own policy or a permissions boundary denies it."
        )
    log.info("The keys have taken effect after %.0f s.", waited)


def _s3_client(access: KeptAccess) -> Any:
    import boto3
    from botocore.config import Config

    endpoint = access.endpoint
    service = (endpoint.get("service_config") or {}).get("s3", {})
    return boto3.client(
        "s3",
        region_name=endpoint.get("region_name") or "us-east-1",
        endpoint_url=service.get("endpoint_url") or endpoint.get("endpoint_url"),
        verify=endpoint.get("verify"),
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        config=Config(connect_timeout=5, read_timeout=15, retries={"max_attempts": 3}),
    )
