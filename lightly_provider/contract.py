"""
The platform's own words, each once: patterns of ids and names, types, purposes, permissions, states, priorities.

Standard library only, so that every other module may import it. Source: the models of lightly 1.5.26, the last package
of the vendor that had the client of the platform's API.
"""

from __future__ import annotations

from enum import StrEnum

ID_PATTERN = r"^[a-f0-9]{24}$"
DATASET_NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9 _-]+$"
WORKER_NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9 _-]+$"
TAG_NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9 .:;=@_-]+$"
RESOURCE_NAME_PATTERN = r"^[a-zA-Z0-9_+=,.@:\/-]*$"


class DatasetType(StrEnum):
    """The input types that a user's dataset can have. (The platform makes ``Crops`` datasets itself.)"""

    IMAGES = "Images"
    VIDEOS = "Videos"


class Purpose(StrEnum):
    """What a dataset uses a datasource for."""

    INPUT = "INPUT"
    LIGHTLY = "LIGHTLY"
    INPUT_OUTPUT = "INPUT_OUTPUT"


class Permission(StrEnum):
    """What the platform may do at a location."""

    LIST = "list"
    READ = "read"
    WRITE = "write"
    OVERWRITE = "overwrite"


class RunPriority(StrEnum):
    """Scheduled runs of higher priority are taken first."""

    LOW = "LOW"
    MID = "MID"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


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
