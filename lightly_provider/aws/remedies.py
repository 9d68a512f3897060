"""
What to do about each cause, with the exact statement where a policy is to be changed. Pure.

Sources: AWS docs: "Troubleshoot access denied error messages" and "Policy evaluation logic" of the IAM user
guide; "Allowing users in other accounts to use a KMS key" of the KMS developer guide; the vendor's guide to
delegated access (external ID, session of 12 hours).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.denials import Cause
from lightly_provider.aws.policies import (
    LIGHTLY_ACCOUNT_ID,
    ROLE_SESSION_SECONDS,
    Permission,
    Statement,
    statements_for,
    trust_policy,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.aws.denials import Denial
    from lightly_provider.aws.location import S3Location

_EXTERNAL_ID_PLACE = "<the datasource's external ID>"
_ACTIONS = {
    Permission.LIST: "s3:ListBucket",
    Permission.READ: "s3:GetObject",
    Permission.WRITE: "s3:PutObject",
    Permission.OVERWRITE: "s3:PutObject and s3:DeleteObject",
}


@dataclass(frozen=True)
class Place:
    """
    Whose access to what is to be mended.

    :param location: Where.
    :param access: Who, as :meth:`UserAccess.describe` says it.
    :param kms_key_arn: The key that encrypts the objects there; None when S3's own keys do, or unknown.
    :param partition: The AWS partition of the bucket.
    :param region: The region that the datasource has; None if it has none.
    :param role_arn: The role, for delegated access; None for user access.
    :param principal_arn: The ARN of the IAM user, where it is known; None otherwise.
    """

    location: S3Location
    access: str
    kms_key_arn: str | None = None
    partition: str = "aws"
    region: str | None = None
    role_arn: str | None = None
    principal_arn: str | None = None

    @property
    def principal(self) -> str:
        """Whom a resource's policy must name."""
        return self.role_arn or self.principal_arn or "<the ARN of the IAM user whose key it is>"

    @property
    def objects_arn(self) -> str:
        """The ARN of everything there."""
        return f"arn:{self.partition}:s3:::{self.location.bucket}/{self.location.prefix}*"


@dataclass(frozen=True)
class Remedy:
    """
    What to do.

    :param text: A sentence or two; complete without the statements where there are none.
    :param statements: To add to the IAM policy of the user or role.
    :param key_statements: To add to the KMS key's own policy.
    :param trust_statements: To put into the role's trust policy. The external ID in it is a placeholder.
    :param bucket_statements: To put into the bucket policy.
    """

    text: str
    statements: tuple[Statement, ...] = ()
    key_statements: tuple[Statement, ...] = ()
    trust_statements: tuple[Statement, ...] = ()
    bucket_statements: tuple[Statement, ...] = ()

    def lines(self, indent: int | None = None) -> list[str]:
        """The remedy as texts to show, each with its statements as JSON."""
        parts = [self.text] if self.text else []
        for where, statements in (
            ("To the identity's IAM policy add", self.statements),
            ("To the KMS key's policy add", self.key_statements),
            ("In the role's trust policy there must be", self.trust_statements),
            ("In the bucket policy there must be", self.bucket_statements),
        ):
            if statements:
                parts.append(f"{where}: {as_json(statements, indent)}")
        return parts

    def elsewhere(self) -> list[dict[str, Any]]:
        """The statements that belong into other policies than the identity's own, in JSON's own types."""
        parts = (
            ("KMS key policy", self.key_statements),
            ("trust policy", self.trust_statements),
            ("bucket policy", self.bucket_statements),
        )
        return [{"policy": where, "statement": statement} for where, found in parts for statement in found]


def as_json(statements: Iterable[Statement], indent: int | None = None) -> str:
    """Statements as a policy's ``Statement`` member takes them: one alone, several in a list."""
    listed = list(statements)
    value = listed[0] if len(listed) == 1 else listed
    return json.dumps(value, indent=indent, separators=(",", ":") if indent is None else None)


