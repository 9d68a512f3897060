"""A fault of the local AWS: changes to IAM policies that take effect after a delay.

On AWS a change may not be visible everywhere at once (AWS docs: IAM, troubleshooting, "Changes that I make
are not always immediately visible"); in ministack (1.5.33) it is. This fault delays only decisions: reading a
policy returns the new version.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.aws.accounts import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

_TO_IAM = re.compile(rb"Credential=[^/]+/[^/]+/[^/]+/iam/")

_Principal = tuple[str, str]  # account id and name


@dataclass(frozen=True, slots=True)
class _Policies:
    """A snapshot of IAM: the policies of users and roles, and the trust policies of roles."""

    users: Mapping[_Principal, list[Any]]
    roles: Mapping[_Principal, list[Any]]
    trusts: Mapping[_Principal, str]


class Propagation:
    """ASGI middleware around ministack that takes a snapshot of the policies before each request to IAM.

    For ``delay`` seconds after a change, ministack's evaluator uses the policies from before it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._delay_seconds = 0.0
        self._answered_from_the_past = 0
        self._before: deque[tuple[float, _Policies]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a snapshot of the policies before a request to IAM, and serve the request."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if self._delay_seconds and _TO_IAM.search(headers.get(b"authorization", b"")):
                # Take it before the request, so that nobody with the response sees its effect. A snapshot
                # before a request that changes nothing does no harm.
                self._before.append((time.monotonic(), self._now()))
        await self._app(scope, receive, send)

    @property
    def answered_from_the_past(self) -> int:
        """The number of decisions based on outdated policies since the delay was set."""
        return self._answered_from_the_past

    def set_delay(self, seconds: float) -> None:
        """Delay the effect of changes by this many seconds; 0 for no delay."""
        self._delay_seconds = seconds
        self._answered_from_the_past = 0
        self._before.clear()

    def install(self) -> None:
        """Patch ministack's evaluator to use these policies.

        This works because ministack, also its STS, looks up the replaced functions in their modules at each
        call.
        """
        from ministack.core import iam_evaluator

        self._users_policies = iam_evaluator._gather_user_policies
        self._roles_policies = iam_evaluator._gather_role_policies
        trusts = iam_evaluator.evaluate_trust_policy

        def users_policies(name: str, account_id: str) -> list[Any]:
            past = self._past()
            if past is None:
                return list(self._users_policies(name, account_id))
            return past.users.get((account_id, name), [])

        def roles_policies(name: str, account_id: str) -> list[Any]:
            past = self._past()
            if past is None:
                return list(self._roles_policies(name, account_id))
            return past.roles.get((account_id, name), [])

        def is_trusted(document: Any, caller_arn: str, context: Any = None) -> bool:
            past = self._past() if context is not None else None
            if past is not None:
                account_id, name = _role(context.resource_arn)
                document = past.trusts.get((account_id, name), "{}")
            return bool(trusts(document, caller_arn, context))

        iam_evaluator._gather_user_policies = users_policies
        iam_evaluator._gather_role_policies = roles_policies
        iam_evaluator.evaluate_trust_policy = is_trusted

    def _past(self) -> _Policies | None:
        """Return the policies from before the delay; None if they have not changed since."""
        if not self._delay_seconds:
            return None
        effective = time.monotonic() - self._delay_seconds
        while self._before and self._before[0][0] <= effective:
            self._before.popleft()
        if not self._before:
            return None
        self._answered_from_the_past += 1
        return self._before[0][1]

    def _now(self) -> _Policies:
        from ministack.core.responses import request_scope
        from ministack.services import iam

        users, roles, trusts = {}, {}, {}
        # Some of ministack's look-ups use the account of the current request.
        for account_id, name in iam._users.to_dict():
            with request_scope(account_id, REGION):
                users[account_id, name] = self._users_policies(name, account_id)
        for (account_id, name), role in iam._roles.to_dict().items():
            with request_scope(account_id, REGION):
                roles[account_id, name] = self._roles_policies(name, account_id)
            trusts[account_id, name] = role.get("AssumeRolePolicyDocument", "{}")
        return _Policies(users, roles, trusts)


def _role(arn: str) -> _Principal:
    """Return the account and the name from ``arn:aws:iam::ACCOUNT:role/PATH/NAME``."""
    account_id, _, path = arn.partition("arn:aws:iam::")[2].partition(":role/")
    return account_id, path.rsplit("/", 1)[-1]
