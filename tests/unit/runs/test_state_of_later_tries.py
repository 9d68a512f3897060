"""What a task does when it starts again, what it does when its time is up, and when polls fail: as tables."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.api.models.run import Observation, Run
from lightly_provider.contract import RunState
from lightly_provider.runs.state import (
    FAILED_POLLS_IN_A_ROW,
    Limits,
    Step,
    StoredRun,
    Watch,
    decide,
    decide_on_failure,
    decide_on_start,
    fingerprint,
    pause_after_failure,
)

ASKED = "what is asked"
OPEN, LOCKED, CANCELED = (Observation(scheduled_state=state) for state in ("OPEN", "LOCKED", "CANCELED"))
NOTHING = Observation()


def run(state: str) -> Observation:
    return Observation(run=Run(id="f" * 24, state=state))


def stored(*, chain: int = 0, printed: str = ASKED, scheduled_run_id: str | None = "s") -> StoredRun:
    return StoredRun(config_id="c", fingerprint=printed, chain=chain, scheduled_run_id=scheduled_run_id)


# --- starting again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", [0, 1], ids=["retry", "clear"])
@pytest.mark.parametrize(
    ("before", "seen", "after_retry", "after_clear"),
    [
        (None, None, Step.SUBMIT, Step.SUBMIT),
        (stored(printed="another"), None, Step.SUBMIT, Step.SUBMIT),
        (stored(printed="another"), run("EMBEDDING"), Step.SUBMIT, Step.SUBMIT),
        (stored(scheduled_run_id=None), None, Step.SUBMIT, Step.SUBMIT),
        (stored(), NOTHING, Step.SUBMIT, Step.SUBMIT),
        (stored(), OPEN, Step.REATTACH, Step.REATTACH),
        (stored(), LOCKED, Step.REATTACH, Step.REATTACH),
        (stored(), Observation(scheduled_state="SINCE_INVENTED"), Step.REATTACH, Step.REATTACH),
        (stored(), CANCELED, Step.SUBMIT, Step.SUBMIT),
        *((stored(), run(s), Step.REATTACH, Step.REATTACH) for s in RunState if not s.is_terminal),
        (stored(), run("SINCE_INVENTED"), Step.REATTACH, Step.REATTACH),
        (stored(), run("COMPLETED"), Step.SUCCEED, Step.SUBMIT),
        *((stored(), run(s), Step.SUBMIT, Step.SUBMIT) for s in ("FAILED", "CRASHED", "ABORTED")),
    ],
)
def test_what_a_try_does(
    before: StoredRun | None, seen: Observation | None, after_retry: Step, after_clear: Step, chain: int
) -> None:
    decision = decide_on_start(before, wanted=ASKED, chain=chain, seen=seen)
    assert decision.step is (after_clear if chain else after_retry)
    assert decision.status


def test_a_stored_run_survives_json() -> None:
    for before in (stored(), stored(scheduled_run_id=None, chain=3)):
        assert StoredRun.parse(before.to_json()) == before


@pytest.mark.parametrize("value", [None, "s", 1, [], {}, {"config_id": "c"}, stored().to_json() | {"chain": "0"}])
def test_what_is_no_stored_run_counts_as_none(value: Any) -> None:
    assert StoredRun.parse(value) is None


def test_a_fingerprint_tells_requests_apart_and_forgets_their_order() -> None:
    asked: dict[str, Any] = {"dataset_id": "d", "config": {"a": 1, "b": 2}, "priority": "MID", "runs_on": ["x", "y"]}
    same = asked | {"config": {"b": 2, "a": 1}, "runs_on": ["y", "x"]}
    others = [{"dataset_id": "e"}, {"config": {"a": 1, "b": 3}}, {"priority": "LOW"}, {"runs_on": ["x"]}]

    def printed(of: dict[str, Any]) -> str:
        return fingerprint(of["dataset_id"], of["config"], priority=of["priority"], runs_on=of["runs_on"])

    assert printed(same) == printed(asked)
    assert len({printed(asked | other) for other in others} | {printed(asked)}) == 5


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "now", "step"),
    [
        (OPEN, 9.0, Step.WAIT),
        (OPEN, 10.0, Step.NOT_TAKEN),
        (NOTHING, 10.0, Step.NOT_TAKEN),
        (LOCKED, 19.0, Step.WAIT),
        (run("STARTED"), 19.0, Step.WAIT),
        (run("SINCE_INVENTED"), 19.0, Step.WAIT),
        (OPEN, 20.0, Step.TIMED_OUT),
        (LOCKED, 20.0, Step.TIMED_OUT),
        (run("EMBEDDING"), 20.0, Step.TIMED_OUT),
        # What is over is over.
        (run("COMPLETED"), 99.0, Step.SUCCEED),
        (run("FAILED"), 99.0, Step.FAIL),
        (CANCELED, 99.0, Step.CANCELED),
    ],
)
def test_the_limits_hold_for_what_still_goes_on(seen: Observation, now: float, step: Step) -> None:
    assert decide(seen, now=now, limits=Limits(deadline=20.0, pickup_deadline=10.0)).step is step


def test_without_limits_there_is_no_end() -> None:
    assert decide(OPEN, now=1e12).step is Step.WAIT


@pytest.mark.parametrize(
    ("limits", "now", "left"),
    [
        (Limits(), 5.0, None),
        (Limits(deadline=20.0), 5.0, 15.0),
        (Limits(deadline=20.0, pickup_deadline=10.0), 5.0, 5.0),
        (Limits(deadline=20.0, pickup_deadline=10.0), 10.0, 10.0),
        (Limits(deadline=20.0), 20.0, None),
    ],
)
def test_the_next_limit_is_the_next_one_to_come(limits: Limits, now: float, left: float | None) -> None:
    assert limits.next_after(now) == left


# --- polls that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "is_transient", "step"),
    [(1, True, Step.WAIT), (9, True, Step.WAIT), (10, True, Step.GIVE_UP), (1, False, Step.GIVE_UP)],
)
def test_a_failed_poll_is_not_a_failed_run(failed: int, is_transient: bool, step: Step) -> None:
    assert decide_on_failure(failed, is_transient=is_transient) is step


def test_a_poll_that_succeeds_forgives_those_that_failed() -> None:
    watch = Watch()
    for _ in range(3):
        for _ in range(FAILED_POLLS_IN_A_ROW - 1):
            assert watch.missed(0.0, is_transient=True).step is Step.WAIT
        watch.saw(OPEN, 0.0)
    assert watch.failed_polls == 0


def test_the_time_may_be_up_while_polls_fail() -> None:
    watch = Watch(Limits(deadline=20.0))
    watch.saw(OPEN, 0.0)
    missed = watch.missed(20.0, is_transient=True)
    assert (missed.step, missed.status) == (Step.TIMED_OUT, "OPEN: waiting for a worker to take it")


def at_work(message: str) -> Observation:
    return Observation(run=Run(id="f" * 24, state="EMBEDDING", message=message))


def test_a_status_is_news_once() -> None:
    watch = Watch()
    seen = (OPEN, OPEN, LOCKED, at_work("10 %"), at_work("50 %"))
    opened, again, locked, embedding, further = [watch.saw(one, 0.0)[1] for one in seen]
    assert (again, further) == (None, None)
    assert opened == "OPEN: waiting for a worker to take it"
    assert locked is not None
    assert embedding is not None
    assert embedding.endswith(" states): 10 %")


def test_a_long_wait_is_mentioned_once_an_hour() -> None:
    watch = Watch()
    lines = {moment: watch.saw(OPEN, moment)[1] for moment in range(0, 3 * 3600 + 1, 60)}
    said = {moment: line for moment, line in lines.items() if line is not None}
    assert list(said) == [0, 3600, 7200, 10800]
    assert said[3600] == "still OPEN: waiting for a worker to take it"


def test_two_absences_in_a_row_end_the_wait_and_two_apart_do_not() -> None:
    watch = Watch()
    steps = [watch.saw(seen, 0.0)[0].step for seen in (NOTHING, OPEN, NOTHING, NOTHING)]
    assert steps == [Step.WAIT, Step.WAIT, Step.WAIT, Step.CANCELED]


def test_ten_failed_polls_take_longer_than_an_outage_of_ten_minutes() -> None:
    for interval in (30.0, 60.0, 300.0):
        assert sum(pause_after_failure(n, interval) for n in range(1, FAILED_POLLS_IN_A_ROW)) > 1200


def test_the_pause_after_failures_grows_to_a_limit_and_honours_the_platforms_wish() -> None:
    pauses = [pause_after_failure(n, 60.0) for n in range(1, 7)]
    assert pauses == [60.0, 120.0, 240.0, 300.0, 300.0, 300.0]
    assert pause_after_failure(1, 600.0) == 600.0
    assert pause_after_failure(1, 60.0, retry_after=500.0) == 500.0
    assert pause_after_failure(1, 60.0, retry_after=1e9) == 3600.0
