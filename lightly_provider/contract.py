"""
The constants of the platform's contract: patterns of ids and names, types, purposes, permissions, states, priorities.

Uses only the standard library, so that every other module can import it. Source: the models of lightly 1.5.26, the
vendor's last package with a client for the platform's API.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

ID_PATTERN = r"^[a-f0-9]{24}$"
DATASET_NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9 _-]+$"
WORKER_NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9 _-]+$"
TAG_NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9 .:;=@_-]+$"
RESOURCE_NAME_PATTERN = r"^[a-zA-Z0-9_+=,.@:\/-]*$"
SHORTEST_NAME = 3  # of datasets, workers and tags
BIT_MASK_PATTERN = r"^0x[a-f0-9]+$"

ROLE_ARN_PATTERN = r"^arn:aws:iam::[0-9]{12}:role.+$"
KMS_KEY_ARN_PATTERN = r"^arn:aws:kms:[a-zA-Z0-9-]*:[0-9]{12}:key.+$"
EXTERNAL_ID_PATTERN = r"^[a-zA-Z0-9_+=,.@:\/-]+$"
SHORTEST_ROLE_ARN = 12
SHORTEST_EXTERNAL_ID = 10


Value = TypeVar("Value", bound=StrEnum)


def value_of(enum: type[Value], value: str, *, argument: str) -> Value:
    """
    Convert text to an enum value.

    :param enum: One of the enums below.
    :param value: A value of the enum, or its text.
    :param argument: Name of the argument, for the message.
    :raises ValueError: The text is not a value of the enum.
    """
    try:
        return enum(value)
    except ValueError:
        raise ValueError(f"{argument} is {value!r}; write one of {', '.join(enum)}.") from None


class Creator(StrEnum):
    """The creator of an object (models/creator.py has more): the value that the vendor's client sends."""

    USER_PIP = "USER_PIP"


class WorkerType(StrEnum):
    """The types of workers (models/docker_worker_type.py has only this one)."""

    FULL = "FULL"


class WorkerConfigVersion(StrEnum):
    """The version of the worker configuration that this provider sends."""

    V4 = "V4"


class DatasetType(StrEnum):
    """The input types of a user's dataset. (The platform itself creates ``Crops`` datasets.)"""

    IMAGES = "Images"
    VIDEOS = "Videos"


class SampleType(StrEnum):
    """What a sample is (models/sample_type.py)."""

    IMAGE = "IMAGE"
    VIDEO_FRAME = "VIDEO_FRAME"
    CROP = "CROP"


class FileNameFormat(StrEnum):
    """What an export returns of each sample (models/file_name_format.py)."""

    NAME = "NAME"
    DATASOURCE_FULL = "DATASOURCE_FULL"
    REDIRECTED_READ_URL = "REDIRECTED_READ_URL"


class Purpose(StrEnum):
    """The purpose of a datasource in a dataset."""

    INPUT = "INPUT"
    LIGHTLY = "LIGHTLY"
    INPUT_OUTPUT = "INPUT_OUTPUT"


class Permission(StrEnum):
    """The permissions of the platform at a location."""

    LIST = "list"
    READ = "read"
    WRITE = "write"
    OVERWRITE = "overwrite"


class DatasourceType(StrEnum):
    """How the platform accesses an S3 location: with an IAM user's keys, or through a role."""

    USER_ACCESS = "S3"
    DELEGATED_ACCESS = "S3DelegatedAccess"


class WorkerState(StrEnum):
    """States of a registered worker (lightly 1.5.26, models/docker_worker_state.py)."""

    OFFLINE = "OFFLINE"
    CRASHED = "CRASHED"
    IDLE = "IDLE"
    BUSY = "BUSY"


class SharedAccessType(StrEnum):
    """How a dataset is shared (models/shared_access_type.py has only this one)."""

    WRITE = "WRITE"


class ArtifactType(StrEnum):
    """The types of a run's artifacts (models/docker_run_artifact_type.py)."""

    LOG = "LOG"
    MEMLOG = "MEMLOG"
    CHECKPOINT = "CHECKPOINT"
    REPORT_PDF = "REPORT_PDF"
    REPORT_JSON = "REPORT_JSON"
    REPORT_V2_JSON = "REPORT_V2_JSON"
    CORRUPTNESS_CHECK_INFORMATION = "CORRUPTNESS_CHECK_INFORMATION"
    SEQUENCE_INFORMATION = "SEQUENCE_INFORMATION"
    RELEVANT_FILENAMES = "RELEVANT_FILENAMES"


