"""
Policy documents as values: compare two, measure their size, and read their external IDs and what a statement covers.

Pure functions. IAM returns a document as it was stored or in normalized form, so comparing the text is not sufficient.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.aws.policies import PolicyDocument, Statement

_ACCOUNT_ROOT = r"arn:aws[a-z-]*:iam::([0-9]{12}):root"
_EXTERNAL_ID_KEY = "sts:externalid"
# A policy variable, as opposed to the literal characters "${*}", "${?}" and "${$}".
_VARIABLE = r"\$\{(?![*?$]\})[^}]*\}"


class PolicyKind(StrEnum):
    """The kind of a policy, which determines its maximum size."""

    USER_INLINE = "user"
    ROLE_INLINE = "role"
    MANAGED = "managed policy"
    TRUST = "trust policy"


# AWS docs: IAM and STS quotas, "IAM and STS character limits". White space does not count. The limit for inline
# policies applies to all inline policies of a user or role together. The limit for trust policies is the default, which
# AWS raises on request.
SIZE_LIMITS: Mapping[PolicyKind, int] = {
    PolicyKind.USER_INLINE: 2048,
    PolicyKind.ROLE_INLINE: 10240,
    PolicyKind.MANAGED: 6144,
    PolicyKind.TRUST: 2048,
}


def compact(document: PolicyDocument) -> str:
    """Return the document as JSON without white space."""
    return json.dumps(document, separators=(",", ":"))


def size_of(document: PolicyDocument) -> int:
    """Return the size of the document in characters, as IAM counts it."""
    return len(re.sub(r"\s", "", compact(document)))


def check_size(document: PolicyDocument, kind: PolicyKind, *, argument: str) -> None:
    """
    Refuse a document that exceeds IAM's size limit.

    :param document: Policy document.
    :param kind: Kind of the policy.
    :param argument: Name of the argument that determines the size, for the message.
    :raises ValueError: The document is too large; the message has the size, the limit and the next step.
    """
    size, limit = size_of(document), SIZE_LIMITS[kind]
    if size > limit:
        ways = {
            PolicyKind.USER_INLINE: "name fewer locations or a common folder above them, or use a role, "
            f"which takes {SIZE_LIMITS[PolicyKind.ROLE_INLINE]}",
            PolicyKind.ROLE_INLINE: "name fewer locations or a common folder above them, or use several roles",
        }
        way = ways.get(kind, "name fewer locations or a common folder above them")
        raise ValueError(f"{argument} makes a policy of {size} characters, and IAM takes {limit} for a {kind}; {way}.")


def same_meaning(one: PolicyDocument, other: PolicyDocument) -> bool:
    """
    Return whether two documents are equivalent.

    Ignores order, a single value versus a list of one, the case of actions, white space and Sids. An account id equals
    the ARN of the account's root user.
    """
    return bool(_canonical(one) == _canonical(other))


def external_ids(trust: PolicyDocument) -> list[str]:
    """Return the external IDs that a trust policy accepts, in order."""
    found: list[str] = []
    for statement in _listed(trust.get("Statement")):
        if statement.get("Effect") != "Allow":
            continue
        for condition in statement.get("Condition", {}).values():
            for key, value in condition.items():
                if key.lower() == _EXTERNAL_ID_KEY:
                    found += _listed(value)
    return list(dict.fromkeys(found))


def dropped_resources(old: PolicyDocument, new: PolicyDocument) -> list[str]:
    """Return the resources that a policy names in statements that allow, and another one does not cover, in order."""
    left = _allowed_resources(new)
    return [one for one in _allowed_resources(old) if not any(matches(pattern, one) for pattern in left)]


def _allowed_resources(document: PolicyDocument) -> list[str]:
    allowed = [one for one in _listed(document.get("Statement")) if one.get("Effect") == "Allow"]
    return list(dict.fromkeys(str(resource) for one in allowed for resource in _listed(one.get("Resource"))))


def covers(statement: Statement, action: str, resource: str) -> bool:
    """
    Return whether a statement covers an action on a resource, regardless of its conditions.

    :param statement: Policy statement.
    :param action: Action, e.g. ``s3:GetObject``.
    :param resource: ARN of the resource. A statement without a resource, as in a trust policy, covers any.
    """
    return _is_among(statement, "Action", action.lower(), lowered=True) and _is_among(statement, "Resource", resource)


def may_cover(statement: Statement, action: str, resource: str) -> bool | None:
    """
    Return whether a statement covers an action on a resource; None if that depends on a policy variable.

    :param statement: See :func:`covers`, also for the other parameters.
    """
    if not _is_among(statement, "Action", action.lower(), lowered=True):
        return False
    member = "NotResource" if "NotResource" in statement else "Resource"
    patterns = [str(one) for one in _listed(statement.get(member))]
    if not any(re.search(_VARIABLE, pattern) for pattern in patterns):
        return covers(statement, action, resource)
    if any(matches(pattern, resource) for pattern in patterns if not re.search(_VARIABLE, pattern)):
        return member == "Resource"
    # The value of a variable is not known, so it may be anything.
    if any(matches(re.sub(_VARIABLE, "*", pattern), resource) for pattern in patterns):
        return None
    return member == "NotResource"


def names_principal(statement: Statement, principal_arn: str | None) -> bool | None:
    """
    Return whether a statement applies to a user or role, by its ARN, its account or a wildcard.

    Conditions are ignored.

    :param statement: Policy statement. One without a principal, as in an identity-based policy, always applies.
    :param principal_arn: ARN of the user or role; None if it is not known.
    :return: None if it may apply: the ARN is not known, or the statement names a session of the role, an account by its
        canonical user id, or, as NotPrincipal, the ARN without what AWS wants beside it.
    """
    member = "NotPrincipal" if "NotPrincipal" in statement else "Principal"
    if member not in statement:
        return True
    named, is_not = _arns(statement[member]), member == "NotPrincipal"
    if "*" in named:
        return not is_not
    if principal_arn is None:
        return None
    account = principal_arn.split(":")[4] if principal_arn.startswith("arn:") else ""
    has_account = bool(account) and any(re.sub(_ACCOUNT_ROOT, r"\1", str(arn)) == account for arn in named)
    if is_not:
        # AWS docs: IAM user guide, "NotPrincipal": a user is left out together with its account only, and a role with
        # its account and its session only; else the account or the session is denied.
        if principal_arn in named:
            return None if not has_account or ":role/" in principal_arn else False
        return None if _has_session(named, principal_arn) else True
    if has_account or principal_arn in named:
        return True
    is_open = _has_session(named, principal_arn) or "CanonicalUser" in statement[member]
    return None if is_open else False


def _has_session(arns: list[Any], role_arn: str) -> bool:
    """Whether one of the ARNs is a session of the role."""
    role = re.fullmatch(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/(?:.*/)?([^/]+)", role_arn)
    return role is not None and any(
        str(arn).startswith(f"arn:{role[1]}:sts::{role[2]}:assumed-role/{role[3]}/") for arn in arns
    )


def matches(pattern: str, text: str) -> bool:
    """Return whether a text matches a policy's wildcard pattern; "${*}" and the like are literal characters."""
    return _pattern(pattern).fullmatch(text) is not None


