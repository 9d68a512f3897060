"""
Finds the denying statements in the policies around a target, as far as Airflow's own identity may read them.

If AWS names the denying policy, only that one is read. The caller provides the clients.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import failure_of
from lightly_provider.diagnosis.target import DenyingStatement, PolicyOf, Surroundings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from lightly_provider.aws.policies import Statement
    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.target import Target


def look_around(
    clients: Mapping[str, Any],
    target: Target,
    failures: Collection[Failure],
    *,
    key_arns: Collection[str] = (),
    access_key_id: str | None = None,
) -> Surroundings:
    """
    Read the policies that may explain failures.

    :param clients: boto3 clients of an identity that may be able to read policies: ``iam``, ``s3``, ``kms``.
    :param target: The denied principal and the location.
    :param failures: The AWS failures. For a role, the bucket policy is always read: IAM's simulator does not see it.
    :param key_arns: Further KMS keys whose policies to read, in addition to those that denied a request.
    :param access_key_id: The IAM user's key, for user access; None otherwise.
    """
    traced = {failure.cause.row.traced_in for failure in failures}
    iam, denying, boundary_arn, owner, is_hidden = clients["iam"], [], None, None, False
    kind, name = _kind_and_name(target)
    if name and PolicyOf.BOUNDARY in traced:
        boundary_arn = _boundary(iam, kind, name)
        for arn in _named_policies(failures, PolicyOf.BOUNDARY) or filter(None, [boundary_arn]):
            denying += _found(PolicyOf.BOUNDARY, _managed(iam, arn, "permissions boundary"))
    if name and PolicyOf.IDENTITY in traced:
        if named := _named_policies(failures, PolicyOf.IDENTITY):
            for arn in named:
                denying += _found(PolicyOf.IDENTITY, _attached(iam, arn, kind, name))
        else:
            denying += _found(PolicyOf.IDENTITY, _of_identity(iam, kind, name))
    if target.role_arn or PolicyOf.BUCKET in traced:
        policies, is_hidden = _bucket_policy(clients["s3"], target.location.bucket)
        denying += _found(PolicyOf.BUCKET, policies)
    for key_arn in dict.fromkeys([*key_arns, *_keys_that_deny(failures)]):
        denying += _found(PolicyOf.KEY, _of_key(clients["kms"], key_arn))
    if access_key_id and any(failure.cause is Cause.UNKNOWN_ACCESS_KEY for failure in failures):
        owner = _owner_if_inactive(iam, access_key_id)
    return Surroundings(tuple(denying), boundary_arn, owner, is_hidden)


class _Policy(NamedTuple):
    """A policy's name for a message, its document, and what is known about its owner."""

    name: str
    document: Any
    removal: str = ""
    arn: str | None = None
    is_own: bool = False


def _named_policies(failures: Collection[Failure], of: PolicyOf) -> list[str]:
    """Return the policies that AWS named, if it named one for each denied action."""
    denied = [failure for failure in failures if failure.cause.row.traced_in is of and failure.explicit]
    named = {failure.action: failure.policy_arn for failure in denied if failure.policy_arn}
    return list(dict.fromkeys(named.values())) if all(one.action in named for one in denied) else []


def _found(of: PolicyOf, policies: Iterable[_Policy]) -> list[DenyingStatement]:
    found: list[DenyingStatement] = []
    with suppress(Exception):  # omit what cannot be read
        for policy in policies:
            statements = _statements(policy.document)
            found += [
                DenyingStatement(
                    of,
                    policy.name,
                    one,
                    policy.removal if len(statements) == 1 else "",
                    arn=policy.arn,
                    is_own=policy.is_own,
                )
                for one in statements
                if one.get("Effect") == "Deny"
            ]
    return found


def _statements(document: Any) -> list[Statement]:
    read = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = read.get("Statement") or []
    return statements if isinstance(statements, list) else [statements]


def _kind_and_name(target: Target) -> tuple[str, str | None]:
    if target.role_arn:
        return "role", target.role_name
    kind, _, path = (target.principal_arn or "").rpartition(":")[2].partition("/")
    return "user", path.rpartition("/")[2] if kind == "user" else None


