"""Every operator with arguments that are right, as plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    DeleteLightlyAccessOperator,
    RotateLightlyAccessOperator,
)
from lightly_provider.operators.cancellation import CancelLightlyRunOperator
from lightly_provider.operators.dataset import (
    CreateLightlyDatasetOperator,
    DeleteLightlyDatasetOperator,
    ShareLightlyDatasetOperator,
)
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.events import DrainUploadsOperator, ListEndedRunsOperator
from lightly_provider.operators.results import (
    DownloadLightlyArtifactsOperator,
    ExportLightlyTagOperator,
    UploadLightlyMetadataOperator,
    UploadLightlyPredictionsOperator,
)
from lightly_provider.operators.tag import CreateLightlyTagOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.operators.worker_registration import DeleteLightlyWorkerOperator, RegisterLightlyWorkerOperator
from lightly_provider.sensors.events import LightlyUploadSensor
from lightly_provider.sensors.worker import LightlyRunSensor

if TYPE_CHECKING:
    from lightly_provider.operators.base import CheckedArguments

DATASET = "a" * 24
RUN = "b" * 24
SCHEDULED_RUN = "c" * 24
WORKER = "1" * 24
ROLE = "arn:aws:iam::123456789012:role/Lightly"
EXTERNAL_ID = "CANARY-external-id"
KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ACCESS: dict[str, Any] = {
    "purpose": "INPUT",
    "output_resource_path": ["s3://my-bucket/lightly/"],
    "kms_key_arn": KMS_KEY,
    "read_kms_key_arns": [KMS_KEY],
    "source_ips": ["203.0.113.0/24"],
    "source_vpcs": ["vpc-0123456789abcdef0"],
    "aws_conn_id": "my_aws",
    "airflow_api_conn_id": "airflow_api",
    "path": "/lightly/",
    "permissions_boundary": "arn:aws:iam::123456789012:policy/boundary",
    "tags": {"team": "vision"},
    "allow_unmanaged": True,
    "propagation_timeout": timedelta(seconds=90),
}
SELECTION = {"n_samples": 10, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}

# The operator, the arguments that it needs, and all others.
OPERATORS: dict[type[CheckedArguments], tuple[dict[str, Any], dict[str, Any]]] = {
    CreateLightlyAccessRoleOperator: (
        {"role_name": "lightly", "access_conn_id": "lightly_photos", "resource_path": "s3://my-bucket/photos/"},
        {**ACCESS, "external_id": EXTERNAL_ID},
    ),
    CreateLightlyAccessUserOperator: (
        {"user_name": "lightly", "access_conn_id": "lightly_photos", "resource_path": "s3://my-bucket/photos/"},
        ACCESS,
    ),
    RotateLightlyAccessOperator: (
        {"role_name": "lightly", "access_conn_id": "lightly_photos"},
        {
            "user_name": None,
            "dataset_ids": [DATASET],
            "grace": timedelta(hours=6),
            "aws_conn_id": "my_aws",
            "airflow_api_conn_id": "airflow_api",
            "propagation_timeout": timedelta(seconds=90),
            "external_id": EXTERNAL_ID,
            "lightly_conn_id": "other",
        },
    ),
    DeleteLightlyAccessOperator: (
        {"role_name": "lightly", "access_conn_id": "lightly_photos"},
        {"user_name": None, "aws_conn_id": "my_aws", "airflow_api_conn_id": "airflow_api", "allow_unmanaged": True},
    ),
    CreateLightlyDatasetOperator: (
        {"dataset_name": "my photos"},
        {
            "dataset_type": "Videos",
            "resource_path": "s3://my-bucket/photos/",
            "datasource_aws_conn_id": "my_aws",
            "if_exists": "fail",
            "if_missing": "create",
            "lightly_conn_id": "other",
        },
    ),
    ShareLightlyDatasetOperator: (
        {"dataset_id": DATASET, "emails": ["ann@example.com"]},
        {"teams": ["a-team"], "replace": True, "share_with_nobody": False, "lightly_conn_id": "other"},
    ),
    DeleteLightlyDatasetOperator: (
        {"dataset_id": DATASET, "confirm_name": "my photos"},
        {"ignore_if_missing": True, "lightly_conn_id": "other"},
    ),
    CreateLightlyTagOperator: (
        {"dataset_id": DATASET, "tag_name": "my tag", "from_tag": "initial-tag"},
        {
            "filenames": None,
            "union_with": ["a tag"],
            "intersect_with": ["b tag"],
            "subtract": ["c tag"],
            "lightly_conn_id": "other",
        },
    ),
    ConfigureS3DatasourceOperator: (
        {"dataset_id": DATASET, "resource_path": "s3://my-bucket/photos/", "datasource_aws_conn_id": "my_aws"},
        {
            "purpose": "INPUT",
            "role_arn": ROLE,
            "external_id": EXTERNAL_ID,
            "region": "eu-central-1",
            "generate_thumbnails": True,
            "thumbnail_suffix": ".lightly/[filename].[extension]",
            "kms_key_arn": KMS_KEY,
            "output_resource_path": "s3://my-bucket/lightly/",
            "output_aws_conn_id": "other_aws",
            "lightly_conn_id": "other",
        },
    ),
    VerifyDatasourcePermissionsOperator: (
        {"dataset_id": DATASET},
        {
            "require": ("list", "read"),
            "datasource_aws_conn_id": "my_aws",
            "output_aws_conn_id": "other_aws",
            "aws_conn_id": "own_aws",
            "object_level": True,
            "relevant_filenames": True,
            "bypass_verify": True,
            "require_files": True,
            "deferrable": True,
            "propagation_timeout": timedelta(seconds=60),
            "on_failure": "warn",
            "lightly_conn_id": "other",
        },
    ),
    RunLightlyWorkerOperator: (
        {"dataset_id": DATASET},
        {
            "selection_config": SELECTION,
            "worker_config": {"use_datapool": True},
            "lightly_config": {"seed": 1},
            "only_new": True,
            "reset_processed_until": datetime(2026, 11, 1, tzinfo=UTC),
            "relevant_filenames": ["a.jpg", "s3://my-bucket/photos/b.jpg"],
            "aws_conn_id": "my_aws",
            "runs_on": ["gpu"],
            "priority": "HIGH",
            "wait_for_completion": False,
            "deferrable": True,
            "poll_interval": 45,
            "timeout": 3600.0,
            "pickup_timeout": timedelta(minutes=30),
            "cancel_on_kill": False,
            "worker_presence": "require",
            "durable": False,
            "lightly_conn_id": "other",
        },
    ),
    CancelLightlyRunOperator: (
        {"dataset_id": DATASET, "scheduled_run_id": SCHEDULED_RUN},
        {"if_taken": "fail", "lightly_conn_id": "other"},
    ),
    DownloadLightlyArtifactsOperator: (
        {"run_id": RUN, "destination": "s3://my-bucket/runs/"},
        {"types": ["REPORT_PDF", "LOG"], "aws_conn_id": "my_aws", "lightly_conn_id": "other"},
    ),
    DrainUploadsOperator: (
        {
            "queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads",
            "datasets": {"my-photos": "s3://my-bucket/raw/"},
            "manifest_prefix": "s3://my-bucket/uploads/",
        },
        {"aws_conn_id": "my_aws", "max_messages": 100, "max_manifests": 50, "visibility_timeout": 600},
    ),
    ListEndedRunsOperator: (
        {},
        {
            "dataset_ids": [DATASET],
            "include_team": True,
            "states": ["COMPLETED"],
            "since": datetime(2026, 1, 1, tzinfo=UTC),
            "max_runs": 100,
            "lightly_conn_id": "other",
        },
    ),
    LightlyUploadSensor: (
        {"queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"},
        {"aws_conn_id": "my_aws", "quiet_period": 5.0, "longest_wait": 60.0, "deferrable": True},
    ),
    RegisterLightlyWorkerOperator: (
        {},
        {"worker_name": "my worker", "labels": ["gpu"], "lightly_conn_id": "other"},
    ),
    DeleteLightlyWorkerOperator: ({"worker_id": WORKER}, {"lightly_conn_id": "other"}),
    ExportLightlyTagOperator: (
        {"dataset_id": DATASET, "tag_name": "initial-tag"},
        {
            "format": "manifest",
            "destination": "s3://my-bucket/curated/selected.jsonl",
            "aws_conn_id": "my_aws",
            "since_tag": "yesterday",
            "union_with": ["by hand"],
            "intersect_with": ["approved"],
            "subtract": ["labeled"],
            "read_urls_expire_in": timedelta(hours=1),
            "lightly_conn_id": "other",
        },
    ),
    UploadLightlyPredictionsOperator: (
        {
            "dataset_id": DATASET,
            "task_name": "boxes",
            "source": "s3://my-bucket/labels/annotations.xml",
            "format": "cvat",
            "missing_score": 1.0,
        },
        {
            "prediction_type": "object-detection",
            "categories": None,
            "filename_prefix": "train/",
            "if_unmatched": "fail",
            "replace_schema": True,
            "write_through": "platform",
            "aws_conn_id": "my_aws",
            "source_conn_id": "my_storage",
            "lightly_conn_id": "other",
        },
    ),
    UploadLightlyMetadataOperator: (
        {"dataset_id": DATASET, "source": "s3://my-bucket/metadata.csv", "format": "csv"},
        {
            "file_name_column": "image",
            "columns": ["weather"],
            "schema": {"weather": "CATEGORICAL_STRING"},
            "filename_prefix": "train/",
            "if_unmatched": "fail",
            "replace_schema": True,
            "aws_conn_id": "my_aws",
            "source_conn_id": "my_storage",
            "lightly_conn_id": "other",
        },
    ),
    LightlyRunSensor: (
        {"dataset_id": DATASET, "scheduled_run_id": SCHEDULED_RUN},
        {"runs_on": ["gpu"], "deferrable": True, "lightly_conn_id": "other"},
    ),
}


def arguments(operator: type[CheckedArguments], **changes: Any) -> dict[str, Any]:
    """All arguments of an operator, some of them changed."""
    needed, others = OPERATORS[operator]
    return {"task_id": "a_task", **needed, **others, **changes}


def needed(operator: type[CheckedArguments], **changes: Any) -> dict[str, Any]:
    """The arguments that an operator needs, and some more."""
    return {"task_id": "a_task", **OPERATORS[operator][0], **changes}
