"""
Build the IAM policies that let the platform use a location, with the least privilege for each purpose. Pure functions.

Sources: lightly 1.5.26, models/datasource_purpose.py; the vendor's guide to S3 (list and read for the input; also write
and delete for what Lightly stores); AWS docs: Service Authorization Reference, "Actions … for Amazon S3".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from lightly_provider.contract import Permission, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.aws.location import S3Location

Statement: TypeAlias = dict[str, Any]
PolicyDocument: TypeAlias = dict[str, Any]

# Lightly's AWS account, from its guide to delegated access. It has changed once (lightly-ai/lightly#872).
LIGHTLY_ACCOUNT_ID = "916419735646"
# The same guide: the platform cannot use a role with a shorter maximum session duration. It is also AWS's maximum.
ROLE_SESSION_SECONDS = 12 * 3600
# Bytes of a random external ID, which make 32 characters.
EXTERNAL_ID_BYTES = 24
_POLICY_VERSION = "2012-10-17"  # AWS docs: the latest version, and the only one with policy variables

# "${", "*" and "?" are special in a policy's resources and conditions. AWS docs: IAM policy variables, "Specifying
# values" documents how to escape them.
_POLICY_SIGN = r"[*?]|\$(?=\{)"


PURPOSE_PERMISSIONS: Mapping[Purpose, frozenset[Permission]] = {
    Purpose.INPUT: frozenset({Permission.LIST, Permission.READ}),
    Purpose.LIGHTLY: frozenset(Permission),
    Purpose.INPUT_OUTPUT: frozenset(Permission),
}

_OBJECT_ACTIONS: Mapping[Permission, tuple[str, ...]] = {
    Permission.LIST: (),
    Permission.READ: ("s3:GetObject",),
    Permission.WRITE: ("s3:PutObject",),
    # The vendor's guide requires permission to delete where files are replaced.
    Permission.OVERWRITE: ("s3:PutObject", "s3:DeleteObject"),
}
# The vendor's guide to SSE-KMS requires Encrypt, Decrypt and GenerateDataKey; reading alone needs only Decrypt.
_KMS_ACTIONS: Mapping[Permission, tuple[str, ...]] = {
    Permission.LIST: (),
    Permission.READ: ("kms:Decrypt",),
    Permission.WRITE: ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
    Permission.OVERWRITE: ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
}


def policy_document(
    location: S3Location, purpose: Purpose, *, kms_key_arn: str | None = None, partition: str = "aws"
) -> PolicyDocument:
    """
    Return the policy for a user or role with which the platform uses one location.

    :param location: Location in S3.
    :param purpose: Purpose of the datasource, which determines the actions.
    :param kms_key_arn: ARN of the KMS key that encrypts the objects. None (default): keys managed by S3.
    :param partition: AWS partition of the bucket. Default: ``aws``.
    """
    statements = statements_for(PURPOSE_PERMISSIONS[purpose], location, kms_key_arn=kms_key_arn, partition=partition)
    return {"Version": _POLICY_VERSION, "Statement": statements}


def statements_for(
    permissions: Iterable[Permission],
    location: S3Location,
    *,
    kms_key_arn: str | None = None,
    partition: str = "aws",
) -> list[Statement]:
    """
    Return the statements that grant permissions at one location, e.g. to add missing permissions.

    :param permissions: Permissions to grant; they result in at most three statements.
    :param location: Location in S3.
    :param kms_key_arn: ARN of the KMS key that encrypts the objects. None (default): keys managed by S3.
    :param partition: AWS partition of the bucket. Default: ``aws``.
    """
    granted = frozenset(map(Permission, permissions))
    bucket_arn = f"arn:{partition}:s3:::{location.bucket}"
    prefix = plain(location.prefix)
    statements: list[Statement] = []
    if Permission.LIST in granted:
        listing: Statement = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket_arn]}
        if prefix:
            listing["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{prefix}*"]}}
        statements.append(listing)
    if actions := object_actions(granted):
        statements.append({"Effect": "Allow", "Action": actions, "Resource": [f"{bucket_arn}/{prefix}*"]})
    if kms_key_arn and (actions := kms_actions(granted)):
        statements.append({"Effect": "Allow", "Action": actions, "Resource": [kms_key_arn]})
    return statements


def key_policy_statement(principal_arn: str, permissions: Iterable[Permission]) -> Statement:
    """
    Return the statement to add to a KMS key policy, without which the identity-based policy is not sufficient.

    AWS docs: KMS developer guide, "Key policies in AWS KMS": unless the key policy names the account or the principal,
    IAM policies on the key have no effect.

    :param principal_arn: ARN of the user or role that uses the key.
    :param permissions: Its permissions at the locations whose objects the key encrypts.
    """
    return {
        "Effect": "Allow",
        "Principal": {"AWS": principal_arn},
        "Action": kms_actions(frozenset(map(Permission, permissions))),
        # In a key policy the only resource is the key itself.
        "Resource": "*",
    }


def trust_policy(
    external_id: str | Sequence[str], lightly_account_id: str = LIGHTLY_ACCOUNT_ID, *, partition: str = "aws"
) -> PolicyDocument:
    """
    Return the trust policy of the role that the platform assumes.

    :param external_id: External ID that the platform must send; several during a rotation. The document contains it,
        and is therefore as secret as the external ID.
    :param lightly_account_id: AWS account of the platform. Default: the one in the vendor's guide.
    :param partition: AWS partition of the role. Default: ``aws``.
    """
    ids = [external_id] if isinstance(external_id, str) else list(external_id)
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{lightly_account_id}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": ids[0] if len(ids) == 1 else ids}},
    }
    return {"Version": _POLICY_VERSION, "Statement": [statement]}


def object_actions(granted: frozenset[Permission]) -> list[str]:
    """Return the actions on objects that these permissions require."""
    return _actions(_OBJECT_ACTIONS, granted)


def kms_actions(granted: frozenset[Permission]) -> list[str]:
    """Return the actions on a KMS key that these permissions require if it encrypts the objects."""
    return _actions(_KMS_ACTIONS, granted)


def plain(prefix: str) -> str:
    """Escape a prefix for a policy's resources and conditions."""
    return re.sub(_POLICY_SIGN, lambda sign: "${" + sign.group() + "}", prefix)


def _actions(table: Mapping[Permission, tuple[str, ...]], granted: frozenset[Permission]) -> list[str]:
    return list(
        dict.fromkeys(action for permission in Permission if permission in granted for action in table[permission])
    )
