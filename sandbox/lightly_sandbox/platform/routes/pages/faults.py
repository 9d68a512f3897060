"""The faults, and the forms that set and end them.

``LocalOnly`` refuses the forms of other sites. A form also has a token that only this sandbox's pages have,
for browsers that send neither ``Origin`` nor ``Sec-Fetch-Site``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import TypeAdapter, ValidationError

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.contract.operations import OPERATIONS
from lightly_sandbox.contract.wire import read_wire
from lightly_sandbox.faults.rules import Faults, OfAws, OfOperations, Spec
from lightly_sandbox.platform import fault_control
from lightly_sandbox.platform.errors import ApiError, malformed
from lightly_sandbox.platform.requests import Config
from lightly_sandbox.platform.routes.pages.page import PageRoute, page
from lightly_sandbox.web.fault_form import KINDS, LONGEST_FORM, MEMBERS, Form, FormError

if TYPE_CHECKING:
    from lightly_sandbox.platform.settings import Settings

router = APIRouter(prefix="/web/faults", route_class=PageRoute)

_SPEC: TypeAdapter[OfOperations | OfAws] = TypeAdapter(Spec)
_EMPTY = Form({})


def form_token(config: Settings) -> str:
    """Return what a form of these pages contains and no other page can know."""
    return hmac.new(config.signing_key.encode(), b"form of the pages", hashlib.sha256).hexdigest()


async def sent_form(request: Request, config: Config) -> Form:
    """Read a form of these pages; 403 for any other."""
    try:
        form = Form.parse(await _body(request))
    except FormError as wrong:
        raise malformed("body", str(wrong)) from wrong
    if not hmac.compare_digest(form.get("token").encode(), form_token(config).encode()):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            ApiErrorCode.FORBIDDEN,
            "The form is not from this sandbox's pages; open the page of the faults and fill it in there.",
        )
    return form


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            break  # Form.parse refuses it.
    return body


Sent = Annotated[Form, Depends(sent_form)]


@router.get("")
async def faults(request: Request, config: Config) -> HTMLResponse:
    """Every fault with its counts, and the form for another one."""
    return await _page(request, config)


@router.post("")
async def add(request: Request, config: Config, form: Sent) -> Response:
    """Set a fault."""
    try:
        spec = read_wire(_SPEC, json.dumps(form.fault()).encode())
    except FormError as wrong:
        return await _page(request, config, form, [str(wrong)])
    except ValidationError as refused:
        problems = [f"{_field(problem['loc'])}: {problem['msg']}" for problem in refused.errors()]
        return await _page(request, config, form, problems)
    await fault_control.add(_faults(request), config, spec)
    return _back()


@router.post("/remove")
async def remove(request: Request, config: Config, form: Sent) -> Response:
    """End one fault; one that has ended already is no error."""
    await fault_control.remove(_faults(request), config, form.get("id"))
    return _back()


@router.post("/clear")
async def clear(request: Request, config: Config, _form: Sent) -> Response:
    """End every fault."""
    await fault_control.clear(_faults(request), config)
    return _back()


def _faults(request: Request) -> Faults:
    found: Faults = request.app.state.faults
    return found


def _back() -> RedirectResponse:
    # 303: the browser asks for the page with GET, and reloading it repeats nothing.
    return RedirectResponse("/web/faults", HTTPStatus.SEE_OTHER)


async def _page(
    request: Request, config: Settings, form: Form = _EMPTY, problems: list[str] | None = None
) -> HTMLResponse:
    shown = [fault.shown() for fault in await fault_control.counted(_faults(request), config)]
    return page(
        "faults.html",
        HTTPStatus.BAD_REQUEST if problems else HTTPStatus.OK,
        faults=shown,
        token=form_token(config),
        form=form,
        kinds=KINDS,
        members=MEMBERS,
        operations=sorted(OPERATIONS),
        problems=problems or [],
    )


def _field(location: tuple[int | str, ...]) -> str:
    """Return the name of the field of a problem; the first part of its place is the fault's kind."""
    return ".".join(map(str, location[1:] or location)) or "kind"
