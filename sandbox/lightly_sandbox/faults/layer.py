"""Applies the faults: an ASGI layer around the platform that also controls the connection."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import socket
import struct
import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lightly_sandbox import WORKER_AGENT
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.faults.rules import Drip, DropResponse, NotJson, Plan, Reset, Status, Truncate
from lightly_sandbox.process.serving import transport_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lightly_sandbox.faults.rules import Faults

log = logging.getLogger(__name__)

API = "/v1/"

DRIP_INTERVAL_SECONDS = 0.1

_Headers = list[tuple[bytes, bytes]]

# The timestamps in responses, in milliseconds (lightly 1.5.26, models/timestamp.py). processedUntilTimestamp
# is not among them: it is in seconds, and the client sets it.
_TIMES = frozenset({"createdAt", "lastModifiedAt", "ts"})

_CODES: dict[int, ApiErrorCode] = {
    HTTPStatus.UNAUTHORIZED: ApiErrorCode.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED: ApiErrorCode.ACCOUNT_SUBSCRIPTION_INSUFFICIENT,
    HTTPStatus.FORBIDDEN: ApiErrorCode.FORBIDDEN,
    HTTPStatus.NOT_FOUND: ApiErrorCode.NOT_FOUND,
    HTTPStatus.CONFLICT: ApiErrorCode.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ApiErrorCode.PAYLOAD_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: ApiErrorCode.MALFORMED_REQUEST,
    HTTPStatus.NOT_IMPLEMENTED: ApiErrorCode.NOT_IMPLEMENTED,
}

_PAGE = b"<!DOCTYPE html>\n<html><body><h1>One moment, please</h1></body></html>\n"
_LINGER_NOT = struct.pack("ii", 1, 0)


class FaultLayer:
    """ASGI middleware that applies faults to requests to the API, and passes on all other requests."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, with or without a fault."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        agents = [value for name, value in scope["headers"] if name == b"user-agent"]
        by_worker = any(agent.startswith(WORKER_AGENT.encode()) for agent in agents)
        plan = self._faults.decide(scope["method"], scope["path"], by_worker=by_worker)
        if not plan:
            await self._app(scope, receive, send)
            return
        path = scope["raw_path"].decode("latin-1")
        log.info("%s %s has the fault %s", scope["method"], path, " and ".join(plan.applied))
        await _Carried(self._app, scope, receive, send, plan).out()


@dataclass(frozen=True, slots=True)
class _Carried:
    """A request and its plan."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    plan: Plan

    async def out(self) -> None:
        """Carry out the plan."""
        body = await self._request_body()
        if body is None:
            return
        await asyncio.sleep(self.plan.delay_seconds)
        if isinstance(self.plan.instead, Reset):
            await self._reset()
        elif isinstance(self.plan.instead, Status):
            await self._send(_refusal(self.plan.instead, self.scope["state"]["request_id"]))
        else:
            done = await self._done(body)
            if self.plan.skew_seconds:
                done = _skewed(done, self.plan.skew_seconds)
            await self._answer(done)

    async def _request_body(self) -> bytes | None:
        """Read the whole body first: a delayed request has arrived. None if the client disconnected."""
        body, more = b"", True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body

    async def _done(self, body: bytes) -> _Answer:
        """Pass the request to the application and return its response."""
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await self.receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        start: Message = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self.app(self.scope, again, keep)
        return _Answer(start["status"], start["headers"], b"".join(parts))

    async def _answer(self, answer: _Answer) -> None:
        match self.plan.afterwards:
            case DropResponse():
                await self._close()
            case Truncate():
                await self._truncated(answer)
            case NotJson():
                await self._send(_page_instead_of(answer))
            case Drip(seconds=seconds):
                await self._dripped(answer, seconds)
            case None:
                await self._send(answer)

    async def _send(self, answer: _Answer) -> None:
        await self.send(answer.start())
        await self.send({"type": "http.response.body", "body": answer.body})

    async def _truncated(self, answer: _Answer) -> None:
        if answer.body:
            await self.send(answer.start())
            half = answer.body[: len(answer.body) // 2]
            await self.send({"type": "http.response.body", "body": half, "more_body": True})
        else:
            # A response without a body can only be truncated in its first line.
            transport_of(self.scope).write(b"HTTP/1.1 ")
        await self._close()

    async def _dripped(self, answer: _Answer, seconds: float) -> None:
        await self.send(answer.start())
        n_pieces = max(1, min(len(answer.body), int(seconds / DRIP_INTERVAL_SECONDS)))
        size = math.ceil(len(answer.body) / n_pieces) or 1
        pieces = [answer.body[at : at + size] for at in range(0, len(answer.body), size)]
        for piece in pieces:
            await asyncio.sleep(seconds / len(pieces))
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def _reset(self) -> None:
        transport = transport_of(self.scope)
        connection: socket.socket = transport.get_extra_info("socket")
        # Lingering for 0 s: the kernel resets the connection (Linux, socket(7), SO_LINGER).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
        await self._closed()

    async def _close(self) -> None:
        transport_of(self.scope).close()
        await self._closed()

    async def _closed(self) -> None:
        """Wait until the server has noticed: else it would add a response when the application returns."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: _Headers
    body: bytes

    def start(self) -> Message:
        return {"type": "http.response.start", "status": self.status, "headers": self.headers}

    def with_body(self, content_type: bytes, body: bytes) -> _Answer:
        """Return the same response with another body."""
        kept = [(k, v) for k, v in self.headers if k.lower() not in (b"content-type", b"content-length")]
        new = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        return replace(self, headers=kept + new, body=body)


def _refusal(fault: Status, request_id: str) -> _Answer:
    code = fault.code or _CODES.get(fault.status, ApiErrorCode.BAD_REQUEST).value
    error = f"A fault of the sandbox answers this request with {fault.status}; see `lightly-sandbox faults`."
    # Do not use ApiErrorResponse: a fault may have a code that the contract does not define yet.
    body = {"code": code, "error": error, "requestId": request_id}
    headers: _Headers = []
    if fault.retry_after is not None:
        headers.append((b"retry-after", str(fault.retry_after).encode()))
    if fault.retry_after_date is not None:
        # The date has whole seconds; round up, so that it is not too early.
        until = math.ceil(time.time()) + fault.retry_after_date
        headers.append((b"retry-after", formatdate(until, usegmt=True).encode()))
    refusal = _Answer(fault.status, headers, b"")
    return refusal.with_body(b"application/json", json.dumps(body).encode())


def _page_instead_of(answer: _Answer) -> _Answer:
    # 204 has no body by definition.
    status = HTTPStatus.OK if answer.status == HTTPStatus.NO_CONTENT else answer.status
    return replace(answer, status=status).with_body(b"text/html; charset=utf-8", _PAGE)


def _skewed(answer: _Answer, seconds: float) -> _Answer:
    """Return the response with all timestamps in its JSON shifted; other content has none."""
    if (b"content-type", b"application/json") not in answer.headers:
        return answer
    body = json.dumps(_shifted(json.loads(answer.body), round(seconds * 1000)))
    return answer.with_body(b"application/json", body.encode())


def _shifted(value: Any, ms: int) -> Any:
    if isinstance(value, list):
        return [_shifted(item, ms) for item in value]
    if isinstance(value, dict):
        return {
            name: max(0, member + ms) if name in _TIMES and isinstance(member, int) else _shifted(member, ms)
            for name, member in value.items()
        }
    return value
