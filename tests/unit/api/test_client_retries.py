"""What is sent again, how often, and after which pause."""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyConnectionError,
    LightlyError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyServerError,
)
from tests.contract.example_calls import EXAMPLES
from tests.unit.api.scripted_platform import (
    Answer,
    CutShort,
    Late,
    NoAnswer,
    ScriptedPlatform,
    Step,
    Tunnel,
    read_timeout_for,
    refusing_address,
)

if TYPE_CHECKING:
    from pathlib import Path

StartPlatform = Callable[..., ScriptedPlatform]
ATTEMPTS = 3
ID = {"id": "a" * 24}
DATASET_ANSWER = {"id": "a" * 24, "name": "abc", "type": "Images"}

READ, PUT, CREATE, SCHEDULE = "get_dataset", "set_datasource, keys", "create_dataset, images", "schedule_run"
SUCCESS: dict[str, Step] = {
    READ: Answer(200, DATASET_ANSWER),
    PUT: Answer(200),
    CREATE: Answer(201, ID),
    SCHEDULE: Answer(201, ID),
}
EVERYTHING = {READ, PUT, CREATE, SCHEDULE}
REPEATABLE = EVERYTHING - {SCHEDULE}

FAILURES: dict[str, tuple[Step, set[str]]] = {
    "429": (Answer(429), EVERYTHING),
    "429 with a code": (Answer(429, {"code": "FORBIDDEN", "error": "slow down"}), EVERYTHING),
    "500": (Answer(500, {"code": "MALFORMED_RESPONSE", "error": "x"}), REPEATABLE),
    "502": (Answer(502, b"<html>Bad gateway</html>"), REPEATABLE),
    "503": (Answer(503), REPEATABLE),
    "504": (Answer(504), REPEATABLE),
    "501": (Answer(501), set()),
    "closed without an answer": (NoAnswer(), REPEATABLE),
    "reset": (NoAnswer(reset=True), REPEATABLE),
    "cut short": (CutShort(200, DATASET_ANSWER, missing=5), REPEATABLE),
    "no answer in time": (Late(200, DATASET_ANSWER), REPEATABLE),
    **{str(status): (Answer(status), set()) for status in (400, 401, 402, 403, 404, 409, 413, 418, 422)},
    **{str(status): (Answer(status, headers={"Location": "/elsewhere"}), set()) for status in (301, 302, 307, 308)},
}


@pytest.fixture
def send() -> Iterator[Callable[..., Any]]:
    """Sends a call to a platform; without its pauses, if ``pauses`` is used as well."""
    clients: list[LightlyClient] = []

    def send(host: str, example: str, **settings: Any) -> Any:
        client = LightlyClient(
            ClientSettings(
                **{
                    "host": host,
                    "token": "a-token-of-the-tests",
                    "max_attempts": ATTEMPTS,
                    "longest_wait": 0.001,
                }
                | settings
            )
        )
        clients.append(client)
        return client.send(EXAMPLES[example])

    yield send
    for client in clients:
        client.close()


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("example", sorted(EVERYTHING))
def test_a_call_is_sent_again_only_where_that_is_safe(
    platform: StartPlatform, send: Callable[..., Any], example: str, failure: str
) -> None:
    step, sent_again = FAILURES[failure]
    attempts = ATTEMPTS if example in sent_again else 1
    # On a busy machine, a short wait may be over before the request is written: then once more, with a longer one.
    for read_timeout in (read_timeout_for(step), 5.0):
        failing = platform(step)
        with pytest.raises(LightlyApiError):
            send(failing.address, example, read_timeout=read_timeout)
        received = failing.requests(at_least=attempts, within=3)
        if len(received) >= attempts:
            break
    assert len(received) == attempts
    assert {r.path for r in received} == {EXAMPLES[example].path}, "a redirect was followed"


@pytest.mark.parametrize("failure", [name for name, (_, sent_again) in FAILURES.items() if sent_again])
@pytest.mark.parametrize("example", sorted(EVERYTHING))
def test_what_is_sent_again_may_succeed(
    platform: StartPlatform, send: Callable[..., Any], example: str, failure: str
) -> None:
    step, sent_again = FAILURES[failure]
    recovering = platform(step, step, SUCCESS[example])
    # Where the wait is short, a busy machine may be late with the success, too: then it is asked for once more.
    settings = {"read_timeout": read_timeout_for(step), "max_attempts": 50 if isinstance(step, Late) else ATTEMPTS}
    if example not in sent_again:
        with pytest.raises(LightlyApiError):
            send(recovering.address, example, **settings)
        return
    send(recovering.address, example, **settings)
    received = recovering.requests(at_least=3)
    assert len(received) == 3 or isinstance(step, Late)
    assert len({(r.url, r.body) for r in received}) == 1


