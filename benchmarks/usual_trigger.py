"""
The usual form of a trigger, beside which ``triggerer.py`` measures this provider's: each asks for its own run, with a
session of aiohttp per poll.

Of the answer it reads the state alone, and it logs nothing: less than it would do in earnest.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.sdk import Context


class UsualTrigger(BaseTrigger):
    """
    Wait until a scheduled run is completed.

    :param scheduled_run_id: Id that scheduling returned.
    :param interval: Seconds between two polls.
    """

    def __init__(self, scheduled_run_id: str, interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.scheduled_run_id = scheduled_run_id
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes the trigger anew from."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return name, {"scheduled_run_id": self.scheduled_run_id, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until it is over."""
        import aiohttp
        from asgiref.sync import sync_to_async

        connection = await sync_to_async(BaseHook.get_connection)("lightly_default")
        address = f"{connection.host}/v1/docker/runs/schedule/{self.scheduled_run_id}"
        await asyncio.sleep(random.random() * self.interval)  # noqa: S311  (no secret: they are not deferred all at once)
        state = ""
        while state != "COMPLETED":
            async with (
                aiohttp.ClientSession() as session,
                session.get(address, params={"token": str(connection.password)}) as response,
            ):
                state = (await response.json()).get("state", "")
            await asyncio.sleep(self.interval)
        yield TriggerEvent({"state": state})  # type: ignore[no-untyped-call]


class UsualOperator(BaseOperator):
    """
    Waits with :class:`UsualTrigger`, and does nothing else.

    :param scheduled_run_id: Id that scheduling returned.
    :param interval: Seconds between two polls.
    """

    template_fields = ("scheduled_run_id",)

    def __init__(self, *, scheduled_run_id: str, interval: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scheduled_run_id = scheduled_run_id
        self.interval = interval

    def execute(self, context: Context) -> None:
        """Hand over to the trigger."""
        self.defer(trigger=UsualTrigger(self.scheduled_run_id, self.interval), method_name="completed")

    def completed(self, context: Context, event: dict[str, Any]) -> str:
        """The state that the trigger saw."""
        return str(event["state"])
