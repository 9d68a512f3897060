"""The provider's exceptions, all derived from :class:`LightlyError`.

Invalid arguments raise ``ValueError`` before anything is sent; every other error is one of these. No message contains
the API token, an AWS secret key or an external ID, unless the external ID is also a part of a path, an ARN or a name.

A short message is one sentence. A long one has several lines, because Airflow's overview page shows only the error
lines of a log and cuts them at the edge of a small box: first the cause, then what to do, then where, then the ids
(airflow 3.3.2, ``ui/src/components/FailedLogs.tsx``: no line is wrapped unless the user asks for it). Where several
facts are known, :func:`explained` composes the message; every other long message is broken by :func:`break_lines` when
it leaves a task.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lightly_provider.foreign_text import storable

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_MESSAGE = 20_000
# In a window of 1,400 pixels, Airflow 3.3's overview page shows this many characters of a line of an exception, and
# puts the name of its class before the first one.
_WIDTH = 90
_WIDTH_OF_FIRST = 65
_END_OF_SENTENCE = r"(?<=[.!?])(?<!e\.g\.) (?=[A-Z\"'`(])"
# A message is "cause; next step" in one sentence, or in some.
_END_OF_CLAUSE = r"(?<=;) "


def explained(cause: str, *, to_do: Iterable[str] = (), where: Iterable[str] = (), ids: str = "") -> str:
    """
    Compose a message of several lines.

    :param cause: What is wrong. The first line.
    :param to_do: The next steps; a text with line breaks, e.g. JSON, is kept as it is.
    :param where: The dataset by its name, the location, the page.
    :param ids: The ids of all that, for a search. The last line.
    """
    others = (part for part in [*to_do, *where, ids] if part)
    return "\n".join([*in_lines(cause, is_first=True), *(line for part in others for line in in_lines(part))])


def in_lines(text: str, *, is_first: bool = False) -> list[str]:
    """
    Break a text into lines of at most 90 characters: before a sentence, else before the second half of one, else
    between words. A longer word, such as an address, and a text with line breaks are kept.

    :param text: The text.
    :param is_first: Whether it begins the message. Airflow puts the exception's class before its first line, so that
        one holds 65 characters, if it does not end with a sentence or half of one. Default: False.
    """
    if "\n" in text:
        return text.splitlines()
    width = _WIDTH_OF_FIRST if is_first else _WIDTH
    if len(text) <= width:
        return [text]
    import textwrap

    lines: list[str] = []
    for sentence in re.split(_END_OF_SENTENCE, text):
        for clause in [sentence] if len(sentence) <= width else re.split(_END_OF_CLAUSE, sentence):
            if len(clause) <= _WIDTH:
                lines.append(clause)
                continue
            margin = 0 if lines else _WIDTH - width
            wrapped = textwrap.wrap(
                clause,
                _WIDTH,
                initial_indent=" " * margin,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            # A clause of spaces has no lines.
            lines += [line[margin:] if number == 0 else line for number, line in enumerate(wrapped)]
    return lines


def on_one_line(message: str) -> str:
    """Return a message without its line breaks, to be part of another sentence or of a log line."""
    return " ".join(message.split())


def is_own(error: BaseException) -> bool:
    """Return whether an exception is one of this provider, or of a refused argument."""
    of_this_provider = type(error).__module__.partition(".")[0] == __name__.partition(".")[0]
    return of_this_provider or type(error) in (ValueError, LookupError)


def break_lines(error: BaseException) -> None:
    """
    Break the message of an exception of this provider, or of a refused argument, that is longer than a line.

    :param error: The exception, which is changed. An exception of another library is left as it is.
    """
    if is_own(error) and len(error.args) == 1 and isinstance(message := error.args[0], str):
        error.args = ("\n".join(in_lines(message, is_first=True)),)


class LightlyError(Exception):
    """Base class of all exceptions of this provider."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, copying an exception calls its class with only the message, which some of these classes reject.
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(cls: type[LightlyError], args: tuple[Any, ...], members: dict[str, Any]) -> LightlyError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(members)
    return error


class LightlyConnectionConfigError(LightlyError, ValueError):
    """The Airflow connection is missing a value, or has an invalid one."""


class LightlyConnectionMissingError(LightlyConnectionConfigError):
    """There is no Airflow connection with this id."""


class LightlyFleetError(LightlyError, ValueError):
    """The file of a fleet has faults; the message has all of them, each with its line. Nothing was started."""


