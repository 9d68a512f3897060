"""The asynchronous client sends, repeats, parses and keeps quiet as the synchronous one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api import calls
from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.client import ClientSettings
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyForbiddenError,
    LightlyNotFoundError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyServerError,
)
from tests.contract.example_calls import EXAMPLES
from tests.contract.schema import assert_fits_contract
from tests.unit.api.canaries import assert_tells_nothing
from tests.unit.api.scripted_platform import (
    Answer,
    CutShort,
    Late,
    NoAnswer,
    ScriptedPlatform,
    Step,
    read_timeout_for,
    refusing_address,
)

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "CANARY+token/with=signs&äß"
StartPlatform = Callable[..., ScriptedPlatform]


def send(host: str, call: calls.Call[Any], **changes: Any) -> Any:
    async def scene() -> Any:
        given = {"token": TOKEN, "max_attempts": 1, "longest_wait": 0.001} | changes
        async with AsyncLightlyClient(ClientSettings(host=host, **given)) as client:
            return await client.send(call)

    return asyncio.run(scene())


def refused(host: str, call: calls.Call[Any], **changes: Any) -> LightlyError:
    with pytest.raises(LightlyError) as caught:
        send(host, call, **changes)
    return assert_tells_nothing(caught.value)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_call_reaches_the_platform_as_the_contract_has_it(platform: StartPlatform, example: str) -> None:
    answering = platform(Answer(404))
    error = refused(answering.address, EXAMPLES[example])
    assert isinstance(error, LightlyNotFoundError)
    (received,) = answering.received
    assert_fits_contract(received.method, received.url, received.body)
    assert [value for name, value in received.query if name == "token"] == [TOKEN]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Answer(403, {"error": f"no {TOKEN}"}), LightlyForbiddenError),
        (Answer(429, headers={"Retry-After": "3"}), LightlyRateLimitError),
        (Answer(503, TOKEN.encode()), LightlyServerError),
        (Answer(302, headers={"Location": f"/?token={TOKEN}"}), LightlyResponseError),
        (Answer(200, b"<html>"), LightlyResponseError),
        (NoAnswer(), LightlyConnectionError),
        (CutShort(200, b"[]" + b" " * 100), LightlyConnectionError),
        (Late(200, []), LightlyConnectionError),
    ],
)
def test_every_failure_is_the_synchronous_clients_and_tells_no_secret(
    platform: StartPlatform, ending: Step, expected: type[LightlyError]
) -> None:
    address, read_timeout = platform(ending).address, read_timeout_for(ending)
    error = refused(address, calls.list_open_runs([]), read_timeout=read_timeout)
    assert type(error) is expected


def test_what_is_safe_is_sent_again(platform: StartPlatform) -> None:
    answering = platform(Answer(503), Answer(200, []))
    assert send(answering.address, calls.list_runs(page_size=1), max_attempts=2) == []
    assert len(answering.received) == 2


def test_a_schedule_is_not_sent_again_once_it_may_have_been_applied(platform: StartPlatform) -> None:
    answering = platform(NoAnswer())
    refused(answering.address, EXAMPLES["schedule_run"], max_attempts=5)
    assert len(answering.received) == 1


@pytest.mark.parametrize("host", ["http://[", "ftp://127.0.0.1", "http://127.0.0.1:999999"])
def test_a_host_that_is_no_address_is_named(host: str) -> None:
    assert isinstance(
        refused(host, calls.list_runs(page_size=1)), (LightlyConnectionConfigError, LightlyConnectionError)
    )


def test_nobody_listens() -> None:
    error = refused(refusing_address(), calls.list_runs(page_size=1))
    assert isinstance(error, LightlyConnectionError)
    assert not error.maybe_applied


def test_a_proxy_is_used_and_its_password_is_not_told(platform: StartPlatform) -> None:
    proxy = platform(Answer(200, []))
    address = proxy.address.replace("http://", "http://user:CANARY-password@")
    assert send("http://api.test", calls.list_runs(page_size=1), proxies={"http": address}) == []
    assert proxy.received[0].url.startswith("http://api.test/v1/docker/runs?")
    gone = refusing_address().replace("http://", "http://user:CANARY-password@")
    refused("http://api.test", calls.list_runs(page_size=1), proxies={"http": gone})


def test_a_proxy_of_another_kind_is_named() -> None:
    error = refused("http://api.test", calls.list_runs(page_size=1), proxies={"http": "socks5://u:CANARY@x:1"})
    assert "the proxy is of another kind than http and https" in str(error)


def test_tls_with_an_own_ca(platform: StartPlatform, tls: Any, certificate: Path, tmp_path: Path) -> None:
    answering = platform(Answer(200, []), tls=tls)
    assert send(answering.address, calls.list_runs(page_size=1), ca_bundle=str(certificate)) == []
    assert "TLS failed" in str(refused(answering.address, calls.list_runs(page_size=1)))
    missing = refused(answering.address, calls.list_runs(page_size=1), ca_bundle=str(tmp_path / "none.pem"))
    assert "the CA bundle does not exist" in str(missing)