def remedy_for(denial: Denial | None, permissions: Iterable[Permission], place: Place) -> Remedy:
    """
    What to do about a denial.

    :param denial: What AWS said; None if nobody knows, then the statements that are needed.
    :param permissions: What was tried, or is needed.
    :param place: Whose access to what.
    """
    wanted = list(permissions)
    cause = denial.cause if denial else Cause.DENIED
    if cause in _SENTENCES:
        return Remedy(_SENTENCES[cause])
    tried = " and ".join(_ACTIONS[permission] for permission in wanted)
    action = (denial.action if denial else None) or tried
    if cause in (Cause.EXPLICIT_DENY, Cause.BUCKET_POLICY):
        return _without_the_deny(cause, action, place)
    if cause in (Cause.CANNOT_ASSUME, Cause.TRUST_POLICY, Cause.WRONG_EXTERNAL_ID):
        return _trust(cause)
    if cause in (Cause.KMS_RIGHT, Cause.KMS_KEY_POLICY):
        return _kms(denial, wanted, place)
    if cause is Cause.WRONG_REGION:
        of_bucket = f"the bucket's own, {denial.region!r}" if denial and denial.region else "the bucket's own"
        return Remedy(f"The bucket lies in another region: set the datasource's region to {of_bucket}.")
    if cause is Cause.NO_SUCH_BUCKET:
        return Remedy(f"Check the name {place.location.bucket!r}, or create the bucket.")
    if cause is Cause.SHORT_SESSION:
        name = (place.role_arn or "role/<role>").rpartition("/")[2]
        return Remedy(
            "Set the role's maximum session duration to 12 hours, which Lightly asks for: "
            f"aws iam update-role --role-name {name} --max-session-duration {ROLE_SESSION_SECONDS}"
        )
    if cause in (Cause.BOUNDARY, Cause.ORGANIZATION, Cause.SESSION_POLICY, Cause.VPC_ENDPOINT):
        return Remedy(
            f"The {cause} stands in the way, and no statement in the identity's own policy outweighs it: it must "
            f"allow {action} on {place.objects_arn} to {place.access}.",
        )
    allowed = statements_for(wanted, place.location, kms_key_arn=place.kms_key_arn, partition=place.partition)
    if cause is Cause.BUCKET_POLICY_ALLOW:
        return Remedy(
            "The bucket belongs to another account, whose bucket policy must allow it too.",
            statements=tuple(allowed),
            bucket_statements=tuple({**one, "Principal": {"AWS": place.principal}} for one in allowed),
        )
    return Remedy("", statements=tuple(allowed))


_SENTENCES = {
    Cause.UNKNOWN_ACCESS_KEY: (
        "The access key does not exist or is not active: put the IAM user's present key into the AWS connection, and "
        "configure the datasource again."
    ),
    Cause.WRONG_SECRET: (
        "The secret access key does not belong to the access key: correct the AWS connection, and configure the "
        "datasource again."
    ),
    Cause.EXPIRED: (
        "The credentials have expired: put the long-lived key of an IAM user, or a role with an external ID, into the "
        "AWS connection, and configure the datasource again."
    ),
    Cause.CLOCK_SKEW: "The clock of the machine that asked differs from AWS's by more than 15 minutes: set it by NTP.",
    Cause.NO_SUCH_ROLE: (
        "The role does not exist: check its ARN, or create it, and configure the datasource again with what it is."
    ),
    Cause.NO_SUCH_KEY: "The object is not there (any more); nothing is missing in the policies.",
    Cause.KMS_KEY_DISABLED: (
        "The KMS key is disabled or pending deletion, so nobody can read what it encrypts: enable it "
        "(aws kms enable-key, or cancel-key-deletion first)."
    ),
    Cause.KMS_NO_SUCH_KEY: (
        "There is no such KMS key in the bucket's region: configure the datasource with the ARN of a key that is there."
    ),
    Cause.REQUESTER_PAYS: (
        "The bucket lets the requester pay, and Lightly's requests do not offer to: set its payer to the bucket's "
        "owner (aws s3api put-bucket-request-payment), or copy the files into a bucket of your own."
    ),
    Cause.ARCHIVED: (
        "The object lies in an archive (Glacier): restore it, or point the datasource at files that are not archived."
    ),
    Cause.ENDPOINT: (
        "Lightly reaches AWS's own S3 only, and has no field for another endpoint: use a bucket in AWS S3."
    ),
    Cause.SOURCE_RESTRICTED: (
        "The same access works from this worker, so a condition on the network (aws:SourceIp, aws:SourceVpc) is "
        "likely: open the place to Lightly, or run the Lightly Worker inside with "
        'worker_config={"datasource": {"bypass_verify": True}} and verify with bypass_verify=True.'
    ),
    Cause.NO_ANSWER: "AWS did not answer: check the network, the proxy and the endpoint of the AWS connection.",
    Cause.BUSY: "AWS answers that there are too many requests: try again later.",
}


