"""A worker run as a state machine: what is known of it, and what follows. Pure: no network, no Airflow, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class ScheduledRunState(StrEnum):
    """States of an entry of the schedule (lightly 1.5.26, models/docker_run_scheduled_state.py)."""

    OPEN = "OPEN"
    LOCKED = "LOCKED"
    DONE = "DONE"
    CANCELED = "CANCELED"

    @property
    def is_terminal(self) -> bool:
        """Whether the entry stays as it is."""
        return self in (ScheduledRunState.DONE, ScheduledRunState.CANCELED)


class RunState(StrEnum):
    """States of a run, in the order in which they pass (lightly 1.5.26, models/docker_run_state.py)."""

    STARTED = "STARTED"
    INITIALIZING = "INITIALIZING"
    LOADING_DATASET = "LOADING_DATASET"
    LOADING_METADATA = "LOADING_METADATA"
    LOADING_PREDICTION = "LOADING_PREDICTION"
    CHECKING_CORRUPTNESS = "CHECKING_CORRUPTNESS"
    INITIALIZING_OBJECT_CROPS = "INITIALIZING_OBJECT_CROPS"
    COMPUTING_METADATA = "COMPUTING_METADATA"
    TRAINING = "TRAINING"
    EMBEDDING = "EMBEDDING"
    EMBEDDING_OBJECT_CROPS = "EMBEDDING_OBJECT_CROPS"
    PRETAGGING = "PRETAGGING"
    COMPUTING_ACTIVE_LEARNING_SCORES = "COMPUTING_ACTIVE_LEARNING_SCORES"
    SAMPLING = "SAMPLING"
    EMBEDDING_FULL_IMAGES = "EMBEDDING_FULL_IMAGES"
    SAVING_RESULTS = "SAVING_RESULTS"
    UPLOADING_DATASET = "UPLOADING_DATASET"
    GENERATING_REPORT = "GENERATING_REPORT"
    UPLOADING_REPORT = "UPLOADING_REPORT"
    UPLOADED_REPORT = "UPLOADED_REPORT"
    UPLOADING_ARTIFACTS = "UPLOADING_ARTIFACTS"
    UPLOADED_ARTIFACTS = "UPLOADED_ARTIFACTS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    ABORTED = "ABORTED"

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over."""
        return self in _TERMINAL

    @property
    def is_success(self) -> bool:
        """Whether the run did what it was asked."""
        return self is RunState.COMPLETED

    @classmethod
    def parse(cls, value: str) -> RunState | None:
        """The state of this name; None for one that this version does not know, which counts as running."""
        return cls.__members__.get(value)


_TERMINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.ABORTED})


@dataclass(frozen=True, kw_only=True)
class Observation:
    """
    What one poll saw.

    :param run_id: The run's id; None while no worker took it.
    :param run_state: The run's state as the platform wrote it; None without a run.
    :param run_message: What the run says of itself; None if nothing.
    :param scheduled_state: State of its entry in the schedule; None when the entry is not there, or was not asked for.
    """

    run_id: str | None = None
    run_state: str | None = None
    run_message: str | None = None
    scheduled_state: str | None = None


class Step(Enum):
    """What follows from what is known."""

    WAIT = "wait"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCELED = "canceled"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """
    A step and its reason.

    :param step: What to do.
    :param status: One line that says where the run is; it changes only when the run does.
    """

    step: Step
    status: str


# The entry of a run that was scheduled a moment ago may not be listed yet, so one absence proves nothing.
ABSENCES_THAT_MEAN_CANCELED = 2


def decide(seen: Observation, *, absences: int = 0) -> Decision:
    """
    Decide what follows from a poll.

    :param seen: What the poll saw.
    :param absences: How many polls in a row, this one included, found neither the run nor its entry in the schedule.
    :return: The step, and a line for the log.
    """
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
        return Decision(step=Step.WAIT, status=f"{state}{_position(known)}{told}")
    step = Step.SUCCEED if known.is_success else Step.FAIL
    return Decision(step=step, status=f"{state}{told}")


def _position(state: RunState | None) -> str:
    if state is None:
        return ""
    working = [s for s in RunState if not s.is_terminal]
    return f" ({working.index(state) + 1} of {len(working)} states)"
