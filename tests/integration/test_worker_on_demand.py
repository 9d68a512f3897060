"""The DAG that starts a worker for one run: the Lightly half really, with a sandbox worker as the container."""

from __future__ import annotations

import signal
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from lightly_provider.api import calls
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.worker_registration import DeleteLightlyWorkerOperator, RegisterLightlyWorkerOperator
from tests.integration.airflow_run import everything_stored, example_dags, run_dag, run_own_dag
from tests.integration.ecs_on_this_machine import ecs_on_this_machine
from tests.integration.staged_worker import platform
from tests.integration.worker_runs import onboarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.ecs_on_this_machine import Ecs, EcsTask
    from tests.integration.sandbox import Sandbox

DAG_ID = "lightly_worker_on_demand"
TEARDOWNS = ("stop_worker", "cancel_run", "delete_worker")


@pytest.fixture
def ecs(lightly: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    """ECS on this machine, behind the connection ``aws_default``."""
    with ecs_on_this_machine(lightly, tmp_path / "containers.log") as running:
        endpoints = {service: {"endpoint_url": lightly.aws_url} for service in ("s3", "sts")}
        connection = lightly.aws_connection(
            lightly.admin,
            endpoint_url=None,
            region_name=lightly.region,
            service_config=endpoints | {"ecs": {"endpoint_url": running.url}},
        )
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)
        yield running


@pytest.fixture
def conf(lightly: Sandbox, photos: str, dataset_name: str, context: dict[str, Any]) -> dict[str, Any]:
    """The DAG's parameters for a run on a dataset that has its datasources."""
    dataset_id = onboarded(
        dataset_name, f"s3://{photos}/raw/", f"s3://{photos}/{dataset_name.replace(' ', '-')}/", context
    )
    return {"dataset_id": dataset_id, "n_samples": 4, "poll_interval": 0.2, "task_definition": "lightly-worker:7"}


def registered() -> set[str]:
    """The ids of all registered workers."""
    return {worker.id for worker in LightlyHook().get_workers()}


def schedule(lightly: Sandbox, dataset_id: str) -> list[dict[str, Any]]:
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    return [e for state in ("OPEN", "LOCKED", "DONE", "CANCELED") for e in platform(lightly, "GET", path, states=state)]


def ended(started: EcsTask) -> bool:
    """Whether the container is over, by itself or by SIGTERM, which may come before it can handle it."""
    return started.process.wait(20) in (0, -signal.SIGTERM)


def test_whatever_happens_is_torn_down_by_the_dags_structure() -> None:
    dag = example_dags()[DAG_ID]

    by_role = {role: {t.task_id for t in dag.tasks if getattr(t, role)} for role in ("is_setup", "is_teardown")}
    assert by_role["is_setup"] == {"register_worker", "start_worker"}
    assert by_role["is_teardown"] == set(TEARDOWNS)
    assert not any(t.on_failure_fail_dagrun for t in dag.tasks), "a failed run would pass for a success"
    upstream = {t.task_id: t.upstream_task_ids for t in dag.tasks}
    assert upstream["run_worker"] == {"register_worker", "start_worker"}
    assert upstream["stop_worker"] == {"register_worker", "start_worker", "run_worker"}
    assert upstream["cancel_run"] == {"register_worker", "stop_worker"}
    assert upstream["delete_worker"] == {"register_worker", "cancel_run"}
    assert dag.get_task("start_worker").wait_for_completion is False
    assert dag.get_task("start_worker").deferrable is False


@pytest.mark.usefixtures("lightly")
def test_a_registration_is_found_again_and_deleted_once(dataset_name: str, context: dict[str, Any]) -> None:
    before = registered()
    arguments = {"worker_name": dataset_name, "labels": ["gpu", "large"]}
    first, again = (RegisterLightlyWorkerOperator(task_id=name, **arguments).execute(context) for name in ("a", "b"))
    assert first == again
    assert first["labels"] == ["gpu", "large"]
    assert registered() == before | {first["worker_id"]}
    delete = DeleteLightlyWorkerOperator(task_id="delete", worker_id=first["worker_id"])
    assert [delete.execute(context) for _ in range(2)] == [True, False]
    assert registered() == before


@pytest.mark.exhaustive(sample="test_a_registration_is_found_again_and_deleted_once")
def test_a_worker_is_there_for_its_run_and_gone_after_it(
    ecs: Ecs, conf: dict[str, Any], lightly: Sandbox, database: Path
) -> None:
    before = registered()

    done = run_dag(DAG_ID, conf, database)

    assert done.state == "success", (done.tasks, ecs.log.read_text()[-2000:])
    assert set(done.tasks.values()) == {"success"}
    assert done.xcoms["run_worker", "return_value"]["n_selected"] == 4
    worker = done.xcoms["register_worker", "return_value"]
    assert worker["worker_name"].startswith("airflow-lightly_worker_on_demand-")
    assert worker["labels"] == [worker["worker_name"]]
    (entry,) = schedule(lightly, conf["dataset_id"])
    assert (entry["state"], entry["runsOn"], entry["owner"]) == ("DONE", worker["labels"], worker["worker_id"])
    (started,) = ecs.tasks.values()
    (container,) = started.request["overrides"]["containerOverrides"]
    assert container == {
        "name": "worker",
        "environment": [{"name": "LIGHTLY_WORKER_ID", "value": worker["worker_id"]}],
    }
    # It may be stopped in the moment in which it ends by itself.
    assert ended(started)
    assert LightlyHook().client.send(calls.get_worker_config(entry["configId"])).config["docker"] == {
        "useDatapool": True,
        "shutdownWhenJobFinished": True,
    }
    assert done.xcoms["cancel_run", "return_value"] is False, "it has ended"
    assert done.xcoms["delete_worker", "return_value"] is True
    assert registered() == before
    assert lightly.token not in str(ecs.requests) + everything_stored(database)


