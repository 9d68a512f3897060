"""The trigger for ended runs: when it fires, what stops it (nothing), its stored form, and refused arguments."""

from __future__ import annotations

import asyncio
import json
import time
from importlib import import_module
from typing import Any

import pytest

from lightly_provider.triggers.events import LightlyRunEventTrigger
from tests.unit.api.scripted_platform import Answer
from tests.unit.triggers.waiting_platform import DATASET, WaitingPlatform


def test_it_is_the_same_trigger_after_it_was_stored() -> None:
    stored = LightlyRunEventTrigger(dataset_ids=[DATASET], include_team=True, remind_every=60).serialize()
    path, arguments = json.loads(json.dumps(stored))
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name)(**arguments).serialize() == stored


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"dataset_ids": DATASET}, "dataset_ids is 'aaa.*give a list of ids"),
        ({"dataset_ids": ["street"]}, "dataset_ids has 'street'"),
        ({"dataset_ids": [f"{n:024x}" for n in range(51)]}, "dataset_ids has 51 ids"),
        ({"dataset_ids": None}, "dataset_ids is None.*give a list of ids"),
        ({"lightly_conn_id": None}, "lightly_conn_id is None"),
        ({"include_team": "False"}, "include_team is 'False'; give True or False"),
        ({"quiet_period": True}, "quiet_period is True"),
        ({"quiet_period": 0}, "quiet_period is 0"),
        ({"remind_every": float("inf")}, "remind_every is inf"),
        ({"poll_interval": "often"}, "poll_interval is 'often'"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LightlyRunEventTrigger(**arguments)


QUICK = {"poll_interval": 0.02, "quiet_period": 0.05, "longest_wait": 60.0}


def test_it_fires_when_it_starts_and_when_runs_have_ended_and_errors_do_not_end_it(
    platform: WaitingPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    platform.add(1, run_state="COMPLETED")
    platform.add(2, run_state="EMBEDDING")

    async def fired() -> None:
        trigger = LightlyRunEventTrigger(**QUICK)
        events = trigger.run()

        async def following() -> tuple[Any, float]:
            began = time.monotonic()
            event = await asyncio.wait_for(anext(events), 30)
            return event.payload, time.monotonic() - began

        assert (await following())[0] == {"lightly_conn_id": "lightly_default", "n_ended": 0}
        waiting = asyncio.ensure_future(following())
        n_asked = platform.asked()
        while platform.asked() < n_asked + 3:
            await asyncio.sleep(0)
        assert not waiting.done(), "nothing has ended"
        platform.fails = [Answer(500), Answer(200, b"<html>"), Answer(401, {"code": "UNAUTHORIZED", "error": "no"})]
        platform.runs[f"{2:024x}"].run_state = "FAILED"
        platform.add(3, run_state="COMPLETED")
        payload, waited = await waiting
        assert payload == {"lightly_conn_id": "lightly_default", "n_ended": 2}
        assert waited >= QUICK["quiet_period"]
        await events.aclose()

    asyncio.run(fired())
    assert platform.token not in caplog.text


def test_it_fires_again_although_nothing_has_ended(platform: WaitingPlatform) -> None:
    async def fired() -> None:
        events = LightlyRunEventTrigger(**QUICK, remind_every=0.1).run()
        for _ in range(3):
            assert (await asyncio.wait_for(anext(events), 30)).payload["n_ended"] == 0
        await events.aclose()

    asyncio.run(fired())
    assert platform.asked() > 3
