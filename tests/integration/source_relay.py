"""A relay in front of a local address, through which requests come from another address of this machine."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import Self

# On Linux, all of 127.0.0.0/8 is this machine, so this address needs no set-up.
INSIDE = "127.0.0.2"


class SourceRelay:
    """
    Context manager: forwards bytes from ``source``.

    :param target: The address to reach.
    :param source: The address that the target sees.
    """

    def __init__(self, target: str, source: str = INSIDE) -> None:
        self._target, self._source = urlsplit(target), source
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """The relay's own address."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):  # the end, when the server is shut
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(
                    (str(self._target.hostname), int(self._target.port or 80)), source_address=(self._source, 0)
                )
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass, args=(one, other), daemon=True).start()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._server, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()


def _pass(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while received := one.recv(65536):
            other.sendall(received)
        other.shutdown(socket.SHUT_WR)
