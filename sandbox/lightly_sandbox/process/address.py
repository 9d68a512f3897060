"""The platform's address, as a user enters it."""

from __future__ import annotations

from urllib.parse import urlsplit

from lightly_sandbox.errors import SandboxError


def platform_address(given: str) -> str:
    """Return the normalized address.

    Raises:
        SandboxError: it is not a valid address for requests. The message does not show it, because it may
            contain a misplaced password or token.
    """
    address = given.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # A port that is not a number, an IPv6 address without a bracket.
        plain = False
    if not plain or "@" in address or "?" in address or "#" in address:
        raise SandboxError(
            "The platform's address (--url or LIGHTLY_SERVER_LOCATION) must have the form http://HOST:PORT; "
            "use the address that `lightly-sandbox up` prints."
        )
    return address
