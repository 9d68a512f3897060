"""A worker run as a state machine: decides the next step from an observation. Pure: no network, Airflow or clock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.foreign_text import shown
from lightly_provider.stored_forms import check_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightly_provider.api.models.run import Observation


# Computed once, because every poll needs it for every run: the position of a working run's state among all of them.
_WORKING = [state for state in RunState if not state.is_terminal]
_POSITIONS = {state: f" ({number} of {len(_WORKING)} states)" for number, state in enumerate(_WORKING, start=1)}


class Step(Enum):
    """What to do next."""

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
    What to do next, and why.

    :param step: What to do.
    :param status: One line that names the run's state; it changes only when the state does.
    :param message: The run's own message in this state; empty: none.
    """

    step: Step
    status: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    How long to wait for a run. These are points in time, not durations, so that a wait that moves to another process
    still ends at the same time.

    :param deadline: When to stop waiting, in seconds since the epoch; None: never.
    :param pickup_deadline: By when a worker must have taken the run; None: by ``deadline``.
    """

    deadline: float | None = None
    pickup_deadline: float | None = None

    def next_after(self, now: float) -> float | None:
        """Return the seconds until the next limit; None if both have passed or neither is set."""
        left = [moment - now for moment in (self.deadline, self.pickup_deadline) if moment is not None and moment > now]
        return min(left, default=None)


# The maximum length of the platform's messages that is shown.
LONGEST_MESSAGE = 1000
_LONGEST_STATE = 100

# A wait without a change is mentioned again after this time.
_REMINDER_S = 3600.0

# A run that was scheduled a moment ago may not be listed yet, so a single absence proves nothing.
ABSENCES_THAT_MEAN_CANCELED = 2

_NO_LIMITS = Limits()


def decide(seen: Observation, *, absences: int = 0, now: float = 0.0, limits: Limits = _NO_LIMITS) -> Decision:
    """
    Decide what to do after a look at the run.

    :param seen: What was seen.
    :param absences: How many looks in a row, this one included, found neither the run nor its entry in the schedule.
    :param now: Seconds since the epoch.
    :param limits: How long to wait. They do not apply to a run that has ended.
    """
    decision = _decide_on_state(seen, absences)
    if decision.step is not Step.WAIT:
        return decision
    if limits.deadline is not None and now >= limits.deadline:
        return replace(decision, step=Step.TIMED_OUT)
    if limits.pickup_deadline is not None and now >= limits.pickup_deadline and not is_taken(seen):
        return replace(decision, step=Step.NOT_TAKEN)
    return decision


def is_taken(seen: Observation) -> bool:
    """Whether a worker has taken the run."""
    return seen.run is not None or seen.scheduled_state not in (None, ScheduledRunState.OPEN)


def _decide_on_state(seen: Observation, absences: int) -> Decision:
    if seen.run is not None:
        return _decide_on_run(seen.run.state, seen.run.message)
    if seen.scheduled_state == ScheduledRunState.CANCELED:
        return Decision(step=Step.CANCELED, status="CANCELED in the schedule, before a worker took it")
    if seen.scheduled_state is None:
        if absences >= ABSENCES_THAT_MEAN_CANCELED:
            return Decision(
                step=Step.CANCELED, status="neither a run nor an entry in the schedule: deleted or canceled"
            )
        return Decision(step=Step.WAIT, status="not in the schedule yet")
    if seen.scheduled_state == ScheduledRunState.OPEN:
        return Decision(step=Step.WAIT, status="OPEN: waiting for a worker to take it")
    state = shown(seen.scheduled_state, longest=_LONGEST_STATE)
    if seen.scheduled_state in (ScheduledRunState.LOCKED, ScheduledRunState.DONE):
        return Decision(step=Step.WAIT, status=f"{state}: a worker took it, the run is about to appear")
    return Decision(step=Step.WAIT, status=f"{state} in the schedule")


def _decide_on_run(state: str, message: str | None) -> Decision:
    known = RunState.parse(state)
    state = shown(state, longest=_LONGEST_STATE)
    message = shown(message, longest=LONGEST_MESSAGE) if message else ""
    if known is None or not known.is_terminal:
        status = f"{state}{_POSITIONS.get(known, '') if known else ''}"
        return Decision(step=Step.WAIT, status=status, message=message)
    return Decision(step=Step.SUCCEED if known.is_success else Step.FAIL, status=state, message=message)


# --- polls that fail ---------------------------------------------------------------------------------------------

FAILED_POLLS_IN_A_ROW = 10
# Ten failed polls with these pauses take more than 25 minutes at the shortest interval, 30 s.
_LONGEST_PAUSE_AFTER_FAILURE = 300.0
_LONGEST_FACTOR_AFTER_FAILURE = 8
_LONGEST_RETRY_AFTER = 3600.0


def decide_on_failure(failed_polls: int, *, is_transient: bool, allowed: int = FAILED_POLLS_IN_A_ROW) -> Step:
    """
    Decide what to do after a poll that failed. The run itself is not affected.

    :param failed_polls: How many polls in a row failed, this one included.
    :param is_transient: Whether the next poll may succeed.
    :param allowed: After this many failed polls in a row, the wait is given up.
    :return: ``WAIT`` or ``GIVE_UP``.
    """
    return Step.WAIT if is_transient and failed_polls < allowed else Step.GIVE_UP


def pause_after_failure(failed_polls: int, interval: float, retry_after: float | None = None) -> float:
    """
    Return the seconds until the next poll: doubled after each failure, to reduce the load on a failing platform.

    :param failed_polls: How many polls in a row failed.
    :param interval: Seconds between two polls that succeed.
    :param retry_after: Seconds that the platform asked to wait; None if it did not.
    """
    longest = max(interval, min(_LONGEST_PAUSE_AFTER_FAILURE, interval * _LONGEST_FACTOR_AFTER_FAILURE))
    pause = min(interval * 2.0 ** min(max(failed_polls - 1, 0), 16), longest)
    return max(pause, min(retry_after or 0.0, _LONGEST_RETRY_AFTER))


class Watch:
    """
    What a wait for one run remembers from poll to poll, in a task and in a trigger alike.

    :param limits: How long to wait.
    :param failed_polls_allowed: After this many failed polls in a row, the wait is given up.
    :param status: The status that the task's log already shows.
    """

    __slots__ = ("_absences", "_failed_polls_allowed", "_logged_at", "_retry_after", "failed_polls", "limits", "status")

    def __init__(
        self,
        limits: Limits = _NO_LIMITS,
        *,
        failed_polls_allowed: int = FAILED_POLLS_IN_A_ROW,
        status: str = "",
    ) -> None:
        self.limits = limits
        self.failed_polls = 0
        self.status = status
        self._failed_polls_allowed = failed_polls_allowed
        self._retry_after: float | None = None
        self._absences = 0
        self._logged_at: float | None = None

    def saw(self, seen: Observation, now: float) -> tuple[Decision, str | None]:
        """
        Decide after a poll that succeeded.

        :return: The decision, and its status if it is to be logged: a new one, or an old one once an hour.
        """
        self.failed_polls, self._retry_after = 0, None
        self._absences = self._absences + 1 if seen.is_nothing else 0
        decision = decide(seen, absences=self._absences, now=now, limits=self.limits)
        is_new, self.status = decision.status != self.status, decision.status
        if self._logged_at is None:
            self._logged_at = now
        if is_new:
            self._logged_at = now
            return decision, f"{decision.status}: {decision.message}" if decision.message else decision.status
        if decision.step is Step.WAIT and now - self._logged_at >= _REMINDER_S:
            self._logged_at = now
            return decision, f"still {decision.status}"
        return decision, None

    def missed(self, now: float, *, is_transient: bool, retry_after: float | None = None) -> Decision:
        """Decide after a poll that failed; see :func:`decide_on_failure`. At the deadline the wait always ends as timed
        out, whatever the last failure was, so that the run is canceled."""
        self.failed_polls += 1
        self._retry_after = retry_after
        step = decide_on_failure(self.failed_polls, is_transient=is_transient, allowed=self._failed_polls_allowed)
        if self.limits.deadline is not None and now >= self.limits.deadline:
            step = Step.TIMED_OUT
        return Decision(step=step, status=self.status)

    def to_json(self) -> dict[str, Any]:
        """Return the state that the next look needs if another process makes it."""
        return {"failed_polls": self.failed_polls, "absences": self._absences, "status": self.status}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Continue with what :meth:`to_json` returned; anything else is ignored."""
        failed_polls, absences, status = (memory.get(name) for name in ("failed_polls", "absences", "status"))
        if isinstance(failed_polls, int) and isinstance(absences, int) and isinstance(status, str):
            self.failed_polls, self._absences, self.status = failed_polls, absences, status

    def pause(self, interval: float, now: float) -> float:
        """Return the seconds until the next poll, which is no later than the next limit."""
        pause = pause_after_failure(self.failed_polls, interval, self._retry_after) if self.failed_polls else interval
        left = self.limits.next_after(now)
        return pause if left is None else min(left, pause)


