"""Waiting for a grant to take effect, without a worker slot."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PropagationPauseTrigger(BaseTrigger):
    """
    Wait until a moment, then hand back to the task, which asks again itself.

    It asks nobody, so it needs no connection and holds no secret. A triggerer that starts anew waits no longer than
    until the same moment.

    :param until: When to go on, as ISO 8601 with a time zone.
    """

    def __init__(self, until: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes the trigger anew from."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        left = (datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds()
        await asyncio.sleep(max(0.0, left))
        yield TriggerEvent({"until": self.until})  # type: ignore[no-untyped-call]
