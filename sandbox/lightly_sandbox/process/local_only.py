"""Restricts access to the sandbox's servers to programs on this machine; refuses web pages of other sites.

The servers listen on 127.0.0.1 only, but a browser on this machine can reach them: any page that it shows may
send requests to them. Three checks keep such pages out. The ``Host`` must be this machine (with "DNS
rebinding", where the name of another site resolves to 127.0.0.1, the page sends that name). Cross-origin
requests are refused by ``Origin`` and ``Sec-Fetch-Site`` (Fetch Metadata; browsers send one of them with each
such request, and no page can change them). And responses have no CORS headers, so a page cannot read them.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_THIS_MACHINE = re.compile(
    # RFC 6761, section 6.3: names below "localhost" refer to this machine, such as S3's BUCKET.localhost.
    rb"(127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|([a-z0-9._-]+\.)?localhost|\[::1\])(:[0-9]{1,5})?",
    re.IGNORECASE,
)
_READS = ("GET", "HEAD")


class LocalOnly:
    """ASGI middleware that refuses requests that do not come from this machine.

    ``body`` creates the body of the refusal, in the form of the server's own errors.
    """

    def __init__(self, app: ASGIApp, content_type: str, body: Callable[[str], bytes]) -> None:
        self._app = app
        self._content_type = content_type.encode()
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on; remove CORS headers from the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reason = refusal(scope)
        if reason is not None:
            await self._refuse(send, reason)
            return

        async def without_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value)
                    for name, value in message.get("headers", ())
                    if not name.lower().startswith(b"access-control-")
                ]
            await send(message)

        await self._app(scope, receive, without_cors)

    async def _refuse(self, send: Send, reason: str) -> None:
        body = self._body(reason)
        headers = [(b"content-type", self._content_type), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": HTTPStatus.FORBIDDEN, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def refusal(scope: Scope) -> str | None:
    """Return why the request is refused, or None if it is not."""
    hosts = _values(scope, b"host")
    if len(hosts) != 1 or not _THIS_MACHINE.fullmatch(hosts[0]):
        return (
            "The sandbox answers only requests for this machine: the Host header must be 127.0.0.1, [::1] or "
            "localhost."
        )
    if not scope["raw_path"].startswith(b"/"):
        # "GET http://other.example/ HTTP/1.1", the form for proxies, names a second host.
        return "The sandbox is no proxy: the request's target must be a path."
    origins = _values(scope, b"origin")
    if origins and origins != [b"http://" + hosts[0]]:
        return "The sandbox refuses requests from pages of another origin."
    sites = _values(scope, b"sec-fetch-site")
    if all(site in (b"same-origin", b"none") for site in sites):
        return None
    # A user may follow a link to a page or a file, for example from Airflow's pages, and the sandbox's own
    # pages show images of the local AWS, which has another port and so another origin on the same site.
    is_link = _values(scope, b"sec-fetch-mode") == [b"navigate"] and _values(scope, b"sec-fetch-dest") == [
        b"document"
    ]
    if scope["method"] in _READS and (is_link or sites == [b"same-site"]):
        return None
    return "The sandbox refuses requests from pages of another site."


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header.lower() == name]
