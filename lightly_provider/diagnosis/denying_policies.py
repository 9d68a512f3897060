"""
The statement that denies: found in the policies that Airflow's own identity may read, and what to do about it.

No Allow outweighs a Deny, so the statement is removed or gets an exception (AWS docs: IAM user guide, "Policy
evaluation logic", "Conditions with multiple context keys or values", "Troubleshoot access denied error messages").
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lightly_provider.aws.policy_documents import covers, means
from lightly_provider.diagnosis.denials import Cause, denial_of
from lightly_provider.diagnosis.findings import PolicyChange, Remedy
from lightly_provider.diagnosis.target import DenyingStatement, PolicyOf, Surroundings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from lightly_provider.aws.policies import Statement
    from lightly_provider.diagnosis.denials import Denial
    from lightly_provider.diagnosis.target import Place

# Causes behind which there is a statement, a boundary or a key to be found.
TRACEABLE = frozenset(
    {Cause.EXPLICIT_DENY, Cause.BUCKET_POLICY, Cause.BOUNDARY, Cause.KMS_KEY_POLICY, Cause.UNKNOWN_ACCESS_KEY}
)


def look_around(
    clients: Mapping[str, Any],
    place: Place,
    denials: Collection[Denial],
    *,
    key_arns: Collection[str] = (),
    access_key_id: str | None = None,
) -> Surroundings:
    """
    Read what stands behind denials.

    :param clients: boto3 clients of an identity that may perhaps read policies: ``iam``, ``s3``, ``kms``.
    :param place: Whose access to what was denied.
    :param denials: What AWS refused. For a role the bucket's policy is read anyhow, as IAM's simulator does not see it.
    :param key_arns: KMS keys whose policies are read, beside those that denied something.
    :param access_key_id: The IAM user's key, for user access; None otherwise.
    """
    causes = {denial.cause for denial in denials}
    iam, denying, boundary_arn, owner, is_hidden = clients["iam"], [], None, None, False
    kind, name = _kind_and_name(place)
    if name and Cause.BOUNDARY in causes:
        boundary_arn = _boundary(iam, kind, name)
        denying += (
            _found(PolicyOf.BOUNDARY, _managed(iam, boundary_arn, "permissions boundary", "")) if boundary_arn else []
        )
    if name and Cause.EXPLICIT_DENY in causes:
        denying += _found(PolicyOf.IDENTITY, _of_identity(iam, kind, name))
    if place.role_arn or Cause.BUCKET_POLICY in causes:
        policies, is_hidden = _bucket_policy(clients["s3"], place.location.bucket)
        denying += _found(PolicyOf.BUCKET, policies)
    for key_arn in dict.fromkeys([*key_arns, *_keys_that_deny(denials)]):
        denying += _found(PolicyOf.KEY, _of_key(clients["kms"], key_arn))
    if access_key_id and Cause.UNKNOWN_ACCESS_KEY in causes:
        owner = _owner_if_inactive(iam, access_key_id)
    return Surroundings(tuple(denying), boundary_arn, owner, is_hidden)


# A policy's name in a sentence, its document, and the command that takes the whole policy away.
_Policy = tuple[str, Any, str]


def _found(of: PolicyOf, policies: Iterable[_Policy]) -> list[DenyingStatement]:
    found: list[DenyingStatement] = []
    with suppress(Exception):  # what may not be read is not told
        for name, document, removal in policies:
            statements = _statements(document)
            whole = removal if len(statements) == 1 or ":iam::aws:policy/" in removal else ""
            found += [DenyingStatement(of, name, one, whole) for one in statements if one.get("Effect") == "Deny"]
    return found


def _statements(document: Any) -> list[Statement]:
    read = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = read.get("Statement") or []
    return statements if isinstance(statements, list) else [statements]


def _kind_and_name(place: Place) -> tuple[str, str | None]:
    if place.role_arn:
        return "role", place.role_name
    kind, _, path = (place.principal_arn or "").rpartition(":")[2].partition("/")
    return "user", path.rpartition("/")[2] if kind == "user" else None


def _boundary(iam: Any, kind: str, name: str) -> str | None:
    with suppress(Exception):  # as above
        entity = _ask(iam, f"get_{kind}", **{f"{kind.title()}Name": name})[kind.title()]
        return str(entity["PermissionsBoundary"]["PermissionsBoundaryArn"])
    return None


def _of_identity(iam: Any, kind: str, name: str) -> Iterator[_Policy]:
    """The policies of a user, of its groups, or of a role."""
    named = {f"{kind.title()}Name": name}
    for policy in _ask(iam, f"list_{kind}_policies", **named)["PolicyNames"]:
        document = _ask(iam, f"get_{kind}_policy", **named, PolicyName=policy)["PolicyDocument"]
        removal = f"aws iam delete-{kind}-policy --{kind}-name {name} --policy-name {policy}"
        yield f"inline policy {policy!r} of {kind} {name}", document, removal
    for attached in _ask(iam, f"list_attached_{kind}_policies", **named)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        removal = f"aws iam detach-{kind}-policy --{kind}-name {name} --policy-arn {arn}"
        yield from _managed(iam, arn, "managed policy", removal)
    if kind == "user":
        for group in iam.list_groups_for_user(UserName=name)["Groups"]:
            yield from _of_identity(iam, "group", group["GroupName"])


def _managed(iam: Any, arn: str, called: str, removal: str) -> Iterator[_Policy]:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    yield f"{called} {arn}", document, removal


def _bucket_policy(s3: Any, bucket: str) -> tuple[list[_Policy], bool]:
    """The bucket's policy, if there is one that may be read; and whether it is one that may not be."""
    removal = f"aws s3api delete-bucket-policy --bucket {bucket}"
    try:
        document = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    except Exception as failure:  # noqa: BLE001  (whatever botocore raises is the finding)
        return [], denial_of(failure).is_refusal
    return [(f"policy of bucket {bucket}", document, removal)], False


