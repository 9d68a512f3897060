"""Adds AWS's access denied messages to the decisions of ministack's evaluator.

ministack (1.5.33) denies by the right rules, but its messages name neither the resource nor every type of
denying policy; AWS names both within one account (AWS docs: IAM, "Access denied error messages"; S3,
"Troubleshoot access denied (403 Forbidden) errors"). It also uses the session's ARN as aws:PrincipalArn.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.aws.wording import AccessDeniedMessages, Wording, policy_arn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ACCESS_DENIED = "Access Denied"

_NAMED_IN_TEXT = frozenset({"s3", "iam", "kms"})

WORDING = Wording()
"""What the process's refusals name."""

_why: ContextVar[str] = ContextVar("why_the_last_decision_was_a_refusal", default="")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A resource with its resource-based policy."""

    arn: str
    owner: str
    policy: str
    must_be_allowed_by_policy: bool = False
    """A KMS key's policy must allow even the owner's own users (AWS docs: KMS, "Key policies")."""


def caller(access_key_id: str) -> Any:
    """Return ministack's PrincipalInfo for an access key whose signature has been checked."""
    from ministack.core import iam_evaluator
    from ministack.core.responses import _account_from_sts_session, get_region, request_scope
    from ministack.services import s3

    account = _account_from_sts_session(access_key_id) or s3._account_from_access_key(access_key_id)
    # Some of ministack's look-ups use the account of the current request. For a request to another account's
    # bucket, that is the bucket owner's.
    with request_scope(account, get_region()):
        principal = iam_evaluator.resolve_principal(access_key_id, account)
    if isinstance(principal, iam_evaluator.AuthError):
        raise AssertionError(f"a caller that was let in has no principal: {principal.code}")
    return principal


def refusal(
    principal: Any, action: str, resource: Guarded, region: str, context: Mapping[str, Any]
) -> str | None:
    """Return None if ``principal`` may do ``action`` on ``resource``; else the end of AWS's message, from
    "because" or "with" on. ``context`` has the request's condition keys, in lower case."""
    from ministack.core import iam_evaluator

    asked = _asked(principal, action, resource.arn, region, context)
    if principal.policies is None:
        identity = iam_evaluator.EvalResult("Allow", principal.arn)
    else:
        identity = iam_evaluator.evaluate(asked, principal.policies, *principal.limits)
    result = iam_evaluator.combine_resource_policy(
        identity,
        asked,
        resource.policy,
        resource.owner,
        required=resource.must_be_allowed_by_policy,
        limits=principal.limits,
    )
    if result.decision == "Allow":
        return None
    by_resource = identity.decision == "Allow" or bool(result.resource_policy_arn)
    return _reason(principal, asked, explicit=result.decision == "Deny", by_resource=by_resource)


def sentence(principal: Any, action: str, resource_arn: str, reason: str) -> str:
    """Return AWS's whole message. S3 puts the resource's name in quotes, KMS does not."""
    named = f'"{resource_arn}"' if resource_arn.startswith("arn:aws:s3:") else resource_arn
    resource = "" if resource_arn == "*" else f" on resource: {named}"
    return f"User: {principal.arn} is not authorized to perform: {action}{resource} {reason}"


def install() -> None:
    """Patch ministack to use these messages.

    This works because ministack looks up the replaced functions in their modules at each call.
    """
    from ministack.core import iam_actions, iam_evaluator

    enforce, respond = iam_evaluator.enforce, iam_actions.access_denied_response
    resolve = iam_evaluator._resolve_condition_key

    def enforced(
        access_key_id: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Mapping[str, Any] | None = None,
    ) -> Any:
        denied = enforce(access_key_id, action, service, region, resource_arn, service_context)
        _why.set(ACCESS_DENIED if service == "s3" and not access_key_id else "")
        if access_key_id and service in _NAMED_IN_TEXT and isinstance(denied, iam_evaluator.EvalResult):
            _why.set(_text(denied, access_key_id, action, region, resource_arn, service_context or {}))
        return denied

    def responded(service: str, action: str, *more: Any, **named: Any) -> Any:
        if service in _NAMED_IN_TEXT and not named.get("error_code"):
            named["message"] = _why.get() or named.get("message", "")
        return respond(service, action, *more, **named)

    def resolved(key: str, asked: Any) -> Any:
        if key.lower() == "aws:principalarn" and ":assumed-role/" in asked.principal_arn:
            return role_arn(asked.principal_arn)
        return resolve(key, asked)

    iam_evaluator.enforce, iam_evaluator._resolve_condition_key = enforced, resolved
    iam_actions.access_denied_response = responded