@pytest.mark.parametrize("example", sorted(EVERYTHING))
def test_a_refused_connection_was_never_a_request_so_everything_may_follow(
    send: Callable[..., Any], pauses: list[float], example: str
) -> None:
    with pytest.raises(LightlyConnectionError) as refused:
        send(refusing_address(), example)
    assert len(pauses) == ATTEMPTS - 1
    assert not refused.value.maybe_applied
    assert "no connection (NewConnectionError); check the host and the network" in str(refused.value)


@pytest.mark.parametrize("failure", ["closed without an answer", "reset", "cut short", "no answer in time"])
@pytest.mark.parametrize("example", sorted(EVERYTHING))
def test_a_lost_answer_leaves_open_whether_the_request_was_applied(
    platform: StartPlatform, send: Callable[..., Any], example: str, failure: str
) -> None:
    step, _ = FAILURES[failure]
    failing = platform(step)
    with pytest.raises(LightlyConnectionError) as lost:
        send(failing.address, example, max_attempts=1, read_timeout=read_timeout_for(step))
    assert lost.value.maybe_applied
    assert (lost.value.operation, lost.value.status) == (EXAMPLES[example].operation, None)


@pytest.mark.parametrize("lost", ["closed without an answer", "reset"])
@pytest.mark.parametrize("way", ["plain proxy", "tunnel"])
@pytest.mark.parametrize("example", sorted(EVERYTHING))
def test_an_answer_that_is_lost_behind_a_proxy_leaves_it_open_too(
    platform: StartPlatform, send: Callable[..., Any], tls: Any, certificate: Path, example: str, way: str, lost: str
) -> None:
    step, _ = FAILURES[lost]
    attempts = ATTEMPTS if example in REPEATABLE else 1
    proxy = platform(*([Tunnel(tls), step] * attempts if way == "tunnel" else [step]))
    host = "https://127.0.0.1:9" if way == "tunnel" else "http://api.test"
    proxies = {"http": proxy.address, "https": proxy.address}
    with pytest.raises(LightlyConnectionError) as broken:
        send(host, example, proxies=proxies, ca_bundle=str(certificate))
    assert broken.value.maybe_applied
    assert "refused" not in str(broken.value)
    assert len([r for r in proxy.received if r.method != "CONNECT"]) == attempts


def test_a_tunnel_that_is_refused_was_never_a_request_so_everything_may_follow(
    platform: StartPlatform, send: Callable[..., Any]
) -> None:
    proxy = platform(Answer(502))
    with pytest.raises(LightlyConnectionError, match="the proxy refused or failed") as refused:
        send("https://api.test", SCHEDULE, proxies={"https": proxy.address})
    assert not refused.value.maybe_applied
    assert [r.method for r in proxy.received] == ["CONNECT"] * ATTEMPTS


@pytest.mark.parametrize("host", ["http://api.test", "https://api.test"])
def test_without_the_proxy_nothing_was_a_request_so_everything_may_follow(
    send: Callable[..., Any], pauses: list[float], host: str
) -> None:
    proxy = refusing_address()
    with pytest.raises(LightlyConnectionError, match="the proxy refused or failed") as refused:
        send(host, SCHEDULE, proxies={"http": proxy, "https": proxy})
    assert not refused.value.maybe_applied
    assert len(pauses) == ATTEMPTS - 1


@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b"{", b'"text"', b'{"ID": "x"}', b"\xff\xfe"])
@pytest.mark.parametrize(("example", "attempts"), [(READ, ATTEMPTS), (CREATE, ATTEMPTS), (SCHEDULE, 1)])
def test_an_unreadable_success_is_asked_for_again_where_that_is_safe(
    platform: StartPlatform, send: Callable[..., Any], example: str, attempts: int, body: bytes
) -> None:
    failing = platform(Answer(200, body))
    with pytest.raises(LightlyResponseError, match=f"answer to {EXAMPLES[example].operation}.*breaks its contract"):
        send(failing.address, example)
    assert len(failing.received) == attempts


def test_a_single_attempt_is_possible(platform: StartPlatform, send: Callable[..., Any], pauses: list[float]) -> None:
    failing = platform(Answer(503))
    with pytest.raises(LightlyServerError):
        send(failing.address, READ, max_attempts=1)
    assert (len(failing.received), pauses) == (1, [])


def test_the_last_failure_is_the_one_that_is_raised(platform: StartPlatform, send: Callable[..., Any]) -> None:
    failing = platform(Answer(503), NoAnswer(), Answer(404, {"code": "DATASET_UNKNOWN", "error": "no such dataset"}))
    with pytest.raises(LightlyError, match="no such dataset"):
        send(failing.address, READ)
    assert len(failing.received) == 3


