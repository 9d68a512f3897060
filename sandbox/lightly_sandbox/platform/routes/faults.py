"""``/sandbox/faults``: sets, lists, counts and clears the faults; no fault ever meets it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from lightly_sandbox.aws import control
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.faults.rules import Fault, Faults, IamDelay, Messages, OfAws, OfOperations, Spec
from lightly_sandbox.platform.errors import unknown
from lightly_sandbox.platform.requests import Config, done, json_body

if TYPE_CHECKING:
    from lightly_sandbox.platform.settings import Settings

router = APIRouter(prefix="/sandbox/faults")


def _faults(request: Request) -> Faults:
    faults: Faults = request.app.state.faults
    return faults


All = Annotated[Faults, Depends(_faults)]


@router.get("")
async def list_faults(faults: All, config: Config) -> JSONResponse:
    """Every fault since the last clearing, and what it has met so far."""
    for fault in faults.all():
        if isinstance(fault.spec, IamDelay):
            fault.applied = await asyncio.to_thread(control.count, config.aws_url, config.aws_root_key)
    return JSONResponse([fault.shown() for fault in faults.all()])


@router.post("")
async def add(
    spec: Annotated[OfOperations | OfAws, Depends(json_body(Spec))], faults: All, config: Config
) -> JSONResponse:
    """Have one more fault from now on."""
    if isinstance(spec, IamDelay):
        await _delay_iam(config, spec.seconds)
    if isinstance(spec, Messages):
        await asyncio.to_thread(control.set_messages, config.aws_url, config.aws_root_key, spec.names)
    return JSONResponse(faults.add(spec).shown(), status_code=HTTPStatus.CREATED)


@router.delete("")
async def clear(faults: All, config: Config) -> Response:
    """Have no fault any more."""
    cleared = faults.all()
    faults.clear()
    await _end(config, *cleared)
    return done()


@router.delete("/{fault_id}")
async def remove(fault_id: str, faults: All, config: Config) -> Response:
    """Have this one no more."""
    removed = faults.remove(fault_id)
    if removed is None:
        raise unknown(ApiErrorCode.NOT_FOUND, "fault", fault_id)
    await _end(config, removed)
    return done()


async def _end(config: Settings, *removed: Fault) -> None:
    if any(isinstance(fault.spec, IamDelay) for fault in removed):
        await _delay_iam(config, 0)
    if any(isinstance(fault.spec, Messages) for fault in removed):
        await asyncio.to_thread(control.set_messages, config.aws_url, config.aws_root_key, None)


async def _delay_iam(config: Settings, seconds: float) -> None:
    await asyncio.to_thread(control.set_delay, config.aws_url, config.aws_root_key, seconds)
