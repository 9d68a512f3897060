"""
Validate and sanitize every response of the platform before the provider uses it.

A response becomes either a value that XCom, PostgreSQL and a log can store, or one of the provider's exceptions: for an
HTML page, invalid or deeply nested JSON, numbers that JSON does not allow, and ids or types that violate the contract.
In every text, NUL, other control characters and lone surrogates are escaped, and known secrets are redacted. Unknown
members, unknown enum values and null for an optional member are accepted.
"""

from __future__ import annotations

import codecs
import email.utils
import json
import logging
import re
import time
from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from lightly_provider.api.calls import Form
from lightly_provider.api.models.datasource import EXTERNAL_ID_MEMBER
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
from lightly_provider.foreign_text import shown, storable, without_secret_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.api.calls import Call
    from lightly_provider.network import RawAnswer

DEEPEST = 50
MOST_VALUES = 500_000
# Neither PostgreSQL nor the messages between Airflow's processes support integers over 64 bits.
_LARGEST_WHOLE = 2**63 - 1
_LONGEST_RETRY_AFTER = 86_400.0
_LONGEST_EXPLANATION = 500

# --- secrets ---------------------------------------------------------------------------------------------------------


class Secrets:
    """
    The secrets to redact in the platform's texts: the token, and every secret that was sent or received.

    Each is searched as it is, and with any of its characters percent-encoded (once or several times, in upper or lower
    case) or escaped as in JSON.

    Somebody chose the external IDs, perhaps with the name of a bucket: they are redacted only in texts for people. In
    an identifier (a name, a path, an ARN), the provider would compare or send back another one.

    :param values: Initial secrets; empty ones are ignored.
    """

    def __init__(self, *values: str) -> None:
        self._everywhere = self._in_texts = _Values(frozenset())
        self.add(*values)

    def add(self, *values: str) -> None:
        """Add secrets to redact."""
        self._everywhere = self._everywhere.extended_by(values)
        self.add_external_ids(*values)

    def add_external_ids(self, *values: str) -> None:
        """Add secrets to redact only in texts for people."""
        self._in_texts = self._in_texts.extended_by(values)

    def occur_in(self, text: str) -> bool:
        """Return whether an identifier contains one of the secrets."""
        return self._everywhere.redacted(text) != text

    def occur_in_bytes(self, text: bytes) -> bool:
        """Return whether identifiers, in UTF-8, contain a secret; decodes them only if they may have an encoded one."""
        if any(value.encode("utf-8", errors="surrogatepass") in text for value in self._everywhere.longest_first):
            return True
        may_be_encoded = any(sign.encode() in text for sign in self._everywhere.signs)
        return may_be_encoded and self.occur_in(text.decode("utf-8", errors="replace"))

    def redacted(self, text: str, *, is_identifier: bool = False) -> str:
        """Return the text with each secret replaced by ``***``."""
        return (self._everywhere if is_identifier else self._in_texts).redacted(text)

    def redacted_address(self, text: str) -> str:
        """Return the text with secrets and secret URL parameters replaced by ``***``."""
        return without_secret_parameters(self.redacted(text))


class _Values:
    """Values to redact; unchangeable, because several threads read them."""

    def __init__(self, values: frozenset[str]) -> None:
        self._values = values
        self.longest_first = sorted(values, key=len, reverse=True)
        # "+" is a space in a form, and frequent in names of files.
        self.signs = _SIGNS_OF_ENCODING + ("+" if any(" " in value for value in values) else "")

    def extended_by(self, values: Iterable[str]) -> _Values:
        new = frozenset(filter(None, values))
        return self if new <= self._values else _Values(self._values | new)

    def redacted(self, text: str) -> str:
        for value in self.longest_first:
            text = text.replace(value, "***")
        if any(sign in text for sign in self.signs):
            for encoded in self._patterns:
                text = encoded.sub("***", text)
        return text

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        """The patterns of the values in any encoding; compiled on first use, as each takes 10 ms."""
        return [re.compile(_in_any_encoding(value)) for value in self.longest_first]


# A text without these has no encoded secret, unless that has a space.
_SIGNS_OF_ENCODING = "%\\"


def _in_any_encoding(secret: str) -> str:
    """Return a pattern of a secret in which each character may be percent-encoded or escaped as in JSON."""
    return "".join(map(_character_in_any_encoding, secret))