# --- a task that starts again ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """
    What a task stores about its run for its next try.

    :param config_id: The worker configuration that was created for this run only, so that its id identifies the run.
    :param fingerprint: :func:`fingerprint` of the request.
    :param chain: The chain of tries that scheduled it: a clear begins a new one.
    :param scheduled_run_id: What scheduling returned; None: the task ended before it was known.
    """

    config_id: str
    fingerprint: str
    chain: int
    scheduled_run_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stored run as a JSON object."""
        return asdict(self)

    @classmethod
    def parse(cls, value: Any) -> StoredRun | None:
        """
        Parse what :meth:`to_json` returned in this version of the provider or an earlier one; None for anything else.

        :raises LightlyStoredFormError: A newer version stored it. This prevents a second run in addition to one that
            this version cannot read.
        """
        if not isinstance(value, dict):
            return None
        check_version(value, what="The run of an earlier try")
        config_id, digest, chain = (value.get(name) for name in ("config_id", "fingerprint", "chain"))
        scheduled_run_id = value.get("scheduled_run_id")
        if not (isinstance(config_id, str) and isinstance(digest, str) and isinstance(chain, int)):
            return None
        return cls(
            config_id=config_id,
            fingerprint=digest,
            chain=chain,
            scheduled_run_id=scheduled_run_id if isinstance(scheduled_run_id, str) else None,
        )


