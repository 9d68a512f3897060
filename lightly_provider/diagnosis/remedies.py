"""
What to do about each cause, with the exact statement where a policy is to be changed, or the exact command. Pure.

Sources: AWS docs: "Troubleshoot access denied error messages" and "Policy evaluation logic" of the IAM user
guide; "Allowing users in other accounts to use a KMS key" of the KMS developer guide; AWS CLI command reference; the
vendor's guide to delegated access (external ID, session of 12 hours).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.aws.policies import (
    LIGHTLY_ACCOUNT_ID,
    ROLE_SESSION_SECONDS,
    Statement,
    statements_for,
    trust_policy,
)
from lightly_provider.contract import Permission
from lightly_provider.diagnosis.denials import Cause
from lightly_provider.diagnosis.denying_policies import DENYING, without_the_deny
from lightly_provider.diagnosis.findings import PolicyChange, Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.diagnosis.denials import Denial
    from lightly_provider.diagnosis.target import Place

_EXTERNAL_ID_PLACE = "<external ID of the datasource>"
_ACCESS_KEY_PLACE = "<access key ID of the datasource>"
_ACTIONS = {
    Permission.LIST: "s3:ListBucket",
    Permission.READ: "s3:GetObject",
    Permission.WRITE: "s3:PutObject",
    Permission.OVERWRITE: "s3:PutObject and s3:DeleteObject",
}


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
    is_explicit = (denial and denial.explicit) or cause in (Cause.EXPLICIT_DENY, Cause.BUCKET_POLICY)
    if is_explicit and cause in DENYING:
        return without_the_deny(DENYING[cause], action, denial, place)
    if cause in (Cause.CANNOT_ASSUME, Cause.TRUST_POLICY, Cause.WRONG_EXTERNAL_ID):
        return trust_remedy(cause, place)
    if cause in (Cause.KMS_RIGHT, Cause.KMS_KEY_POLICY):
        return _kms(denial, wanted, place)
    if cause in _BY_COMMAND:
        return _BY_COMMAND[cause](denial, place)
    if cause is Cause.NO_SUCH_BUCKET:
        return Remedy(f"Check the name {place.location.bucket!r}, or create the bucket.")
    allowed = tuple(statements_for(wanted, place.location, kms_key_arn=place.kms_key_arn, partition=place.partition))
    if cause in (Cause.BOUNDARY, Cause.ORGANIZATION, Cause.SESSION_POLICY, Cause.VPC_ENDPOINT):
        outer = (
            f"The {cause} stands in the way, and no statement in the identity's own policy outweighs it: it must "
            f"allow {action} on {place.objects_arn} to {place.access}."
        )
        known = place.surroundings.boundary_arn if cause is Cause.BOUNDARY else None
        return Remedy(outer, changes=(PolicyChange(f"{cause} {known}", allowed),) if known else ())
    if cause is Cause.BUCKET_POLICY_ALLOW:
        for_bucket = tuple({**one, "Principal": {"AWS": place.principal}} for one in allowed)
        return Remedy(
            "The bucket belongs to another account, whose bucket policy must allow it too.",
            statements=allowed,
            identity=place.identity,
            changes=(PolicyChange(f"policy of bucket {place.location.bucket}", for_bucket),),
        )
    return Remedy(statements=allowed, identity=place.identity)


_SENTENCES = {
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
    Cause.KMS_NO_SUCH_KEY: (
        "There is no such KMS key in the bucket's region: configure the datasource with the ARN of a key that is there."
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


def trust_remedy(cause: Cause | None, place: Place) -> Remedy:
    """
    What a role's trust policy must say. The external ID in it is a placeholder.

    :param cause: What is wrong; None: it asks for no external ID.
    :param place: The role.
    """
    statements = tuple(trust_policy(_EXTERNAL_ID_PLACE, partition=place.partition)["Statement"])
    texts = {
        Cause.WRONG_EXTERNAL_ID: "The external ID in the role's trust policy is not the datasource's: write the same "
        "into both.",
        Cause.TRUST_POLICY: f"The role's trust policy does not let Lightly's account {LIGHTLY_ACCOUNT_ID} assume it.",
        Cause.CANNOT_ASSUME: "Lightly cannot assume the role: the role must exist, and its trust policy must let the "
        f"account {LIGHTLY_ACCOUNT_ID} do sts:AssumeRole with exactly this external ID.",
        None: "The role must ask for the external ID, or any customer of Lightly's could name it.",
    }
    change = PolicyChange(
        f"trust policy of role {place.role_name}", statements, instead_of=f"what is about account {LIGHTLY_ACCOUNT_ID}"
    )
    return Remedy(texts[cause], changes=(change,))


def _session(_: Denial | None, place: Place) -> Remedy:
    return Remedy(
        "Set the role's maximum session duration to 12 hours, which Lightly asks for.",
        commands=(f"aws iam update-role --role-name {place.role_name} --max-session-duration {ROLE_SESSION_SECONDS}",),
    )


def _region(denial: Denial | None, _: Place) -> Remedy:
    its = f"region={denial.region!r}" if denial and denial.region else "the bucket's own region"
    return Remedy(f"The bucket lies in another region: configure the datasource with {its}.")


def _access_key(_: Denial | None, place: Place) -> Remedy:
    owner = place.surroundings.owner_of_inactive_key
    switch_on = (
        f"aws iam update-access-key --user-name {owner or '<user>'} --access-key-id '{_ACCESS_KEY_PLACE}' "
        "--status Active"
    )
    another = "put the IAM user's present key into the AWS connection, and configure the datasource again"
    if owner:
        return Remedy(f"The access key of user {owner} is inactive: switch it on, or {another}.", commands=(switch_on,))
    return Remedy(
        f"The access key does not exist or is not active: {another}. Where aws iam list-access-keys shows it as "
        f"inactive, this switches it on: {switch_on}."
    )


def _disabled_key(denial: Denial | None, place: Place) -> Remedy:
    key_arn = _named_key(denial) or place.kms_key_arn or "<ARN of the KMS key>"
    parts = key_arn.split(":")
    region = f" --region {parts[3]}" if len(parts) > 3 else ""
    named = f"--key-id {key_arn}{region}" if region else f"--key-id '{key_arn}'"
    is_dying = denial is not None and "pending deletion" in denial.text
    # AWS docs: KMS API reference, CancelKeyDeletion: the key is disabled then.
    first = (f"aws kms cancel-key-deletion {named}",) if is_dying else ()
    return Remedy(
        "The KMS key is disabled or pending deletion, so nobody can read what it encrypts.",
        commands=(*first, f"aws kms enable-key {named}"),
    )


def _payer(_: Denial | None, place: Place) -> Remedy:
    return Remedy(
        "The bucket lets the requester pay, and Lightly's requests do not offer to: let the bucket's owner pay, or "
        "copy the files into a bucket of your own.",
        commands=(
            f"aws s3api put-bucket-request-payment --bucket {place.location.bucket} "
            "--request-payment-configuration Payer=BucketOwner",
        ),
    )


_BY_COMMAND = {
    Cause.SHORT_SESSION: _session,
    Cause.WRONG_REGION: _region,
    Cause.UNKNOWN_ACCESS_KEY: _access_key,
    Cause.KMS_KEY_DISABLED: _disabled_key,
    Cause.REQUESTER_PAYS: _payer,
}


def _named_key(denial: Denial | None) -> str | None:
    return denial.resource if denial and denial.resource and ":kms:" in denial.resource else None


def _kms(denial: Denial | None, permissions: list[Permission], place: Place) -> Remedy:
    named = _named_key(denial)
    key_arn = named or place.kms_key_arn or "<the ARN of the KMS key that encrypts the objects>"
    statements = statements_for(permissions, place.location, kms_key_arn=key_arn, partition=place.partition)
    for_identity = [one for one in statements if str(one["Action"][0]).startswith("kms:")]
    if not for_identity:
        for_identity = [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [key_arn]}]
    for_key: tuple[Statement, ...] = tuple(
        # AWS docs: KMS, "Key policies": in a key's own policy "*" is this key.
        {
            "Sid": "AllowLightly",
            "Effect": "Allow",
            "Principal": {"AWS": place.principal},
            "Action": one["Action"],
            "Resource": "*",
        }
        for one in for_identity
    )
    which = f"the KMS key {key_arn}" if named or place.kms_key_arn else "a KMS key"
    return Remedy(
        f"The objects are encrypted with {which}, which both the identity's policy and the key's own must allow.",
        statements=tuple(for_identity),
        identity=place.identity,
        changes=(PolicyChange(f"policy of KMS key {key_arn}", for_key),),
    )