@pytest.mark.exhaustive(sample="test_a_registration_is_found_again_and_deleted_once")
def test_the_next_dag_run_has_a_worker_of_its_own(ecs: Ecs, conf: dict[str, Any], database: Path) -> None:
    first, second = (run_dag(DAG_ID, conf, database) for _ in range(2))

    assert (first.state, second.state) == ("success", "success")
    names = {run.xcoms["register_worker", "return_value"]["worker_name"] for run in (first, second)}
    assert len(names) == len(ecs.tasks) == 2


@pytest.mark.exhaustive(sample="test_a_registration_is_found_again_and_deleted_once")
def test_a_run_that_cannot_be_scheduled_leaves_no_container_and_no_worker(
    ecs: Ecs, lightly: Sandbox, dataset_name: str, database: Path
) -> None:
    before = registered()
    body = {"name": dataset_name, "type": "Images"}
    without_datasource = platform(lightly, "POST", "/v1/datasets", body)["id"]

    done = run_dag(DAG_ID, {"dataset_id": without_datasource}, database)

    assert done.state == "failed"
    assert done.tasks["run_worker"] == "failed"
    assert {done.tasks[teardown] for teardown in TEARDOWNS} == {"success"}
    (started,) = ecs.tasks.values()
    assert done.xcoms["stop_worker", "return_value"] == [started.arn]
    assert ended(started)
    assert registered() == before


@pytest.mark.exhaustive(sample="test_a_registration_is_found_again_and_deleted_once")
def test_a_container_is_stopped_whose_start_never_told_of_it_and_no_other_is(
    ecs: Ecs, conf: dict[str, Any], lightly: Sandbox, database: Path
) -> None:
    before = registered()
    body = {"name": f"neighbour {conf['dataset_id']}", "workerType": "FULL", "labels": ["another"]}
    other = platform(lightly, "POST", "/v1/docker/worker", body)["id"]
    environment = [{"name": "LIGHTLY_WORKER_ID", "value": other}]
    overrides = {"containerOverrides": [{"name": "worker", "environment": environment}]}
    request = {"taskDefinition": "lightly-worker:7", "overrides": overrides, "clientToken": "00-another"}
    ecs.answer("RunTask", request)
    (neighbour,) = ecs.tasks.values()
    ecs.refuse_after_start = True

    done = run_dag(DAG_ID, conf, database)

    assert done.state == "failed"
    assert (done.tasks["start_worker"], done.tasks["run_worker"]) == ("failed", "upstream_failed")
    assert {done.tasks[teardown] for teardown in TEARDOWNS} == {"success"}
    (mine,) = [started for started in ecs.tasks.values() if started is not neighbour]
    assert done.xcoms["stop_worker", "return_value"] == [mine.arn]
    assert neighbour.process.poll() is None
    assert registered() == before | {other}
    assert schedule(lightly, conf["dataset_id"]) == []


@pytest.mark.exhaustive(sample="test_a_registration_is_found_again_and_deleted_once")
@pytest.mark.parametrize("work_fails", [False, True])
def test_a_registration_is_found_again_and_deleted_by_its_teardown(
    work_fails: bool, lightly: Sandbox, dataset_name: str, database: Path
) -> None:
    before = registered()
    with DAG(f"registered_{dataset_name[-12:]}", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        arguments = {"worker_name": dataset_name, "labels": ["gpu", "large"]}
        register = RegisterLightlyWorkerOperator(task_id="register", **arguments)
        again = RegisterLightlyWorkerOperator(task_id="again", **arguments)
        delete = DeleteLightlyWorkerOperator(task_id="delete", worker_id=register.output["worker_id"])
        once_more = DeleteLightlyWorkerOperator(task_id="once_more", worker_id=register.output["worker_id"])

        @task
        def work(labels: list[str]) -> list[str]:
            """Use the labels."""
            if work_fails:
                raise RuntimeError("the work failed")
            return labels

        teardowns = [t.as_teardown(setups=register) for t in (delete, once_more)]
        register >> again >> work(register.output["labels"]) >> teardowns[0] >> teardowns[1]

    done = run_own_dag(dag, database)

    assert done.state == ("failed" if work_fails else "success"), done.tasks
    assert done.xcoms["again", "worker_id"] == done.xcoms["register", "worker_id"]
    if not work_fails:
        assert done.xcoms["work", "return_value"] == ["gpu", "large"]
    assert done.xcoms["delete", "return_value"] is True
    assert done.xcoms["once_more", "return_value"] is False
    assert registered() == before