def _boundary(iam: Any, kind: str, name: str) -> str | None:
    with suppress(Exception):  # as above
        entity = _ask(iam, f"get_{kind}", **{f"{kind.title()}Name": name})[kind.title()]
        return str(entity["PermissionsBoundary"]["PermissionsBoundaryArn"])
    return None


def _of_identity(iam: Any, kind: str, name: str) -> Iterator[_Policy]:
    """Yield the policies of a user and its groups, or of a role."""
    named = {f"{kind.title()}Name": name}
    is_own = kind != "group"
    for policy in _ask(iam, f"list_{kind}_policies", **named)["PolicyNames"]:
        document = _ask(iam, f"get_{kind}_policy", **named, PolicyName=policy)["PolicyDocument"]
        removal = f"aws iam delete-{kind}-policy --{kind}-name {name} --policy-name {policy}" if is_own else ""
        yield _Policy(f"inline policy {policy!r} of {kind} {name}", document, removal, is_own=is_own)
    for attached in _ask(iam, f"list_attached_{kind}_policies", **named)["AttachedPolicies"]:
        for policy in _managed(iam, attached["PolicyArn"], "managed policy"):
            yield _detachable(policy, kind, name) if is_own else policy._replace(is_own=False)
    if kind == "user":
        for group in iam.list_groups_for_user(UserName=name)["Groups"]:
            yield from _of_identity(iam, "group", group["GroupName"])


def _attached(iam: Any, arn: str, kind: str, name: str) -> Iterator[_Policy]:
    """Yield the policy that AWS named; its owner is known if the identity's attached policies can be listed."""
    attached: list[Any] = []
    with suppress(Exception):  # as above
        attached = _ask(iam, f"list_attached_{kind}_policies", **{f"{kind.title()}Name": name})["AttachedPolicies"]
    for policy in _managed(iam, arn, "managed policy"):
        is_direct = any(one["PolicyArn"] == arn for one in attached)
        yield _detachable(policy, kind, name) if is_direct else policy._replace(is_own=False)


def _detachable(policy: _Policy, kind: str, name: str) -> _Policy:
    removal = f"aws iam detach-{kind}-policy --{kind}-name {name} --policy-arn {policy.arn}"
    return policy._replace(removal=removal) if policy.is_own else policy


def _managed(iam: Any, arn: str, called: str) -> Iterator[_Policy]:
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]["Document"]
    # AWS docs: IAM API reference, Policy: how many users, groups and roles it is attached to, and whose boundary it is.
    has_one_owner = policy.get("AttachmentCount") == 1 and not policy.get("PermissionsBoundaryUsageCount")
    yield _Policy(f"{called} {arn}", document, arn=arn, is_own=has_one_owner and ":iam::aws:" not in arn)


def _bucket_policy(s3: Any, bucket: str) -> tuple[list[_Policy], bool]:
    """Return the bucket policy if it exists and can be read, and whether reading it was refused."""
    removal = f"aws s3api delete-bucket-policy --bucket {bucket}"
    try:
        document = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    except Exception as failure:  # noqa: BLE001  (whatever botocore raises is the finding)
        return [], failure_of(failure).is_refusal
    return [_Policy(f"policy of bucket {bucket}", document, removal)], False


def _keys_that_deny(failures: Collection[Failure]) -> list[str]:
    return [f.resource for f in failures if f.cause.row.traced_in is PolicyOf.KEY and f.explicit and f.resource]


def _of_key(kms: Any, key_arn: str) -> Iterator[_Policy]:
    document = kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    yield _Policy(f"policy of KMS key {key_arn}", document)


def _owner_if_inactive(iam: Any, access_key_id: str) -> str | None:
    with suppress(Exception):  # as above
        owner = str(iam.get_access_key_last_used(AccessKeyId=access_key_id)["UserName"])
        keys = iam.list_access_keys(UserName=owner)["AccessKeyMetadata"]
        if any(key["AccessKeyId"] == access_key_id and key["Status"] == "Inactive" for key in keys):
            return owner
    return None


def _ask(iam: Any, operation: str, **arguments: str) -> Any:
    return getattr(iam, operation)(**arguments)
