"""One task each that runs the Lightly Worker on the dataset that the DAG run names, and waits in each way there is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from lightly_provider.operators.worker import RunLightlyWorkerOperator


def worker_run(dag_id: str, **arguments: Any) -> DAG:
    """A DAG of one task, ``run``."""
    arguments = {"poll_interval": 1, "retries": 2, "retry_delay": timedelta(seconds=1), **arguments}
    with DAG(dag_id, schedule=None, catchup=False) as dag:
        RunLightlyWorkerOperator(task_id="run", dataset_id="{{ dag_run.conf['dataset_id'] }}", **arguments)
    return dag


waiting = worker_run("waiting", deferrable=False)
deferred = worker_run("deferred", deferrable=True)
# Ten failed polls in a row are the budget. The pauses between them double, from 5 s to 40 s here: about five minutes.
deferred_patiently = worker_run("deferred_patiently", deferrable=True, retries=0, poll_interval=5)
deferred_for_a_while = worker_run(
    "deferred_for_a_while", deferrable=True, retries=0, execution_timeout=timedelta(seconds=15)
)
