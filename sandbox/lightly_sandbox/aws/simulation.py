"""Makes IAM's policy simulator use the request's context entries and permissions boundaries.

ministack (1.5.33) ignores both: in its simulator a policy with a condition on ``s3:prefix`` allows nothing,
and the caller's address counts as that of the simulated request. AWS's simulator also returns the missing
context keys for each resource (AWS docs: IAM API reference, SimulatePrincipalPolicy).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from xml.sax.saxutils import escape

_DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}

_context: ContextVar[dict[str, Any]] = ContextVar("context_of_the_simulation")


def install() -> None:
    """Patch ministack's simulator; ministack looks up the replaced function in its module at each call."""
    from ministack.services import iam

    read_parameters = iam._extract_simulate_params

    def reading(parameters: Any) -> Any:
        _context.set(_context_entries(lambda name: iam._p(parameters, name)))
        return read_parameters(parameters)

    iam._extract_simulate_params = reading
    iam._build_simulate_results_real = _results


def _context_entries(parameter: Any) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    number = 1
    while name := parameter(f"ContextEntries.member.{number}.ContextKeyName"):
        key = f"ContextEntries.member.{number}.ContextKeyValues.member."
        # An empty value is valid, but looks like a missing one; so always use the first value.
        values = [parameter(f"{key}1") or ""]
        while more := parameter(f"{key}{len(values) + 1}"):
            values.append(more)
        entries[name.lower()] = values[0] if len(values) == 1 else values
        number += 1
    return entries


def _results(
    actions: list[str], resource_arn: str, principal_arn: str, account_id: str, policies: list[Any]
) -> str:
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_region

    limits = _boundary(principal_arn, account_id)
    members = []
    for action in actions:
        asked = iam_evaluator.EvalContext(
            principal_arn=principal_arn,
            principal_type="User",
            principal_account=account_id,
            action=action,
            resource_arn=resource_arn,
            region=get_region(),
            source_ip=str(_context.get({}).get("aws:sourceip", "")),
            service_context={"aws:tagkeys": None, **_context.get({})},
        )
        decision = iam_evaluator.evaluate(asked, policies, *limits).decision
        within = all(iam_evaluator.evaluate(asked, limit).decision == "Allow" for limit in limits)
        boundary = (
            f"<PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>{str(within).lower()}"
            "</AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>"
            if limits
            else ""
        )
        missing = _missing(asked, [policies, *limits])
        specific = (
            f"<ResourceSpecificResults><member><EvalResourceName>{escape(resource_arn)}</EvalResourceName>"
            f"<EvalResourceDecision>{_DECISIONS[decision]}</EvalResourceDecision><MissingContextValues>"
            f"{''.join(f'<member>{escape(key)}</member>' for key in missing)}</MissingContextValues>"
            f"{boundary}</member></ResourceSpecificResults>"
        )
        members.append(
            f"<member><EvalActionName>{escape(action)}</EvalActionName>"
            f"<EvalResourceName>{escape(resource_arn)}</EvalResourceName>"
            f"<EvalDecision>{_DECISIONS[decision]}</EvalDecision><MatchedStatements/><MissingContextValues/>"
            f"{boundary}{specific}</member>"
        )
    return "".join(members)


def _missing(asked: Any, layers: list[Any]) -> list[str]:
    """Return the condition keys without a value in the statements that apply to the request."""
    from ministack.core import iam_evaluator

    about = [
        statement
        for layer in layers
        for document in layer
        for statement in document
        if iam_evaluator._action_matches(asked.action, statement.actions, statement.not_actions)
        and iam_evaluator._resource_matches(asked.resource_arn, statement.resources, statement.not_resources)
    ]
    keys = dict.fromkeys(key for one in about for block in one.conditions.values() for key in block)
    return [key for key in keys if not iam_evaluator._resolve_condition_key(key, asked)]


def _boundary(principal_arn: str, account_id: str) -> list[Any]:
    from ministack.core import iam_evaluator
    from ministack.services import iam

    kind, _, name = principal_arn.split(":")[-1].partition("/")
    store = iam._roles if kind == "role" else iam._users
    return list(iam_evaluator._permissions_boundary(store, name.rsplit("/", 1)[-1], account_id))
