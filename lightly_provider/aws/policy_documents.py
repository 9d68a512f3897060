"""
Policy documents as values: whether two mean the same, how large IAM finds them, whose external IDs they hold, and what
a statement covers.

Pure. IAM gives a document back as it was stored, or in a form of its own, so texts are no way to compare them.
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


class PolicyKind(StrEnum):
    """Where a policy is put, which decides how long it may be."""

    USER_INLINE = "user"
    ROLE_INLINE = "role"
    MANAGED = "managed policy"
    TRUST = "trust policy"


# AWS docs: IAM and STS quotas, "IAM and STS character limits". White space does not count, and the limit of inline
# policies is on all of one user or role together. For trust policies it is the default, which AWS raises on request.
SIZE_LIMITS: Mapping[PolicyKind, int] = {
    PolicyKind.USER_INLINE: 2048,
    PolicyKind.ROLE_INLINE: 10240,
    PolicyKind.MANAGED: 6144,
    PolicyKind.TRUST: 2048,
}


def compact(document: PolicyDocument) -> str:
    """The document as JSON without white space, as it is best sent."""
    return json.dumps(document, separators=(",", ":"))


def size_of(document: PolicyDocument) -> int:
    """The characters that IAM counts."""
    return len(re.sub(r"\s", "", compact(document)))


def check_size(document: PolicyDocument, kind: PolicyKind, *, argument: str) -> None:
    """
    Refuse a document that IAM would refuse for its length.

    :param document: The policy.
    :param kind: Where it is to be put.
    :param argument: What decides its length, for the message.
    :raises ValueError: With both lengths, and what to do.
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
    Whether two documents say the same, however they are written.

    Order, one value or a list of it, the case of actions, white space and Sids make no difference, and an account's
    number is its root's ARN.
    """
    return bool(_canonical(one) == _canonical(other))


def external_ids(trust: PolicyDocument) -> list[str]:
    """The external IDs with which a trust policy lets somebody assume the role, in their order."""
    found: list[str] = []
    for statement in _listed(trust.get("Statement")):
        if statement.get("Effect") != "Allow":
            continue
        for condition in statement.get("Condition", {}).values():
            for key, value in condition.items():
                if key.lower() == _EXTERNAL_ID_KEY:
                    found += _listed(value)
    return list(dict.fromkeys(found))


def covers(statement: Statement, action: str, resource: str) -> bool:
    """
    Whether a statement is about doing an action to a resource, its conditions left aside.

    :param statement: The statement.
    :param action: E.g. ``s3:GetObject``.
    :param resource: An ARN. A statement without a resource, as in a trust policy, is about any.
    """
    return _is_among(statement, "Action", action.lower(), lowered=True) and _is_among(statement, "Resource", resource)


def names_principal(statement: Statement, principal_arn: str) -> bool:
    """
    Whether a statement of a resource's policy is about a user or role: by its ARN, its account, or everybody.

    Its conditions are left aside.

    :param statement: The statement. One without a principal, as in an identity's policy, is about whoever has it.
    :param principal_arn: The ARN of the user or role.
    """
    if "NotPrincipal" in statement:
        return principal_arn not in _arns(statement["NotPrincipal"])
    if "Principal" not in statement:
        return True
    account = principal_arn.split(":")[4] if principal_arn.startswith("arn:") else ""
    return any(
        arn in ("*", principal_arn) or (account and re.sub(_ACCOUNT_ROOT, r"\1", str(arn)) == account)
        for arn in _arns(statement["Principal"])
    )


def matches(pattern: str, text: str) -> bool:
    """Whether a text fits a policy's pattern with its wildcards; "${*}" and the like stand for the sign itself."""
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