class LightlyApiError(LightlyError):
    """
    The platform refused a request, or did not return a usable response.

    :param message: The request, the response and the next step, in one or two sentences.
    :param operation: Name of the operation in the platform's contract, e.g. ``create_dataset``.
    :param status: HTTP status of the response. None (default): no response.
    :param code: The platform's error code (``ApiErrorCode``), e.g. ``DATASET_UNKNOWN``. None (default): none sent.
    :param request_id: The platform's id of the request, for its support. None (default): none sent.
    :param retry_after: Wait that the platform requested (``Retry-After``), in seconds. None (default): none requested.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


class LightlyConnectionError(LightlyApiError):
    """
    No response arrived: name not resolved, connection refused or reset, TLS failure, timeout.

    :param maybe_applied: Whether the platform may nevertheless have received and applied the request.
    """

    def __init__(self, message: str, *, operation: str, maybe_applied: bool) -> None:
        super().__init__(message, operation=operation)
        self.maybe_applied = maybe_applied


class LightlyResponseError(LightlyApiError):
    """A response violates the contract: not JSON, truncated, or without a required member."""


class LightlyAuthenticationError(LightlyApiError):
    """The API token is missing, invalid, or belongs to a blocked account (401, or an account's error code)."""


class LightlyForbiddenError(LightlyApiError):
    """The token is valid, but lacks permission for the request (403)."""


class LightlyPlanError(LightlyApiError):
    """The account's plan or quota does not allow the request (402, or a subscription's error code)."""


class LightlyNotFoundError(LightlyApiError):
    """The dataset, datasource, run, tag or other object does not exist, or is not visible to the token (404)."""


class LightlyConflictError(LightlyApiError):
    """The request conflicts with the current state, e.g. a name is taken or a scheduled run is locked."""


class LightlyBadRequestError(LightlyApiError):
    """The platform rejected the request as invalid (400, 413, 422, and any other 4xx)."""


class LightlyDatasourceError(LightlyApiError):
    """The platform cannot use the datasource: none configured, credentials refused, files invalid."""


class LightlyRateLimitError(LightlyApiError):
    """Too many requests (429), even after all retries."""


class LightlyServerError(LightlyApiError):
    """The platform failed (5xx, 408), even after all retries."""


class LightlyDatasetConflictError(LightlyError):
    """
    A dataset is not the one that is meant: it has another type or another name than confirmed, its name is not unique,
    or it exists and ``if_exists="fail"``.
    """


class LightlyDatasetInUseError(LightlyError):
    """The dataset has a scheduled or running run, so it must not be deleted, reset, or given another input."""


class LightlyDatasetNotEmptyError(LightlyError):
    """The dataset has samples, and the run does not add to them (``use_datapool``), so the worker would abort it."""


class LightlyNoWorkerError(LightlyError):
    """No registered worker can take the run, and ``worker_presence`` is ``"require"``."""


class LightlyPermissionsError(LightlyError):
    """Not all permissions that the use of the dataset requires are granted."""


class LightlyAccessError(LightlyError):
    """A role, a user, a key or its secret store cannot be created, changed or used as requested."""


class LightlyQueueError(LightlyError):
    """The queue of uploads does not exist, or its messages cannot be used."""


class LightlyDestinationError(LightlyError):
    """A file cannot be written to the destination: no permission, no such bucket or folder, no space."""


class LightlySampleFileError(LightlyError):
    """A frame or a crop has no file in the bucket, nor has the video or image that it was cut from."""


class LightlyExtraMissingError(LightlyError):
    """A Python package is not installed, which only some uses of an operator need: an extra of this provider."""


class LightlySourceError(LightlyError):
    """A file or folder that a task reads is missing, too large, or cannot be read."""


class LightlyInvalidFilesError(LightlyError):
    """Files that a task reads have unusable content: predictions, metadata, a schema. Nothing was written."""


class LightlyStoredFormError(LightlyError):
    """A newer version of the provider wrote the stored task state or the stored access."""


class LightlyRunError(LightlyError):
    """
    A worker run did not complete.

    :param message: What happened, with the run's own message if there is one, and the next step.
    :param scheduled_run_id: Id of the scheduled run.
    :param run_id: Id of the run. None (default): no worker took it.
    """

    def __init__(self, message: str, *, scheduled_run_id: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.scheduled_run_id = scheduled_run_id
        self.run_id = run_id


class LightlyRunFailedError(LightlyRunError):
    """The run ended as FAILED, or in another unsuccessful final state without its own class."""


class LightlyRunCrashedError(LightlyRunError):
    """The run ended as CRASHED: its worker stopped responding."""


class LightlyRunAbortedError(LightlyRunError):
    """The run ended as ABORTED: the worker or a person stopped it deliberately."""


class LightlyRunCanceledError(LightlyRunError):
    """The scheduled run was canceled before a worker took it."""


class LightlyRunTimeoutError(LightlyRunError):
    """The run did not reach a final state within the operator's ``timeout``."""


class LightlyRunNotTakenError(LightlyRunTimeoutError):
    """No worker took the run within the operator's ``pickup_timeout``."""


# Errors that persist until a person changes something: the token, a permission, the plan, the request, the connection.
NEEDS_A_PERSON = (
    LightlyAuthenticationError,
    LightlyForbiddenError,
    LightlyPlanError,
    LightlyBadRequestError,
    LightlyNotFoundError,
    LightlyConnectionConfigError,
    LightlyDatasetConflictError,
    LightlyDatasetNotEmptyError,
    LightlySampleFileError,
    LightlyExtraMissingError,
    LightlyFleetError,
    LightlyInvalidFilesError,
    LightlyStoredFormError,
)
# Errors that may not recur on the next request.
_TRANSIENT = (LightlyConnectionError, LightlyServerError, LightlyRateLimitError, LightlyResponseError)


def no_retry_can_cure(error: BaseException) -> bool:
    """Return whether a retry would fail with the same error until a person changes something."""
    return isinstance(error, NEEDS_A_PERSON)


def is_transient(error: BaseException) -> bool:
    """Return whether a later request may succeed: after no response, 5xx, 429, or an invalid response."""
    return isinstance(error, _TRANSIENT)


def as_json(error: LightlyError) -> dict[str, Any]:
    """Convert an error to a JSON object, to pass it from a trigger to its task."""
    members = {name: storable(member) if isinstance(member, str) else member for name, member in vars(error).items()}
    return {"class": type(error).__name__, "message": storable(str(error))[:_LONGEST_MESSAGE], "members": members}


def from_json(value: dict[str, Any]) -> LightlyError:
    """Return the error that :func:`as_json` wrote; a LightlyError if the class is unknown."""
    cls = globals().get(str(value.get("class")))
    known = cls if isinstance(cls, type) and issubclass(cls, LightlyError) else LightlyError
    return _as_it_was(known, (str(value.get("message")),), dict(value.get("members") or {}))
