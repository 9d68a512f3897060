"""One page: its HTML, its headers, and its errors, which are pages too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from lightly_sandbox.platform.errors import ApiError, describe
from lightly_sandbox.web import rendering

PageNumber = Annotated[int, Query(alias="page", ge=1, le=10**9)]


def page(template: str, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """Return the page that a template makes of ``values``."""
    return HTMLResponse(
        rendering.render(template, **values), status_code=status, headers=dict(rendering.HEADERS)
    )


def error_page(status: int, error: str) -> HTMLResponse:
    """Return the page that says why there is nothing to show."""
    return page("error.html", status, title=HTTPStatus(status).phrase, error=error)


class PageRoute(APIRoute):
    """A route whose errors a browser shows as pages, where the API has JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handle = super().get_route_handler()

        async def with_error_pages(request: Request) -> Response:
            try:
                return await handle(request)
            except ApiError as refused:
                return error_page(refused.status, refused.error)
            except RequestValidationError as invalid:
                return error_page(HTTPStatus.BAD_REQUEST, describe(invalid.errors()))

        return with_error_pages