def role_arn(session_arn: str) -> str:
    """Return a session's role, its aws:PrincipalArn (AWS docs: IAM, "Global condition keys")."""
    from ministack.services import iam

    account, name = session_arn.split(":")[4], session_arn.split("/")[1]
    role = iam._roles.get_scoped(account, None, name)
    return str(role["Arn"]) if role else f"arn:aws:iam::{account}:role/{name}"


def _text(
    denied: Any, access_key_id: str, action: str, region: str, resource_arn: str, context: Mapping[str, Any]
) -> str:
    from ministack.services import s3

    principal = caller(access_key_id)
    if resource_arn.startswith("arn:aws:s3:::"):
        bucket = resource_arn.removeprefix("arn:aws:s3:::").partition("/")[0]
        if s3._bucket_owner_account(bucket) not in (None, principal.account):
            return ACCESS_DENIED
    asked = _asked(principal, action, resource_arn, region, {k.lower(): v for k, v in context.items()})
    by_identity = principal.policies is None or (
        _allowed(asked, principal.policies) and all(_allowed(asked, limit) for limit in principal.limits)
    )
    by_resource = bool(denied.resource_policy_arn) or by_identity
    reason = _reason(principal, asked, explicit=denied.decision == "Deny", by_resource=by_resource)
    return sentence(principal, action, resource_arn, reason)


def _reason(principal: Any, asked: Any, *, explicit: bool, by_resource: bool) -> str:
    """Return the type of the denying policy, and its ARN if any. If several deny, name one, as AWS does."""
    kind: str
    layer: Any
    if by_resource:
        kind, layer = "resource-based policy", ()
    elif explicit:
        kind, layer = next(found for found in _layers(principal) if _decided(asked, found[1]) == "Deny")
    else:
        kind, layer = next(found for found in _layers(principal) if not _allowed(asked, found[1]))
    if explicit:
        arn = _denying_arn(asked, layer) if WORDING.names is AccessDeniedMessages.POLICY_ARN else ""
        reason = f"with an explicit deny in {'an' if kind.startswith('i') else 'a'} {kind}"
        return f"{reason}: {arn}" if arn else reason
    return f"because no {kind} allows the {asked.action} action"


def _denying_arn(asked: Any, layer: Any) -> str:
    """Return the ARN of the layer's first managed policy that denies; "" if only inline policies deny."""
    denying = (policy_arn(policy) for policy in layer if _decided(asked, [policy]) == "Deny")
    return next((arn for arn in denying if arn), "")


def _layers(principal: Any) -> Iterator[tuple[str, Any]]:
    """Yield the caller's policies, permissions boundary and session policies; each of them must allow."""
    yield "identity-based policy", principal.policies
    # ministack returns the limits without their types: the boundary first, if there is one.
    kinds = ("permissions boundary", "session policy")
    yield from zip(kinds if _has_boundary(principal) else kinds[1:], principal.limits, strict=False)


def _has_boundary(principal: Any) -> bool:
    from ministack.services import iam

    kind, _, rest = principal.arn.split(":")[-1].partition("/")
    if kind == "assumed-role":
        entity = iam._roles.get_scoped(principal.account, None, rest.partition("/")[0])
    else:
        entity = iam._users.get_scoped(principal.account, None, rest.rsplit("/", 1)[-1])
    return bool((entity or {}).get("PermissionsBoundary"))


def _decided(asked: Any, layer: Any) -> str:
    from ministack.core import iam_evaluator

    return str(iam_evaluator.evaluate(asked, layer).decision)


def _allowed(asked: Any, layer: Any) -> bool:
    return _decided(asked, layer) == "Allow"


def _asked(principal: Any, action: str, resource_arn: str, region: str, context: Mapping[str, Any]) -> Any:
    from ministack.core import iam_evaluator

    return iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=resource_arn,
        region=region,
        service_context={"aws:tagkeys": None, **context},
        principal_keys=principal.keys,
    )
