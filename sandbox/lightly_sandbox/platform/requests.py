"""Reads a request's token, body, flags and page, and provides its database session."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.contract.wire import ApiErrorResponse, CreateEntityResponse, Wire, read_wire
from lightly_sandbox.platform.errors import ApiError, describe, malformed
from lightly_sandbox.platform.identity import user_of_token
from lightly_sandbox.platform.s3_access import S3Access
from lightly_sandbox.platform.settings import Settings

T = TypeVar("T")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Python clients send str(bool); OpenAPI's standard is lower case. No other text is a boolean.
_FLAGS = {"True": True, "true": True, "False": False, "false": False}


# Functions that only read the request are async: FastAPI runs all others in another thread, which costs more
# than most of these functions.


async def _settings(request: Request) -> Settings:
    """Return the settings with the user of the request's token."""
    settings: Settings = request.app.state.settings
    user_id: str = getattr(request.state, "user_id", settings.user_id)
    return settings if user_id == settings.user_id else dataclasses.replace(settings, user_id=user_id)


async def _s3(request: Request) -> S3Access:
    access: S3Access = request.app.state.s3
    return access


def _session(request: Request) -> Iterator[Session]:
    """Yield one session per request, committed after the handler, and rolled back if it raises."""
    with request.app.state.database.session(writes=request.method not in _READING) as session:
        yield session
        session.commit()


def _reading_session(request: Request) -> Iterator[Session]:
    with request.app.state.database.session(writes=False) as session:
        yield session


async def authenticate(request: Request) -> None:
    """Refuse a request without a user's token in its query; else note the user for the request.

    Raises:
        ApiError: 401 UNAUTHORIZED.
    """
    given = request.query_params.getlist("token")
    expected = request.app.state.settings.token
    if len(given) == 1 and hmac.compare_digest(given[0].encode(), expected.encode()):
        return
    if len(given) == 1:
        other = user_of_token(request.app.state.database.glance, given[0])
        if other is not None:
            request.state.user_id = other
            return
    raise ApiError(
        HTTPStatus.UNAUTHORIZED,
        ApiErrorCode.UNAUTHORIZED,
        "The API token is missing or wrong; send it as the query parameter 'token'.",
    )


def json_body(kind: Any, elsewhere: frozenset[str] = frozenset()) -> Callable[..., Any]:
    """Return a dependency that parses the body strictly as ``kind``, without wrong types or unknown members.

    A body that is not declared as JSON is refused, too; the contract has no status of its own for this.

    ``elsewhere``: discriminator values of the contract that the sandbox does not implement; they get a 501.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    async def read(request: Request) -> Any:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise malformed(
                "body", f"its Content-Type is {media_type or 'missing'!r}, not 'application/json'"
            )
        try:
            return read_wire(adapter, await request.body())
        except ValidationError as refused:
            for problem in refused.errors():
                kind_sent = _discriminator(problem)
                if isinstance(kind_sent, str) and kind_sent in elsewhere:
                    error = f"The sandbox has no {kind_sent}."
                    raise ApiError(
                        HTTPStatus.NOT_IMPLEMENTED, ApiErrorCode.NOT_IMPLEMENTED, error
                    ) from refused
            problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in refused.errors()]
            raise ApiError(
                HTTPStatus.BAD_REQUEST, ApiErrorCode.MALFORMED_REQUEST, describe(problems)
            ) from refused
        except ValueError as no_json:
            raise malformed("body", str(no_json)) from no_json

    _BODIES[read] = adapter
    return read


_BODIES: dict[Callable[..., Any], TypeAdapter[Any]] = {}


def body_of(dependency: Callable[..., Any] | None) -> TypeAdapter[Any] | None:
    """Return a dependency's body type if ``json_body`` created it; the framework does not know it."""
    return None if dependency is None else _BODIES.get(dependency)


def _discriminator(problem: Mapping[str, Any]) -> object:
    """Return the value that matches no known type: of a union's tag, or of a single type's literal."""
    if problem["type"] == "union_tag_invalid":
        return problem["ctx"]["tag"]
    return problem["input"] if problem["type"] == "literal_error" else None


def _flag(value: object) -> object:
    if isinstance(value, str):
        if value not in _FLAGS:
            raise ValueError("should be True, true, False or false")
        return _FLAGS[value]
    return value


class Page:
    """The requested part of a list; ``page_offset`` counts items, not pages."""

    def __init__(
        self,
        page_size: Annotated[int, Query(alias="pageSize", ge=1)] = 5000,
        page_offset: Annotated[int, Query(alias="pageOffset", ge=0)] = 0,
    ) -> None:
        self.size = page_size
        self.offset = page_offset

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return the requested part of ``items``."""
        return items[self.offset : self.offset + self.size]


Flag = Annotated[bool, BeforeValidator(_flag)]
Paged = Annotated[Page, Depends(Page)]
# scope="function": committed before the response is sent, so that its reader finds what it refers to.
Db = Annotated[Session, Depends(_session, scope="function")]
# For reads of a writing request before it takes the write lock, for example before a request to S3.
ReadOnlyDb = Annotated[Session, Depends(_reading_session, scope="function")]
Config = Annotated[Settings, Depends(_settings)]
S3 = Annotated[S3Access, Depends(_s3)]


def answer(value: Wire | Sequence[Wire] | str | Sequence[str]) -> JSONResponse:
    """Return 200 with ``value`` as JSON."""
    if isinstance(value, Wire):
        return JSONResponse(value.wire())
    if isinstance(value, str):
        return JSONResponse(value)
    return JSONResponse([item.wire() if isinstance(item, Wire) else item for item in value])


# The OpenAPI settings of operations that create something and return its id, and of those with an
# undocumented response.
CREATED: dict[str, Any] = {"response_model": CreateEntityResponse, "status_code": HTTPStatus.CREATED}
DONE: dict[str, Any] = {"status_code": HTTPStatus.NO_CONTENT}


def refusing(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI settings of errors that only some operations have."""
    return {status: {"model": ApiErrorResponse, "description": status.phrase} for status in statuses}


def created(value: str | Wire) -> JSONResponse:
    """Return 201 with the new entity's id, or with ``value``."""
    body = CreateEntityResponse(id=value) if isinstance(value, str) else value
    return JSONResponse(body.wire(), status_code=HTTPStatus.CREATED)


def done() -> Response:
    """Return the response of operations whose response is not documented."""
    return Response(status_code=HTTPStatus.NO_CONTENT)
