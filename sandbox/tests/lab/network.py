"""A network between a worker and the platform, on which requests and answers are lost or kept waiting."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

Match = Callable[[str, str, Any], bool]
"""Whether it is this request, by its method, its path and its JSON body."""

HELD_SECONDS = 60.0


class Network(ThreadingHTTPServer):
    """Passes requests on to the platform, but loses the answers to the first ones that match ``loses``.

    With ``drops`` the requests themselves are lost. With ``holds`` they are kept, unanswered, until the
    network ends; ``held`` says that there is one.
    """

    daemon_threads = True

    def __init__(
        self, target: str, loses: Match, times: int = 1, *, drops: bool = False, holds: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", 0), Passage)
        self.target = target
        self.loses = loses
        self.left = times
        self.drops = drops
        self.holds = holds
        self.held = threading.Event()
        self.ended = threading.Event()
        self.lock = threading.Lock()

    def is_lost(self, method: str, path: str, content: bytes) -> bool:
        with self.lock:
            lost = self.left > 0 and self.loses(method, path, json.loads(content) if content else None)
            self.left -= lost
            return lost

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Passage(BaseHTTPRequestHandler):
    server: Network
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        lost = self.server.is_lost(self.command, self.path.partition("?")[0], content)
        if lost and self.server.holds:
            self.server.held.set()
            self.server.ended.wait(HELD_SECONDS)
        if lost and (self.server.drops or self.server.holds):
            self.close_connection = True
            return
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        answer = requests.request(
            self.command, self.server.target + self.path, data=content, headers=headers, timeout=30
        )
        if lost:
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_PUT = do_POST = _pass

    def log_message(self, *_: Any) -> None:
        """Say nothing: the requests' lines hold the token."""


@contextmanager
def passing(network: Network) -> Iterator[Network]:
    threading.Thread(target=network.serve_forever, daemon=True).start()
    try:
        yield network
    finally:
        network.ended.set()
        network.shutdown()
        network.server_close()
