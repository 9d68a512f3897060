"""Runs, their logs and their artifacts on the wire (lightly 1.5.26, models/docker_run_*.py)."""

from __future__ import annotations

from lightly_sandbox.contract.enums import (
    Creator,
    DockerRunArtifactStorageLocation,
    DockerRunArtifactType,
    DockerRunLogLevel,
    DockerRunState,
)
from lightly_sandbox.contract.wire import Count, Id, Percent, Wire


class DockerRunCreateRequest(Wire):
    docker_version: str
    dataset_id: Id | None = None
    scheduled_id: Id | None = None
    config_id: Id | None = None
    message: str | None = None
    creator: Creator | None = None


class DockerRunUpdateRequest(Wire):
    state: DockerRunState
    message: str | None = None
    ts: Count | None = None


class DockerRunArtifactCreateRequest(Wire):
    file_name: str
    type: DockerRunArtifactType
    storage_location: DockerRunArtifactStorageLocation | None = None


class DockerRunArtifactCreatedData(Wire):
    signed_write_url: str
    artifact_id: str


class DockerRunArtifactData(Wire):
    id: Id
    type: DockerRunArtifactType
    file_name: str
    storage_location: DockerRunArtifactStorageLocation | None = None
    created_at: Count | None = None


class DockerRunData(Wire):
    id: Id
    user_id: str
    docker_version: str
    state: DockerRunState
    archived: bool | None = None
    dataset_id: Id | None = None
    config_id: Id | None = None
    scheduled_id: Id | None = None
    created_at: Count
    last_modified_at: Count
    message: str | None = None
    artifacts: list[DockerRunArtifactData] | None = None


class DockerRunLogDockerLoad(Wire):
    cpu: Percent | None = None
    mem: Percent | None = None


class DockerRunLogCreateEntryData(Wire):
    ts: Count
    level: DockerRunLogLevel
    group: str
    origin: str | None = None
    msg: str
    state: DockerRunState | None = None
    load: DockerRunLogDockerLoad | None = None


class DockerRunLogEntryData(Wire):
    ts: Count
    level: DockerRunLogLevel
    group: str | None = None
    origin: str | None = None
    msg: str
    state: DockerRunState
    load: DockerRunLogDockerLoad | None = None


class DockerRunLogData(Wire):
    cursor: Count = 0
    logs: list[DockerRunLogEntryData]
