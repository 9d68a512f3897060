"""A server on 127.0.0.1 that answers as told, byte by byte: also what no server should ever send."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 2**20


@dataclass(frozen=True)
class Bytes:
    """
    An answer as a stream of bytes, head included.

    :param parts: Makes the parts; called for each request.
    :param pause: Seconds between two parts.
    :param then_reset: Whether the connection ends with a reset.
    :param stays_open: Whether the connection stays open afterwards, without another byte.
    """

    parts: Callable[[], Iterator[bytes]]
    pause: float = 0.0
    then_reset: bool = False
    stays_open: bool = False


def answer(body: bytes = b"", *, status: int = 200, headers: tuple[str, ...] = (), length: int | None = None) -> Bytes:
    """A whole answer; ``length`` is what it says of its length, if that is not the truth."""
    return Bytes(
        lambda: iter([_head(status, (*headers, f"Content-Length: {len(body) if length is None else length}")), body])
    )


def dripping_body(byte: bytes = b" ", *, pause: float = 0.05, headers: tuple[str, ...] = ()) -> Bytes:
    """A body that never ends, one byte at a time, so that no single read of it is late."""

    def parts() -> Iterator[bytes]:
        yield _head(200, ("Content-Length: 1000000", *headers))
        while True:
            yield byte

    return Bytes(parts, pause=pause)


def dripping_head(*, pause: float = 0.05) -> Bytes:
    """Likewise before the body begins."""

    def parts() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX-Slow: "
        while True:
            yield b"x"

    return Bytes(parts, pause=pause)


def huge(mib: int, *, chunked: bool = False, start: bytes = b"[") -> Bytes:
    """A body of so many MiB, with its length or in chunks."""
    piece = b" " * 65_536

    def parts() -> Iterator[bytes]:
        yield _head(200, ("Transfer-Encoding: chunked",) if chunked else (f"Content-Length: {mib * MIB}",))
        for number in range(mib * MIB // len(piece)):
            part = start + piece[len(start) :] if number == 0 else piece
            yield (b"%x\r\n" % len(part) + part + b"\r\n") if chunked else part
        if chunked:
            yield b"0\r\n\r\n"

    return Bytes(parts)


def chunked(body: bytes, *, size: int = 10_000) -> Bytes:
    """A body in chunks of so many bytes, without its length."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    head = _head(200, ("Transfer-Encoding: chunked",))
    return Bytes(lambda: iter([head, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))]))


def gzip_bomb(mib: int) -> Bytes:
    """A small body that is this large once it is decompressed."""
    step = min(mib, 8)
    packed = gzip.compress(b" " * (step * MIB)) * (mib // step)
    return answer(packed, headers=("Content-Encoding: gzip",))


def gzipped(body: bytes, **changes: int) -> Bytes:
    """A body that is compressed as it should be."""
    return answer(gzip.compress(body), headers=("Content-Encoding: gzip",), **changes)


def endless_head() -> Bytes:
    """Header lines without an end."""

    def parts() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: " + b"x" * 1000 + b"\r\n"

    return Bytes(parts)


def _head(status: int, headers: tuple[str, ...]) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status} Any", *headers, "", "")).encode()


@dataclass
class HostileServer:
    """
    The server; use it as a context manager.

    :param script: What follows request by request; the last one is repeated.
    """

    script: list[Bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.requests: list[bytes] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: set[socket.socket] = set()

    @property
    def address(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        # Closing alone wakes nobody who accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def answers(self, *script: Bytes) -> Self:
        """From now on, answer so."""
        with self._lock:
            self.script = list(script)
            self.requests.clear()
        return self

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._closing.is_set() and self._read_request(connection):
                with self._lock:
                    scripted = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                for part in scripted.parts():
                    connection.sendall(part)
                    if scripted.pause and self._closing.wait(scripted.pause):
                        return
                if scripted.then_reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if scripted.stays_open:
                    self._closing.wait()
        except OSError:
            return  # the client hung up
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _read_request(self, connection: socket.socket) -> bool:
        """Read one request with its body; whether there was one."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65_536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65_536)
        with self._lock:
            self.requests.append(head)
        return True
