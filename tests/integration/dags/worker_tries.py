"""DAGs whose tasks run the worker on what the DAG run's configuration names, in both modes: one dataset, or three."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from lightly_provider.operators.worker import RunLightlyWorkerOperator

SELECTION = {"n_samples": 4, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}

with DAG("worker_tries", schedule=None, start_date=datetime(2026, 1, 1)):
    for mode, deferrable in (("waiting", False), ("deferred", True)):
        RunLightlyWorkerOperator(
            task_id=mode,
            dataset_id="{{ dag_run.conf['dataset_id'] }}",
            runs_on=["{{ dag_run.conf['label'] }}"],
            selection_config=SELECTION,
            deferrable=deferrable,
            poll_interval=0.05,
            retries=5,
        )

with DAG("worker_tries_mapped", schedule=None, start_date=datetime(2026, 1, 1)):
    for mode, deferrable in (("waiting", False), ("deferred", True)):
        RunLightlyWorkerOperator.partial(
            task_id=mode,
            runs_on=["{{ dag_run.conf['label'] }}"],
            selection_config=SELECTION,
            deferrable=deferrable,
            poll_interval=0.05,
            retries=5,
        ).expand(dataset_id=[f"{{{{ dag_run.conf['dataset_ids'][{index}] }}}}" for index in range(3)])

with DAG("worker_tries_of_a_growing_bucket", schedule=None, start_date=datetime(2026, 1, 1)):
    RunLightlyWorkerOperator(
        task_id="run",
        dataset_id="{{ dag_run.conf['dataset_id'] }}",
        runs_on=["{{ dag_run.conf['label'] }}"],
        selection_config=SELECTION,
        only_new=True,
        reset_processed_until="{{ dag_run.conf['since'] }}",
        relevant_filenames="{{ dag_run.conf['names'] }}",
        poll_interval=0.05,
        retries=5,
    )
