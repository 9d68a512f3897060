"""
Checks with Airflow's own identity whether the role that Lightly assumes exists, trusts Lightly and has the required
permissions.

IAM's simulator does not evaluate resource-based policies for roles (AWS docs: IAM API reference,
SimulatePrincipalPolicy). So the bucket policy and the KMS keys are read as far as Airflow's own identity may, and their
content leads to a warning, never to a verdict: within one account a key policy that names the role is enough, and only
AWS knows which requests match a bucket policy's conditions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID, ROLE_SESSION_SECONDS, Statement
from lightly_provider.contract import Permission
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.denying_statements import denies_request
from lightly_provider.diagnosis.failures import Failure, failure_of
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import Remedy, as_json
from lightly_provider.diagnosis.target import PolicyOf
from lightly_provider.diagnosis.trust import judge_trust

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lightly_provider.diagnosis.target import Target

_ACTIONS: Mapping[Permission, tuple[str, ...]] = {
    Permission.LIST: ("s3:ListBucket",),
    Permission.READ: ("s3:GetObject",),
    Permission.WRITE: ("s3:PutObject",),
    Permission.OVERWRITE: ("s3:PutObject", "s3:DeleteObject"),
}


def inspect_role(
    iam: Any, sts: Any, target: Target, external_id: str | None, permissions: Collection[Permission]
) -> list[Finding]:
    """
    Inspect the role with which Lightly accesses a location.

    :param iam: A boto3 IAM client of Airflow's own identity.
    :param sts: A boto3 STS client of the same identity.
    :param target: The role and the location.
    :param external_id: The external ID that the platform presents; None if unknown. It is compared and never shown.
    :param permissions: The required permissions.
    :return: A finding for the role, and one for each permission; UNKNOWN with the reason if Airflow lacks access.
    """
    role_arn = target.role_arn or ""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    try:
        own = str(sts.get_caller_identity()["Account"])
        if own != account:
            why = f"the role lies in account {account}, and Airflow's identity in {own}, so it cannot be looked at"
            return [Finding("role", Status.UNKNOWN, why)]
        role = iam.get_role(RoleName=name)["Role"]
    except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
        return [_not_seen(failure_of(raised), target)]
    return [_role(role, target, external_id), *_simulate(iam, target, permissions, role)]


def _not_seen(failure: Failure, target: Target) -> Finding:
    if failure.cause is Cause.NO_SUCH_ROLE:
        said = f"there is no role {target.role_arn}"
        return Finding("role", Status.FAIL, said, failure)
    if not failure.is_refusal:
        said = f"AWS could not be asked ({failure.cause}: {failure.text})"
        return Finding("role", Status.UNKNOWN, said, failure)
    statement = {
        "Effect": "Allow",
        "Action": ["iam:GetRole", "iam:SimulatePrincipalPolicy"],
        "Resource": target.role_arn,
    }
    return Finding(
        "role",
        Status.UNKNOWN,
        f"Airflow's own identity may not look at the role ({failure.text or failure.cause})",
        failure,
        _let_airflow(statement),
    )


def _let_airflow(statement: Statement) -> Remedy:
    return Remedy((f"To let Airflow look, add to its own policy: {as_json([statement])}",))


def _role(role: Mapping[str, Any], target: Target, external_id: str | None) -> Finding:
    if role["Arn"] != target.role_arn:
        failure = Failure(Cause.NO_SUCH_ROLE, text=f"the role of this name is {role['Arn']}")
        return Finding("role", Status.FAIL, failure.text, failure)
    document = role["AssumeRolePolicyDocument"]
    trust = judge_trust(json.loads(unquote(document)) if isinstance(document, str) else document, external_id)
    if trust.cause:
        said = str(trust.cause) if not trust.explicit else f"its trust policy denies account {LIGHTLY_ACCOUNT_ID}"
        cause = Cause.TRUST_DENIED if trust.denies_others else trust.cause
        return Finding("role", Status.FAIL, said, Failure(cause, explicit=trust.explicit))
    seconds = int(role.get("MaxSessionDuration", 3600))
    if seconds < ROLE_SESSION_SECONDS:
        said = f"its sessions may last {seconds / 3600:g} h, and Lightly asks for 12 h"
        return Finding("role", Status.FAIL, said, Failure(Cause.SHORT_SESSION))
    parts = [f"trusts Lightly's account {LIGHTLY_ACCOUNT_ID}", "12 h"]
    if boundary := role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"):
        parts.append(f"permissions boundary {boundary}")
    if trust.other_conditions:
        parts.append(f"under conditions that only AWS can judge: {', '.join(trust.other_conditions)}")
        return Finding("role", Status.UNKNOWN, ", ".join(parts))
    if not trust.asks_for_external_id:
        parts.insert(1, "but asks for no external ID, so that any customer of Lightly's could name this role")
        return Finding("role", Status.WARN, ", ".join(parts), Failure(Cause.NO_EXTERNAL_ID))
    parts.insert(1, "with this external ID" if external_id else "with an external ID")
    return Finding("role", Status.PASS, ", ".join(parts))


def _simulate(iam: Any, target: Target, permissions: Collection[Permission], role: Mapping[str, Any]) -> list[Finding]:
    location, bucket_arn = target.location, f"arn:{target.partition}:s3:::{target.location.bucket}"
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
        except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
            return [*findings, _cannot_simulate(permission, failure_of(raised), target)]
        findings.append(_simulated(permission, results))
    return findings


def _cannot_simulate(permission: Permission, failure: Failure, target: Target) -> Finding:
    statement = {"Effect": "Allow", "Action": ["iam:SimulatePrincipalPolicy"], "Resource": target.role_arn}
    return Finding(
        permission,
        Status.UNKNOWN,
        f"Airflow's own identity may not ask IAM's simulator ({failure.text or failure.cause})",
        failure,
        _let_airflow(statement) if failure.is_refusal else None,
    )


def _simulated(permission: Permission, results: Any) -> Finding:
    denied = [result for result in results if result["EvalDecision"] != "allowed"]
    if not denied:
        return Finding(permission, Status.PASS, "allowed by the role's policies, as IAM simulates them")
    # AWS docs: IAM API reference, EvaluationResult: if the request names resources, the details are per resource.
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
    failure = Failure(cause, action=action, explicit=explicit, text=f"{action}, as IAM simulates the role's policies")
    return Finding(permission, Status.FAIL, f"{cause}: {failure.text}", failure)


_SHOWN_STATEMENTS = 3
_USES = {
    Permission.READ: ("kms:Decrypt", "the first file is encrypted with"),
    Permission.WRITE: ("kms:GenerateDataKey", "Lightly is to encrypt with"),
}


def keys_in_use(s3: Any, target: Target, permissions: Collection[Permission]) -> dict[Permission, str]:
    """
    Return the customer managed KMS keys that Lightly needs at a location, as far as Airflow's own identity can see.

    :param s3: A boto3 S3 client of Airflow's own identity.
    :param target: The location, with the key that Lightly encrypts with.
    :param permissions: The required permissions.
    :return: The keys' ARNs by the permission that needs them.
    """
    keys = {}
    if Permission.READ in permissions and (key_arn := _key_of_first_file(s3, target)):
        keys[Permission.READ] = key_arn
    if Permission.WRITE in permissions and target.kms_key_arn:
        keys[Permission.WRITE] = target.kms_key_arn
    return keys


def inspect_surroundings(
    iam: Any, target: Target, keys: Mapping[Permission, str], permissions: Collection[Permission]
) -> list[Finding]:
    """
    Inspect the bucket policy and the KMS keys of a location that a role must access.

    :param iam: A boto3 IAM client of Airflow's own identity.
    :param target: The role and the location, with the denying statements of the policies around it.
    :param keys: The KMS keys that are needed there, from :func:`keys_in_use`.
    :param permissions: The required permissions.
    :return: Findings for the bucket policy if it denies a required permission, or may, or cannot be read; and one for
        each use of a KMS key that Airflow's identity knows.
    """
    findings = _bucket_policy(target, permissions)
    for permission, key_arn in keys.items():
        findings += _key(iam, target, permission, key_arn)
    return findings


def _bucket_policy(target: Target, permissions: Collection[Permission]) -> list[Finding]:
    if target.surroundings.bucket_policy_is_hidden:
        message = (
            "Airflow's own identity may not read the bucket's policy, which may deny what the role's own allow: "
            "IAM's simulator does not look at it for a role"
        )
        statement = {"Effect": "Allow", "Action": ["s3:GetBucketPolicy"], "Resource": target.bucket_arn}
        return [Finding("bucket", Status.WARN, message, remedy=_let_airflow(statement))]
    actions = dict.fromkeys(action for one in Permission if one in permissions for action in _ACTIONS[one])
    findings, perhaps = [], dict[str, Statement]()
    for action in actions:
        resource = target.resource_of(action)
        denying = {
            as_json([one.statement]): (one.statement, denies_request(one.statement, action, resource, target))
            for one in target.surroundings.denying
            if one.of is PolicyOf.BUCKET
        }
        if any(denies for _, denies in denying.values()):
            failure = Failure(Cause.BUCKET_POLICY, action=action, resource=resource, explicit=True)
            message = (
                f"the bucket's policy has a statement with Effect Deny that covers {action}, which IAM's simulator "
                "does not look at for a role"
            )
            findings.append(Finding("bucket", Status.WARN, message, failure))
        perhaps |= {text: statement for text, (statement, denies) in denying.items() if denies is None}
    if perhaps:
        message = (
            f"the bucket's policy has {len(perhaps)} statement{'s' if len(perhaps) > 1 else ''} with Effect Deny under "
            "conditions that only AWS can judge"
        )
        shown = " ".join(list(perhaps)[:_SHOWN_STATEMENTS])
        advice = f"See that none of them keeps {target.role_arn} out, which no Allow outweighs: {shown}"
        findings.append(Finding("bucket", Status.WARN, message, remedy=Remedy((advice,))))
    return findings


def _key_of_first_file(s3: Any, target: Target) -> str | None:
    """Return the customer managed KMS key of the location's first file; None if there is none or it is not visible."""
    bucket = target.location.bucket
    try:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=target.location.prefix, MaxKeys=10).get("Contents", [])
        first = next((entry["Key"] for entry in listed if not entry["Key"].endswith("/")), None)
        if first is None:
            return None
        head = s3.head_object(Bucket=bucket, Key=first)
    except Exception:  # noqa: BLE001  (what Airflow's identity may not see is left out)
        return None
    encrypted = head.get("ServerSideEncryption") in ("aws:kms", "aws:kms:dsse")
    key_arn = str(head.get("SSEKMSKeyId") or "")
    return key_arn if encrypted and key_arn.startswith("arn:") else None


