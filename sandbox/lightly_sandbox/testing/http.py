"""Requests to the sandbox with the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

_SECONDS = 60.0


class SandboxRefused(Exception):
    """The sandbox refuses a request, or does not respond; without the URL, which contains the token."""


def send(method: str, url: str, token: str, body: object = None) -> Any:
    """The answer's JSON, or None if it has no body.

    Raises:
        SandboxRefused: with the sandbox's own words.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 (the sandbox's address, as it wrote it)
        f"{url}?token={quote(token)}", data, {"Content-Type": "application/json"}, method=method
    )
    # Do not use the environment's proxy for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            content = answer.read()
    except urllib.error.HTTPError as refused:
        said = refused.read().decode(errors="replace")
        raise SandboxRefused(f"The sandbox refuses {method} {url}: {refused.code} {said}") from None
    except OSError as failed:
        raise SandboxRefused(f"The sandbox does not answer {method} {url}: {type(failed).__name__}") from None
    return json.loads(content) if content else None
