"""What triggers call in threads finds the triggerer's event loop, as the triggerers of Airflow 3.0 and 3.1 need it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from lightly_provider.events.queue import Queue
from lightly_provider.triggers.events import LightlyRunEventTrigger, LightlyUploadTrigger
from lightly_provider.triggers.worker import LightlyRunTrigger
from tests.unit.triggers.waiting_platform import DATASET, WaitingPlatform

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"


def first_event(trigger: BaseTrigger) -> Any:
    async def scene() -> Any:
        async with aclosing(trigger.run()) as events:  # type: ignore[type-var]
            return (await asyncio.wait_for(anext(events), 30)).payload

    return asyncio.run(scene())


@pytest.fixture
def no_plain_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("from a plain thread, Airflow 3.0 and 3.1 start a second event loop")

    monkeypatch.setattr(asyncio, "to_thread", refused)


@pytest.mark.usefixtures("no_plain_thread")
def test_the_queue_is_counted_where_airflow_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def ask() -> int:
        loops.append(asyncio.get_running_loop())
        return 3

    # As those triggerers read a connection from a thread.
    monkeypatch.setattr(Queue, "count", lambda _: async_to_sync(ask)())
    looked_from: list[asyncio.AbstractEventLoop] = []

    class Observed(LightlyUploadTrigger):
        async def _look(self) -> dict[str, Any] | None:
            looked_from.append(asyncio.get_running_loop())
            return await super()._look()

    trigger = Observed(queue_url=QUEUE, quiet_period=0.01, poll_interval=0.02)
    assert first_event(trigger) == {"queue_url": QUEUE, "count": 3}
    assert set(loops) == set(looked_from)


@pytest.mark.usefixtures("no_plain_thread")
def test_runs_are_waited_for_without_a_plain_thread(platform: WaitingPlatform) -> None:
    run = platform.add(1, scheduled_state="DONE", run_state="COMPLETED")
    waiting = LightlyRunTrigger(
        lightly_conn_id="lightly_default", dataset_id=DATASET, scheduled_run_id=run.id, poll_interval=0.05
    )
    assert first_event(waiting)["step"] == "succeed"
    assert first_event(LightlyRunEventTrigger(poll_interval=0.05))["n_ended"] == 0
