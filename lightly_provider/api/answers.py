"""
The border: everything that the platform answers passes here before the provider uses it.

Whatever arrives becomes a value that fits XCom, PostgreSQL and a log, or one of the provider's own exceptions: a page
of HTML, unreadable or deeply nested JSON, numbers that JSON does not have, ids and types that break the contract.
NUL, other control characters and lone surrogates are escaped, and known secrets are redacted, in every text. Unknown
members, unknown enum values and null for an optional member pass.
"""

from __future__ import annotations

import email.utils
import json
import logging
import re
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_plus

from lightly_provider.api.calls import Form
from lightly_provider.contract import ErrorCode
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
from lightly_provider.foreign_text import shown, storable

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call
    from lightly_provider.network import RawAnswer

DEEPEST = 50
MOST_VALUES = 500_000
# Whole numbers outside 64 bits fit neither PostgreSQL nor the messages between Airflow's processes.
_LARGEST_WHOLE = 2**63 - 1
_LONGEST_RETRY_AFTER = 86_400.0
_LONGEST_EXPLANATION = 500

# --- secrets ---------------------------------------------------------------------------------------------------------

# The platform's own (token, publicToken, secret), and what makes a signed address one (AWS, Google, Azure).
_SECRET_IN_URL = re.compile(r"((?:token|secret|signature|\bsig)=)[^&\s\"'<>]+", re.IGNORECASE)


class Secrets:
    """
    The secrets that no text from the platform may repeat: the token, and what was sent or read since.

    Each is looked for as it is, and as an address or a form would have it.

    :param values: The secrets to begin with; empty ones are ignored.
    """

    def __init__(self, *values: str) -> None:
        self._spellings: set[str] = set()
        self.add(*values)

    def add(self, *values: str) -> None:
        """Redact these, too."""
        new = {s for value in values if value for s in (value, quote(value, safe=""), quote(value), quote_plus(value))}
        if not new <= self._spellings:
            # A new set, as another thread may be reading the old one.
            self._spellings = self._spellings | new

    def occur_in(self, text: str) -> bool:
        """Whether the text repeats one of them."""
        return any(spelling in text for spelling in self._spellings)

    def redacted(self, text: str) -> str:
        """The text with ``***`` in the place of each."""
        for spelling in sorted(self._spellings, key=len, reverse=True):
            text = text.replace(spelling, "***")
        return text

    def redacted_address(self, text: str) -> str:
        """Likewise, and without the parameters of addresses that are secret."""
        return without_secret_parameters(self.redacted(text))


