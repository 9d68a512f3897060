"""The local AWS's control endpoints, for the platform only: the IAM delay, and what denials name."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import requests

from lightly_sandbox.aws.root import ROOT_HEADER
from lightly_sandbox.aws.wording import AccessDeniedMessages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from lightly_sandbox.aws.propagation import Propagation
    from lightly_sandbox.aws.wording import Wording

IAM_DELAY, MESSAGES = "/_sandbox/iam-delay", "/_sandbox/access-denied-messages"
DEFAULT = "default"


class Control:
    """ASGI middleware that serves these endpoints to callers with the root key only."""

    def __init__(self, app: ASGIApp, root_key: str, propagation: Propagation, wording: Wording) -> None:
        self._app = app
        self._root_key = root_key
        self._propagation = propagation
        self._wording = wording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Set or return the setting at the path, or pass the request on."""
        if scope["type"] != "http" or scope["path"] not in (IAM_DELAY, MESSAGES):
            await self._app(scope, receive, send)
            return
        key = dict(scope["headers"]).get(ROOT_HEADER.encode(), b"")
        if not hmac.compare_digest(key, self._root_key.encode()):
            await _answer(send, 404, {})
            return
        asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        if scope["method"] == "PUT" and scope["path"] == IAM_DELAY:
            self._propagation.set_delay(float(asked["seconds"]))
        elif scope["method"] == "PUT":
            names = asked["names"]
            self._wording.names = self._wording.default if names == DEFAULT else AccessDeniedMessages(names)
        await _answer(send, 200, {"applied": self._propagation.answered_from_the_past})


def set_delay(aws_url: str, root_key: str, seconds: float) -> None:
    """Delay the effect of policy changes in the local AWS by this many seconds; 0 for no delay."""
    _ask("PUT", aws_url + IAM_DELAY, root_key, seconds=seconds)


def count(aws_url: str, root_key: str) -> int:
    """Return how many decisions the local AWS has based on outdated policies since the delay was set."""
    return int(_ask("GET", aws_url + IAM_DELAY, root_key)["applied"])


def set_messages(aws_url: str, root_key: str, names: AccessDeniedMessages | None) -> None:
    """Set what the local AWS's access denied messages name; None restores the setting of ``up``."""
    _ask("PUT", aws_url + MESSAGES, root_key, names=names or DEFAULT)


def _ask(method: str, url: str, root_key: str, **query: float | str) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False  # Do not use the environment's proxy for loopback.
        answer = session.request(method, url, headers={ROOT_HEADER: root_key}, params=query, timeout=10)
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


async def _answer(send: Send, status: int, body: Mapping[str, int]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