def fingerprint(dataset_id: str, config: Mapping[str, Any], *, priority: str, runs_on: Sequence[str]) -> str:
    """
    Return a digest that is equal for equal requests only.

    :param dataset_id: Dataset.
    :param config: The worker's configuration as it is sent.
    :param priority: Priority.
    :param runs_on: Labels, in any order.
    """
    request = {"dataset_id": dataset_id, "config": config, "priority": priority, "runs_on": sorted(runs_on)}
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def decide_on_start(stored: StoredRun | None, *, wanted: str, chain: int, seen: Observation | None = None) -> Decision:
    """
    Decide what a task does when it starts: for the first time, as a retry, or after a clear.

    A task always waits for a run that is still active, so that there is never a second one. If the run completed, a
    retry returns its result, and a clear starts over. After any other end, the task schedules a new run.

    :param stored: What an earlier try stored; None if nothing.
    :param wanted: :func:`fingerprint` of what is requested now.
    :param chain: The present chain of tries.
    :param seen: The state of the stored run; None if it was not looked up, because its request was different.
    :return: ``SUBMIT``, ``REATTACH`` or ``SUCCEED``.
    """
    if stored is None:
        return Decision(step=Step.SUBMIT, status="no earlier try scheduled a run")
    if stored.fingerprint != wanted:
        # A mapped task's index may now refer to another item, or the DAG was edited.
        return Decision(step=Step.SUBMIT, status="the previous try scheduled a different configuration")
    if seen is None or seen.is_nothing:
        return Decision(step=Step.SUBMIT, status="it is neither in the schedule nor among the runs")
    ended = _decide_on_state(seen, absences=0)
    if ended.step is Step.WAIT:
        return Decision(step=Step.REATTACH, status=ended.status)
    if ended.step is Step.SUCCEED and stored.chain == chain:
        return ended
    return Decision(step=Step.SUBMIT, status=ended.status)
