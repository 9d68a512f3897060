"""
Makes deferred tasks in the Airflow of this environment, as the scheduler and a worker's task runner make them.

One mapped task is expanded by Airflow's own DAG run, and each of its instances is executed by Airflow's task runner, in
this process, against Airflow's own Execution API, which stores its trigger. The operator does all that it does in
earnest: ours looks at the dataset, stores the configuration, schedules the run and looks at it once.

Usage: ``python benchmarks/deferred_tasks.py ours|usual INTERVAL``, with a JSON list on standard input: ids of datasets
for ours, of scheduled runs for the usual form. ``triggerer.py`` calls it.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from uuid import UUID

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagrun import get_or_create_dagrun
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, run_task_in_process
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType

TASK = "wait"


def _dag(form: str, interval: float, ids: list[str]) -> DAG:
    with DAG(f"waiting_{form}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        if form == "ours":
            from lightly_provider.operators.worker import RunLightlyWorkerOperator

            RunLightlyWorkerOperator.partial(
                task_id=TASK, deferrable=True, poll_interval=interval, worker_presence="ignore"
            ).expand(dataset_id=ids)
        else:
            from usual_trigger import UsualOperator

            UsualOperator.partial(task_id=TASK, interval=interval).expand(scheduled_run_id=ids)
    return dag


def _queued(dag: DAG) -> list[TaskInstance]:
    """The task's instances, as the scheduler hands them to an executor."""
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(os.devnull, bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    now = datetime.now(UTC)
    with create_session() as session:
        run = get_or_create_dagrun(
            dag=DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)),
            run_id="benchmark",
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            conf=None,
            triggered_by=DagRunTriggeredByType.TEST,
            triggering_user_name="benchmark",
            start_date=now,
            session=session,
        )
        instances, _ = run.update_state(session=session)
        for instance in instances:
            instance.try_number += 1
            instance.state = TaskInstanceState.QUEUED
        return [
            TaskInstance(
                id=UUID(str(instance.id)),
                task_id=instance.task_id,
                dag_id=instance.dag_id,
                run_id=instance.run_id,
                try_number=instance.try_number,
                map_index=instance.map_index,
                dag_version_id=UUID(str(instance.dag_version_id)),
            )
            for instance in instances
        ]


def main() -> int:
    """Make them; 1 if one of them did not come to be deferred."""
    form, interval = sys.argv[1], float(sys.argv[2])
    dag = _dag(form, interval, json.load(sys.stdin))
    instances = _queued(dag)
    # One for all, which reads the DAG once.
    api = InProcessTestSupervisor._api_client(dag)  # type: ignore[no-untyped-call]
    for instance in instances:
        outcome = run_task_in_process(ti=instance, task=dag.task_dict[TASK], client=api)
        if outcome.state != TaskInstanceState.DEFERRED:
            where = f"{instance.task_id}[{instance.map_index}]"
            print(f"The task {where} is {outcome.state}: {outcome.error!r}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
