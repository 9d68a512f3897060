"""The pages for a browser; without a token, since they show no secrets and only to this machine."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import unknown
from lightly_sandbox.platform.routes.pages import datasets, faults, runs, tags, workers
from lightly_sandbox.platform.routes.pages.page import PageRoute, error_page
from lightly_sandbox.web import rendering

router = APIRouter(route_class=PageRoute)
rest_router = APIRouter(prefix="/web", route_class=PageRoute)

# The rest takes every address that no page has, so it is the last one.
ROUTERS = (router, datasets.router, tags.router, runs.router, workers.router, faults.router, rest_router)

_STATIC_SECONDS = 365 * 24 * 60 * 60


@router.get("/")
async def root() -> RedirectResponse:
    """The address that `up` prints leads a browser to the pages."""
    return RedirectResponse("/web")


@router.get("/web/static/{name}")
async def static(name: str) -> Response:
    """A file that the pages load; its address changes with its content."""
    if name not in rendering.STATIC_TYPES:
        raise unknown(ApiErrorCode.NOT_FOUND, "file", name)
    file = rendering.static_file(name)
    headers = {
        "Cache-Control": f"public, max-age={_STATIC_SECONDS}, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(file.content, media_type=file.media_type, headers=headers)


@router.get("/web/")
async def home() -> RedirectResponse:
    """The same page with a slash."""
    return RedirectResponse("/web")


@rest_router.get("/{path:path}")
async def no_page(path: str) -> HTMLResponse:
    """An address that leads to no page."""
    return error_page(HTTPStatus.NOT_FOUND, f"There is no page /web/{path}.")
