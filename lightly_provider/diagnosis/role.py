"""
Whether the role that Lightly assumes exists, trusts Lightly and is allowed what it needs,
as far as Airflow's own identity can see.

IAM's simulator does not evaluate resource-based policies for roles (AWS docs: IAM API reference,
SimulatePrincipalPolicy). So the bucket policy and the KMS keys are read as far as Airflow's own identity may, and what
they hold is a warning, never a verdict: within one account a key policy that names the role is enough, and only AWS
knows which requests a bucket policy's conditions match.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID, ROLE_SESSION_SECONDS
from lightly_provider.aws.policy_documents import covers, means
from lightly_provider.contract import Permission
from lightly_provider.diagnosis.denials import Cause, Denial, denial_of
from lightly_provider.diagnosis.findings import Finding, Remedy, Status
from lightly_provider.diagnosis.remedies import remedy_for, trust_remedy
from lightly_provider.diagnosis.target import PolicyOf
from lightly_provider.diagnosis.trust import judge_trust

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.diagnosis.target import Place

_ACTIONS: Mapping[Permission, tuple[str, ...]] = {
    Permission.LIST: ("s3:ListBucket",),
    Permission.READ: ("s3:GetObject",),
    Permission.WRITE: ("s3:PutObject",),
    Permission.OVERWRITE: ("s3:PutObject", "s3:DeleteObject"),
}


def inspect_role(
    iam: Any, sts: Any, place: Place, external_id: str | None, permissions: Collection[Permission]
) -> list[Finding]:
    """
    Look at the role with which Lightly reaches a location.

    :param iam: A boto3 IAM client of Airflow's own identity.
    :param sts: A boto3 STS client of the same.
    :param place: The role and the location.
    :param external_id: What the platform presents; None if it is not known. It is compared and never repeated.
    :param permissions: What is needed there.
    :return: A finding for the role, and one for each permission; UNKNOWN with the reason where Airflow may not look.
    """
    role_arn = place.role_arn or ""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    try:
        own = str(sts.get_caller_identity()["Account"])
        if own != account:
            why = f"the role lies in account {account}, and Airflow's identity in {own}, so it cannot be looked at"
            return [Finding("role", Status.UNKNOWN, why)]
        role = iam.get_role(RoleName=name)["Role"]
    except Exception as failure:  # noqa: BLE001  (whatever botocore raises is the finding)
        return [_not_seen(denial_of(failure), place)]
    return [_role(role, place, external_id), *_simulate(iam, place, permissions, role)]


def _not_seen(denial: Denial, place: Place) -> Finding:
    if denial.cause is Cause.NO_SUCH_ROLE:
        said = f"there is no role {place.role_arn}"
        return Finding("role", Status.FAIL, said, denial, remedy_for(denial, (), place))
    if denial.cause in (Cause.CLOCK_SKEW, Cause.NO_ANSWER, Cause.BUSY):
        said = f"AWS could not be asked ({denial.cause}: {denial.text})"
        return Finding("role", Status.UNKNOWN, said, denial, remedy_for(denial, (), place))
    statement = {
        "Effect": "Allow",
        "Action": ["iam:GetRole", "iam:SimulatePrincipalPolicy"],
        "Resource": place.role_arn,
    }
    return Finding(
        "role",
        Status.UNKNOWN,
        f"Airflow's own identity may not look at the role ({denial.text or denial.cause})",
        denial,
        Remedy(f"To let Airflow look, add to its own policy: {json.dumps(statement, separators=(',', ':'))}"),
    )


def _role(role: Mapping[str, Any], place: Place, external_id: str | None) -> Finding:
    if role["Arn"] != place.role_arn:
        denial = Denial(Cause.NO_SUCH_ROLE, text=f"the role of this name is {role['Arn']}")
        return Finding("role", Status.FAIL, denial.text, denial, remedy_for(denial, (), place))
    document = role["AssumeRolePolicyDocument"]
    trust = judge_trust(json.loads(unquote(document)) if isinstance(document, str) else document, external_id)
    if trust.cause:
        said = str(trust.cause) if not trust.explicit else f"its trust policy denies account {LIGHTLY_ACCOUNT_ID}"
        denial = Denial(trust.cause, explicit=trust.explicit)
        return Finding("role", Status.FAIL, said, denial, remedy_for(denial, (), place))
    seconds = int(role.get("MaxSessionDuration", 3600))
    if seconds < ROLE_SESSION_SECONDS:
        denial = Denial(Cause.SHORT_SESSION)
        said = f"its sessions may last {seconds / 3600:g} h, and Lightly asks for 12 h"
        return Finding("role", Status.FAIL, said, denial, remedy_for(denial, (), place))
    parts = [f"trusts Lightly's account {LIGHTLY_ACCOUNT_ID}", "12 h"]
    if boundary := role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"):
        parts.append(f"permissions boundary {boundary}")
    if trust.other_conditions:
        parts.append(f"under conditions that only AWS can judge: {', '.join(trust.other_conditions)}")
        return Finding("role", Status.UNKNOWN, ", ".join(parts))
    if not trust.asks_for_external_id:
        parts.insert(1, "but asks for no external ID, so that any customer of Lightly's could name this role")
        return Finding("role", Status.WARN, ", ".join(parts), remedy=trust_remedy(None, place))
    parts.insert(1, "with this external ID" if external_id else "with an external ID")
    return Finding("role", Status.PASS, ", ".join(parts))


def _simulate(iam: Any, place: Place, permissions: Collection[Permission], role: Mapping[str, Any]) -> list[Finding]:
    location, bucket_arn = place.location, f"arn:{place.partition}:s3:::{place.location.bucket}"
    findings = []
    for permission in Permission:
        if permission not in permissions:
            findings.append(Finding(permission, Status.SKIP, "not needed here"))
            continue
        listing = permission is Permission.LIST
        context = [{"ContextKeyName": "s3:prefix", "ContextKeyValues": [location.prefix], "ContextKeyType": "string"}]
        try:
            results = iam.simulate_principal_policy(
                PolicySourceArn=role["Arn"],
                ActionNames=list(_ACTIONS[permission]),
                ResourceArns=[bucket_arn if listing else f"{bucket_arn}/{location.prefix}.lightly/verify"],
                ContextEntries=context if listing else [],
            )["EvaluationResults"]
        except Exception as failure:  # noqa: BLE001  (whatever botocore raises is the finding)
            return [*findings, _cannot_simulate(permission, denial_of(failure), place)]
        findings.append(_simulated(permission, results, place))
    return findings


def _cannot_simulate(permission: Permission, denial: Denial, place: Place) -> Finding:
    statement = {"Effect": "Allow", "Action": ["iam:SimulatePrincipalPolicy"], "Resource": place.role_arn}
    return Finding(
        permission,
        Status.UNKNOWN,
        f"Airflow's own identity may not ask IAM's simulator ({denial.text or denial.cause})",
        denial,
        Remedy(f"To let it, add to Airflow's own policy: {json.dumps(statement, separators=(',', ':'))}"),
    )


def _simulated(permission: Permission, results: Any, place: Place) -> Finding:
    denied = [result for result in results if result["EvalDecision"] != "allowed"]
    if not denied:
        return Finding(permission, Status.PASS, "allowed by the role's policies, as IAM simulates them")
    # AWS docs: IAM API reference, EvaluationResult: with resources named, the details stand beside each of them.
    details = [part for result in denied for part in (result, *result.get("ResourceSpecificResults", ()))]
    missing = [name for part in details for name in part.get("MissingContextValues", ())]
    action = denied[0]["EvalActionName"]
    if missing:
        return Finding(permission, Status.UNKNOWN, f"{action} depends on {', '.join(dict.fromkeys(missing))}")
    explicit = any(result["EvalDecision"] == "explicitDeny" for result in denied)
    boundary = all(
        part.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary", True) for part in details
    )
    organization = all(
        part.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True) for part in details
    )
    cause = Cause.EXPLICIT_DENY if explicit else Cause.MISSING_ALLOW
    if not organization:
        cause = Cause.ORGANIZATION
    elif not boundary:
        cause = Cause.BOUNDARY
    denial = Denial(cause, action=action, explicit=explicit, text=f"{action}, as IAM simulates the role's policies")
    said = f"{cause}: {denial.text}"
    return Finding(permission, Status.FAIL, said, denial, remedy_for(denial, [permission], place))


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
