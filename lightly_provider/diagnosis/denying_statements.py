"""
Finds which of the statements that were read deny a request, and how to exempt one identity from them. Pure.

A Deny whose conditions do not hold for the request does not deny it; one whose conditions cannot be evaluated may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.aws.policy_documents import may_cover, names_principal
from lightly_provider.diagnosis.conditions import ENCRYPTION, ENCRYPTION_KEY, TRANSPORT, context_of, holds, parts_of
from lightly_provider.diagnosis.target import PolicyOf

if TYPE_CHECKING:
    from lightly_provider.aws.policies import Statement
    from lightly_provider.diagnosis.error_text import ErrorText
    from lightly_provider.diagnosis.target import DenyingStatement, Target

ANY_KMS_KEY = "<ARN of a KMS key in the region of the bucket>"


def statements_that_deny(
    of: PolicyOf, error: ErrorText, target: Target
) -> tuple[list[DenyingStatement], list[DenyingStatement]]:
    """
    Return the statements that cause an explicit deny, among those that were read.

    :param of: Whose policy denies.
    :param error: The error that AWS returned.
    :param target: The principal and the location.
    :return: The statements that deny this request, and those that may, as far as their conditions can be evaluated.
    """
    if not error.action:
        return [], []
    found: tuple[list[DenyingStatement], list[DenyingStatement]] = ([], [])
    for one in target.surroundings.denying:
        if one.of is not of or (error.policy_arn and one.arn and one.arn != error.policy_arn):
            continue
        denies = denies_request(one.statement, error.action, error.resource, target)
        if denies is not False:
            found[denies is None].append(one)
    return found


def denies_request(statement: Statement, action: str, resource: str | None, target: Target) -> bool | None:
    """
    Return whether a Deny statement denies an action to a target's principal; None if that cannot be evaluated.

    :param statement: The statement.
    :param action: E.g. ``s3:GetObject``.
    :param resource: The ARN of the action's resource; None: a representative one at the target.
    :param target: The principal and the location.
    """
    parts = (
        may_cover(statement, action, resource or target.resource_of(action)),
        names_principal(statement, target.known_principal),
        holds(statement.get("Condition"), context_of(target, action)),
    )
    if False in parts:
        return False
    return None if None in parts else True


def is_about_transport(statement: Statement) -> bool:
    """Whether the statement enforces secure transport. Never exempt anybody from such a statement."""
    return any(key.lower() in TRANSPORT for _, key, _ in parts_of(statement.get("Condition")))


def is_about_encryption(statement: Statement) -> bool:
    """Whether the statement requires a type of encryption."""
    return any(key.lower() in (ENCRYPTION, ENCRYPTION_KEY) for _, key, _ in parts_of(statement.get("Condition")))


def kms_key_asked_for(statement: Statement, action: str, target: Target) -> str | None:
    """
    Return the KMS key with which the statement no longer denies writing; a placeholder if any key works.

    :return: None if no KMS key helps.
    """
    condition = statement.get("Condition")
    if not is_about_encryption(statement):
        return None
    named = [value for _, key, values in parts_of(condition) if key.lower() == ENCRYPTION_KEY for value in values]
    key = next((value for value in named if ":key/" in value and "*" not in value), ANY_KMS_KEY)
    encrypting = context_of(target, action) | {ENCRYPTION: "aws:kms", ENCRYPTION_KEY: key}
    return key if holds(condition, encrypting) is False else None


def is_for_it_alone(one: DenyingStatement, target: Target) -> bool:
    """Whether the statement denies nobody else, so that removing it takes no protection from others."""
    if one.of in (PolicyOf.BUCKET, PolicyOf.KEY):
        return one.statement.get("Principal") in ({"AWS": target.principal}, {"AWS": [target.principal]})
    return one.is_own


def with_exception(statement: Statement, principal_arn: str) -> Statement:
    """Return the statement with an exception for one principal."""
    conditions = {operator: dict(block) for operator, block in (statement.get("Condition") or {}).items()}
    # A Deny takes effect only if all its conditions hold, so a further condition makes an exception.
    exempt = conditions.setdefault("ArnNotEquals", {})
    key = next((name for name in exempt if name.lower() == "aws:principalarn"), "aws:PrincipalArn")
    already = exempt.get(key, [])
    exempt[key] = [*([already] if isinstance(already, str) else already), principal_arn]
    return {**statement, "Condition": conditions}
