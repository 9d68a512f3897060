"""Scheduled runs, runs, their logs and artifacts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import StringConstraints

from lightly_provider.api.models.wire import WORKER_NAME_PATTERN, Answer, EntityId, Request

WorkerName = Annotated[str, StringConstraints(min_length=3, pattern=WORKER_NAME_PATTERN)]


class RunPriority(StrEnum):
    """Scheduled runs of higher priority are taken first."""

    LOW = "LOW"
    MID = "MID"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class ScheduleRequest(Request):
    """Body of ``create_docker_run_scheduled_by_dataset_id``."""

    config_id: EntityId
    priority: RunPriority
    runs_on: list[str] | None = None
    creator: Literal["USER_PIP"] = "USER_PIP"


class ScheduledRun(Answer):
    """An entry of the schedule; its id is what scheduling returns."""

    id: str
    dataset_id: str
    config_id: str
    state: str
    runs_on: list[str] = []
    created_at: int = 0


class Artifact(Answer):
    """A file that a run left behind."""

    id: str
    type: str
    file_name: str = ""


class Run(Answer):
    """A run: it exists once a worker took the scheduled run."""

    id: str
    state: str
    dataset_id: str | None = None
    config_id: str | None = None
    scheduled_id: str | None = None
    message: str | None = None
    artifacts: list[Artifact] = []


class LogEntry(Answer):
    """A line of a run's log."""

    ts: int = 0
    level: str = "INFO"
    msg: str
    state: str = ""


class LogPage(Answer):
    """The log lines since a cursor, and the cursor for the next request."""

    cursor: int = 0
    logs: list[LogEntry] = []


class WorkerRegistration(Request):
    """Body of ``register_docker_worker``. (The worker's container tells its version itself.)"""

    name: WorkerName
    worker_type: Literal["FULL"] = "FULL"
    labels: list[str] | None = None
    creator: Literal["USER_PIP"] = "USER_PIP"


class Worker(Answer):
    """A registered Lightly Worker."""

    id: str
    user_id: str = ""
    name: str = ""
    state: str = ""
    labels: list[str] = []
