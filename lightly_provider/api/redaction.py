"""Keeps secrets out of texts: out of what the platform says back, and out of the log of urllib3."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

# The platform's own (token, publicToken, secret), and what makes a signed address one (AWS, Google, Azure).
_SECRET_IN_URL = re.compile(r"((?:token|secret|signature|\bsig)=)[^&\s\"'<>]+", re.IGNORECASE)


def redacted(value: Any, secrets: Iterable[str]) -> Any:
    """
    A parsed JSON value without the secrets, at any depth.

    :param value: What the platform sent.
    :param secrets: What must not be shown, beside the secret parameters of addresses; each is looked for as it is, and
        as an address or a form would have it.
    :return: A copy with ``***`` in their place.
    """
    spellings = [
        spelling
        for secret in secrets
        if secret
        for spelling in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))
    ]
    return _redacted(value, spellings)


def _redacted(value: Any, spellings: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _redacted(member, spellings) for name, member in value.items()}
    if isinstance(value, list):
        return [_redacted(item, spellings) for item in value]
    if not isinstance(value, str):
        return value
    for spelling in spellings:
        value = value.replace(spelling, "***")
    return _SECRET_IN_URL.sub(r"\1***", value)


class _NoSecretsInUrls(logging.Filter):
    """urllib3 logs each request's path with its query, the token in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _SECRET_IN_URL.search(text):
            record.msg, record.args = _SECRET_IN_URL.sub(r"\1***", text), ()
        return True


_filter = _NoSecretsInUrls()


def keep_secrets_out_of_urllib3_logs() -> None:
    """From now on, urllib3 logs no address with a secret in it. Calling this again changes nothing."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_filter)  # adding the same filter twice is one
