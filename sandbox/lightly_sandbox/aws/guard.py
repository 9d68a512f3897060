"""Corrects, in front of the local AWS, where it is less strict than AWS.

ministack (1.5.33) serves an endpoint that deletes everything, and does not check the duration of an assumed
role's session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH_PATH = "/_ministack/health"

SHORTEST_SESSION, LONGEST_SESSION, DEFAULT_SESSION = 900, 43200, 3600


class Guard:
    """ASGI middleware in front of ministack.

    ``max_session_seconds`` returns a role's MaxSessionDuration by its ARN, or None for an unknown role.
    """

    def __init__(self, app: ASGIApp, max_session_seconds: Callable[[str], int | None]) -> None:
        self._app = app
        self._max_session_seconds = max_session_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"].startswith("/_") and scope["path"] != HEALTH_PATH:
            await _answer(send, 404, "NotFound", "There is no such path.")
        elif scope["method"] == "POST" and "x-www-form-urlencoded" in headers.get("content-type", ""):
            await self._with_form(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _with_form(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        if form.get("Action") != "AssumeRole":
            await self._app(scope, again, send)
            return
        refusal = self._session_refusal(form)
        if refusal is None:
            await self._app(scope, again, send)
            return
        # Do not reveal the maximum duration to a caller who may not assume the role.
        status = 200
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            messages.append(message)

        await self._app(scope, again, keep)
        if status == 200:
            await _answer(send, 400, "ValidationError", refusal)
            return
        for message in messages:
            await send(message)

    def _session_refusal(self, form: dict[str, str]) -> str | None:
        """Return AWS's message if the session is too short or too long (AWS docs: STS, AssumeRole)."""
        asked = form.get("DurationSeconds", str(DEFAULT_SESSION))
        if not asked.isdigit():
            return f"Value '{asked}' at 'durationSeconds' is not an integer"
        seconds = int(asked)
        broken = f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy"
        if seconds < SHORTEST_SESSION:
            return f"{broken} constraint: Member must have value greater than or equal to {SHORTEST_SESSION}"
        if seconds > LONGEST_SESSION:
            return f"{broken} constraint: Member must have value less than or equal to {LONGEST_SESSION}"
        longest = self._max_session_seconds(form.get("RoleArn", ""))
        if longest is not None and seconds > longest:
            return "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        return None


def error_body(code: str, message: str) -> bytes:
    """Return an error body in a form that all AWS clients can read."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
        "</Error></ErrorResponse>"
    ).encode()


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = error_body(code, message)
    headers = [(b"content-type", b"text/xml"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
