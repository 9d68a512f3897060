"""From the bytes of an answer to a call's result, or to the exception that fits. Shared by both clients."""

from __future__ import annotations

import email.utils
import json
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

from lightly_provider.api.errors import error_from_answer
from lightly_provider.api.redaction import redacted
from lightly_provider.exceptions import LightlyResponseError

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call

Result = TypeVar("Result")


def read_answer(call: Call[Result], *, status: int, content: bytes, retry_after: str | None, token: str) -> Result:
    """
    Parse an answer.

    :param call: What was asked.
    :param status: HTTP status.
    :param content: The whole body.
    :param retry_after: The header ``Retry-After``; None without it.
    :param token: API token, which is kept out of every text.
    :return: What the call's ``parse`` makes of it.
    :raises LightlyResponseError: The answer breaks the contract.
    :raises LightlyApiError: The subclass that fits the platform's refusal.
    """
    secrets = (token, *call.secrets)
    body = _json_or_text(content)
    if not 200 <= status < 300:
        raise error_from_answer(
            call.operation, status, redacted(body, secrets), retry_after=seconds_of_retry_after(retry_after)
        )
    problem = ""
    try:
        return call.parse(body)
    except ValueError as error:
        problem = redacted(_without_values(error), secrets)
    raise LightlyResponseError(
        f"The platform's answer to {call.operation} (HTTP {status}) breaks its contract: {problem[:300]}. "
        "If it stays so, this version of the provider is too old for the platform, or something between them "
        "answers in its place.",
        operation=call.operation,
        status=status,
    )


def _json_or_text(content: bytes) -> Any:
    """The parsed JSON body; the text where it is not JSON, as in the text exports; None where it is empty."""
    # Not by a header's charset, without which the encoding would be guessed at some cost. JSON is UTF-8.
    text = content.decode("utf-8", errors="replace")
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def seconds_of_retry_after(value: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header, which holds seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # One of the three forms that RFC 9110 has for dates names no zone; all are in UTC.
    date = date.replace(tzinfo=date.tzinfo or UTC)
    return max(0.0, date.timestamp() - time.time())


def _without_values(error: ValueError) -> str:
    """What is wrong with an answer: the members and what they should be, without what they are."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, d['loc'])) or 'the whole'}: {d['msg']}" for d in details)