class RunPriority(StrEnum):
    """The priority of a scheduled run; workers take runs of higher priority first."""

    LOW = "LOW"
    MID = "MID"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class ScheduledRunState(StrEnum):
    """States of a schedule entry (lightly 1.5.26, models/docker_run_scheduled_state.py)."""

    OPEN = "OPEN"
    LOCKED = "LOCKED"
    DONE = "DONE"
    CANCELED = "CANCELED"

    @property
    def is_terminal(self) -> bool:
        """Whether the state is final."""
        return self in (ScheduledRunState.DONE, ScheduledRunState.CANCELED)


class RunState(StrEnum):
    """States of a run, in order (lightly 1.5.26, models/docker_run_state.py)."""

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
        """Whether the state is final."""
        return self in _TERMINAL

    @property
    def is_success(self) -> bool:
        """Whether the run completed successfully."""
        return self is RunState.COMPLETED

    @classmethod
    def parse(cls, value: str) -> RunState | None:
        """Return the state with this name; None for an unknown one, which counts as running."""
        return cls.__members__.get(value)


_TERMINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.ABORTED})


class ErrorCode(StrEnum):
    """The error codes that this provider handles specially (models/api_error_code.py has more)."""

    UNAUTHORIZED = "UNAUTHORIZED"
    JWT_INVALID = "JWT_INVALID"
    JWT_MALFORMED = "JWT_MALFORMED"
    USER_NOT_KNOWN = "USER_NOT_KNOWN"
    USER_ACCOUNT_DEACTIVATED = "USER_ACCOUNT_DEACTIVATED"
    USER_ACCOUNT_BLOCKED = "USER_ACCOUNT_BLOCKED"
    TEAM_ACCOUNT_PLAN_INSUFFICIENT = "TEAM_ACCOUNT_PLAN_INSUFFICIENT"
    ACCOUNT_SUBSCRIPTION_INSUFFICIENT = "ACCOUNT_SUBSCRIPTION_INSUFFICIENT"
    ONPREM_SUBSCRIPTION_INSUFFICIENT = "ONPREM_SUBSCRIPTION_INSUFFICIENT"
    DATASET_AT_MAX_CAPACITY = "DATASET_AT_MAX_CAPACITY"
    CONFLICT = "CONFLICT"
    DATASET_NAME_EXISTS = "DATASET_NAME_EXISTS"
    TAG_NAME_EXISTS = "TAG_NAME_EXISTS"
    ILLEGAL_ACTION_RESOURCE_IN_USE = "ILLEGAL_ACTION_RESOURCE_IN_USE"
    DOCKER_WORKER_SCHEDULE_UPDATE_FAILED = "DOCKER_WORKER_SCHEDULE_UPDATE_FAILED"
    DOCKER_WORKER_CONFIG_IN_USE = "DOCKER_WORKER_CONFIG_IN_USE"
    NOT_FOUND = "NOT_FOUND"
    DATASET_UNKNOWN = "DATASET_UNKNOWN"
    TAG_UNKNOWN = "TAG_UNKNOWN"
    DOCKER_RUN_UNKNOWN = "DOCKER_RUN_UNKNOWN"
    DOCKER_WORKER_UNKNOWN = "DOCKER_WORKER_UNKNOWN"
    DOCKER_WORKER_CONFIG_UNKNOWN = "DOCKER_WORKER_CONFIG_UNKNOWN"
    DOCKER_WORKER_SCHEDULE_UNKNOWN = "DOCKER_WORKER_SCHEDULE_UNKNOWN"
    DOCKER_RUN_ARTIFACT_UNKNOWN = "DOCKER_RUN_ARTIFACT_UNKNOWN"
    DOCKER_RUN_ARTIFACT_UNAVAILABLE = "DOCKER_RUN_ARTIFACT_UNAVAILABLE"
    DATASET_DATASOURCE_UNKNOWN = "DATASET_DATASOURCE_UNKNOWN"
    DATASET_DATASOURCE_CREDENTIALS_ERROR = "DATASET_DATASOURCE_CREDENTIALS_ERROR"
    DATASET_DATASOURCE_INVALID = "DATASET_DATASOURCE_INVALID"
    DATASET_DATASOURCE_ACTION_NOT_IMPLEMENTED = "DATASET_DATASOURCE_ACTION_NOT_IMPLEMENTED"
    DATASET_DATASOURCE_ILLEGAL_ACTION = "DATASET_DATASOURCE_ILLEGAL_ACTION"
    DATASET_DATASOURCE_FILE_TOO_LARGE = "DATASET_DATASOURCE_FILE_TOO_LARGE"
    DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID = "DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID"
    DOCKER_WORKER_CONFIG_NOT_COMPATIBLE_WITH_DATASOURCE = "DOCKER_WORKER_CONFIG_NOT_COMPATIBLE_WITH_DATASOURCE"
    DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES = "DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES"
