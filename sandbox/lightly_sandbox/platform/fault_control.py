"""Sets and ends faults: in the platform itself, and in the local AWS for those that are about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lightly_sandbox.aws import control
from lightly_sandbox.faults.rules import IamDelay, Messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_sandbox.faults.rules import Fault, Faults, OfAws, OfOperations
    from lightly_sandbox.platform.settings import Settings


async def counted(faults: Faults, config: Settings) -> Sequence[Fault]:
    """Return every fault since the last clearing, with up-to-date counts."""
    for fault in faults.all():
        if isinstance(fault.spec, IamDelay):
            fault.applied = await asyncio.to_thread(control.count, config.aws_url, config.aws_root_key)
    return faults.all()


async def add(faults: Faults, config: Settings, spec: OfOperations | OfAws) -> Fault:
    """Have one more fault from now on."""
    if isinstance(spec, IamDelay):
        await _delay_iam(config, spec.seconds)
    if isinstance(spec, Messages):
        await asyncio.to_thread(control.set_messages, config.aws_url, config.aws_root_key, spec.names)
    return faults.add(spec)


async def remove(faults: Faults, config: Settings, fault_id: str) -> Fault | None:
    """End one fault and return it; None if it does not exist."""
    removed = faults.remove(fault_id)
    if removed is not None:
        await _end(config, removed)
    return removed


async def clear(faults: Faults, config: Settings) -> None:
    """End every fault."""
    cleared = faults.all()
    faults.clear()
    await _end(config, *cleared)


async def _end(config: Settings, *removed: Fault) -> None:
    if any(isinstance(fault.spec, IamDelay) for fault in removed):
        await _delay_iam(config, 0)
    if any(isinstance(fault.spec, Messages) for fault in removed):
        await asyncio.to_thread(control.set_messages, config.aws_url, config.aws_root_key, None)


async def _delay_iam(config: Settings, seconds: float) -> None:
    await asyncio.to_thread(control.set_delay, config.aws_url, config.aws_root_key, seconds)