def _key(iam: Any, target: Target, permission: Permission, key_arn: str) -> list[Finding]:
    action, use = _USES[permission]
    try:
        results = iam.simulate_principal_policy(
            PolicySourceArn=target.role_arn, ActionNames=[action], ResourceArns=[key_arn]
        )["EvaluationResults"]
    except Exception:  # noqa: BLE001  (the permissions' own findings say that the simulator may not be asked)
        return []
    by_key = Failure(Cause.KMS_KEY_POLICY, action=action, resource=key_arn, explicit=True)
    if any(
        one.of is PolicyOf.KEY and denies_request(one.statement, action, key_arn, target) is not False
        for one in target.surroundings.denying
    ):
        message = f"{use} {key_arn}, whose own policy has a statement with Effect Deny that may be about the role"
        return [Finding("key", Status.WARN, message, by_key, needs=(permission,))]
    if all(result["EvalDecision"] == "allowed" for result in results):
        message = f"{use} {key_arn}; the role's policies allow {action} (whether the key's own does is not known here)"
        return [Finding("key", Status.PASS, message)]
    failure = Failure(Cause.KMS_RIGHT, action=action, resource=key_arn, text=f"{action} on {key_arn}")
    message = f"{use} {key_arn}, and the role's policies do not allow {action}: it takes the key's own policy to do so"
    return [Finding("key", Status.WARN, message, failure, needs=(permission,))]