def _without_the_deny(cause: Cause, action: str, place: Place) -> Remedy:
    """How to make an exception: an Allow cannot outweigh a Deny."""
    if cause is Cause.BUCKET_POLICY:
        exempt = {"Condition": {"ArnNotEquals": {"aws:PrincipalArn": place.principal}}}
        return Remedy(
            f"The policy of bucket {place.location.bucket!r} has a statement with Effect Deny that covers {action}, "
            "which no Allow outweighs: remove it, or make an exception in it by adding "
            f"{json.dumps(exempt, separators=(',', ':'))[1:-1]}. A Deny by network (aws:SourceIp, aws:SourceVpc) may "
            "be meant; then verify with bypass_verify=True."
        )
    return Remedy(
        f"A policy of {place.access} has a statement with Effect Deny that covers {action} on {place.objects_arn}, "
        "which no Allow outweighs: remove it, or narrow its Resource."
    )


def _trust(cause: Cause) -> Remedy:
    statements = tuple(trust_policy(_EXTERNAL_ID_PLACE)["Statement"])
    if cause is Cause.WRONG_EXTERNAL_ID:
        return Remedy(
            "The external ID in the role's trust policy is not the datasource's: write the same into both.",
            trust_statements=statements,
        )
    if cause is Cause.TRUST_POLICY:
        return Remedy(
            f"The role's trust policy does not let Lightly's account {LIGHTLY_ACCOUNT_ID} assume it.",
            trust_statements=statements,
        )
    return Remedy(
        f"Lightly cannot assume the role: the role must exist, and its trust policy must let the account "
        f"{LIGHTLY_ACCOUNT_ID} do sts:AssumeRole with exactly this external ID.",
        trust_statements=statements,
    )


def _kms(denial: Denial | None, permissions: list[Permission], place: Place) -> Remedy:
    named = denial.resource if denial and denial.resource and ":kms:" in denial.resource else None
    key_arn = named or place.kms_key_arn or "<the ARN of the KMS key that encrypts the objects>"
    statements = statements_for(permissions, place.location, kms_key_arn=key_arn, partition=place.partition)
    for_identity = [one for one in statements if str(one["Action"][0]).startswith("kms:")]
    if not for_identity:
        for_identity = [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [key_arn]}]
    for_key = [
        {
            "Sid": "AllowLightly",
            "Effect": "Allow",
            "Principal": {"AWS": place.principal},
            "Action": one["Action"],
            # AWS docs: KMS, "Key policies": in a key's own policy "*" is this key.
            "Resource": "*",
        }
        for one in for_identity
    ]
    which = f"the KMS key {key_arn}" if named or place.kms_key_arn else "a KMS key"
    return Remedy(
        f"The objects are encrypted with {which}, which both the identity's policy and the key's own must allow.",
        statements=tuple(for_identity),
        key_statements=tuple(for_key),
    )
