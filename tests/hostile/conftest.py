from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.client import ClientSettings, LightlyClient
from tests.hostile.hostile_server import HostileServer

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call

TOKEN = "CANARY-token/with+signs"
Send = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    """A server that answers as told; it stops after the module's tests."""
    with HostileServer() as running:
        yield running


def _settings(host: str, changes: dict[str, Any]) -> ClientSettings:
    given = {"host": host, "token": TOKEN, "max_attempts": 1, "longest_wait": 0.001, "read_timeout": 20.0}
    return ClientSettings(**given | changes)


def _send_waiting(host: str, call: Call[Any], **changes: Any) -> Any:
    client = LightlyClient(_settings(host, changes))
    try:
        return client.send(call)
    finally:
        client.close()


def _send_deferred(host: str, call: Call[Any], **changes: Any) -> Any:
    async def scene() -> Any:
        async with AsyncLightlyClient(_settings(host, changes)) as client:
            return await client.send(call)

    return asyncio.run(scene())


@pytest.fixture(params=[_send_waiting, _send_deferred], ids=["waiting", "deferred"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends a call with the client of each mode."""
    chosen: Send = request.param
    return chosen