def _arns(principal: Any) -> list[Any]:
    return _listed(principal.get("AWS")) if isinstance(principal, dict) else _listed(principal)


def _is_among(statement: Statement, member: str, value: str, *, lowered: bool = False) -> bool:
    def fits(pattern: str) -> bool:
        return matches(pattern.lower() if lowered else pattern, value)

    if f"Not{member}" in statement:
        return not any(fits(str(one)) for one in _listed(statement[f"Not{member}"]))
    if member not in statement:
        return True
    return any(fits(str(one)) for one in _listed(statement[member]))


def _pattern(text: str) -> re.Pattern[str]:
    signs = {"*": ".*", "?": ".", "${*}": r"\*", "${?}": r"\?", "${$}": r"\$"}
    parts = re.split(r"(\$\{[*?$]\}|[*?])", text)
    return re.compile("".join(signs.get(part, re.escape(part)) for part in parts), re.DOTALL)


def _canonical(document: PolicyDocument) -> Any:
    statements = frozenset(_statement(statement) for statement in _listed(document.get("Statement")))
    return document.get("Version", "2008-10-17"), statements


def _statement(statement: Mapping[str, Any]) -> frozenset[Any]:
    members = set()
    for name, value in statement.items():
        if name in ("Action", "NotAction"):
            members.add((name, frozenset(action.lower() for action in _listed(value))))
        elif name in ("Principal", "NotPrincipal"):
            members.add((name, _principals(value)))
        elif name == "Condition":
            members.add((name, frozenset((operator, _keys(keys)) for operator, keys in value.items())))
        elif name != "Sid":
            members.add((name, frozenset(_listed(value)) if name in ("Resource", "NotResource") else value))
    return frozenset(members)


def _keys(keys: Mapping[str, Any]) -> frozenset[Any]:
    return frozenset((key.lower(), frozenset(map(str, _listed(value)))) for key, value in keys.items())


def _principals(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    named = {
        kind: frozenset(re.sub(_ACCOUNT_ROOT, r"\1", principal) for principal in _listed(principals))
        for kind, principals in value.items()
    }
    return frozenset(named.items())


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