def without_secret_parameters(text: str) -> str:
    """The text, with ``***`` for the parameters of addresses that are secret: tokens and signatures."""
    return _SECRET_IN_URL.sub(r"\1***", text)


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
        (
            ErrorCode.UNAUTHORIZED,
            ErrorCode.JWT_INVALID,
            ErrorCode.JWT_MALFORMED,
            ErrorCode.USER_NOT_KNOWN,
            ErrorCode.USER_ACCOUNT_DEACTIVATED,
            ErrorCode.USER_ACCOUNT_BLOCKED,
        ),
        LightlyAuthenticationError,
    ),
    **dict.fromkeys(
        (
            ErrorCode.TEAM_ACCOUNT_PLAN_INSUFFICIENT,
            ErrorCode.ACCOUNT_SUBSCRIPTION_INSUFFICIENT,
            ErrorCode.ONPREM_SUBSCRIPTION_INSUFFICIENT,
            ErrorCode.DATASET_AT_MAX_CAPACITY,
        ),
        LightlyPlanError,
    ),
    **dict.fromkeys(
        (
            ErrorCode.CONFLICT,
            ErrorCode.DATASET_NAME_EXISTS,
            ErrorCode.TAG_NAME_EXISTS,
            ErrorCode.ILLEGAL_ACTION_RESOURCE_IN_USE,
            ErrorCode.DOCKER_WORKER_SCHEDULE_UPDATE_FAILED,
            ErrorCode.DOCKER_WORKER_CONFIG_IN_USE,
        ),
        LightlyConflictError,
    ),
    **dict.fromkeys(
        (
            ErrorCode.NOT_FOUND,
            ErrorCode.DATASET_UNKNOWN,
            ErrorCode.TAG_UNKNOWN,
            ErrorCode.DOCKER_RUN_UNKNOWN,
            ErrorCode.DOCKER_WORKER_UNKNOWN,
            ErrorCode.DOCKER_WORKER_CONFIG_UNKNOWN,
            ErrorCode.DOCKER_WORKER_SCHEDULE_UNKNOWN,
            ErrorCode.DOCKER_RUN_ARTIFACT_UNKNOWN,
        ),
        LightlyNotFoundError,
    ),
    **dict.fromkeys(
        (
            ErrorCode.DATASET_DATASOURCE_UNKNOWN,
            ErrorCode.DATASET_DATASOURCE_CREDENTIALS_ERROR,
            ErrorCode.DATASET_DATASOURCE_INVALID,
            ErrorCode.DATASET_DATASOURCE_ACTION_NOT_IMPLEMENTED,
            ErrorCode.DATASET_DATASOURCE_ILLEGAL_ACTION,
            ErrorCode.DATASET_DATASOURCE_FILE_TOO_LARGE,
            ErrorCode.DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID,
            ErrorCode.DOCKER_WORKER_CONFIG_NOT_COMPATIBLE_WITH_DATASOURCE,
            ErrorCode.DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES,
        ),
        LightlyDatasourceError,
    ),
}

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
    code, request_id = (value if isinstance(value := member.get(name), str) else None for name in ("code", "requestId"))
    text = str(member.get("error") or (body if isinstance(body, str) else "") or "no explanation given")
    cls = class_for(status, code)
    parts = [f"The platform answered {operation} with HTTP {status}"]
    if code:
        parts.append(f" {shown(code, longest=100)}")
    parts.append(f": {shown(text.strip(), longest=_LONGEST_EXPLANATION).rstrip('.')}.")
    if cls in _REMEDY:
        parts.append(f" {_REMEDY[cls]}")
    if request_id:
        parts.append(f" (requestId {shown(request_id, longest=100)})")
    return cls(
        "".join(parts),
        operation=operation,
        status=status,
        code=code and shown(code, longest=100),
        request_id=request_id and shown(request_id, longest=100),
        retry_after=retry_after,
    )


Result = TypeVar("Result")


def read_answer(call: Call[Result], answer: RawAnswer, secrets: Secrets) -> Result:
    """
    Pass an answer over the border.

    :param call: What was asked.
    :param answer: What came.
    :param secrets: What no text of the answer may repeat; the secrets that the answer itself holds are added.
    :return: What the call's ``parse`` makes of it.
    :raises LightlyResponseError: The answer breaks the contract.
    :raises LightlyApiError: The subclass that fits the platform's refusal.
    """
    if not 200 <= answer.status < 300:
        raise error_from_answer(
            call.operation,
            answer.status,
            _explanation(answer.content, secrets),
            retry_after=seconds_of_retry_after(answer.retry_after),
        )
    problem = ""
    try:
        if _is_web_page(answer):
            raise ValueError("it is a web page")
        return call.parse(_value(call, answer, secrets))
    except ValueError as error:
        problem = shown(secrets.redacted_address(_without_values(error)), longest=300)
    raise LightlyResponseError(
        f"The platform's answer to {call.operation} (HTTP {answer.status}) breaks its contract: {problem}. "
        "If this does not change, this version of the provider is too old for the platform, or a proxy or login page "
        "answers in its place.",
        operation=call.operation,
        status=answer.status,
    )


def read_file(operation: str, content: bytes | bytearray, secrets: Secrets) -> Any:
    """
    Pass the content of a JSON file over the border.

    :raises LightlyResponseError: It is no JSON that can be used.
    """
    problem = ""
    try:
        return _cleaned(_parsed(content), secrets, frozenset())
    except ValueError as error:
        problem = shown(secrets.redacted_address(str(error)), longest=300)
    raise LightlyResponseError(
        f"The file at the address that {operation} returned cannot be used: {problem}.", operation=operation
    )


