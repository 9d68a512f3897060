"""A worker run as a state machine: pure."""

from __future__ import annotations

import pytest

from lightly_provider.api.models.run import Observation, Run
from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.runs.state import ABSENCES_THAT_MEAN_CANCELED, Decision, Step, decide

FINAL = {RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.ABORTED}
WORKING = [state for state in RunState if state not in FINAL]


def run(state: str, message: str | None = None) -> Observation:
    return Observation(run=Run(id="f" * 24, state=state, message=message))


@pytest.mark.parametrize("state", WORKING)
def test_a_run_at_work_is_waited_for(state: RunState) -> None:
    decision = decide(run(state))
    assert decision.step is Step.WAIT
    assert decision.status == f"{state} ({WORKING.index(state) + 1} of {len(WORKING)} states)"


@pytest.mark.parametrize(
    ("state", "step"),
    [("COMPLETED", Step.SUCCEED), ("FAILED", Step.FAIL), ("CRASHED", Step.FAIL), ("ABORTED", Step.FAIL)],
)
@pytest.mark.parametrize("message", [None, "", "out of memory"])
def test_a_run_that_is_over_is_decided(state: str, step: Step, message: str | None) -> None:
    assert decide(run(state, message)) == Decision(step=step, status=state, message=message or "")


@pytest.mark.parametrize("state", ["SINCE_INVENTED", "completed", "", "DONE", "CANCELED"])
def test_an_unknown_state_of_a_run_counts_as_running(state: str) -> None:
    assert decide(run(state, "hm")) == Decision(step=Step.WAIT, status=state, message="hm")


def test_a_run_that_says_something_is_quoted() -> None:
    position = f"{WORKING.index(RunState.TRAINING) + 1} of {len(WORKING)} states"
    decision = decide(run("TRAINING", "epoch 3"))
    assert (decision.status, decision.message) == (f"TRAINING ({position})", "epoch 3")


@pytest.mark.parametrize(
    ("state", "step", "status"),
    [
        ("OPEN", Step.WAIT, "OPEN: waiting for a worker to take it"),
        ("LOCKED", Step.WAIT, "LOCKED: a worker took it, the run is about to appear"),
        ("DONE", Step.WAIT, "DONE: a worker took it, the run is about to appear"),
        ("CANCELED", Step.CANCELED, "CANCELED in the schedule, before a worker took it"),
        ("SINCE_INVENTED", Step.WAIT, "SINCE_INVENTED in the schedule"),
    ],
)
@pytest.mark.parametrize("absences", [0, 5])
def test_without_a_run_the_schedule_decides(state: str, step: Step, status: str, absences: int) -> None:
    assert decide(Observation(scheduled_state=state), absences=absences) == Decision(step=step, status=status)


@pytest.mark.parametrize("schedule", [None, *ScheduledRunState])
@pytest.mark.parametrize("state", RunState)
def test_a_run_says_more_than_the_schedule(state: RunState, schedule: str | None) -> None:
    seen = Observation(run=Run(id="f" * 24, state=state), scheduled_state=schedule)
    assert decide(seen, absences=9) == decide(run(state))


def test_one_absence_proves_nothing_and_two_in_a_row_do() -> None:
    nothing = Observation()
    assert decide(nothing).step is Step.WAIT
    assert decide(nothing, absences=1) == Decision(step=Step.WAIT, status="not in the schedule yet")
    assert ABSENCES_THAT_MEAN_CANCELED == 2
    for absences in (2, 3, 100):
        decision = decide(nothing, absences=absences)
        assert decision.step is Step.CANCELED
        assert "deleted or canceled" in decision.status


def test_a_status_changes_only_with_the_state() -> None:
    assert decide(run("EMBEDDING")) == decide(run("EMBEDDING"))
    assert decide(run("EMBEDDING")).status == decide(run("EMBEDDING", "50 %")).status
    assert decide(run("EMBEDDING")).status != decide(run("TRAINING")).status


def test_exactly_four_states_are_final_and_they_come_last() -> None:
    assert {state for state in RunState if state.is_terminal} == FINAL
    assert set(list(RunState)[-4:]) == FINAL
    assert next(iter(RunState)) is RunState.STARTED
    assert [state for state in RunState if state.is_success] == [RunState.COMPLETED]


def test_the_schedule_is_final_when_done_or_canceled() -> None:
    assert [state for state in ScheduledRunState if state.is_terminal] == ["DONE", "CANCELED"]


@pytest.mark.parametrize(
    ("value", "state"), [("STARTED", RunState.STARTED), ("started", None), ("", None), ("X", None)]
)
def test_a_state_is_read_by_its_exact_name(value: str, state: RunState | None) -> None:
    assert RunState.parse(value) is state