def _keys_that_deny(denials: Collection[Denial]) -> list[str]:
    return [d.resource for d in denials if d.cause is Cause.KMS_KEY_POLICY and d.explicit and d.resource]


def _of_key(kms: Any, key_arn: str) -> Iterator[_Policy]:
    yield f"policy of KMS key {key_arn}", kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"], ""


def _owner_if_inactive(iam: Any, access_key_id: str) -> str | None:
    with suppress(Exception):  # as above
        owner = str(iam.get_access_key_last_used(AccessKeyId=access_key_id)["UserName"])
        keys = iam.list_access_keys(UserName=owner)["AccessKeyMetadata"]
        if any(key["AccessKeyId"] == access_key_id and key["Status"] == "Inactive" for key in keys):
            return owner
    return None


def _ask(iam: Any, operation: str, **arguments: str) -> Any:
    return getattr(iam, operation)(**arguments)


# Whose policy it is that has an explicit deny; of the others no policy here is one that the customer's account holds.
DENYING: Mapping[Cause, PolicyOf] = {
    Cause.EXPLICIT_DENY: PolicyOf.IDENTITY,
    Cause.BOUNDARY: PolicyOf.BOUNDARY,
    Cause.BUCKET_POLICY: PolicyOf.BUCKET,
    Cause.KMS_KEY_POLICY: PolicyOf.KEY,
}


def without_the_deny(of: PolicyOf, action: str, denial: Denial | None, place: Place) -> Remedy:
    """
    What to do about an explicit deny: the very statement, where it was read; else how to find it.

    :param of: Whose policy has it.
    :param action: What is denied.
    :param denial: What AWS said; None if nobody knows.
    :param place: Whose access to what.
    """
    whose = {
        PolicyOf.IDENTITY: f"A policy of {place.access}",
        PolicyOf.BOUNDARY: f"The permissions boundary of {place.access}",
        PolicyOf.BUCKET: f"The policy of bucket {place.location.bucket!r}",
        PolicyOf.KEY: "The KMS key's own policy",
    }
    resource = denial.resource if denial and denial.resource else place.objects_arn
    text = f"{whose[of]} has a statement with Effect Deny that covers {action} on {resource}, which no Allow outweighs."
    if of is PolicyOf.BUCKET:
        text += (
            " If it is a Deny by network (aws:SourceIp, aws:SourceVpc) that is meant, verify with bypass_verify=True."
        )
    if found := _statements_that_deny(of, denial, place):
        gone = [one for one in found if one.removal and _is_for_it_alone(one, place)]
        changes = tuple(_without(one, place) for one in found if one not in gone)
        return Remedy(text, changes=changes, commands=tuple(dict.fromkeys(one.removal for one in gone)))
    how = "Remove it, or narrow its Resource"
    if of in (PolicyOf.BUCKET, PolicyOf.KEY):
        how = f'Remove it, or add to its Condition: "ArnNotEquals":{{"aws:PrincipalArn":"{place.principal}"}}'
    return Remedy(f"{text} {how}; which one it is, {_WHERE_TO_LOOK[of]}.")


_WHERE_TO_LOOK = {
    PolicyOf.IDENTITY: "aws iam simulate-principal-policy tells (MatchedStatements), or this table if it is made with "
    "an aws_conn_id that may read the identity's policies",
    PolicyOf.BOUNDARY: "aws iam simulate-principal-policy tells (MatchedStatements), or this table if it is made with "
    "an aws_conn_id that may read the boundary",
    PolicyOf.BUCKET: "aws s3api get-bucket-policy tells, or this table if it is made with an aws_conn_id that may do "
    "s3:GetBucketPolicy",
    PolicyOf.KEY: "aws kms get-key-policy tells, or this table if it is made with an aws_conn_id that may do "
    "kms:GetKeyPolicy",
}


def _statements_that_deny(of: PolicyOf, denial: Denial | None, place: Place) -> list[DenyingStatement]:
    """Those that may be the ones, of what was read; one without conditions is rather it than one with them."""
    action = denial.action if denial else None
    if not action:
        return []
    resource = (denial.resource if denial else None) or place.resource_of(action)
    found = [
        one
        for one in place.surroundings.denying
        if one.of is of and covers(one.statement, action, resource) and means(one.statement, place.principal)
    ]
    return [one for one in found if not one.statement.get("Condition")] or found


def _without(one: DenyingStatement, place: Place) -> PolicyChange:
    """A Deny for this identity alone is removed; one for others too makes an exception of it."""
    if _is_for_it_alone(one, place):
        return PolicyChange(one.policy, remove=(one.statement,))
    conditions = {operator: dict(block) for operator, block in (one.statement.get("Condition") or {}).items()}
    # All conditions must hold for a Deny to have effect, so one more makes an exception.
    exempt = conditions.setdefault("ArnNotEquals", {})
    already = exempt.get("aws:PrincipalArn", [])
    exempt["aws:PrincipalArn"] = [*([already] if isinstance(already, str) else already), place.principal]
    return PolicyChange(one.policy, add=({**one.statement, "Condition": conditions},), remove=(one.statement,))


def _is_for_it_alone(one: DenyingStatement, place: Place) -> bool:
    """Whether nobody else is denied anything by it. An identity's own policy has no principal."""
    if "NotPrincipal" in one.statement:
        return False
    return one.statement.get("Principal") in (None, {"AWS": place.principal}, {"AWS": [place.principal]})