def _value(call: Call[Any], answer: RawAnswer, secrets: Secrets) -> Any:
    """The body in the form that the call expects."""
    if call.form is Form.NOTHING:
        return None
    if call.form is Form.JSON:
        return _cleaned(_parsed(answer.content), secrets, call.secret_members)
    if call.form is Form.SECRET:
        return _parsed(answer.content)
    # What is not UTF-8 becomes lone surrogates, which the call refuses with their place.
    text = answer.content.decode("utf-8", errors="surrogateescape")
    if "json" in answer.content_type.lower():
        text = _parsed(answer.content)
        if not isinstance(text, str):
            raise ValueError("a text was expected")
    if secrets.occur_in(text):
        raise ValueError("it repeats a secret")
    return text


def _is_web_page(answer: RawAnswer) -> bool:
    start = bytes(answer.content[:200]).lstrip().lower()
    return "html" in answer.content_type.lower() or start.startswith((b"<!doctype html", b"<html"))


def _parsed(content: bytes | bytearray) -> Any:
    """
    The JSON value.

    :raises ValueError: It is no JSON, has numbers that JSON does not have or that do not fit, too many values, or is
        nested too deeply for the parser.
    """
    if content.count(b",") > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from None
    try:
        return json.loads(text, parse_constant=_refused, parse_float=_finite, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg.lower()} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("it has a number that is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > _LARGEST_WHOLE:
        raise ValueError("it has a number that is too large")
    return value


def _cleaned(value: Any, secrets: Secrets, secret_members: frozenset[str], *, in_addresses: bool = False) -> Any:
    """A copy whose texts can be stored and repeat no secret. The members that hold secrets are left as they are."""
    _learn(value, secrets, secret_members)

    redacted = secrets.redacted_address if in_addresses else secrets.redacted

    def text(found: str) -> str:
        return storable(redacted(found))

    def copied(found: Any, depth: int) -> Any:
        if isinstance(found, str):
            return text(found)
        if not isinstance(found, (dict, list)):
            return found
        if depth == DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        if isinstance(found, list):
            return [copied(item, depth + 1) for item in found]
        return {
            text(name): storable(member)
            if name in secret_members and isinstance(member, str)
            else copied(member, depth + 1)
            for name, member in found.items()
        }

    return copied(value, 0)


def _learn(value: Any, secrets: Secrets, secret_members: frozenset[str]) -> None:
    if not secret_members:
        return
    items = value if isinstance(value, list) else [value]
    held = (item.get(name) for item in items if isinstance(item, dict) for name in secret_members)
    # A platform that hides a secret may send a placeholder, which is none.
    secrets.add(*(secret for secret in held if isinstance(secret, str) and len(secret) >= 10))


def _explanation(content: bytes | bytearray, secrets: Secrets) -> Any:
    """The body of an error: JSON, or else text; nothing in it is trusted to have a form."""
    start = bytes(content[:100_000])
    try:
        return _cleaned(_parsed(start), secrets, frozenset(), in_addresses=True)
    except ValueError:
        return secrets.redacted_address(start.decode("utf-8", errors="replace"))


def seconds_of_retry_after(value: str | None) -> float | None:
    """
    Seconds from a ``Retry-After`` header, which holds seconds or an HTTP date (RFC 9110, 10.2.3).

    :return: At most one day; None if there is none that can be read.
    """
    if not value or len(value) > 1000:
        return None
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        date = email.utils.parsedate_to_datetime(value)
        # One of the three forms that RFC 9110 has for dates names no zone; all are in UTC.
        date = date.replace(tzinfo=date.tzinfo or UTC)
        return min(max(0.0, date.timestamp() - time.time()), _LONGEST_RETRY_AFTER)
    except (ValueError, OverflowError):
        return None


def _without_values(error: ValueError) -> str:
    """What is wrong with an answer: the members and what they should be, without what they are."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, d['loc'])) or 'the whole'}: {d['msg']}" for d in details[:10])
