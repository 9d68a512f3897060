"""The sandbox's two AWS accounts: the customer's, and Lightly's own, which may assume customers' roles."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lightly_sandbox.aws.client import client
from lightly_sandbox.aws.root import ROOT_HEADER

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from lightly_sandbox.process.state_dir import Credentials

REGION = "eu-central-1"
CUSTOMER_ACCOUNT_ID = "123456789012"
LIGHTLY_ACCOUNT_ID = "916419735646"
"""The AWS account that customers let assume their roles (docs.lightly.ai, AWS S3, delegated access)."""
ADMIN_USER = "admin"
PLATFORM_USER = "lightly-platform"
ARTIFACT_BUCKET = "lightly-platform-artifacts"


def provision(aws_url: str, credentials: Credentials) -> Credentials:
    """Create the user of each account if missing, and return the credentials with their key pairs.

    Working keys are kept, so that a second ``up`` uses the same ones.
    """
    customer = _key_pair(
        aws_url,
        CUSTOMER_ACCOUNT_ID,
        credentials.root_key,
        ADMIN_USER,
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        (credentials.customer_access_key_id, credentials.customer_secret_access_key),
    )
    lightly = _key_pair(
        aws_url,
        LIGHTLY_ACCOUNT_ID,
        credentials.root_key,
        PLATFORM_USER,
        {"Effect": "Allow", "Action": ["sts:AssumeRole", "s3:*"], "Resource": "*"},
        (credentials.lightly_access_key_id, credentials.lightly_secret_access_key),
    )
    s3 = client("s3", aws_url, REGION, *lightly)
    try:
        s3.head_bucket(Bucket=ARTIFACT_BUCKET)
    except ClientError:
        s3.create_bucket(Bucket=ARTIFACT_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return replace(
        credentials,
        customer_access_key_id=customer[0],
        customer_secret_access_key=customer[1],
        lightly_access_key_id=lightly[0],
        lightly_secret_access_key=lightly[1],
    )


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An additional customer's AWS account: its administrator's key pair, and a bucket."""

    account_id: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    bucket: str


def new_account(aws_url: str, root_key: str) -> NewAccount:
    """Create an isolated account with an administrator and an empty bucket.

    Raises:
        ClientError: the local AWS refuses.
    """
    # AWS account ids have 12 digits; the probability of a collision with an existing one is about 10^-11.
    account_id = str(secrets.randbelow(9 * 10**11) + 10**11)
    everything: dict[str, object] = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    keys = _key_pair(aws_url, account_id, root_key, ADMIN_USER, everything, ("", ""))
    bucket = f"bucket-{account_id}"
    where: Any = {"LocationConstraint": REGION}
    client("s3", aws_url, REGION, *keys).create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    return NewAccount(account_id, *keys, bucket)


def _root_iam(aws_url: str, account_id: str, root_key: str) -> IAMClient:
    # ministack treats a 12-digit access key id as the root of that account.
    iam: IAMClient = client("iam", aws_url, REGION, account_id, "root")

    def name_root(params: dict[str, Any], **_: object) -> None:
        params["headers"][ROOT_HEADER] = root_key

    iam.meta.events.register("before-call.iam", name_root)
    return iam


def _key_pair(
    aws_url: str,
    account_id: str,
    root_key: str,
    user: str,
    statement: dict[str, object],
    known: tuple[str, str],
) -> tuple[str, str]:
    if known[0]:
        try:
            client("sts", aws_url, REGION, *known).get_caller_identity()
        except ClientError:
            pass  # The AWS state was deleted, but not the credentials: create the user again.
        else:
            return known
    iam = _root_iam(aws_url, account_id, root_key)
    try:
        iam.get_user(UserName=user)
    except iam.exceptions.NoSuchEntityException:
        iam.create_user(UserName=user)
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=json.dumps(policy))
    for old in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=old["AccessKeyId"])
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]
