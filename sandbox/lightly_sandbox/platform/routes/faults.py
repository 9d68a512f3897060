"""``/sandbox/faults``: sets, lists, counts and clears the faults; no fault ever meets it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.faults.rules import Faults, OfAws, OfOperations, Spec
from lightly_sandbox.platform import fault_control
from lightly_sandbox.platform.errors import unknown
from lightly_sandbox.platform.requests import Config, done, json_body

router = APIRouter(prefix="/sandbox/faults")


def _faults(request: Request) -> Faults:
    faults: Faults = request.app.state.faults
    return faults


All = Annotated[Faults, Depends(_faults)]


@router.get("")
async def list_faults(faults: All, config: Config) -> JSONResponse:
    """Every fault since the last clearing, and what it has met so far."""
    return JSONResponse([fault.shown() for fault in await fault_control.counted(faults, config)])


@router.post("")
async def add(
    spec: Annotated[OfOperations | OfAws, Depends(json_body(Spec))], faults: All, config: Config
) -> JSONResponse:
    """Have one more fault from now on."""
    added = await fault_control.add(faults, config, spec)
    return JSONResponse(added.shown(), status_code=HTTPStatus.CREATED)


@router.delete("")
async def clear(faults: All, config: Config) -> Response:
    """Have no fault any more."""
    await fault_control.clear(faults, config)
    return done()


@router.delete("/{fault_id}")
async def remove(fault_id: str, faults: All, config: Config) -> Response:
    """Have this one no more."""
    if await fault_control.remove(faults, config, fault_id) is None:
        raise unknown(ApiErrorCode.NOT_FOUND, "fault", fault_id)
    return done()
