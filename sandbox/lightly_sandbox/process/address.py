"""The platform's address, as a person gives it."""

from __future__ import annotations

from urllib.parse import urlsplit

from lightly_sandbox.errors import SandboxError


def platform_address(given: str) -> str:
    """``given`` without what surrounds it.

    Raises:
        SandboxError: it is no address that requests can be sent to. It is not shown, as it may hold a
            password or a token in a place where none belongs.
    """
    address = given.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # A port that is no number, an IPv6 address without its bracket.
        plain = False
    if not plain or "@" in address or "?" in address or "#" in address:
        raise SandboxError(
            "The platform's address (--url or LIGHTLY_SERVER_LOCATION) must have the form http://HOST:PORT; "
            "use the address that `lightly-sandbox up` prints."
        )
    return address
