"""
Evaluates whether a role's trust policy lets Lightly's account assume the role, and requires the external ID. Pure.

Sources: AWS docs: IAM user guide, "AWS JSON policy elements: Principal" and "How to use an external ID". No
message here contains an external ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID
from lightly_provider.aws.policy_documents import covers
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.conditions import holds, keys_not_known, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping


_ASSUME = "sts:AssumeRole"
_EXTERNAL_ID_KEY = "sts:externalid"  # condition keys are not case-sensitive


@dataclass(frozen=True)
class TrustVerdict:
    """
    What a trust policy means for Lightly.

    :param cause: Why Lightly cannot assume the role; None if it can.
    :param explicit: Whether a statement with Effect Deny is the cause.
    :param denies_others: Whether that statement also denies other accounts than Lightly's.
    :param asks_for_external_id: Whether the policy rejects requests without an external ID.
    :param other_conditions: Other conditions, which cannot be evaluated here, e.g. on ``aws:SourceIp``.
    """

    cause: Cause | None
    explicit: bool = False
    denies_others: bool = False
    asks_for_external_id: bool = True
    other_conditions: tuple[str, ...] = ()


def judge_trust(
    document: Mapping[str, Any], external_id: str | None, *, account_id: str = LIGHTLY_ACCOUNT_ID
) -> TrustVerdict:
    """
    Evaluate a trust policy as AWS does for Lightly's account.

    :param document: The role's trust policy.
    :param external_id: The external ID that the platform presents; None if unknown, then any counts as correct.
    :param account_id: The platform's AWS account.
    """
    statements = [one for one in _listed(document.get("Statement")) if covers(one, _ASSUME, "")]
    allowing = [one for one in statements if one.get("Effect") == "Allow" and _names(one, account_id)]
    denying = [one for one in statements if one.get("Effect") == "Deny" and _names(one, account_id) is not False]
    if not allowing:
        return TrustVerdict(Cause.TRUST_POLICY)
    for statement in denying:
        if _applies(statement, external_id, account_id) and _names(statement, account_id):
            by_id = external_id is not None and _mentions_external_id(statement)
            cause = Cause.WRONG_EXTERNAL_ID if by_id else Cause.TRUST_POLICY
            return TrustVerdict(cause, explicit=True, denies_others=not _is_for_account_alone(statement, account_id))
    open_to = [one for one in allowing if _applies(one, external_id, account_id) is not False]
    if not open_to:
        by_id = any(map(_mentions_external_id, allowing))
        return TrustVerdict(Cause.WRONG_EXTERNAL_ID if by_id else Cause.TRUST_POLICY)
    depends_on = min((_not_known(one, external_id, account_id) for one in open_to), key=len)
    for statement in denying:
        if _applies(statement, external_id, account_id) is not False:
            depends_on = [*depends_on, *(_not_known(statement, external_id, account_id) or ["Principal"])]
    return TrustVerdict(
        None,
        asks_for_external_id=_asks(open_to, denying, account_id),
        other_conditions=tuple(dict.fromkeys(depends_on)),
    )


def _asks(allowing: list[Mapping[str, Any]], denying: list[Mapping[str, Any]], account_id: str) -> bool:
    """Whether the policy rejects a request without an external ID."""
    without = _context(None, account_id) | {_EXTERNAL_ID_KEY: None}
    if any(_names(one, account_id) and holds(one.get("Condition"), without) for one in denying):
        return True
    return all(holds(one.get("Condition"), without) is False for one in allowing)


def _context(external_id: str | None, account_id: str) -> dict[str, str | None]:
    context: dict[str, str | None] = {
        "aws:principalaccount": account_id,
        "aws:securetransport": "true",
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
    }
    return context if external_id is None else {**context, _EXTERNAL_ID_KEY: external_id}


def _applies(statement: Mapping[str, Any], external_id: str | None, account_id: str) -> bool | None:
    """Whether the conditions hold for Lightly. An unknown external ID counts as correct."""
    if external_id is None and statement.get("Effect") == "Deny" and _mentions_external_id(statement):
        return False
    return holds(_judged(statement, external_id), _context(external_id, account_id))


def _not_known(statement: Mapping[str, Any], external_id: str | None, account_id: str) -> list[str]:
    return keys_not_known(_judged(statement, external_id), _context(external_id, account_id))


def _judged(statement: Mapping[str, Any], external_id: str | None) -> Mapping[str, Any] | None:
    """Return the Condition, without the parts on the external ID if that is unknown."""
    condition: Mapping[str, Any] | None = statement.get("Condition")
    if external_id is not None:
        return condition
    kept: dict[str, Any] = {}
    for operator, key, values in parts_of(condition):
        if key.lower() != _EXTERNAL_ID_KEY:
            kept.setdefault(operator, {})[key] = values
    return kept


def _mentions_external_id(statement: Mapping[str, Any]) -> bool:
    return any(key.lower() == _EXTERNAL_ID_KEY for _, key, _ in parts_of(statement.get("Condition")))


def _names(statement: Mapping[str, Any], account_id: str) -> bool | None:
    """Whether a statement applies to Lightly's account; None if it may, as for one of its users or roles."""
    if "NotPrincipal" in statement:
        return not any(_is_account(one, account_id) for one in _accounts(statement["NotPrincipal"]))
    accounts = _accounts(statement.get("Principal"))
    if any(one == "*" or _is_account(one, account_id) for one in accounts):
        return True
    if any(f"::{account_id}:" in str(one) for one in accounts):
        # One of its users or roles, which may be the caller. For an Allow, assume that it is.
        return True if statement.get("Effect") == "Allow" else None
    return False


def _is_for_account_alone(statement: Mapping[str, Any], account_id: str) -> bool:
    accounts = _accounts(statement.get("Principal"))
    return "NotPrincipal" not in statement and all(_is_account(one, account_id) for one in accounts)


def _is_account(principal: Any, account_id: str) -> bool:
    return str(principal) == account_id or str(principal).endswith(f":iam::{account_id}:root")


def _accounts(principal: Any) -> list[Any]:
    return _listed(principal.get("AWS")) if isinstance(principal, dict) else _listed(principal)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
