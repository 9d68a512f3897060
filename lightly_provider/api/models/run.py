"""Scheduled runs, runs, their logs and artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import StringConstraints

from lightly_provider.api.models.wire import Answer, Count, EntityId, Message, Name, Request, Word
from lightly_provider.contract import (
    SHORTEST_NAME,
    WORKER_NAME_PATTERN,
    Creator,
    RunPriority,
    ScheduledRunState,
    WorkerType,
)

WorkerName = Annotated[str, StringConstraints(min_length=SHORTEST_NAME, pattern=WORKER_NAME_PATTERN)]


class ScheduleRequest(Request):
    """Body of ``create_docker_run_scheduled_by_dataset_id``."""

    config_id: EntityId
    priority: RunPriority
    runs_on: list[str] | None = None
    creator: Literal[Creator.USER_PIP] = Creator.USER_PIP


class ScheduledRun(Answer):
    """An entry of the schedule; its id is what scheduling returns."""

    id: EntityId
    dataset_id: EntityId
    config_id: EntityId
    state: Word
    runs_on: list[Name] = []
    created_at: int = 0

    @property
    def is_taken(self) -> bool:
        """Whether a worker has taken it and its run has not ended; an unknown state counts as that."""
        return self.state not in (ScheduledRunState.OPEN, ScheduledRunState.DONE, ScheduledRunState.CANCELED)


class Artifact(Answer):
    """A file that a run created."""

    id: EntityId
    type: Word
    file_name: Name = ""


class Run(Answer):
    """A run, which exists once a worker has taken the scheduled run."""

    id: EntityId
    state: Word
    dataset_id: EntityId | None = None
    config_id: EntityId | None = None
    scheduled_id: EntityId | None = None
    message: Message | None = None
    artifacts: list[Artifact] = []
    created_at: int = 0
    last_modified_at: int = 0


class LogEntry(Answer):
    """A line of a run's log."""

    level: Word = "INFO"
    msg: Message
    state: Word = ""


class LogPage(Answer):
    """The log lines since a cursor, and the cursor for the next request."""

    cursor: Count = 0
    logs: list[LogEntry] = []


class WorkerRegistration(Request):
    """Body of ``register_docker_worker``. (The worker's container sends its version itself.)"""

    name: WorkerName
    worker_type: Literal[WorkerType.FULL] = WorkerType.FULL
    labels: list[str] | None = None
    creator: Literal[Creator.USER_PIP] = Creator.USER_PIP


class Worker(Answer):
    """A registered Lightly Worker."""

    id: EntityId
    user_id: Word = ""
    name: Name = ""
    state: Word = ""
    labels: list[Name] = []


@dataclass(frozen=True, kw_only=True)
class Observation:
    """
    The state of a scheduled run at one point in time.

    :param run: The run. None (default): no worker has taken it.
    :param scheduled_state: State of its schedule entry. None (default): there is no entry, or it was not requested.
    """

    run: Run | None = None
    scheduled_state: str | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether there is neither a run nor an entry in the schedule."""
        return self.run is None and self.scheduled_state is None
