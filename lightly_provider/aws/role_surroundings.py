"""
What stands around a location that IAM's simulator does not see for a role: the bucket's policy, and the KMS keys.

AWS docs, IAM API reference, SimulatePrincipalPolicy: resource-based policies are not simulated for roles. So Airflow's
own identity reads what it may, and what it finds is a warning, never a verdict: within one account a key's policy that
names the role is enough, and who is meant by a bucket policy's conditions is only known to AWS.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.denials import Cause, Denial
from lightly_provider.aws.findings import Finding, Status
from lightly_provider.aws.fixes import Remedy
from lightly_provider.aws.place import PolicyOf
from lightly_provider.aws.policies import Permission
from lightly_provider.aws.policy_documents import covers, means
from lightly_provider.aws.remedies import remedy_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.aws.place import Place

_SHOWN_STATEMENTS = 3
_USES = {
    Permission.READ: ("kms:Decrypt", "the first file is encrypted with"),
    Permission.WRITE: ("kms:GenerateDataKey", "Lightly is to encrypt with"),
}


def keys_in_use(s3: Any, place: Place, permissions: Collection[Permission]) -> dict[Permission, str]:
    """
    The customer's KMS keys that Lightly needs at a location, as far as Airflow's own identity sees.

    :param s3: A boto3 S3 client of Airflow's own identity.
    :param place: The location, with the key that Lightly is to encrypt with.
    :param permissions: What is needed there.
    :return: The keys' ARNs, by the permission that needs them.
    """
    keys = {}
    if Permission.READ in permissions and (key_arn := _key_of_first_file(s3, place)):
        keys[Permission.READ] = key_arn
    if Permission.WRITE in permissions and place.kms_key_arn:
        keys[Permission.WRITE] = place.kms_key_arn
    return keys


def inspect_surroundings(iam: Any, place: Place, keys: Mapping[Permission, str]) -> list[Finding]:
    """
    Look at the bucket's policy and at the KMS keys of a location that a role is to reach.

    :param iam: A boto3 IAM client of Airflow's own identity.
    :param place: The role and the location, with the statements around it that deny something.
    :param keys: The KMS keys that are needed there, by :func:`keys_in_use`.
    :return: A finding for the bucket's policy if it denies something, or may not be read, and one for each use of a KMS
        key that Airflow's identity knows of.
    """
    findings = _bucket_policy(place)
    for permission, key_arn in keys.items():
        findings += _key(iam, place, permission, key_arn)
    return findings


def _bucket_policy(place: Place) -> list[Finding]:
    denying = [
        one.statement
        for one in place.surroundings.denying
        if one.of is PolicyOf.BUCKET and means(one.statement, place.principal)
    ]
    if place.surroundings.bucket_policy_is_hidden:
        message = (
            "Airflow's own identity may not read the bucket's policy, which may deny what the role's own allow: "
            "IAM's simulator does not look at it for a role"
        )
        statement = {"Effect": "Allow", "Action": ["s3:GetBucketPolicy"], "Resource": place.bucket_arn}
        advice = f"To let Airflow look, add to its own policy: {json.dumps(statement, separators=(',', ':'))}"
        return [Finding("bucket", Status.WARN, message, remedy=Remedy(advice))]
    if not denying:
        return []
    shown = [json.dumps(statement, separators=(",", ":")) for statement in denying[:_SHOWN_STATEMENTS]]
    message = (
        f"the bucket's policy has {len(denying)} statement{'s' if len(denying) > 1 else ''} with Effect Deny, which "
        "IAM's simulator does not look at for a role"
    )
    advice = f"See that none of them keeps {place.role_arn} out, which no Allow outweighs: {' '.join(shown)}"
    return [Finding("bucket", Status.WARN, message, remedy=Remedy(advice))]


def _key_of_first_file(s3: Any, place: Place) -> str | None:
    """The customer's KMS key that encrypts the first file of the location; None if none does, or none is to be seen."""
    bucket = place.location.bucket
    try:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=place.location.prefix, MaxKeys=10).get("Contents", [])
        first = next((entry["Key"] for entry in listed if not entry["Key"].endswith("/")), None)
        if first is None:
            return None
        head = s3.head_object(Bucket=bucket, Key=first)
    except Exception:  # noqa: BLE001  (what Airflow's identity may not see, it does not tell)
        return None
    encrypted = head.get("ServerSideEncryption") in ("aws:kms", "aws:kms:dsse")
    key_arn = str(head.get("SSEKMSKeyId") or "")
    return key_arn if encrypted and key_arn.startswith("arn:") else None


def _key(iam: Any, place: Place, permission: Permission, key_arn: str) -> list[Finding]:
    action, use = _USES[permission]
    try:
        results = iam.simulate_principal_policy(
            PolicySourceArn=place.role_arn, ActionNames=[action], ResourceArns=[key_arn]
        )["EvaluationResults"]
    except Exception:  # noqa: BLE001  (the permissions' own findings say that the simulator may not be asked)
        return []
    by_key = Denial(Cause.KMS_KEY_POLICY, action=action, resource=key_arn, explicit=True)
    if any(
        one.of is PolicyOf.KEY and covers(one.statement, action, key_arn) and means(one.statement, place.principal)
        for one in place.surroundings.denying
    ):
        message = f"{use} {key_arn}, whose own policy has a statement with Effect Deny that may mean the role"
        return [Finding("key", Status.WARN, message, by_key, remedy_for(by_key, [permission], place))]
    if all(result["EvalDecision"] == "allowed" for result in results):
        message = f"{use} {key_arn}; the role's policies allow {action} (whether the key's own does is not known here)"
        return [Finding("key", Status.PASS, message)]
    denial = Denial(Cause.KMS_RIGHT, action=action, resource=key_arn, text=f"{action} on {key_arn}")
    message = f"{use} {key_arn}, and the role's policies do not allow {action}: it takes the key's own policy to do so"
    return [Finding("key", Status.WARN, message, denial, remedy_for(denial, [permission], place))]
