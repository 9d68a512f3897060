"""Serves an ASGI application on a socket that the supervisor has already bound."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"

_TRANSPORT = "lightly_sandbox.transport"


class Connection(H11Protocol):
    """uvicorn's connection, which puts its transport into the scope of its requests.

    ASGI has no way to close a connection without a response: if the application raises or just returns,
    uvicorn (0.54, protocols/http/h11_impl.py) responds with 500.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve."""
        super().connection_made(transport)
        app = cast("ASGIApp", self.app)

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = cast("Any", with_transport)


def transport_of(scope: Scope) -> asyncio.Transport:
    """Return the connection of a request; closing it without a response is the caller's responsibility."""
    transport: asyncio.Transport = scope["extensions"][_TRANSPORT]
    return transport


def log_to_stderr() -> None:
    """Log lines with a timestamp to stderr; the supervisor redirects it to a file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3", "ministack", "persistence", "transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve(app: ASGIApp, descriptor: int) -> None:
    """Serve ``app`` on the bound socket ``descriptor`` until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        cast("Any", app),  # Starlette and uvicorn have different types for the same protocol.
        # uvicorn's own access log contains the whole query, with the token and the signatures of URLs.
        access_log=False,
        http=Connection,
        log_config=None,
        lifespan="on",
        # Neither server uses WebSockets, and a request's proxy headers may be forged.
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
        server_header=False,
        date_header=False,
        backlog=512,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