def _character_in_any_encoding(character: str) -> str:
    # "%2F" encoded once more is "%252F". The repetitions are bounded, because the text is not ours. Each alternative
    # begins with one character, so that a search skips all others.
    percent = "".join(f"%(?:25){{0,3}}(?i:{byte:02x})" for byte in character.encode("utf-8", "surrogatepass"))
    escaped = rf"\\\\{{0,3}}u(?i:{ord(character):04x})"
    space = r"|\+" if character == " " else ""
    literal = re.escape(character)
    return rf"(?:{literal}|\\\\{{0,3}}{literal}|{percent}|{escaped}{space})"


class _NoSecretsInUrls(logging.Filter):
    """Redacts urllib3's log, which contains requests' paths with their queries, and so the token or a signature."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith(_UNREADABLE_HEADERS):
            # What follows, here and in the traceback, are header lines of the server's, which may repeat anything.
            record.exc_info = record.exc_text = None
            record.msg, record.args = text.partition(_UNPARSED)[0], ()
            text = record.msg
        if (redacted := without_secret_parameters(text)) != text:
            record.msg, record.args = redacted, ()
        return True


# urllib3 2.8, connection.py and exceptions.py.
_UNREADABLE_HEADERS, _UNPARSED = "Failed to parse headers", ", unparsed data:"
_filter = _NoSecretsInUrls()
# A logger's filter does not apply to the loggers below it.
_LOGGERS_OF_URLLIB3 = (
    *("urllib3", "urllib3.connection", "urllib3.connectionpool", "urllib3.poolmanager", "urllib3.response"),
    *("urllib3.util.retry", "urllib3.util.ssl_match_hostname", "urllib3.http2.connection"),
)


def keep_secrets_out_of_urllib3_logs() -> None:
    """Redact secrets in the URLs that urllib3 logs. Calling this again has no effect."""
    for name in _LOGGERS_OF_URLLIB3:
        logging.getLogger(name).addFilter(_filter)  # adding the same filter again has no effect


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
            ErrorCode.DOCKER_RUN_ARTIFACT_UNAVAILABLE,
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
    408: LightlyServerError,  # the platform timed out waiting for the request; the vendor's client also retries it
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
    Return the exception class for an error response.

    :param status: HTTP status.
    :param code: The platform's ``ApiErrorCode``; if None or unknown, the status decides.
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
    Create the exception for an error response.

    :param operation: Name of the operation in the contract.
    :param status: HTTP status.
    :param body: The parsed JSON body (``{"code", "error", "requestId"?, "errorLabels"?}``), or text, or None.
    :param retry_after: Requested wait, in seconds. None (default): no wait requested.
    :return: The exception to raise.
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
    Validate, sanitize and parse a response.

    :param call: The call that was sent.
    :param answer: The response.
    :param secrets: Secrets to redact; those in the response itself are added.
    :return: The result of the call's ``parse``.
    :raises LightlyResponseError: The response violates the contract.
    :raises LightlyApiError: The platform returned an error; a subclass for that error.
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


def read_file(operation: str, content: bytes, secrets: Secrets) -> Any:
    """
    Validate, sanitize and parse the content of a JSON file.

    :raises LightlyResponseError: The content is not usable JSON.
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
    """Return the body in the form that the call expects."""
    if call.form is Form.NOTHING:
        return None
    if call.form is Form.JSON:
        return _cleaned(_parsed(answer.content), secrets, call.secret_members)
    if call.form is Form.SECRET:
        return _parsed(answer.content)
    if call.form is Form.EXACT:
        if secrets.occur_in(answer.content.decode("utf-8", errors="replace")):
            raise ValueError("it repeats a secret")
        return _parsed(answer.content)
    lines = answer.content
    if "json" in answer.content_type.lower():
        text = _parsed(lines)
        if not isinstance(text, str):
            raise ValueError("a text was expected")
        # A lone surrogate becomes invalid UTF-8, which the call refuses with its position.
        lines = text.encode("utf-8", errors="surrogatepass")
    elif lines.startswith(b"{") and _is_error_object(lines):
        raise ValueError("it is a JSON object with an error, and a text was expected")
    if secrets.occur_in_bytes(lines):
        raise ValueError("it repeats a secret")
    return lines


