"""A platform on 127.0.0.1 that answers by a script, one step per request, and keeps what it was sent."""

from __future__ import annotations

import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Answer:
    """An answer; a body that is no bytes is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class CutShort(Answer):
    """An answer whose connection ends before its last bytes."""

    missing: int = 10


@dataclass(frozen=True)
class NoAnswer:
    """The connection is closed once the request was read."""

    reset: bool = False


@dataclass(frozen=True)
class NoiseInTls:
    """The request is read, and then bytes follow that are no TLS."""


@dataclass(frozen=True)
class Late(Answer):
    """An answer that comes only when the platform is closed."""


@dataclass(frozen=True)
class Tunnel:
    """The answer of a proxy to ``CONNECT``; what is sent through the tunnel comes to the platform itself, by TLS."""

    tls: ssl.SSLContext


Step = Answer | NoAnswer | NoiseInTls | Tunnel


def read_timeout_for(step: Step, late: float = 0.1) -> float:
    """Seconds to wait for what follows: few where no answer comes, else many, as a busy machine is slow to answer."""
    return late if isinstance(step, Late) else 30.0


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedPlatform:
    """
    A server for one test; use it as a context manager.

    :param script: What follows request by request; the last step is repeated for all that come after.
    :param tls: Server-side TLS; None: plain HTTP.
    """

    def __init__(self, script: Iterable[Step] = (), *, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Step] = list(script)
        self.received: list[Received] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10
            # Head and body are two writes, and the second would wait for the client's delayed acknowledgement.
            disable_nagle_algorithm = True

            def handle_request(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                step = platform._next(Received(self.command, self.path, dict(self.headers.items()), body))
                platform._follow(step, self)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_CONNECT = handle_request  # noqa: N815  (http.server's names)

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests look at what was received."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is no news
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def address(self) -> str:
        """The base address."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ScriptedPlatform:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def requests(self, at_least: int, within: float = 30) -> list[Received]:
        """What came, once it is so many; a client that gives up on an answer may be ahead of this platform."""
        with self._came:
            self._came.wait_for(lambda: len(self.received) >= at_least, timeout=within)
            return list(self.received)

    def _next(self, received: Received) -> Step:
        with self._lock:
            self.received.append(received)
            self._came.notify_all()
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def _follow(self, step: Step, handler: BaseHTTPRequestHandler) -> None:
        if isinstance(step, NoiseInTls):
            raw = socket.socket(fileno=socket.dup(handler.connection.fileno()))
            raw.sendall(b"no TLS at all" * 10)
            raw.close()
            handler.close_connection = True
        elif isinstance(step, Tunnel):
            handler.send_response(200)
            handler.end_headers()
            through = step.tls.wrap_socket(handler.connection, server_side=True)
            handler.connection, handler.close_connection = through, False
            handler.rfile, handler.wfile = through.makefile("rb"), through.makefile("wb", 0)
        elif isinstance(step, NoAnswer):
            if step.reset:
                # Lingering for no time makes closing send a reset.
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()
        else:
            if isinstance(step, Late):
                self.closing.wait(timeout=10)
            self._answer(step, handler)

    def _answer(self, answer: Answer, handler: BaseHTTPRequestHandler) -> None:
        content = answer.content
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.status != 204:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if isinstance(answer, CutShort):
            content = content[: -answer.missing]
            handler.close_connection = True
        if handler.command != "HEAD":
            handler.wfile.write(content)


def refusing_address() -> str:
    """An address on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
