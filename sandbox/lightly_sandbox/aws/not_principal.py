"""Evaluates ``NotPrincipal`` in bucket policies and key policies. (IAM rejects it in a trust policy.)

ministack (1.5.33) ignores statements with it. AWS supports it with ``Deny``: the statement denies everybody
except the named principals. To be exempt, a caller's account must be listed, too, and for a session also its
role (AWS docs: IAM JSON policy elements, NotPrincipal). With ``Allow``, which AWS does not support, the
statement allows nobody here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lightly_sandbox.aws.decisions import role_arn

_ACCOUNT = re.compile(r"\d{12}")


def install() -> None:
    """Patch ministack to apply such a statement to everybody, or to ignore it.

    This works because ministack looks up the replaced functions in their modules at each call.
    """
    from ministack.core import iam_evaluator

    by_resource = iam_evaluator.evaluate_resource_policy

    def resource_policy(document: Any, asked: Any, *more: Any, **named: Any) -> Any:
        return by_resource(for_caller(document, asked.principal_arn), asked, *more, **named)

    iam_evaluator.evaluate_resource_policy = resource_policy


def for_caller(document: Any, caller_arn: str) -> Any:
    """Return the policy document as it applies to this caller, without ``NotPrincipal``."""
    if not document or "NotPrincipal" not in str(document):
        return document
    try:
        policy = json.loads(document) if isinstance(document, str) else dict(document)
    except ValueError:
        return document
    statements = policy.get("Statement", [])
    return {
        **policy,
        "Statement": [
            {**statement, "Principal": "*"} if "NotPrincipal" in statement else statement
            for statement in (statements if isinstance(statements, list) else [statements])
            if "NotPrincipal" not in statement
            or (statement.get("Effect") == "Deny" and not _is_named(statement["NotPrincipal"], caller_arn))
        ],
    }


def _is_named(not_principal: Any, caller_arn: str) -> bool:
    if not_principal == "*":
        return True
    named = not_principal.get("AWS", []) if isinstance(not_principal, dict) else []
    listed = {_account_arn(name) for name in ([named] if isinstance(named, str) else named)}
    identities = _identities(caller_arn)
    return "*" in listed or (bool(identities) and identities <= listed)


def _identities(caller_arn: str) -> set[str]:
    """Return all identities of the caller: its account, and the user, or the role and the session."""
    parts = caller_arn.split(":")
    if len(parts) < 6 or not _ACCOUNT.fullmatch(parts[4]):
        return set()
    identities = {_account_arn(parts[4]), caller_arn}
    if ":assumed-role/" in caller_arn:
        identities.add(role_arn(caller_arn))
    return identities


def _account_arn(name: str) -> str:
    return f"arn:aws:iam::{name}:root" if _ACCOUNT.fullmatch(name) else name
