"""
The IAM policies that let the platform use a location: pure, and no wider than each purpose needs.

Sources: lightly 1.5.26, models/datasource_purpose.py; the vendor's guide to S3 (list and read for the input;
write and delete too for what Lightly stores); AWS docs: Service Authorization Reference, "Actions … for
Amazon S3".
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

# Lightly's account as its guide to delegated access names it. It has changed once (lightly-ai/lightly#872).
LIGHTLY_ACCOUNT_ID = "916419735646"
# The same guide: with a shorter maximum session the platform cannot use the role. AWS allows no longer one.
ROLE_SESSION_SECONDS = 12 * 3600
# Of a random external ID: 32 characters.
EXTERNAL_ID_BYTES = 24
_POLICY_VERSION = "2012-10-17"  # AWS docs: the version in which policy variables work; there is no newer one

# "${", "*" and "?" mean something in a policy's resources and conditions; AWS docs: IAM policy variables,
# "Specifying values" gives this way to write them plainly.
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
    # The vendor's guide asks for the right to delete where files are replaced.
    Permission.OVERWRITE: ("s3:PutObject", "s3:DeleteObject"),
}
# Encrypt, Decrypt and GenerateDataKey are what the vendor's guide to SSE-KMS asks for; who only reads needs
# Decrypt.
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
    The policy for the user or role with which the platform uses one location.

    :param location: Where.
    :param purpose: What for; it decides the actions.
    :param kms_key_arn: The key that encrypts the objects there; None when S3's own keys do.
    :param partition: The AWS partition of the bucket.
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
    The statements that grant these permissions at one location, to add where some are missing.

    :param permissions: What is to be granted; at most three statements come of it.
    :param location: Where.
    :param kms_key_arn: The key that encrypts the objects there; None when S3's own keys do.
    :param partition: The AWS partition of the bucket.
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
    The statement to add to a KMS key's own policy, without which the identity's policy is not enough.

    AWS docs: KMS developer guide, "Key policies in AWS KMS": unless the key policy names the account or the principal,
    IAM policies on the key have no effect.

    :param principal_arn: The user or role that uses the key.
    :param permissions: What it may do at the locations whose objects the key encrypts.
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
    The trust policy of the role that the platform assumes.

    :param external_id: The passphrase that the platform must present; several while one replaces another. It
        stands in the document, which is therefore as secret as the external ID.
    :param lightly_account_id: The platform's AWS account.
    :param partition: The AWS partition of the role.
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
    """The actions on objects that these permissions take."""
    return _actions(_OBJECT_ACTIONS, granted)


def kms_actions(granted: frozenset[Permission]) -> list[str]:
    """The actions on a KMS key that these permissions take where it encrypts the objects."""
    return _actions(_KMS_ACTIONS, granted)


def plain(prefix: str) -> str:
    """A prefix as a policy's resources and conditions must spell it, so that it means itself."""
    return re.sub(_POLICY_SIGN, lambda sign: "${" + sign.group() + "}", prefix)


def _actions(table: Mapping[Permission, tuple[str, ...]], granted: frozenset[Permission]) -> list[str]:
    return list(
        dict.fromkeys(action for permission in Permission if permission in granted for action in table[permission])
    )
