"""After a 429, everybody of this process who uses the same token pauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lightly_provider.api import calls
from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.api.pacing import Pacing, pacing_of
from lightly_provider.exceptions import LightlyRateLimitError
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

StartPlatform = Callable[..., ScriptedPlatform]
QUOTA = Answer(200, "1000")


def settings(host: str, **changes: Any) -> ClientSettings:
    return ClientSettings(host=host, token="a-token", **changes)


def test_a_pause_is_for_all_clients_of_a_token_and_is_not_shortened() -> None:
    pacing = pacing_of("https://h", "t")
    assert pacing_of("https://h", "t") is pacing
    assert pacing_of("https://h", "another") is not pacing
    assert pacing.left() == pacing.wait_before(None) == 0
    pacing.pause(30)
    pacing.pause(5)
    assert 29 < pacing.left() <= 30
    assert 29 < pacing.wait_before(None) <= 31
    assert 29 < pacing.wait_before(time.monotonic() + 60) <= 31


def test_a_call_whose_deadline_is_before_the_end_is_sent_at_once() -> None:
    pacing = Pacing()
    pacing.pause(30)
    assert pacing.wait_before(time.monotonic() + 20) == 0


def test_after_a_429_no_thread_sends_before_the_time_is_over(platform: StartPlatform) -> None:
    limited = platform(Answer(429, headers={"Retry-After": "1"}), QUOTA)
    sent: list[float] = []
    clients = [
        LightlyClient(settings(limited.address, on_attempt=lambda *_: sent.append(time.monotonic()))) for _ in range(4)
    ]
    with pytest.raises(LightlyRateLimitError):
        clients[0].attempt(calls.get_quota())
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda client: client.send(calls.get_quota()), clients)) == ["1000"] * 4
    first, *later = sent
    assert min(later) - first > 0.9
    assert len(limited.received) == 5, "one refused request, and each call once"


def test_the_event_loop_does_not_wait_in_a_thread(platform: StartPlatform) -> None:
    limited = platform(Answer(429, headers={"Retry-After": "1"}), QUOTA)

    async def ask() -> tuple[str, float]:
        async with AsyncLightlyClient(settings(limited.address)) as client:
            begun = time.monotonic()
            return await client.send(calls.get_quota()), time.monotonic() - begun

    with pytest.raises(LightlyRateLimitError):
        LightlyClient(settings(limited.address, max_attempts=1)).send(calls.get_quota())
    quota, seconds = asyncio.run(ask())
    assert (quota, seconds > 0.9) == ("1000", True)


def test_a_client_that_sends_once_does_not_wait(platform: StartPlatform) -> None:
    limited = platform(Answer(429, headers={"Retry-After": "60"}), QUOTA)
    hasty = LightlyClient(settings(limited.address, max_attempts=1))
    with pytest.raises(LightlyRateLimitError):
        hasty.send(calls.get_quota())
    begun = time.monotonic()
    assert hasty.send(calls.get_quota()) == "1000"
    assert time.monotonic() - begun < 30


def test_the_pause_of_a_retry_is_as_long_as_that_of_the_others(platform: StartPlatform, pauses: list[float]) -> None:
    limited = platform(Answer(503), QUOTA)
    pacing_of(limited.address, "a-token").pause(20)
    assert LightlyClient(settings(limited.address)).send(calls.get_quota()) == "1000"
    first, retry = pauses
    assert 19 < first <= 21
    assert retry > 19
