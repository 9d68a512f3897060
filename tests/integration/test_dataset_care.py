"""Deleting, sharing and tagging datasets of a platform that runs; and the names of mapped task instances."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from lightly_provider.exceptions import LightlyConflictError, LightlyDatasetInUseError, LightlyNotFoundError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.dataset import (
    CreateLightlyDatasetOperator,
    DeleteLightlyDatasetOperator,
    ShareLightlyDatasetOperator,
)
from lightly_provider.operators.tag import CreateLightlyTagOperator
from tests.final_errors import final
from tests.integration.airflow_run import run_own_dag
from tests.integration.staged_worker import StagedWorker, platform, ready_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

NAMES = ["a.jpg", "street/b.jpg", "c ü\u2028.jpg", "d.jpg", "e.jpg"]


def test_a_dataset_is_deleted_only_when_no_run_on_it_is_scheduled_or_running(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any], traffic: Traffic
) -> None:
    dataset_id = ready_dataset(lightly, dataset_name)
    worker = StagedWorker(lightly, f"care-{uuid.uuid4().hex[:8]}")
    hook = LightlyHook()
    config = platform(
        lightly, "POST", "/v1/docker/worker/config/vX", {"version": "V4", "config": {"workerType": "FULL"}}
    )

    def delete(**changes: Any) -> Any:
        arguments = {"dataset_id": dataset_id, "confirm_name": dataset_name} | changes
        return DeleteLightlyDatasetOperator(task_id="delete", **arguments).execute(context)

    hook.schedule_stored_config(dataset_id, config["id"], priority="MID", runs_on=[worker.label])
    with pytest.raises(LightlyDatasetInUseError, match=r"is OPEN;\s+cancel it, or wait"):
        delete()
    run_id = worker.take(dataset_id)
    with pytest.raises(LightlyDatasetInUseError, match=r"is LOCKED;\s+cancel it, or wait"):
        delete()
    worker.finish(dataset_id, run_id)
    assert [method for method, _ in traffic.writes() if method == "DELETE"] == []

    assert delete() is True
    with pytest.raises(LightlyNotFoundError):
        hook.get_dataset(dataset_id)
    assert delete(ignore_if_missing=True) is False


def test_two_tasks_that_share_a_dataset_at_once_take_nobodys_access(lightly: Sandbox, dataset_name: str) -> None:
    dataset_id = ready_dataset(lightly, dataset_name)
    emails = [f"user-{number}@example.com" for number in range(4)]
    failures: list[BaseException] = []

    def share(email: str) -> None:
        try:
            LightlyHook().share_dataset(dataset_id, emails=[email])
        except Exception as error:  # noqa: BLE001 - in a thread, where nobody would hear of it
            failures.append(error)

    share(emails[0])
    threads = [threading.Thread(target=share, args=(email,)) for email in emails[1:3]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert emails[0] in LightlyHook().get_sharing(dataset_id).emails
    outcome = LightlyHook().share_dataset(dataset_id, emails=emails[3:], replace=True)
    assert outcome.now.emails == (emails[3],)
    assert LightlyHook().share_dataset(dataset_id, replace=True).now.is_nobody


def test_tags_are_created_from_names_and_from_tags_and_found_again(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any], traffic: Traffic
) -> None:
    dataset_id = ready_dataset(lightly, dataset_name)
    for name in NAMES:
        platform(lightly, "POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": name})
    platform(lightly, "POST", f"/v1/datasets/{dataset_id}/tags/initial", {"imgType": "full", "creator": "USER_PIP"})
    hook = LightlyHook()

    def create(tag_name: str, **arguments: Any) -> dict[str, Any]:
        task = CreateLightlyTagOperator(task_id="tag", dataset_id=dataset_id, tag_name=tag_name, **arguments)
        result: dict[str, Any] = task.execute(context)
        return result

    first = create("by name", filenames=[NAMES[2], NAMES[4]])
    assert hook.get_filenames(dataset_id, "by name") == [NAMES[2], NAMES[4]]
    rest = create("the rest", from_tag="initial-tag", subtract=["by name"])
    assert hook.get_filenames(dataset_id, "the rest") == [NAMES[0], NAMES[1], NAMES[3]]
    create("one more", filenames=[NAMES[0], NAMES[2]])
    both = create("both", from_tag="by name", union_with=["the rest"], intersect_with=["one more"])
    assert hook.get_filenames(dataset_id, "both") == [NAMES[0], NAMES[2]]
    assert [made["n_selected"] for made in (first, rest, both)] == [2, 3, 2]

    writes = len(traffic.writes())
    again = create("by name", filenames=[NAMES[4], NAMES[2]])
    assert again == first | {"created": False}
    with pytest.raises(
        LightlyConflictError,
        match=r"has\s+a\s+tag\s+'by\s+name'\s+already,\s+whose\s+2\s+samples\s+are\s+not\s+the\s+3\s+wanted",
    ):
        create("by name", from_tag="the rest")
    with pytest.raises(
        final(LightlyNotFoundError), match=r"has\s+no\s+sample\s+for\s+1\s+of\s+2\s+filenames,\s+e\.g\.\s+'b\.jpg'"
    ):
        create("another", filenames=["a.jpg", "b.jpg"])
    assert len(traffic.writes()) == writes
    assert hook.delete_tag(dataset_id, "both")


@pytest.mark.exhaustive(sample="test_tags_are_created_from_names_and_from_tags_and_found_again")
def test_mapped_task_instances_show_their_datasets(lightly: Sandbox, database: Path) -> None:
    mark = uuid.uuid4().hex[:8]
    names = [f"first {mark}", f"2{int(mark, 16)}"]
    with DAG(
        f"mapped_{mark}", schedule=None, start_date=datetime(2026, 1, 1), render_template_as_native_obj=True
    ) as dag:
        create = CreateLightlyDatasetOperator.partial(task_id="create").expand(dataset_name=names)
        share = ShareLightlyDatasetOperator.partial(task_id="share", emails=["ann@example.com"])
        share.expand(dataset_id=create.output)
        own = ShareLightlyDatasetOperator.partial(
            task_id="own", emails=["ann@example.com"], map_index_template="mine: {{ task.dataset_id }}"
        )
        own.expand(dataset_id=create.output)
        create >> CreateLightlyDatasetOperator(task_id="alone", dataset_name=names[0], if_missing="fail")

    outcome = run_own_dag(dag, database)

    assert outcome.state == "success", outcome.tasks
    with sqlite3.connect(database) as connection:
        query = "SELECT task_id, rendered_map_index FROM task_instance WHERE dag_id = ? ORDER BY task_id, map_index"
        rows = connection.execute(query, (dag.dag_id,)).fetchall()
    shown = {task: [str(name).strip() for each, name in rows if each == task] for task, _ in rows}
    assert shown["create"] == shown["share"] == names
    assert [name.partition(": ")[0] for name in shown["own"]] == ["mine", "mine"]
    assert shown["alone"] == ["None"]
