"""A worker run as a state machine: what is known of it, and what follows. Pure: no network, no Airflow, no clock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import RunState, ScheduledRunState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightly_provider.api.models.run import Observation


# Made once, as every poll asks it for every run: where a working run's state stands among those that pass.
_WORKING = [state for state in RunState if not state.is_terminal]
_POSITIONS = {state: f" ({number} of {len(_WORKING)} states)" for number, state in enumerate(_WORKING, start=1)}


class Step(Enum):
    """What follows from what is known."""

    SUBMIT = "submit"
    REATTACH = "reattach"
    WAIT = "wait"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    NOT_TAKEN = "not_taken"
    GIVE_UP = "give_up"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """
    A step and its reason.

    :param step: What to do.
    :param status: One line that says where the run is; it changes only when the run does.
    """

    step: Step
    status: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    Until when a run is waited for. Points in time, not durations, so that a wait which moves to another process ends
    when it would have ended.

    :param deadline: When the wait ends, in seconds since the epoch; None: never.
    :param pickup_deadline: Until when a worker must have taken the run; None: until ``deadline``.
    """

    deadline: float | None = None
    pickup_deadline: float | None = None

    def next_after(self, now: float) -> float | None:
        """Seconds until the next of the two; None if none is to come."""
        left = [moment - now for moment in (self.deadline, self.pickup_deadline) if moment is not None and moment > now]
        return min(left, default=None)


# The entry of a run that was scheduled a moment ago may not be listed yet, so one absence proves nothing.
ABSENCES_THAT_MEAN_CANCELED = 2

_NO_LIMITS = Limits()


def decide(seen: Observation, *, absences: int = 0, now: float = 0.0, limits: Limits = _NO_LIMITS) -> Decision:
    """
    Decide what follows from a poll.

    :param seen: What the poll saw.
    :param absences: How many polls in a row, this one included, found neither the run nor its entry in the schedule.
    :param now: Seconds since the epoch.
    :param limits: Until when the run is waited for. What is over is over, whatever the time is.
    :return: The step, and a line for the log.
    """
    decision = _decide_on_state(seen, absences)
    if decision.step is not Step.WAIT:
        return decision
    if limits.deadline is not None and now >= limits.deadline:
        return Decision(step=Step.TIMED_OUT, status=decision.status)
    waits_for_worker = seen.run_state is None and seen.scheduled_state in (None, ScheduledRunState.OPEN)
    if waits_for_worker and limits.pickup_deadline is not None and now >= limits.pickup_deadline:
        return Decision(step=Step.NOT_TAKEN, status=decision.status)
    return decision


def _decide_on_state(seen: Observation, absences: int) -> Decision:
    if seen.run_state is not None:
        return _decide_on_run(seen.run_state, seen.run_message)
    if seen.scheduled_state == ScheduledRunState.CANCELED:
        return Decision(step=Step.CANCELED, status="CANCELED in the schedule, before a worker took it")
    if seen.scheduled_state is None:
        if absences >= ABSENCES_THAT_MEAN_CANCELED:
            return Decision(
                step=Step.CANCELED, status="neither a run nor an entry in the schedule: deleted or canceled"
            )
        return Decision(step=Step.WAIT, status="not yet in the schedule")
    if seen.scheduled_state == ScheduledRunState.OPEN:
        return Decision(step=Step.WAIT, status="OPEN: waiting for a worker to take it")
    if seen.scheduled_state in (ScheduledRunState.LOCKED, ScheduledRunState.DONE):
        return Decision(step=Step.WAIT, status=f"{seen.scheduled_state}: a worker took it, the run is about to appear")
    return Decision(step=Step.WAIT, status=f"{seen.scheduled_state} in the schedule")


def _decide_on_run(state: str, message: str | None) -> Decision:
    known = RunState.parse(state)
    told = f": {message}" if message else ""
    if known is None or not known.is_terminal:
        return Decision(step=Step.WAIT, status=f"{state}{_POSITIONS.get(known, '') if known else ''}{told}")
    step = Step.SUCCEED if known.is_success else Step.FAIL
    return Decision(step=step, status=f"{state}{told}")


# --- polls that fail ---------------------------------------------------------------------------------------------

FAILED_POLLS_IN_A_ROW = 10
# Ten failed polls at these pauses are more than 25 minutes at the shortest interval, 30 s.
_LONGEST_PAUSE_AFTER_FAILURE = 300.0
_LONGEST_FACTOR_AFTER_FAILURE = 8
_LONGEST_RETRY_AFTER = 3600.0


def decide_on_failure(failed_polls: int, *, is_transient: bool, allowed: int = FAILED_POLLS_IN_A_ROW) -> Step:
    """
    Decide what follows from a poll that failed; the run itself goes on.

    :param failed_polls: How many polls in a row failed, this one included.
    :param is_transient: Whether a later poll may succeed: no answer, 5xx, 429, an answer that breaks the contract.
    :param allowed: With that many failed polls in a row, the wait is given up.
    :return: ``WAIT`` or ``GIVE_UP``.
    """
    return Step.WAIT if is_transient and failed_polls < allowed else Step.GIVE_UP


