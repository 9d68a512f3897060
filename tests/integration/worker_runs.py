"""A dataset on which the worker can run, the operator that runs it, and the schedule of its runs."""

from __future__ import annotations

from typing import Any

from lightly_provider.api import calls
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator

SELECTION = {"n_samples": 4, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}
NOBODY = "a-label-that-no-worker-has"


def onboarded(name: str, input_path: str, output_path: str, context: dict[str, Any]) -> str:
    """Create a dataset with two datasources that the administrator's keys open; return its id."""
    dataset_id: str = CreateLightlyDatasetOperator(task_id="create", dataset_name=name).execute(context)
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=input_path,
        output_resource_path=output_path,
        datasource_aws_conn_id="aws_default",
    ).execute(context)
    return dataset_id


def worker_task(dataset_id: str, **arguments: Any) -> RunLightlyWorkerOperator:
    """Return the operator that runs the worker, polling fast."""
    arguments = {"selection_config": SELECTION, "poll_interval": 0.2} | arguments
    return RunLightlyWorkerOperator(task_id="run", dataset_id=dataset_id, **arguments)


def schedule(dataset_id: str) -> list[Any]:
    """Return the dataset's scheduled runs, in all states."""
    return LightlyHook().client.send(calls.get_scheduled_runs(dataset_id))
