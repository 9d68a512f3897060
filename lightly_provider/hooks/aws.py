"""What an Airflow connection of type ``aws`` says about a bucket: how Lightly shall reach it, and where it lies."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.credentials import access_from_aws_connection
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    from lightly_provider.aws.credentials import DelegatedAccess, UserAccess

log = logging.getLogger(__name__)

# HeadBucket needs no particular region, and answers with the bucket's own in this header even when it denies
# (AWS docs: S3 API reference, "HeadBucket").
_REGION_HEADER = "x-amz-bucket-region"
_DENIALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@dataclass(frozen=True, kw_only=True)
class AwsConnection:
    """
    What an AWS connection says.

    :param conn_id: Its id.
    :param access: How Lightly shall reach the bucket; the secret is kept out of its ``repr``.
    :param region: The connection's ``region_name``; None if it has none.
    """

    conn_id: str
    access: UserAccess | DelegatedAccess
    region: str | None


def read_aws_connection(conn_id: str) -> AwsConnection:
    """
    Read how Lightly shall reach a bucket from an ordinary AWS connection, without using it.

    :param conn_id: Connection of type ``aws``: an IAM user's keys, or ``role_arn`` with
        ``assume_role_kwargs.ExternalId`` in its extra. Or the address of a secret that holds such a connection, e.g.
        ``secretsmanager://aws_default/lightly/photos``.
    :return: The access method and the region that the connection names.
    :raises InvalidAccessError: It holds nothing that Lightly can use, e.g. a session token.
    """
    from airflow.providers.common.compat.sdk import mask_secret

    wrapper = connection_wrapper(conn_id)
    external_id = wrapper.assume_role_kwargs.get("ExternalId")
    for secret in (wrapper.aws_secret_access_key, wrapper.aws_session_token, external_id):
        if secret:
            mask_secret(secret)
    access = access_from_aws_connection(
        conn_id=conn_id,
        access_key_id=wrapper.aws_access_key_id,
        secret_access_key=wrapper.aws_secret_access_key,
        session_token=wrapper.aws_session_token,
        role_arn=wrapper.role_arn,
        external_id=external_id,
    )
    return AwsConnection(conn_id=conn_id, access=access, region=wrapper.region_name)


def find_bucket_region(bucket: str, conn_id: str | None) -> str | None:
    """
    Ask S3 where a bucket lies.

    S3 tells a bucket's region to anybody, also together with a denial, so no permission is needed: the question is
    asked
    with the connection's keys if it has any, and else unsigned. A role in the connection is Lightly's to assume, not
    Airflow's, and is left alone.

    :param bucket: Bucket name.
    :param conn_id: AWS connection for keys and endpoint; None asks unsigned at AWS's own endpoint.
    :return: The region's code; None if S3 did not tell.
    :raises LookupError: S3 says that there is no such bucket.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    wrapper = connection_wrapper(conn_id) if conn_id else None
    keys: dict[str, Any] = {}
    signing: dict[str, Any] = {"signature_version": UNSIGNED}
    if wrapper and wrapper.aws_access_key_id and wrapper.aws_secret_access_key:
        signing = {}
        keys = {
            "aws_access_key_id": wrapper.aws_access_key_id,
            "aws_secret_access_key": wrapper.aws_secret_access_key,
            "aws_session_token": wrapper.aws_session_token,
        }
    client = boto3.client(
        "s3",
        region_name=(wrapper.region_name if wrapper else None) or "us-east-1",
        endpoint_url=wrapper.get_service_endpoint_url("s3") if wrapper else None,
        verify=wrapper.verify if wrapper else None,
        config=Config(connect_timeout=5, read_timeout=15, retries={"max_attempts": 3}, **signing),
        **keys,
    )
    try:
        metadata = client.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        if metadata.get("HTTPStatusCode") == 404:
            raise LookupError(
                f"Bucket {bucket!r} does not exist (S3 answered 404); check its name, or create it."
            ) from None
    except BotoCoreError as error:
        log.warning("S3 could not be asked for the region of bucket %s: %s", bucket, error)
        return None
    region = metadata.get("HTTPHeaders", {}).get(_REGION_HEADER)
    return str(region) if region else None


def aws_client(conn_id: str | None, service: str) -> Any:
    """
    A boto3 client with Airflow's own AWS identity, by the Amazon provider's hook.

    :param conn_id: AWS connection of that identity; None: boto3's own default chain.
    :param service: boto3's name of the service, e.g. ``iam``.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    hook = AwsBaseHook(aws_conn_id=conn_id, client_type=service)
    # IAM has no regions, but boto3 builds no client without one, except where the environment names it.
    region = hook.region_name or _region_of_environment() or "us-east-1"
    return hook.get_client_type(region_name=region)


def _region_of_environment() -> str | None:
    import boto3

    region: str | None = boto3.session.Session().region_name
    return region


def endpoint_extra(conn_id: str | None) -> dict[str, Any]:
    """
    What a connection's extra says about where its AWS is, so that a connection made from it leads to the same one.

    :param conn_id: AWS connection; None says nothing.
    """
    if conn_id is None:
        return {}
    extra = connection_wrapper(conn_id).extra_config
    return {name: extra[name] for name in ("region_name", "endpoint_url", "service_config", "verify") if name in extra}


@contextmanager
def secrets_kept_from_the_log() -> Iterator[None]:
    """
    Keep boto3 from logging what it sends and receives, at whatever level Airflow logs.

    At DEBUG botocore writes out whole requests and answers: a new secret key, before anybody could mask it.
    """
    logger = logging.getLogger("botocore")
    before = logger.level
    logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def refusals_explained(conn_id: str | None) -> Iterator[None]:
    """
    Turn what AWS refuses into a message that says who was refused, and what to do.

    :param conn_id: AWS connection of the identity that asks.
    :raises LightlyAccessError: AWS refused, or could not be asked.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    who = f"AWS connection {conn_id!r}" if conn_id else "boto3's default credentials"
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        code, text = told.get("Code"), str(told.get("Message", "")).rstrip(".")
        step = (
            "allow that to this identity"
            if code in _DENIALS
            else "look the code up in AWS's documentation of that operation"
        )
        raise LightlyAccessError(
            f"AWS refused {error.operation_name} to Airflow's own identity ({who}): {code}: {text}; {step}, and run "
            "the task again."
        ) from None
    except BotoCoreError as error:
        raise LightlyAccessError(f"AWS could not be asked ({who}): {error}; check that connection.") from None


def connection_wrapper(conn_id: str) -> AwsConnectionWrapper:
    """
    An AWS connection as the Amazon provider reads it.

    :param conn_id: Its id, or the address of a secret that holds one.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from airflow.providers.common.compat.sdk import BaseHook

    from lightly_provider.access.stores import SecretAddress, connection_in_secret

    address = SecretAddress.parse(conn_id)
    return AwsConnectionWrapper(conn=connection_in_secret(address) if address else BaseHook.get_connection(conn_id))
