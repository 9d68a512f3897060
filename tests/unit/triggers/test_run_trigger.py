"""The trigger and the poll that all triggers share, on an event loop, against a platform on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import aclosing
from contextvars import ContextVar
from importlib.metadata import version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider import airflow_internals
from lightly_provider.airflow_internals import DELETED
from lightly_provider.api.models.run import Observation, Run
from lightly_provider.exceptions import (
    LightlyAuthenticationError,
    LightlyForbiddenError,
    LightlyServerError,
    from_json,
)
from lightly_provider.runs import poller
from lightly_provider.runs.state import FAILED_POLLS_IN_A_ROW, decide
from lightly_provider.triggers.worker import LightlyRunTrigger
from tests.unit.api.scripted_platform import Answer, NoAnswer
from tests.unit.triggers.waiting_platform import DATASET, ScheduledRun, WaitingPlatform

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

INTERVAL = 0.05
DEADLINE_S = 60.0


class PlainlyLogged(LightlyRunTrigger):
    """Airflow 3 logs through structlog, past what pytest captures."""

    log = logging.getLogger("trigger")


def trigger(run: ScheduledRun, **arguments: Any) -> LightlyRunTrigger:
    given = {"dataset_id": DATASET, "scheduled_run_id": run.id, "poll_interval": INTERVAL} | arguments
    return PlainlyLogged(lightly_conn_id="lightly_default", **given)


async def event_of(waiting: LightlyRunTrigger) -> dict[str, Any]:
    """What the trigger fires, as Airflow runs it where it shares no streams."""
    async with aclosing(waiting.run()) as events:
        payload: dict[str, Any] = json.loads(json.dumps((await anext(events)).payload))
        return payload


def play(scene: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(scene, DEADLINE_S))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        await asyncio.sleep(0.01)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "trigger"]


# --- one wait -----------------------------------------------------------------------------------------------------


def test_a_run_is_followed_to_its_end(platform: WaitingPlatform, caplog: pytest.LogCaptureFixture) -> None:
    run = platform.add(1)

    async def scene() -> dict[str, Any]:
        waiting = asyncio.ensure_future(event_of(trigger(run)))
        await until(lambda: platform.asked("/runs/schedule/") >= 2)
        # In this order, as a poll may come in between.
        run.log, run.run_state = ["one", "two"], "EMBEDDING"
        await until(lambda: platform.asked("/logs") >= 2)
        run.log.append("three")
        asked = platform.asked("/logs")
        await until(lambda: platform.asked("/logs") > asked + 1)
        run.run_state = "COMPLETED"
        return await waiting

    with caplog.at_level(logging.INFO):
        event = play(scene())

    assert (event["step"], event["scheduled_run_id"], event["log_cursor"]) == ("succeed", run.id, 3)
    assert (event["run"]["id"], event["run"]["state"]) == (run.run_id, "COMPLETED")
    assert lines(caplog) == [
        f"Scheduled run {run.id}: OPEN: waiting for a worker to take it",
        f"Run {run.run_id}: {decide(Observation(run=Run(id=run.run_id, state='EMBEDDING'))).status}",
        "[worker] INFO EMBEDDING one",
        "[worker] INFO EMBEDDING two",
        "[worker] INFO EMBEDDING three",
        f"Run {run.run_id}: COMPLETED",
    ]


@pytest.mark.parametrize(
    ("state", "step"),
    [
        ({"scheduled_state": "CANCELED"}, "canceled"),
        ({"scheduled_state": None}, "canceled"),
        ({"scheduled_state": "DONE", "run_state": "FAILED"}, "fail"),
        ({"scheduled_state": "DONE", "run_state": "CRASHED"}, "fail"),
    ],
)
def test_every_end_is_one_event(platform: WaitingPlatform, state: dict[str, Any], step: str) -> None:
    run = platform.add(1, **state)
    assert play(event_of(trigger(run)))["step"] == step


def test_the_deadline_is_absolute_and_holds_while_nothing_answers(platform: WaitingPlatform) -> None:
    run = platform.add(1)
    before = time.time()
    event = play(event_of(trigger(run, deadline=before + 0.5, poll_interval=300)))
    assert event["step"] == "timed_out"
    assert 0.5 <= time.time() - before < 60, "of 300"


def test_a_deadline_that_has_passed_while_no_triggerer_ran_ends_the_wait_at_once(platform: WaitingPlatform) -> None:
    assert play(event_of(trigger(platform.add(1), deadline=time.time() - 60)))["step"] == "timed_out"


def test_a_run_that_no_worker_takes_in_time_is_told_apart(platform: WaitingPlatform) -> None:
    run = platform.add(1)
    event = play(event_of(trigger(run, deadline=time.time() + 60, pickup_deadline=time.time())))
    assert event["step"] == "not_taken"


# --- polls that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [Answer(503), NoAnswer(), Answer(200, b"<html>"), Answer(429)])
def test_polls_that_fail_are_not_a_run_that_failed(
    platform: WaitingPlatform, failure: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "pause_after_failure", lambda *_: INTERVAL)
    run = platform.add(1, scheduled_state="DONE", run_state="COMPLETED")
    platform.fails = [failure] * (FAILED_POLLS_IN_A_ROW - 1)

    with caplog.at_level(logging.WARNING):
        assert play(event_of(trigger(run)))["step"] == "succeed"

    failed = [line for line in lines(caplog) if "Poll failed" in line]
    assert [line.split(",")[0] for line in failed] == [f"Poll failed ({n} in a row)" for n in range(1, 10)]
    assert platform.token not in "".join(lines(caplog))


def test_ten_failed_polls_in_a_row_end_the_wait(platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "pause_after_failure", lambda *_: INTERVAL)
    run = platform.add(1)
    platform.fails = [Answer(503, {"code": "X", "error": "no", "requestId": "r-1"})] * 100

    event = play(event_of(trigger(run)))

    error = from_json(event["error"])
    assert event["step"] == "give_up"
    assert isinstance(error, LightlyServerError)
    assert (error.status, error.request_id) == (503, "r-1")
    assert len(platform.received) == FAILED_POLLS_IN_A_ROW
    assert platform.token not in json.dumps(event)


def test_a_refusal_ends_the_wait_at_once(platform: WaitingPlatform) -> None:
    run = platform.add(1)
    platform.fails = [Answer(403, {"code": "FORBIDDEN", "error": "no"})]
    event = play(event_of(trigger(run)))
    assert event["step"] == "give_up"
    assert isinstance(from_json(event["error"]), LightlyForbiddenError)


def test_a_stray_refusal_of_something_on_the_way_ends_no_wait(
    platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "pause_after_failure", lambda *_: INTERVAL)
    runs = [platform.add(n, scheduled_state="DONE", run_state="COMPLETED") for n in range(1, 6)]
    page = b"<html><h1>Access denied by policy</h1></html>"
    platform.fails = [Answer(403, page), Answer(404, page), Answer(400, {"code": 17}), Answer(407, page)] * 2

    async def scene() -> list[dict[str, Any]]:
        return await asyncio.gather(*(event_of(trigger(run)) for run in runs))

    assert [event["step"] for event in play(scene())] == ["succeed"] * 5
    assert platform.fails == []


def test_a_token_that_is_rotated_while_all_wait_ends_no_wait(
    platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [platform.add(n) for n in range(1, 4)]

    async def scene() -> list[dict[str, Any]]:
        waits = [asyncio.ensure_future(event_of(trigger(run))) for run in runs]
        await until(lambda: platform.asked("/docker/worker/schedule") >= 2)
        connection = {"conn_type": "lightly", "host": platform.address, "password": "the-new-token"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        platform.right_token = "the-new-token"
        for run in runs:
            run.scheduled_state, run.run_state = "DONE", "COMPLETED"
        return await asyncio.gather(*waits)

    with caplog.at_level(logging.WARNING):
        events = play(scene())

    assert [event["step"] for event in events] == ["succeed"] * 3
    assert not [line for line in lines(caplog) if "Poll failed" in line], "the new token is tried at once"


def test_a_token_that_is_wrong_for_long_ends_the_wait(
    platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "pause_after_failure", lambda *_: INTERVAL)
    platform.right_token = "another"
    # As the task saw it, with a token that was right then.
    event = play(event_of(trigger(platform.add(1), status="OPEN: waiting for a worker to take it")))
    assert isinstance(from_json(event["error"]), LightlyAuthenticationError)
    assert platform.asked() == FAILED_POLLS_IN_A_ROW


def test_retry_after_is_honoured(platform: WaitingPlatform) -> None:
    run = platform.add(1, scheduled_state="DONE", run_state="COMPLETED")
    platform.fails = [Answer(429, headers={"Retry-After": "2"})]
    before = time.monotonic()
    assert play(event_of(trigger(run)))["step"] == "succeed"
    assert time.monotonic() - before >= 1.8


# --- one poll for all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.exhaustive), 300])
@pytest.mark.exhaustive(sample="test_retry_after_is_honoured")
def test_any_number_of_waits_costs_at_most_three_requests_per_interval(
    platform: WaitingPlatform, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_GATHER_S", 0.5)
    runs = [platform.add(number) for number in range(1, n + 1)]
    running = runs[: n // 2]
    for run in running:
        run.scheduled_state, run.run_state = "LOCKED", "EMBEDDING"

    async def scene() -> list[dict[str, Any]]:
        waits = [asyncio.ensure_future(event_of(trigger(run, poll_interval=0.5))) for run in runs]
        await until(lambda: platform.asked("/docker/worker/schedule") >= 5)
        polls, requests = platform.asked("/docker/worker/schedule"), len(platform.received)
        assert requests <= 3 * polls
        for run in runs:
            run.run_state, run.scheduled_state = "COMPLETED", "DONE"
        return await asyncio.gather(*waits)

    events = play(scene())

    assert [event["scheduled_run_id"] for event in events] == [run.id for run in runs]
    assert {event["step"] for event in events} == {"succeed"}


def test_a_run_that_the_listings_lack_is_asked_for_singly(platform: WaitingPlatform) -> None:
    listed, unlisted = platform.add(1), platform.add(2, is_listed=False)

    async def scene() -> list[dict[str, Any]]:
        waits = [asyncio.ensure_future(event_of(trigger(run))) for run in (listed, unlisted)]
        await until(lambda: platform.asked(f"/schedule/{unlisted.id}") >= 3)
        assert not any(wait.done() for wait in waits)
        assert platform.asked(f"/schedule/{listed.id}") == 0
        for run in (listed, unlisted):
            run.run_state, run.scheduled_state = "COMPLETED", "DONE"
        return await asyncio.gather(*waits)

    assert [event["step"] for event in play(scene())] == ["succeed", "succeed"]


def test_single_looks_are_limited_and_everyones_turn_comes(
    platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "SINGLE_LOOKS_PER_POLL", 3)
    runs = [platform.add(n, is_listed=False, scheduled_state="DONE", run_state="COMPLETED") for n in range(1, 11)]

    async def scene() -> list[dict[str, Any]]:
        return await asyncio.gather(*(event_of(trigger(run)) for run in runs))

    assert [event["step"] for event in play(scene())] == ["succeed"] * 10


def test_each_wait_is_told_in_the_context_of_its_own_task(platform: WaitingPlatform) -> None:
    # Airflow finds a trigger's log by it.
    whose: ContextVar[str] = ContextVar("whose")
    runs = [platform.add(n, scheduled_state="DONE", run_state="COMPLETED") for n in range(1, 4)]
    reported: dict[str, str] = {}

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reported[whose.get()] = record.getMessage()

    async def wait(run: ScheduledRun) -> None:
        whose.set(run.run_id)
        await event_of(trigger(run))

    async def scene() -> None:
        await asyncio.gather(*map(wait, runs))

    listening = Listening()
    PlainlyLogged.log.addHandler(listening)
    PlainlyLogged.log.setLevel(logging.INFO)
    try:
        play(scene())
    finally:
        PlainlyLogged.log.removeHandler(listening)
        PlainlyLogged.log.setLevel(logging.NOTSET)
    assert reported == {run.run_id: f"Run {run.run_id}: COMPLETED" for run in runs}


def test_a_wait_that_breaks_leaves_the_others_alone(platform: WaitingPlatform) -> None:
    runs = [platform.add(n, scheduled_state="DONE", run_state="COMPLETED") for n in range(1, 3)]
    broken, whole = trigger(runs[0]), trigger(runs[1])
    broken.log_cursor = broken.failed_polls_allowed = None  # type: ignore[assignment]
    platform.fails = [Answer(503)]

    async def scene() -> list[Any]:
        return await asyncio.gather(event_of(broken), event_of(whole), return_exceptions=True)

    broken_event, event = play(scene())
    assert broken_event["step"] == "give_up", "an exception that leaves a trigger would be stored by Airflow as it is"
    assert str(from_json(broken_event["error"])).startswith("The wait failed: TypeError: ")
    assert event["step"] == "succeed"


def test_when_nobody_waits_any_more_nothing_is_asked_any_more(platform: WaitingPlatform) -> None:
    runs = [platform.add(1), platform.add(2)]

    async def scene() -> tuple[int, set[asyncio.Task[Any]]]:
        before = asyncio.all_tasks()
        waits = [asyncio.ensure_future(event_of(trigger(run))) for run in runs]
        await until(lambda: platform.asked() >= 4)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return platform.asked(), asyncio.all_tasks() - before

    asked, others = play(scene())
    assert others == set()
    assert platform.asked() == asked


def test_two_tasks_that_wait_for_one_run_both_log_all_of_its_lines(
    platform: WaitingPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    run = platform.add(1, scheduled_state="LOCKED", run_state="EMBEDDING", log=["one", "two"])

    async def scene() -> list[dict[str, Any]]:
        waits = [asyncio.ensure_future(event_of(trigger(run, log_cursor=cursor))) for cursor in (0, 1)]
        await until(lambda: platform.asked("/logs") >= 4)
        run.run_state, run.scheduled_state = "COMPLETED", "DONE"
        return await asyncio.gather(*waits)

    with caplog.at_level(logging.INFO):
        events = play(scene())

    assert [event["log_cursor"] for event in events] == [2, 2]
    worker_lines = [line for line in lines(caplog) if line.startswith("[worker]")]
    assert worker_lines == [f"[worker] INFO EMBEDDING {word}" for word in ("one", "two", "two")]


def test_a_status_that_the_tasks_log_already_shows_is_not_logged_again(
    platform: WaitingPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    run = platform.add(1)

    async def scene() -> dict[str, Any]:
        waiting = asyncio.ensure_future(event_of(trigger(run, status="OPEN: waiting for a worker to take it")))
        await until(lambda: platform.asked() >= 4)
        run.run_state, run.scheduled_state = "COMPLETED", "DONE"
        return await waiting

    with caplog.at_level(logging.INFO):
        play(scene())

    assert lines(caplog) == [f"Run {run.run_id}: COMPLETED"]


def test_a_run_that_repeats_the_token_shows_it_neither_in_the_log_nor_in_the_event(
    platform: WaitingPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    run = platform.add(1, scheduled_state="LOCKED", run_state="EMBEDDING")
    run.message, run.log = f"asking with token={platform.token}", [f"LIGHTLY_TOKEN is {platform.token}"]

    async def scene() -> dict[str, Any]:
        waiting = asyncio.ensure_future(event_of(trigger(run)))
        await until(lambda: platform.asked("/logs") >= 2)
        run.run_state, run.scheduled_state = "FAILED", "DONE"
        return await waiting

    with caplog.at_level(logging.DEBUG):
        event = play(scene())

    assert f"[worker] INFO EMBEDDING LIGHTLY_TOKEN is {'***'}" in lines(caplog)
    assert platform.token not in json.dumps(event) + "".join(lines(caplog))


# --- arguments ----------------------------------------------------------------------------------------------------


def test_the_arguments_are_json_without_secrets_and_make_the_same_trigger(platform: WaitingPlatform) -> None:
    given = trigger(platform.add(1), deadline=1.5, pickup_deadline=1.0, runs_on=["gpu"], cancel_on_kill=False)
    _, arguments = given.serialize()
    assert json.loads(json.dumps(arguments)) == arguments
    assert LightlyRunTrigger(**arguments).serialize()[1] == arguments
    assert LightlyRunTrigger(**arguments).serialize()[0] == "lightly_provider.triggers.worker.LightlyRunTrigger"
    assert platform.token not in json.dumps(arguments)


def test_only_a_run_that_no_next_try_finds_has_an_argument_that_earlier_versions_lack(
    platform: WaitingPlatform,
) -> None:
    run = platform.add(1)
    assert "durable" not in trigger(run).serialize()[1]
    _, arguments = trigger(run, durable=False).serialize()
    assert arguments["durable"] is False
    assert LightlyRunTrigger(**arguments).serialize()[1] == arguments


def test_a_trigger_that_starts_again_elsewhere_goes_on(platform: WaitingPlatform) -> None:
    run = platform.add(1)

    async def begin() -> dict[str, Any]:
        first = trigger(run)
        waiting = asyncio.ensure_future(event_of(first))
        await until(lambda: platform.asked() >= 2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await first.cleanup()
        arguments: dict[str, Any] = first.serialize()[1]
        return arguments

    arguments = play(begin())
    assert [r.method for r in platform.received if r.method != "GET"] == [], "its end cancels nothing"
    run.run_state, run.scheduled_state = "COMPLETED", "DONE"
    assert play(event_of(LightlyRunTrigger(**arguments)))["step"] == "succeed"


# --- kill ---------------------------------------------------------------------------------------------------------


def test_a_trigger_that_is_dropped_without_a_word_cancels_nothing(platform: WaitingPlatform) -> None:
    from airflow.triggers.base import BaseTrigger

    airflow_has_a_word_for_it = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)
    assert hasattr(BaseTrigger, "on_kill") == airflow_has_a_word_for_it

    async def drop() -> None:
        waiting = asyncio.ensure_future(event_of(trigger(platform.add(1))))
        await until(lambda: platform.asked() >= 2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    play(drop())
    assert {r.method for r in platform.received} == {"GET"}


@pytest.mark.parametrize(
    ("state", "arguments", "cancels"),
    [
        *((state, {}, True) for state in ("failed", "success", "skipped", "removed", "upstream_failed", DELETED)),
        *((state, {}, False) for state in (None, "deferred", "running", "queued", "scheduled", "up_for_retry")),
        *(
            (state, {"durable": False}, True)
            for state in (None, "running", "queued", "up_for_retry", "failed", DELETED)
        ),
        ("deferred", {"durable": False}, False),
        ("failed", {"cancel_on_kill": False}, False),
        (None, {"cancel_on_kill": False, "durable": False}, False),
    ],
)
def test_a_kill_cancels_only_where_neither_the_task_nor_its_next_try_needs_the_run(
    platform: WaitingPlatform,
    state: str | None,
    arguments: dict[str, Any],
    cancels: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = trigger(platform.add(1, scheduled_state="CANCELED"), **arguments)

    async def state_of_task() -> str | None:
        return state

    # Airflow's answer, which needs a triggerer.
    monkeypatch.setattr(killed, "_state_of_task", state_of_task)
    play(killed.on_kill())

    assert [r.method for r in platform.received if r.method != "GET"] == (["PUT"] if cancels else [])


@pytest.mark.parametrize(
    ("pushed", "cancels"), [("its own", False), (None, False), (KeyError("gone"), False), ("c" * 24, True)]
)
def test_a_run_that_no_next_try_finds_is_left_only_to_the_try_that_waits_for_it(
    platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch, pushed: str | Exception | None, cancels: bool
) -> None:
    from airflow.providers.common.compat.sdk import XCom

    run = platform.add(1, scheduled_state="CANCELED")
    task = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}

    # Airflow's answers, which need a triggerer.
    def get_one(**asked: Any) -> str | None:
        assert asked == task | {"key": "scheduled_run_id"}
        if isinstance(pushed, Exception):
            raise pushed
        return run.id if pushed == "its own" else pushed

    monkeypatch.setattr(XCom, "get_one", get_one)
    monkeypatch.setattr(airflow_internals, "state_of_task", lambda **_: "deferred")

    killed: Any = trigger(run, durable=False)
    killed.task_instance = SimpleNamespace(**task)
    play(killed.on_kill())
    assert [r.method for r in platform.received if r.method != "GET"] == (["PUT"] if cancels else [])


def test_a_kill_that_airflow_repeats_while_it_goes_on_is_carried_through(
    platform: WaitingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        killed = trigger(platform.add(1, scheduled_state="CANCELED"))
        asked, answered = asyncio.Event(), asyncio.Event()

        async def state_of_task() -> str:
            asked.set()
            await answered.wait()
            return "failed"

        # Airflow's answer, which needs a triggerer, and takes its time.
        monkeypatch.setattr(killed, "_state_of_task", state_of_task)
        killing = asyncio.ensure_future(killed.on_kill())
        await asked.wait()
        for _ in range(3):
            killing.cancel("again")
            await asyncio.sleep(0)
        answered.set()
        await killing

    play(scene())
    assert [r.method for r in platform.received if r.method != "GET"] == ["PUT"]
