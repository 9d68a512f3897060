"""
### Run the Lightly Worker on a machine that exists for this run only

Registers a Lightly Worker for this DAG run, starts its container on Amazon ECS, runs it on a dataset, and removes both
afterwards, whether the run succeeded or not. The dataset must have its datasources; `lightly_s3_onboarding` sets them.

Before the first run, create two connections (Admin > Connections, or environment variables):

* `lightly_default`, type *Lightly*: your API token.
* `aws_default`, type *Amazon Web Services*: Airflow's own identity, which may run and stop the ECS task, with the
  cluster's region.

Also create an ECS task definition with the worker's image, which reads the token from AWS Secrets Manager. The page
*A worker on demand* of the guide has the definition and the required permissions.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator  # noqa: TID253 (there is no task without it)
from airflow.providers.common.compat.sdk import DAG, Param, task

from lightly_provider.operators.cancellation import CancelLightlyRunOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.operators.worker_registration import DeleteLightlyWorkerOperator, RegisterLightlyWorkerOperator

log = logging.getLogger(__name__)

AWS_CONN_ID = "aws_default"
WORKER_ID = "LIGHTLY_WORKER_ID"  # the environment variable from which the worker reads its id

with DAG(
    dag_id="lightly_worker_on_demand",
    description="Start a Lightly Worker on Amazon ECS for one run, and remove it afterwards",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "dataset_id": Param("6a9c21d4e8b05f7312c4d9ab", type="string", title="Dataset (its id)"),
        "n_samples": Param(24, type="integer", minimum=1, title="Number of images to select"),
        "cluster": Param("lightly", type="string", title="ECS cluster"),
        "task_definition": Param("lightly-worker", type="string", title="ECS task definition"),
        "container": Param("worker", type="string", title="The worker's container in the task definition"),
        "launch_type": Param("EC2", enum=["EC2", "FARGATE"], title="Launch type (only EC2 has GPUs)"),
        "subnet": Param("subnet-0123456789abcdef0", type="string", title="Subnet"),
        "security_group": Param("sg-0123456789abcdef0", type="string", title="Security group"),
        "poll_interval": Param(60, type="number", exclusiveMinimum=0, title="Seconds between two polls of the run"),
    },
):
    register = RegisterLightlyWorkerOperator(task_id="register_worker")

    start = EcsRunTaskOperator(
        task_id="start_worker",
        aws_conn_id=AWS_CONN_ID,
        cluster="{{ params.cluster }}",
        task_definition="{{ params.task_definition }}",
        launch_type="{{ params.launch_type }}",
        network_configuration={
            "awsvpcConfiguration": {
                "subnets": ["{{ params.subnet }}"],
                "securityGroups": ["{{ params.security_group }}"],
            }
        },
        # The token is not here, where everyone can read it who may describe tasks: the task definition reads it from
        # AWS Secrets Manager.
        overrides={
            "containerOverrides": [
                {
                    "name": "{{ params.container }}",
                    "environment": [{"name": WORKER_ID, "value": register.output["worker_id"]}],
                }
            ]
        },
        # A retry finds the container of the previous try.
        reattach=True,
        wait_for_completion=False,
        # With deferrable=True, it would wait for the container's end in spite of wait_for_completion=False.
        deferrable=False,
    )

    run = RunLightlyWorkerOperator(
        task_id="run_worker",
        dataset_id="{{ params.dataset_id }}",
        selection_config="""{
            "n_samples": {{ params.n_samples }},
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]
        }""",
        # The container ends with its run, so that it causes no cost even if Airflow is not running then.
        worker_config={"use_datapool": True, "shutdown_when_job_finished": True},
        runs_on=register.output["labels"],
        # The worker is still starting: its image has several GB.
        worker_presence="ignore",
        pickup_timeout=timedelta(minutes=30),
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        # There is no worker for a retry. Clear this task instead: Airflow then starts another worker.
        retries=0,
    )

    @task(retries=3, retry_delay=timedelta(minutes=1))
    def stop_worker(worker_id: str, start_task_id: str, **context: Any) -> list[str]:
        """Stop the worker's container, wait until it has stopped, and return the ARNs of its tasks."""
        from airflow.providers.amazon.aws.hooks.ecs import EcsHook

        params = context["params"]
        ecs, cluster = EcsHook(aws_conn_id=AWS_CONN_ID).conn, params["cluster"]
        # start_worker may have died before it pushed the ARN of its task, so search all tasks of this definition.
        family = params["task_definition"].rpartition("/")[2].partition(":")[0]
        pages = [p["taskArns"] for p in ecs.get_paginator("list_tasks").paginate(cluster=cluster, family=family)]
        # ECS may not list yet what it has just started.
        pushed = context["ti"].xcom_pull(task_ids=start_task_id, key="ecs_task_arn")
        running = [
            ecs_task["taskArn"]
            for arns in [*pages, [pushed] if pushed else []]
            if arns
            for ecs_task in ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
            if ecs_task["lastStatus"] != "STOPPED"
            for container in ecs_task["overrides"]["containerOverrides"]
            if {"name": WORKER_ID, "value": worker_id} in container.get("environment", [])
        ]
        stopped = sorted(set(running))
        for arn in stopped:
            ecs.stop_task(cluster=cluster, task=arn, reason="The Airflow DAG run is over")
        if stopped:
            log.info("Stopping %s", ", ".join(stopped))
            ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=stopped)
        return stopped

    # Below Airflow 3.3, a run_worker that is marked failed while it is deferred cannot cancel its run, which would stay
    # OPEN for ever: no other worker has its label.
    cancel = CancelLightlyRunOperator(
        task_id="cancel_run",
        dataset_id="{{ params.dataset_id }}",
        scheduled_run_id="{{ ti.xcom_pull('run_worker', key='scheduled_run_id') or '' }}",
        retries=3,
        retry_delay=timedelta(minutes=1),
    )

    delete = DeleteLightlyWorkerOperator(
        task_id="delete_worker",
        worker_id=register.output["worker_id"],
        retries=3,
        retry_delay=timedelta(minutes=1),
    )

    # Teardowns run whether the run succeeded or not. Do not set on_failure_fail_dagrun: the DAG run would have the
    # state of the teardown, so that a failed run_worker would count as a success.
    stop = stop_worker(register.output["worker_id"], start.task_id).as_teardown(setups=[register, start])
    register >> start >> run >> stop >> cancel.as_teardown(setups=register) >> delete.as_teardown(setups=register)
