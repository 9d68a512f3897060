"""Makes the sandbox itself the only root of an account on the local AWS.

ministack (1.5.33) treats a caller as the root of an account if the access key is the 12-digit account number
or ``test``, in any form, and also if the request has credentials of an unknown form (``Bearer x``). It allows
requests without a key to list and create buckets.
"""

from __future__ import annotations

import hmac
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

ROOT_HEADER = "x-lightly-sandbox-root"

_is_root: ContextVar[bool] = ContextVar("the_request_has_the_root_key", default=False)

_NO_TOKEN = "Request is missing Authentication Token"  # noqa: S105 (AWS's words)
_OF_THE_ACCOUNT = frozenset({"s3:ListAllMyBuckets", "s3:CreateBucket"})


class Root:
    """ASGI middleware that notes whether a request has the root key."""

    def __init__(self, app: ASGIApp, root_key: str) -> None:
        self._app = app
        self._root_key = root_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note whether the request has the root key, and serve it."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(ROOT_HEADER.encode(), b"")
            _is_root.set(hmac.compare_digest(given, self._root_key))
        await self._app(scope, receive, send)


def install() -> None:
    """Patch ministack to decide here who is root; it looks up the replaced functions at each call."""
    from ministack.core import iam_evaluator
    from ministack.services import sts

    named_root = iam_evaluator.is_root_access_key
    enforce, check = iam_evaluator.enforce, iam_evaluator.check_credentials

    def is_root_access_key(access_key_id: str) -> bool:
        # Without a key, the caller is ministack itself, or the two functions below refuse the request.
        return bool(named_root(access_key_id)) and (not access_key_id or _is_root.get())

    def enforced(
        access_key_id: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Mapping[str, Any] | None = None,
    ) -> Any:
        denied = enforce(access_key_id, action, service, region, resource_arn, service_context)
        if denied is not None or access_key_id:
            return denied
        if service == "s3":
            # Public access to a bucket is decided where the bucket is looked up.
            of_a_bucket = action not in _OF_THE_ACCOUNT and resource_arn != "*"
            return None if of_a_bucket else iam_evaluator.EvalResult("ImplicitDeny")
        if iam_evaluator._served_unsigned(service, action):
            return None
        return iam_evaluator.AuthError("MissingAuthenticationToken", _NO_TOKEN)

    def checked(access_key_id: str, service: str | None = None) -> Any:
        failure = check(access_key_id, service)
        if failure is not None or access_key_id or service == "s3":
            return failure
        return iam_evaluator.AuthError("MissingAuthenticationToken", _NO_TOKEN)

    iam_evaluator.is_root_access_key = sts.is_root_access_key = is_root_access_key
    iam_evaluator.enforce, iam_evaluator.check_credentials = enforced, checked
