"""Every operator with arguments that are right, as plain values."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator

if TYPE_CHECKING:
    from lightly_provider.operators.base import LightlyBaseOperator

DATASET = "a" * 24
ROLE = "arn:aws:iam::123456789012:role/Lightly"
EXTERNAL_ID = "CANARY-external-id"
SELECTION = {"n_samples": 10, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}

# The operator, the arguments that it needs, and all others.
OPERATORS: dict[type[LightlyBaseOperator], tuple[dict[str, Any], dict[str, Any]]] = {
    CreateLightlyDatasetOperator: (
        {"dataset_name": "my photos"},
        {"dataset_type": "Videos", "if_exists": "fail", "lightly_conn_id": "other"},
    ),
    ConfigureS3DatasourceOperator: (
        {"dataset_id": DATASET, "resource_path": "s3://my-bucket/photos/"},
        {
            "purpose": "INPUT",
            "datasource_aws_conn_id": "my_aws",
            "role_arn": ROLE,
            "external_id": EXTERNAL_ID,
            "region": "eu-central-1",
            "generate_thumbnails": True,
            "thumbnail_suffix": ".lightly/[filename].[extension]",
            "kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "output_resource_path": "s3://my-bucket/lightly/",
            "output_aws_conn_id": "other_aws",
            "lightly_conn_id": "other",
        },
    ),
    VerifyDatasourcePermissionsOperator: (
        {"dataset_id": DATASET},
        {
            "require": ("list", "read"),
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
            "runs_on": ["gpu"],
            "priority": "HIGH",
            "wait_for_completion": False,
            "poll_interval": 45,
            "timeout": 3600.0,
            "cancel_on_kill": False,
            "lightly_conn_id": "other",
        },
    ),
}


def arguments(operator: type[LightlyBaseOperator], **changes: Any) -> dict[str, Any]:
    """All arguments of an operator, some of them changed."""
    needed, others = OPERATORS[operator]
    return {"task_id": "a_task", **needed, **others, **changes}


def needed(operator: type[LightlyBaseOperator], **changes: Any) -> dict[str, Any]:
    """The arguments that an operator needs, and some more."""
    return {"task_id": "a_task", **OPERATORS[operator][0], **changes}
