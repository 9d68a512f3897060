"""What an access-denied message of the local AWS names: the denying policy's ARN, or only its type."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any


class AccessDeniedMessages(StrEnum):
    """What the message of an explicit deny ends with.

    Since January 2026 AWS adds the policy's ARN where the caller is of the same account or organization (AWS
    Security Blog, "Enhanced access denied error messages with policy ARNs"). It does so for identity-based
    policies, permissions boundaries, session policies and the organization's policies, gradually in all
    services and Regions, so that both forms can be met.
    """

    POLICY_ARN = "policy-arn"
    """``… with an explicit deny in an identity-based policy: arn:aws:iam::123456789012:policy/stop``"""
    POLICY_TYPE = "policy-type"
    """``… with an explicit deny in an identity-based policy``"""


class Wording:
    """What the messages currently name."""

    def __init__(self, default: AccessDeniedMessages = AccessDeniedMessages.POLICY_ARN) -> None:
        self.default = default
        self.names = default


class _ManagedDocument(str):
    """A managed policy's document that knows the policy's ARN."""

    arn = ""


class _Statements(list[Any]):
    """The parsed statements of a policy that know the policy's ARN."""

    arn = ""


def policy_arn(statements: Any) -> str:
    """Return the ARN of the statements' managed policy; "" for an inline policy, which has none."""
    return str(getattr(statements, "arn", ""))


def install() -> None:
    """Patch ministack (1.5.33) to keep a managed policy's ARN with its parsed statements.

    This works because ministack looks up the replaced functions in their modules at each call.
    """
    from ministack.core import iam_evaluator

    resolve, parse = iam_evaluator._resolve_managed_policy_document, iam_evaluator.parse_policy_document

    def resolved(arn: str, account_id: str) -> Any:
        document = resolve(arn, account_id)
        if not document:
            return document
        named = _ManagedDocument(document if isinstance(document, str) else json.dumps(document))
        named.arn = arn
        return named

    def parsed(document: Any) -> Any:
        statements = _Statements(parse(document))
        statements.arn = getattr(document, "arn", "")
        return statements

    iam_evaluator._resolve_managed_policy_document = resolved
    iam_evaluator.parse_policy_document = parsed
