"""Serving an ASGI application on a socket that the supervisor has bound already."""

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
    """uvicorn's connection, whose transport the application finds in its requests' scope.

    ASGI itself has no way to end a connection without an answer: uvicorn (0.54, protocols/http/h11_impl.py)
    answers 500 in place of an application that raises or just returns.
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
    """The connection that a request came by; closing it without an answer is the caller's risk."""
    transport: asyncio.Transport = scope["extensions"][_TRANSPORT]
    return transport


def log_to_stderr() -> None:
    """Log lines with their time; the supervisor sends them to a file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3", "ministack", "persistence", "transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve(app: ASGIApp, descriptor: int) -> None:
    """Serve ``app`` on the bound socket ``descriptor`` until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        cast("Any", app),  # Starlette's and uvicorn's types of the same protocol differ.
        # uvicorn's own access log has the whole query in it, and with it the token and the URLs' signatures.
        access_log=False,
        http=Connection,
        log_config=None,
        lifespan="on",
        # Neither server has WebSockets, and what a request says of a proxy before it may be made up.
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
        server_header=False,
        date_header=False,
        backlog=512,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
