"""One task each that runs the Lightly Worker on the dataset that the DAG run names, and waits in each way there is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor

from lightly_provider.operators.cancellation import CancelLightlyRunOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator

ARGUMENTS: dict[str, Any] = {"poll_interval": 1, "retries": 2, "retry_delay": timedelta(seconds=1)}
DATASET = "{{ dag_run.conf['dataset_id'] }}"


def worker_run(dag_id: str, *, dagrun_timeout: timedelta | None = None, **arguments: Any) -> DAG:
    """A DAG of one task, ``run``."""
    with DAG(dag_id, schedule=None, catchup=False, dagrun_timeout=dagrun_timeout) as dag:
        RunLightlyWorkerOperator(task_id="run", dataset_id=DATASET, **{**ARGUMENTS, **arguments})
    return dag


def mapped_worker_run(dag_id: str, *, deferrable: bool) -> DAG:
    """A DAG of one task, ``run``, mapped over datasets; each try of ``datasets`` names them in another order."""
    with DAG(dag_id, schedule=None, catchup=False) as dag:

        @task
        def datasets(**context: Any) -> list[str]:
            ids = list(context["dag_run"].conf["dataset_ids"])
            turned = (context["ti"].try_number - 1) % len(ids)
            return ids[turned:] + ids[:turned]

        RunLightlyWorkerOperator.partial(task_id="run", deferrable=deferrable, **ARGUMENTS).expand(
            dataset_id=datasets()
        )
    return dag


waiting = worker_run("waiting", deferrable=False)
deferred = worker_run("deferred", deferrable=True)
# Ten failed polls in a row are the budget. The pauses between them double, from 5 s to 40 s here: about five minutes.
deferred_patiently = worker_run("deferred_patiently", deferrable=True, retries=0, poll_interval=5)
deferred_and_poisoned = worker_run(
    "deferred_and_poisoned", deferrable=True, retries=0, lightly_conn_id="lightly_poisoned"
)
deferred_for_a_while = worker_run(
    "deferred_for_a_while", deferrable=True, retries=0, execution_timeout=timedelta(seconds=15)
)
waiting_in_a_dag_run_of_limited_time = worker_run(
    "waiting_in_a_dag_run_of_limited_time", deferrable=False, dagrun_timeout=timedelta(seconds=20)
)
deferred_in_a_dag_run_of_limited_time = worker_run(
    "deferred_in_a_dag_run_of_limited_time", deferrable=True, dagrun_timeout=timedelta(seconds=20)
)
waiting_mapped = mapped_worker_run("waiting_mapped", deferrable=False)
deferred_mapped = mapped_worker_run("deferred_mapped", deferrable=True)

with DAG("deferred_with_teardown", schedule=None, catchup=False) as deferred_with_teardown:
    run = RunLightlyWorkerOperator(task_id="run", dataset_id=DATASET, deferrable=True, **ARGUMENTS)
    (
        run
        >> CancelLightlyRunOperator(
            task_id="cancel",
            dataset_id=DATASET,
            scheduled_run_id="{{ ti.xcom_pull('run', key='scheduled_run_id') or '' }}",
        ).as_teardown()
    )

with DAG("bystander", schedule=None, catchup=False) as bystander:
    TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=15), deferrable=True)
