"""A proxy in front of the sandbox that drops responses: the platform has applied the request, unknown to the client."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


class LossyProxy:
    """
    Forwards everything, and closes the connection without a response if ``loses`` returns True.

    :param target: The platform's address.
    :param loses: Called with method and path after the platform has answered: whether to drop the response.
    :param drops: Called likewise before forwarding: whether to drop the request. None: never.
    """

    def __init__(
        self, target: str, loses: Callable[[str, str], bool], *, drops: Callable[[str, str], bool] | None = None
    ) -> None:
        proxy = self
        self._target, self._loses, self._drops = urlsplit(target), loses, drops
        self.forwarded: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                proxy.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = forward  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The proxy's own address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Forward one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = urlsplit(request.path).path
        if self._drops is not None and self._drops(request.command, path):
            request.close_connection = True
            request.connection.close()
            return
        upstream = http.client.HTTPConnection(str(self._target.hostname), self._target.port)
        upstream.request(request.command, request.path, body, {"Content-Type": "application/json"})
        response = upstream.getresponse()
        content = self.changed(response.read())
        upstream.close()
        self.forwarded.append((request.command, path))
        if self._loses(request.command, path):
            request.close_connection = True
            request.connection.close()
            return
        request.send_response(response.status)
        request.send_header("Content-Type", response.headers.get("Content-Type", "application/json"))
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def changed(self, content: bytes) -> bytes:
        """Return the response body for the client; subclasses change it."""
        return content

    def __enter__(self) -> LossyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
