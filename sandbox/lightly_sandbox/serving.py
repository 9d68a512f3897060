"""Serving an ASGI application on a socket that the supervisor has bound already."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, cast

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST = "127.0.0.1"


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
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
        server_header=False,
        date_header=False,
        backlog=512,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