def pause_after_failure(failed_polls: int, interval: float, retry_after: float | None = None) -> float:
    """
    Seconds until the next poll: twice as long after each failure, to be no burden on a platform that is in trouble.

    :param failed_polls: How many polls in a row failed.
    :param interval: Seconds between two polls that succeed.
    :param retry_after: Seconds that the platform asked to wait; None if it did not.
    """
    longest = max(interval, min(_LONGEST_PAUSE_AFTER_FAILURE, interval * _LONGEST_FACTOR_AFTER_FAILURE))
    pause = min(interval * 2.0 ** min(max(failed_polls - 1, 0), 16), longest)
    return max(pause, min(retry_after or 0.0, _LONGEST_RETRY_AFTER))


class Watch:
    """
    What a wait for one run remembers from poll to poll. The same in a task that waits itself and in a trigger.

    :param limits: Until when the run is waited for.
    :param failed_polls_allowed: With that many failed polls in a row, the wait is given up.
    """

    def __init__(self, limits: Limits = _NO_LIMITS, *, failed_polls_allowed: int = FAILED_POLLS_IN_A_ROW) -> None:
        self.limits = limits
        self.failed_polls = 0
        self.status = ""
        self._failed_polls_allowed = failed_polls_allowed
        self._absences = 0

    def saw(self, seen: Observation, now: float) -> tuple[Decision, bool]:
        """What follows from a poll that succeeded, and whether its status is news."""
        self.failed_polls = 0
        self._absences = self._absences + 1 if seen.is_nothing else 0
        decision = decide(seen, absences=self._absences, now=now, limits=self.limits)
        is_news, self.status = decision.status != self.status, decision.status
        return decision, is_news

    def missed(self, now: float, *, is_transient: bool) -> Decision:
        """What follows from a poll that failed; see :func:`decide_on_failure`."""
        self.failed_polls += 1
        step = decide_on_failure(self.failed_polls, is_transient=is_transient, allowed=self._failed_polls_allowed)
        if step is Step.WAIT and self.limits.deadline is not None and now >= self.limits.deadline:
            step = Step.TIMED_OUT
        return Decision(step=step, status=self.status)


# --- a task that starts again ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """
    What a task keeps of its run between its tries.

    :param config_id: The worker configuration that was stored for this run alone, so that its id marks the run.
    :param fingerprint: :func:`fingerprint` of what was asked.
    :param chain: Which chain of tries scheduled it: a clear begins a new one.
    :param scheduled_run_id: What scheduling returned; None: the task ended before it knew.
    """

    config_id: str
    fingerprint: str
    chain: int
    scheduled_run_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Any) -> StoredRun | None:
        """What :meth:`to_json` made; None for anything else, such as nothing."""
        if not isinstance(value, dict):
            return None
        config_id, printed, chain = (value.get(name) for name in ("config_id", "fingerprint", "chain"))
        scheduled_run_id = value.get("scheduled_run_id")
        if not (isinstance(config_id, str) and isinstance(printed, str) and isinstance(chain, int)):
            return None
        return cls(
            config_id=config_id,
            fingerprint=printed,
            chain=chain,
            scheduled_run_id=scheduled_run_id if isinstance(scheduled_run_id, str) else None,
        )


def fingerprint(dataset_id: str, config: Mapping[str, Any], *, priority: str, runs_on: Sequence[str]) -> str:
    """
    A text that is equal for equal requests, and only for them.

    :param dataset_id: Dataset.
    :param config: The worker's configuration as it is sent.
    :param priority: Priority.
    :param runs_on: Labels, in any order.
    """
    asked = {"dataset_id": dataset_id, "config": config, "priority": priority, "runs_on": sorted(runs_on)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def decide_on_start(stored: StoredRun | None, *, wanted: str, chain: int, seen: Observation | None = None) -> Decision:
    """
    Decide what a task does when it starts, be it the first time, as a retry, or after a clear.

    A run that is active is waited for, whoever starts again, so that there is never a second one beside it. A run that
    completed is a retry's result, and nothing to a clear, which starts over. After any other end there is a new run.

    :param stored: What an earlier try kept; None if nothing.
    :param wanted: :func:`fingerprint` of what is asked now.
    :param chain: The present chain of tries.
    :param seen: Where the stored run is; None: it was not looked for, as it is another request's.
    :return: ``SUBMIT``, ``REATTACH`` or ``SUCCEED``.
    """
    if stored is None:
        return Decision(step=Step.SUBMIT, status="no run was scheduled before")
    if stored.fingerprint != wanted:
        # A mapped task's index may mean another item than before; or the DAG was edited.
        return Decision(step=Step.SUBMIT, status="the run of before was another request's")
    if seen is None or seen.is_nothing:
        return Decision(step=Step.SUBMIT, status="the run of before is neither in the schedule nor among the runs")
    ended = _decide_on_state(seen, absences=0)
    if ended.step is Step.WAIT:
        return Decision(step=Step.REATTACH, status=ended.status)
    if ended.step is Step.SUCCEED and stored.chain == chain:
        return ended
    return Decision(step=Step.SUBMIT, status=ended.status)