# Members by which the platform, gateways and load balancers report an error; a file may be named like another object.
_ERROR_MEMBERS = frozenset({"code", "detail", "error", "errors", "message", "status"})


def _is_error_object(content: bytes) -> bool:
    try:
        found = _parsed(content)
    except ValueError:
        return False
    return isinstance(found, dict) and any(name.lower() in _ERROR_MEMBERS for name in found)


# How web pages and XML errors begin.
_MARKUP = re.compile(rb"<(?:!--|(?:!doctype|\?xml|html|head|body|title|meta|script|error)\b)", re.IGNORECASE)


def _is_web_page(answer: RawAnswer) -> bool:
    start = answer.content[:200].removeprefix(codecs.BOM_UTF8).lstrip()
    return "html" in answer.content_type.lower() or _MARKUP.match(start) is not None


def _parsed(content: bytes) -> Any:
    """
    Parse JSON.

    :raises ValueError: The content is not JSON, has numbers that JSON does not allow or that are too large, has too
        many values, or is nested too deeply for the parser.
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
        raise ValueError(f"it is not JSON ({error.msg.lower()} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("it has a number that is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > _LARGEST_WHOLE:
        raise ValueError("it has a number that is too large")
    return value


# Members whose text, or the texts in them, somebody is to read; all other texts are identifiers.
_TEXT_MEMBERS = frozenset({"error", "errors", "message", "msg"})


def _cleaned(value: Any, secrets: Secrets, secret_members: frozenset[str], *, is_explanation: bool = False) -> Any:
    """Return a copy with storable texts and redacted secrets. Members that hold secrets keep their value."""
    _learn(value, secrets, secret_members)

    def text(found: str, *, for_people: bool) -> str:
        if is_explanation:
            return storable(secrets.redacted_address(found))
        return storable(secrets.redacted(found, is_identifier=not for_people))

    def copied(found: Any, depth: int, *, for_people: bool = False) -> Any:
        if isinstance(found, str):
            return text(found, for_people=for_people)
        if not isinstance(found, (dict, list)):
            return found
        if depth == DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        if isinstance(found, list):
            return [copied(item, depth + 1, for_people=for_people) for item in found]
        return {
            text(name, for_people=for_people): storable(member)
            if name in secret_members and isinstance(member, str)
            else copied(member, depth + 1, for_people=for_people or name in _TEXT_MEMBERS)
            for name, member in found.items()
        }

    return copied(value, 0)


def _learn(value: Any, secrets: Secrets, secret_members: frozenset[str]) -> None:
    if not secret_members:
        return
    items = value if isinstance(value, list) else [value]
    for item in items:
        for name in secret_members & set(item if isinstance(item, dict) else ()):
            # A platform that hides a secret may send a placeholder, which is not a secret.
            if isinstance(secret := item[name], str) and len(secret) >= 10:
                (secrets.add_external_ids if name == EXTERNAL_ID_MEMBER else secrets.add)(secret)


def _explanation(content: bytes, secrets: Secrets) -> Any:
    """Return the body of an error response: JSON, or else text of any form."""
    start = content[:100_000]
    try:
        return _cleaned(_parsed(start), secrets, frozenset(), is_explanation=True)
    except ValueError:
        return secrets.redacted_address(start.decode("utf-8", errors="replace"))


def seconds_of_retry_after(value: str | None) -> float | None:
    """
    Return the seconds of a ``Retry-After`` header, which contains seconds or an HTTP date (RFC 9110, 10.2.3).

    :return: Seconds, at most one day; None if the header is missing or invalid.
    """
    if not value or len(value) > 1000:
        return None
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        date = email.utils.parsedate_to_datetime(value)
        # One of the three date formats in RFC 9110 has no time zone; all are in UTC.
        date = date.replace(tzinfo=date.tzinfo or UTC)
        return min(max(0.0, date.timestamp() - time.time()), _LONGEST_RETRY_AFTER)
    except (ValueError, OverflowError):
        return None


def _without_values(error: ValueError) -> str:
    """Return the error of a response: the members and their expected form, without their values."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, d['loc'])) or 'the whole'}: {d['msg']}" for d in details[:10])
