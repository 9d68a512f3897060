"""From an HTTP status and the platform's error code to one exception tree.

Which status goes with which code is mostly undocumented (``lightly`` 1.5.26, models/api_error_code.py lists only
the codes), so the code decides where it says something definite, and else the status does.
"""

from __future__ import annotations

from typing import Any

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
