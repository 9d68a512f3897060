"""What the platform answers: an error, a JSON body, or something else; with secrets redacted from every text."""

from __future__ import annotations

import email.utils
import json
import logging
import re
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_plus

from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyAuthenticationError,
    LightlyBadRequestError,
    LightlyConflictError,
    LightlyDatasourceError,
    LightlyForbiddenError,
    LightlyNotFoundError,
    LightlyPlanError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyServerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.api.calls import Call

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


_BY_CODE: dict[str, type[LightlyApiError]] = {
    **dict.fromkeys(
        ("UNAUTHORIZED", "JWT_INVALID", "JWT_MALFORMED", "USER_NOT_KNOWN", "USER_ACCOUNT_DEACTIVATED",
         "USER_ACCOUNT_BLOCKED"),
        LightlyAuthenticationError,
    ),
    **dict.fromkeys(
        ("TEAM_ACCOUNT_PLAN_INSUFFICIENT", "ACCOUNT_SUBSCRIPTION_INSUFFICIENT",
         "ONPREM_SUBSCRIPTION_INSUFFICIENT", "DATASET_AT_MAX_CAPACITY"),
        LightlyPlanError,
    ),
    **dict.fromkeys(
        ("CONFLICT", "DATASET_NAME_EXISTS", "TAG_NAME_EXISTS", "ILLEGAL_ACTION_RESOURCE_IN_USE",
         "DOCKER_WORKER_SCHEDULE_UPDATE_FAILED", "DOCKER_WORKER_CONFIG_IN_USE"),
        LightlyConflictError,
    ),
    **dict.fromkeys(
        ("NOT_FOUND", "DATASET_UNKNOWN", "TAG_UNKNOWN", "DOCKER_RUN_UNKNOWN", "DOCKER_WORKER_UNKNOWN",
         "DOCKER_WORKER_CONFIG_UNKNOWN", "DOCKER_WORKER_SCHEDULE_UNKNOWN", "DOCKER_RUN_ARTIFACT_UNKNOWN"),
        LightlyNotFoundError,
    ),
    **dict.fromkeys(
        ("DATASET_DATASOURCE_UNKNOWN", "DATASET_DATASOURCE_CREDENTIALS_ERROR", "DATASET_DATASOURCE_INVALID",
         "DATASET_DATASOURCE_ACTION_NOT_IMPLEMENTED", "DATASET_DATASOURCE_ILLEGAL_ACTION",
         "DATASET_DATASOURCE_FILE_TOO_LARGE", "DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID",
         "DOCKER_WORKER_CONFIG_NOT_COMPATIBLE_WITH_DATASOURCE", "DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES"),
        LightlyDatasourceError,
    ),
}  # fmt: skip

_BY_STATUS: dict[int, type[LightlyApiError]] = {
    401: LightlyAuthenticationError,
    402: LightlyPlanError,
    403: LightlyForbiddenError,
    404: LightlyNotFoundError,
    408: LightlyServerError,  # the platform gave up waiting for the request; the vendor's client repeats it too
    409: LightlyConflictError,
    429: LightlyRateLimitError,
}

_REMEDY: dict[type[LightlyApiError], str] = {
    LightlyAuthenticationError: (
        "Check the API token in the password field of the Airflow connection; the platform's preferences page shows it."
    ),
    LightlyForbiddenError: "The token's user has no right to this; share the dataset with it, or use another token.",
    LightlyPlanError: "The account's plan or quota does not cover this; enlarge it, or reduce the dataset.",
    LightlyRateLimitError: "Poll less often, or run fewer tasks on this connection at once.",
    LightlyResponseError: (
        "The API has no redirects, and following one would carry the token along; check the host in the Airflow "
        "connection, e.g. http:// instead of https://."
    ),
    LightlyServerError: "The platform had a fault of its own; retry the task later.",
}


def class_for(status: int, code: str | None) -> type[LightlyApiError]:
    """
    The exception class for an error answer.

    :param status: HTTP status.
    :param code: The platform's ``ApiErrorCode``; None or an unknown one leaves it to the status.
    :return: A subclass of :class:`~lightly_provider.exceptions.LightlyApiError`.
    """
    if status == 429:
        return LightlyRateLimitError
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:
        return LightlyResponseError
    return LightlyServerError if status >= 500 else LightlyBadRequestError


def error_from_answer(operation: str, status: int, body: Any, *, retry_after: float | None = None) -> LightlyApiError:
    """
    Make the exception for an error answer.

    :param operation: The operation's name in the contract.
    :param status: HTTP status.
    :param body: The parsed JSON body (``{"code", "error", "requestId"?, "errorLabels"?}``), or text, or None.
    :param retry_after: Seconds that the answer asks to wait; None if it does not.
    :return: The exception, ready to be raised.
    """
    member = body if isinstance(body, dict) else {}
    code = member.get("code") if isinstance(member.get("code"), str) else None
    request_id = member.get("requestId") if isinstance(member.get("requestId"), str) else None
    text = str(member.get("error") or (body if isinstance(body, str) else "") or "no explanation given")
    cls = class_for(status, code)
    parts = [f"The platform answered {operation} with HTTP {status}"]
    if code:
        parts.append(f" {code}")
    parts.append(f": {text[:500].strip().rstrip('.')}.")
    if cls in _REMEDY:
        parts.append(f" {_REMEDY[cls]}")
    if request_id:
        parts.append(f" (requestId {request_id})")
    return cls(
        "".join(parts),
        operation=operation,
        status=status,
        code=code,
        request_id=request_id,
        retry_after=retry_after,
    )


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
