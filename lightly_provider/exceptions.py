"""Every error that a user of the provider can meet, in one tree under :class:`LightlyError`.

Arguments that cannot be right are refused with ``ValueError`` before anything is sent. All else that goes
wrong is one of these. None of their texts carries the API token, an AWS secret key or an external ID.
"""

from __future__ import annotations

from typing import Any

from lightly_provider.foreign_text import storable

_LONGEST_MESSAGE = 20_000


class LightlyError(Exception):
    """Base of all errors of this provider."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own way of being copied calls its class with the message alone, which some here refuse.
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(cls: type[LightlyError], args: tuple[Any, ...], members: dict[str, Any]) -> LightlyError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(members)
    return error


class LightlyConnectionConfigError(LightlyError, ValueError):
    """The Airflow connection lacks something, or holds something that cannot be right."""


class LightlyApiError(LightlyError):
    """
    The platform refused a request, or did not answer it in a usable way.

    :param message: What was asked, what came back and what to do, in one or two sentences.
    :param operation: The operation's name in the platform's contract, e.g. ``create_dataset``.
    :param status: HTTP status of the answer; None when there was no answer.
    :param code: The platform's error code (``ApiErrorCode``), e.g. ``DATASET_UNKNOWN``; None when it sent none.
    :param request_id: The platform's id of the request, for its support; None when it sent none.
    :param retry_after: Seconds that the platform asked to wait (``Retry-After``); None when it did not ask.
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
    No answer came: name not resolved, connection refused or reset, TLS failure, timeout.

    :param maybe_applied: Whether the platform may have received and applied the request all the same.
    """

    def __init__(self, message: str, *, operation: str, maybe_applied: bool) -> None:
        super().__init__(message, operation=operation)
        self.maybe_applied = maybe_applied


class LightlyResponseError(LightlyApiError):
    """An answer came that breaks the contract: not JSON, cut short, or without a required member."""


class LightlyAuthenticationError(LightlyApiError):
    """The API token is missing, wrong, or of a blocked account (401, or an account's error code)."""


class LightlyForbiddenError(LightlyApiError):
    """The token is valid, but may not do this (403)."""


class LightlyPlanError(LightlyApiError):
    """The account's plan or quota does not allow this (402, or a subscription's error code)."""


class LightlyNotFoundError(LightlyApiError):
    """The dataset, datasource, run, tag or other thing does not exist, or is not visible to this token (404)."""


class LightlyConflictError(LightlyApiError):
    """The request does not fit the present state, e.g. a name is taken or a scheduled run is locked."""


class LightlyBadRequestError(LightlyApiError):
    """The platform says that the request is wrong (400, 413, 422, and any other 4xx)."""


class LightlyDatasourceError(LightlyApiError):
    """The platform cannot use the datasource: none configured, credentials refused, files invalid."""


class LightlyRateLimitError(LightlyApiError):
    """Too many requests (429), and still so after all retries."""


class LightlyServerError(LightlyApiError):
    """The platform failed (5xx, 408), and still so after all retries."""


class LightlyDatasetConflictError(LightlyError):
    """A dataset with this name exists and cannot serve: another type, or ``if_exists="fail"``."""


class LightlyDatasetNotEmptyError(LightlyError):
    """The dataset has samples, and the run does not add to them (``use_datapool``): the worker would abort it."""


class LightlyNoWorkerError(LightlyError):
    """No registered worker could take the run, and ``worker_presence`` is ``"require"``."""


class LightlyPermissionsError(LightlyError):
    """The permissions that this use of the dataset requires are not all granted."""


class LightlyAccessError(LightlyError):
    """A role, a user, a key, or the place where its secret is kept cannot be made, changed or used as asked."""


class LightlyStoredFormError(LightlyError):
    """What a task stored, or an access that is kept, is of a newer version of the provider than the one that runs."""


class LightlyRunError(LightlyError):
    """
    A worker run did not complete.

    :param message: What happened, in the run's own words where it left any, and what to do.
    :param scheduled_run_id: Id that scheduling returned.
    :param run_id: Id of the run; None when no worker took it.
    """

    def __init__(self, message: str, *, scheduled_run_id: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.scheduled_run_id = scheduled_run_id
        self.run_id = run_id


class LightlyRunFailedError(LightlyRunError):
    """The run ended as FAILED or in another unsuccessful final state that has no class of its own."""


class LightlyRunCrashedError(LightlyRunError):
    """The run ended as CRASHED: its worker gave no sign of life any more."""


class LightlyRunAbortedError(LightlyRunError):
    """The run ended as ABORTED: the worker, or somebody, stopped it on purpose."""


class LightlyRunCanceledError(LightlyRunError):
    """The scheduled run was canceled before a worker took it."""


class LightlyRunTimeoutError(LightlyRunError):
    """The run did not reach a final state within the operator's ``timeout``."""


class LightlyRunNotTakenError(LightlyRunTimeoutError):
    """No worker took the run within the operator's ``pickup_timeout``."""


# What stays as it is until a person changes something: the token, a right, the plan, the request, the connection.
NEEDS_A_PERSON = (
    LightlyAuthenticationError,
    LightlyForbiddenError,
    LightlyPlanError,
    LightlyBadRequestError,
    LightlyNotFoundError,
    LightlyConnectionConfigError,
    LightlyDatasetConflictError,
    LightlyDatasetNotEmptyError,
    LightlyStoredFormError,
)
# What may be over by the next request.
_TRANSIENT = (LightlyConnectionError, LightlyServerError, LightlyRateLimitError, LightlyResponseError)


def no_retry_can_cure(error: BaseException) -> bool:
    """Whether the same task would end with the same error until a person changes something."""
    return isinstance(error, NEEDS_A_PERSON)


def is_transient(error: BaseException) -> bool:
    """Whether a later request may succeed though this one failed: no answer, 5xx, 429, an unreadable answer."""
    return isinstance(error, _TRANSIENT)


def as_json(error: LightlyError) -> dict[str, Any]:
    """An error as a JSON object, for the way from a trigger to its task."""
    members = {name: storable(member) if isinstance(member, str) else member for name, member in vars(error).items()}
    return {"class": type(error).__name__, "message": storable(str(error))[:_LONGEST_MESSAGE], "members": members}


def from_json(value: dict[str, Any]) -> LightlyError:
    """The error that :func:`as_json` wrote; of a class that this version does not know, a LightlyError."""
    cls = globals().get(str(value.get("class")))
    known = cls if isinstance(cls, type) and issubclass(cls, LightlyError) else LightlyError
    return _as_it_was(known, (str(value.get("message")),), dict(value.get("members") or {}))
