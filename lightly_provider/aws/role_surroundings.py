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
from lightly_provider.aws.policies import Permission
from lightly_provider.aws.remedies import Remedy, remedy_for

if TYPE_CHECKING:
    from collections.abc import Collection

    from lightly_provider.aws.remedies import Place

_SHOWN_STATEMENTS = 3


def inspect_surroundings(iam: Any, s3: Any, place: Place, permissions: Collection[Permission]) -> list[Finding]:
    """
    Look at the bucket's policy and at the KMS keys of a location that a role is to reach.

    :param iam: A boto3 IAM client of Airflow's own identity.
    :param s3: A boto3 S3 client of the same.
    :param place: The role and the location.
    :param permissions: What is needed there.
    :return: A finding for the bucket's policy if it denies something, and one for each use of a KMS key. Nothing where
        Airflow's identity may not look.
    """
    findings = _bucket_policy(s3, place)
    if Permission.READ in permissions and (key_arn := _key_of_first_file(s3, place)):
        findings += _key(iam, place, Permission.READ, "kms:Decrypt", key_arn, "the first file is encrypted with")
    if Permission.WRITE in permissions and place.kms_key_arn:
        findings += _key(
            iam, place, Permission.WRITE, "kms:GenerateDataKey", place.kms_key_arn, "Lightly is to encrypt with"
        )
    return findings


def _bucket_policy(s3: Any, place: Place) -> list[Finding]:
    try:
        policy = json.loads(s3.get_bucket_policy(Bucket=place.location.bucket)["Policy"])
    except Exception:  # noqa: BLE001  (no policy, or no right to see it: nothing to tell)
        return []
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    denying = [statement for statement in statements if statement.get("Effect") == "Deny"]
    if not denying:
        return []
    shown = [json.dumps(statement, separators=(",", ":")) for statement in denying[:_SHOWN_STATEMENTS]]
    message = (
        f"the bucket's policy has {len(denying)} statement{'s' if len(denying) > 1 else ''} with Effect Deny, which "
        "IAM's simulator does not look at for a role"
    )
    advice = f"See that none of them means {place.role_arn}, which no Allow outweighs: {' '.join(shown)}"
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


def _key(iam: Any, place: Place, permission: Permission, action: str, key_arn: str, use: str) -> list[Finding]:
    try:
        results = iam.simulate_principal_policy(
            PolicySourceArn=place.role_arn, ActionNames=[action], ResourceArns=[key_arn]
        )["EvaluationResults"]
    except Exception:  # noqa: BLE001  (the permissions' own findings say that the simulator may not be asked)
        return []
    if all(result["EvalDecision"] == "allowed" for result in results):
        message = f"{use} {key_arn}; the role's policies allow {action} (the key's own policy was not looked at)"
        return [Finding("key", Status.PASS, message)]
    denial = Denial(Cause.KMS_RIGHT, action=action, resource=key_arn, text=f"{action} on {key_arn}")
    message = f"{use} {key_arn}, and the role's policies do not allow {action}: it takes the key's own policy to do so"
    return [Finding("key", Status.WARN, message, denial, remedy_for(denial, [permission], place))]
