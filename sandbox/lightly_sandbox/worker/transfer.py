"""Reads and writes objects with the signed URLs that the platform returns."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import requests

from lightly_sandbox.worker.network import TIMEOUT_SECONDS, new_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PIECE_BYTES = 1_000_000


class TransferError(Exception):
    """A signed URL was refused or could not be reached (then ``status`` is None)."""

    def __init__(self, method: str, url: str, status: int | None, reason: str) -> None:
        said = f"HTTP {status} {reason}".strip() if status else reason
        super().__init__(f"{method} {place_of(url)}: {said}")
        self.status = status
        self.reason = reason
        self.place = place_of(url)


def place_of(url: str) -> str:
    """Return the host, bucket and key of a signed URL without its query, which is what makes it a secret."""
    parts = urlsplit(url)
    return parts.netloc + unquote(parts.path)


class Transfer:
    """Reads and writes objects by signed URLs. It never sees the token. Safe to use from several threads."""

    def __init__(self) -> None:
        self._session = new_session(retries=3)

    def read(self, url: str, path: Path, look: Callable[[Mapping[str, str]], None] | None = None) -> int:
        """Read an object into a file in chunks: a video may be larger than the memory.

        Args:
            url: the signed URL.
            path: the file.
            look: called with the response headers before reading the content; an exception stops the read.

        Returns:
            The object's size in bytes.
        """
        with self._send("GET", url, stream=True) as answer, path.open("wb") as file:
            if look is not None:
                look(answer.headers)
            try:
                return sum(file.write(piece) for piece in answer.iter_content(_PIECE_BYTES))
            except requests.RequestException as error:
                raise TransferError("GET", url, None, f"failed with {type(error).__name__}") from None

    def content(self, url: str) -> bytes:
        """Read a small object."""
        return self._send("GET", url).content

    def write(self, url: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._send("PUT", url, content, headers)

    def _send(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        stream: bool = False,
    ) -> requests.Response:
        try:
            request = self._session.prepare_request(
                requests.Request(method, url, data=content, headers=headers)
            )
            # By default, requests removes "/./" and "/../" from a path. In S3 they are part of the signed
            # key; without them it is another object's key.
            request.url = url
            answer = self._session.send(request, timeout=TIMEOUT_SECONDS, stream=stream)
        except requests.RequestException as error:
            raise TransferError(method, url, None, f"failed with {type(error).__name__}") from None
        if not answer.ok:
            raise TransferError(method, url, answer.status_code, _s3_error_code(answer.text))
        return answer


def _s3_error_code(body: str) -> str:
    # S3 responds with a small XML document; use only its code, because the rest may repeat the signed
    # request.
    _, found, rest = body.partition("<Code>")
    return rest.partition("</Code>")[0] if found else ""