# --- pauses -------------------------------------------------------------------------------------------------------


def in_date_form(form: str) -> str:
    """Twenty seconds from now in one of the three forms of RFC 9110, 5.6.7."""
    then = datetime.now(UTC) + timedelta(seconds=20)
    if form == "IMF-fixdate":
        return email.utils.format_datetime(then, usegmt=True)
    return then.strftime({"RFC 850": "%A, %d-%b-%y %H:%M:%S GMT", "asctime": "%a %b %d %H:%M:%S %Y"}[form])


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def paused(
    platform: StartPlatform, send: Callable[..., Any], pauses: list[float], answer: Answer, example: str = READ
) -> list[float]:
    failing = platform(answer)
    with pytest.raises(LightlyApiError):
        send(failing.address, example, longest_wait=60.0)
    assert len(pauses) == len(failing.received) - 1 == ATTEMPTS - 1
    return pauses


@pytest.mark.parametrize(("status", "example"), [(429, READ), (429, SCHEDULE), (503, READ)])
@pytest.mark.parametrize(
    ("value", "least", "most"), [("7", 7, 8), ("0", 0, 1), (" 12 ", 12, 13), ("3600", 60, 61), ("9" * 400, 60, 61)]
)
def test_retry_after_in_seconds_is_honoured_up_to_the_longest_wait(
    platform: StartPlatform,
    send: Callable[..., Any],
    pauses: list[float],
    status: int,
    example: str,
    value: str,
    least: float,
    most: float,
) -> None:
    for pause in paused(platform, send, pauses, Answer(status, headers={"Retry-After": value}), example):
        assert least <= pause <= most


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize("form", ["IMF-fixdate", "RFC 850", "asctime"])
def test_retry_after_as_a_date_is_honoured(
    platform: StartPlatform, send: Callable[..., Any], pauses: list[float], form: str
) -> None:
    for pause in paused(platform, send, pauses, Answer(429, headers={"Retry-After": in_date_form(form)})):
        assert 15 <= pause <= 21.5


@pytest.mark.parametrize(
    "value", ["soon", "-5", "1.5", "²", "nan", "Mon, 01 Jan 2024 00:00:00 +99999999999999", "Mon, 99 Foo 2024"]
)
def test_an_unreadable_retry_after_counts_as_none(
    platform: StartPlatform, send: Callable[..., Any], pauses: list[float], value: str
) -> None:
    for pause in paused(platform, send, pauses, Answer(429, headers={"Retry-After": value})):
        assert 10 <= pause <= 60


def test_a_date_in_the_past_means_at_once(
    platform: StartPlatform, send: Callable[..., Any], pauses: list[float]
) -> None:
    for pause in paused(platform, send, pauses, Answer(429, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"})):
        assert 0 <= pause <= 1


def test_after_429_without_retry_after_the_pause_is_at_least_ten_seconds(
    platform: StartPlatform, send: Callable[..., Any], pauses: list[float]
) -> None:
    assert all(10 <= pause <= 60 for pause in paused(platform, send, pauses, Answer(429)))


def test_pauses_after_other_failures_grow_up_to_the_longest_and_vary(
    platform: StartPlatform, send: Callable[..., Any], pauses: list[float]
) -> None:
    failing = platform(Answer(503))
    with pytest.raises(LightlyServerError):
        send(failing.address, READ, longest_wait=8.0, max_attempts=40)
    assert len(pauses) == 39
    for attempt, pause in enumerate(pauses, start=1):
        assert 0 <= pause <= min(8.0, 2**attempt)
    assert len({round(pause, 6) for pause in pauses}) > 30, "no jitter"
    assert max(pauses) > 4


def test_the_error_tells_how_long_the_platform_asked_to_wait(platform: StartPlatform, send: Callable[..., Any]) -> None:
    failing = platform(Answer(429, headers={"Retry-After": "120"}))
    with pytest.raises(LightlyRateLimitError) as limited:
        send(failing.address, READ, max_attempts=1)
    assert limited.value.retry_after == 120


def test_each_retry_is_logged_with_its_reason(
    platform: StartPlatform, send: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    failing = platform(Answer(503, {"code": "X", "error": "back soon"}), Answer(200, DATASET_ANSWER))
    with caplog.at_level(logging.WARNING, logger="lightly_provider"):
        send(failing.address, READ)
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("lightly_provider")]
    assert message.startswith("Attempt 1 of 3 failed, the next follows in 0.0 s: The platform answered")
    assert "back soon" in message
