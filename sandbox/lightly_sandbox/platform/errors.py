"""The platform's errors, which all have the same body: ``{code, error, requestId}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.contract.operations import methods_at
from lightly_sandbox.contract.wire import ApiErrorResponse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)


class ApiError(Exception):
    """An error response: the HTTP status, the platform's code and one sentence."""

    def __init__(self, status: int, code: ApiErrorCode, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.error = error


def malformed(where: str, why: str) -> ApiError:
    """Create the error for a request that violates the contract at ``where`` (a dotted member)."""
    return ApiError(HTTPStatus.BAD_REQUEST, ApiErrorCode.MALFORMED_REQUEST, f"{where}: {why}")


def unknown(code: ApiErrorCode, what: str, id_: str) -> ApiError:
    """Create the error for an id that is not among the user's entities."""
    return ApiError(HTTPStatus.NOT_FOUND, code, f"There is no {what} {id_}.")


def describe(problems: Sequence[Mapping[str, object]]) -> str:
    """Describe each wrong member and its error, from pydantic's list.

    The value is omitted, because it may be a secret.
    """
    lines = []
    for problem in problems:
        location = problem["loc"]
        path = ".".join(str(part) for part in location) if isinstance(location, tuple) else str(location)
        lines.append(f"{path}: {problem['msg']}")
    return "; ".join(lines)


# Statuses that Starlette itself returns, before any handler is called.
_CODES = {
    HTTPStatus.NOT_FOUND: ApiErrorCode.NOT_FOUND,
    HTTPStatus.UNAUTHORIZED: ApiErrorCode.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: ApiErrorCode.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ApiErrorCode.PAYLOAD_TOO_LARGE,
}


def _answer(
    request: Request, status: int, code: ApiErrorCode, error: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    request_id: str = request.state.request_id
    body = ApiErrorResponse(code=code, error=error, request_id=request_id)
    return JSONResponse(body.wire(), status_code=status, headers=headers)


def _allow(request: Request, given: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return the allowed methods for a 405 (RFC 9110, 15.5.6). The framework names those of one route."""
    methods = methods_at(request.url.path)
    return {"Allow": ", ".join(methods)} if methods else given


def install(app: FastAPI) -> None:
    """Use the platform's error body for every failure of ``app``."""

    @app.exception_handler(ApiError)
    def refused(request: Request, failure: ApiError) -> JSONResponse:
        return _answer(request, failure.status, failure.code, failure.error)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, failure: RequestValidationError) -> JSONResponse:
        return _answer(
            request, HTTPStatus.BAD_REQUEST, ApiErrorCode.MALFORMED_REQUEST, describe(failure.errors())
        )

    @app.exception_handler(OverflowError)
    def too_large(request: Request, _failure: OverflowError) -> JSONResponse:
        # The contract has no upper bound for integers, but SQLite's have 64 bits.
        error = "A number in the request is too large."
        return _answer(request, HTTPStatus.BAD_REQUEST, ApiErrorCode.MALFORMED_REQUEST, error)

    @app.exception_handler(HTTPException)
    def by_the_framework(request: Request, failure: HTTPException) -> JSONResponse:
        status = HTTPStatus(failure.status_code)
        where = f"{request.method} {request.url.path}"
        error = f"{where}: {status.phrase}."
        headers = failure.headers
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers = _allow(request, headers)
        return _answer(request, status, _CODES.get(status, ApiErrorCode.BAD_REQUEST), error, headers)

    @app.exception_handler(Exception)
    def unexpected(request: Request, failure: Exception) -> JSONResponse:
        # Log the path without the query, which contains the token.
        log.error("%s %s failed", request.method, request.url.path, exc_info=failure)
        error = f"The sandbox failed at {request.method} {request.url.path}; its log says why."
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, ApiErrorCode.BAD_REQUEST, error)
