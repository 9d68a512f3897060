"""The tasks whose stored forms are recorded; the DAG run's configuration names their dataset, run and worker."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from lightly_provider.operators.access import CreateLightlyAccessUserOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.sensors.worker import LightlyRunSensor

# What the task asks for. It is part of the run memory's fingerprint, so a recording holds it.
REQUEST = {
    "selection_config": {
        "n_samples": 4,
        "strategies": [
            {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}},
            {
                "input": {"type": "METADATA", "key": "lightly.sharpness"},
                "strategy": {"type": "THRESHOLD", "threshold": 20, "operation": "BIGGER"},
            },
        ],
    },
    "worker_config": {"use_datapool": True, "corruptness_check": {"corruption_threshold": 0.2}},
    "lightly_config": {"trainer": {"max_epochs": 1}},
    "priority": "HIGH",
}

with DAG("recorded_tasks", schedule=None, start_date=datetime(2026, 1, 1)) as DAG_OF_TASKS:
    for task_id, limits in {
        "run": {},
        "run_timed": {"timeout": timedelta(seconds=3)},
        "run_pickup": {"pickup_timeout": 2.0},
    }.items():
        RunLightlyWorkerOperator(
            task_id=task_id,
            dataset_id="{{ dag_run.conf['dataset_id'] }}",
            runs_on=["{{ dag_run.conf['label'] }}"],
            deferrable=True,
            poll_interval=0.2,
            retries=5,
            **REQUEST,
            **limits,
        )
    LightlyRunSensor(
        task_id="watch",
        dataset_id="{{ dag_run.conf['dataset_id'] }}",
        scheduled_run_id="{{ dag_run.conf['scheduled_run_id'] }}",
        runs_on=["{{ dag_run.conf['label'] }}"],
        deferrable=True,
        poke_interval=0.2,
        timeout=3600,
    )
    grant = CreateLightlyAccessUserOperator(
        task_id="grant",
        user_name="{{ dag_run.conf['user_name'] }}",
        access_conn_id="secretsmanager://aws_default/{{ dag_run.conf['user_name'] }}",
        resource_path="{{ dag_run.conf['resource_path'] }}",
    )
    for task_id in ("verify", "verify_after_grant"):
        verify = VerifyDatasourcePermissionsOperator(
            task_id=task_id,
            dataset_id="{{ dag_run.conf['dataset_id'] }}",
            propagation_timeout=300.0,
            deferrable=True,
        )
        if task_id == "verify_after_grant":
            grant >> verify
