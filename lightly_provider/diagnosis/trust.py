"""
Whether a role's trust policy lets Lightly's account assume it, and whether it asks for the external ID. Pure.

Sources: AWS docs: IAM user guide, "AWS JSON policy elements: Principal" and "How to use an external ID"; no
message here repeats an external ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID
from lightly_provider.diagnosis.denials import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASSUME = "sts:AssumeRole"
_EXTERNAL_ID_KEY = "sts:externalid"  # condition keys are not case-sensitive
_EQUALS = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ForAnyValue:StringEquals"})


@dataclass(frozen=True)
class TrustVerdict:
    """
    What a trust policy says about Lightly.

    :param cause: Why Lightly cannot assume the role; None if it can.
    :param explicit: Whether a statement with Effect Deny is the cause.
    :param asks_for_external_id: Whether who has no external ID is turned away.
    :param other_conditions: Conditions on something else, which nothing here can judge, e.g. ``aws:SourceIp``.
    """

    cause: Cause | None
    explicit: bool = False
    asks_for_external_id: bool = True
    other_conditions: tuple[str, ...] = ()


def judge_trust(
    document: Mapping[str, Any], external_id: str | None, *, account_id: str = LIGHTLY_ACCOUNT_ID
) -> TrustVerdict:
    """
    Read a trust policy as AWS would for Lightly's account.

    :param document: The role's trust policy.
    :param external_id: What the platform presents; None if it is not known, then any counts as the right one.
    :param account_id: The platform's AWS account.
    """
    named: list[Mapping[str, Any]] = []
    for statement in _listed(document.get("Statement")):
        if not (_covers(statement) and _names(statement.get("Principal"), account_id)):
            continue
        if statement.get("Effect") == "Deny":
            if _passes(statement, external_id):
                return TrustVerdict(Cause.TRUST_POLICY, explicit=True)
        else:
            named.append(statement)
    if not named:
        return TrustVerdict(Cause.TRUST_POLICY)
    open_to = [statement for statement in named if _passes(statement, external_id)]
    if not open_to:
        return TrustVerdict(Cause.WRONG_EXTERNAL_ID)
    best = min(open_to, key=lambda statement: len(_others(statement)))
    return TrustVerdict(
        None,
        asks_for_external_id=all(_wanted_ids(statement) is not None for statement in open_to),
        other_conditions=_others(best),
    )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _covers(statement: Mapping[str, Any]) -> bool:
    return any(fnmatchcase(_ASSUME.lower(), str(action).lower()) for action in _listed(statement.get("Action")))


def _names(principal: Any, account_id: str) -> bool:
    if principal == "*":
        return True
    accounts = _listed(principal.get("AWS")) if isinstance(principal, dict) else []
    # The account as such, as a number or as its root; or one of its users or roles, which may be the one that asks.
    return any(one == "*" or one == account_id or f"::{account_id}:" in str(one) for one in accounts)


def _conditions(statement: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [
        (operator, key, [str(value) for value in _listed(values)])
        for operator, block in (statement.get("Condition") or {}).items()
        for key, values in block.items()
    ]


def _wanted_ids(statement: Mapping[str, Any]) -> list[tuple[str, list[str]]] | None:
    found = [
        (operator, values)
        for operator, key, values in _conditions(statement)
        if key.lower() == _EXTERNAL_ID_KEY and operator in _EQUALS
    ]
    return found or None


def _passes(statement: Mapping[str, Any], external_id: str | None) -> bool:
    """Whether the external ID fits; what nothing here can judge counts as fitting, but for who is to be denied."""
    if statement.get("Effect") == "Deny" and _others(statement):
        return False
    if external_id is None:
        return True
    return all(
        any(_fits(operator, value, external_id) for value in values)
        for operator, values in _wanted_ids(statement) or ()
    )


def _fits(operator: str, value: str, external_id: str) -> bool:
    if operator == "StringEqualsIgnoreCase":
        return value.casefold() == external_id.casefold()
    return fnmatchcase(external_id, value) if operator == "StringLike" else value == external_id


def _others(statement: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        key
        for operator, key, _ in _conditions(statement)
        if not (key.lower() == _EXTERNAL_ID_KEY and operator in _EQUALS)
    )
