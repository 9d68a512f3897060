"""Workers and scheduled runs on the wire (lightly 1.5.26, models/docker_worker*, docker_run_scheduled*)."""

from __future__ import annotations

from lightly_sandbox.contract.enums import (
    Creator,
    DockerRunScheduledPriority,
    DockerRunScheduledState,
    DockerWorkerState,
    DockerWorkerType,
)
from lightly_sandbox.contract.wire import Count, Id, Name, Wire


class CreateDockerWorkerRegistryEntryRequest(Wire):
    name: Name
    worker_type: DockerWorkerType
    labels: list[str] | None = None
    creator: Creator | None = None
    docker_version: str | None = None


class UpdateDockerWorkerRegistryEntryRequest(Wire):
    state: DockerWorkerState
    docker_version: str | None = None


class DockerWorkerRegistryEntryData(Wire):
    id: Id
    user_id: str
    name: Name
    worker_type: DockerWorkerType
    state: DockerWorkerState
    created_at: Count
    last_modified_at: Count
    labels: list[str]
    is_default: bool | None = None
    docker_version: str | None = None


class DockerRunScheduledCreateRequest(Wire):
    config_id: Id
    priority: DockerRunScheduledPriority
    runs_on: list[str] | None = None
    creator: Creator | None = None


class DockerRunScheduledUpdateRequest(Wire):
    state: DockerRunScheduledState
    priority: DockerRunScheduledPriority | None = None
    runs_on: list[str] | None = None


class DockerRunScheduledData(Wire):
    id: Id
    dataset_id: Id
    user_id: str | None = None
    config_id: Id
    priority: DockerRunScheduledPriority
    runs_on: list[str]
    state: DockerRunScheduledState
    created_at: Count
    last_modified_at: Count
    owner: Id | None = None
