"""Worker runs: their ends, their cancel, and one run for one try whatever answer is lost."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from lightly_provider.api import calls
from lightly_provider.exceptions import (
    LightlyDatasetNotEmptyError,
    LightlyDatasourceError,
    LightlyNotFoundError,
    LightlyRunAbortedError,
    LightlyRunCanceledError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunTimeoutError,
)
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.final_errors import final
from tests.integration.lossy_proxy import LossyProxy
from tests.integration.worker_runs import NOBODY, onboarded, schedule, worker_task
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_provider.operators.worker import RunLightlyWorkerOperator
    from tests.integration.sandbox import Sandbox


@pytest.fixture
def dataset_id(lightly: Sandbox, photos: str, dataset_name: str, context: dict[str, Any]) -> str:
    """A dataset on the bucket of photos, ready for the worker."""
    return onboarded(dataset_name, f"s3://{photos}/raw/", f"s3://{photos}/{dataset_name.split()[-1]}/", context)


def platform(sandbox: Sandbox, method: str, path: str, body: dict[str, Any]) -> Any:
    """A request that the provider itself never sends, such as a worker's; the answer's JSON."""
    address = urlsplit(sandbox.lightly_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    connection.request(method, f"{path}?token={sandbox.token}", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status < 300, content
    return json.loads(content) if content else None


def test_a_run_returns_its_tag_its_counts_and_its_ids(dataset_id: str, context: dict[str, Any]) -> None:
    result = worker_task(dataset_id).execute(context)

    assert result["n_selected"] == 4
    assert len(LightlyHook().get_filenames(dataset_id, result["tag_name"])) == 4
    assert result["report"]["nInput"] == 40
    assert context["ti"].pushed["scheduled_run_id"] == result["scheduled_run_id"]
    assert [run.state for run in schedule(dataset_id)] == ["DONE"]


@pytest.mark.exhaustive(sample="test_a_run_returns_its_tag_its_counts_and_its_ids")
def test_configurations_may_be_json(dataset_id: str, context: dict[str, Any]) -> None:
    worker = '{"use_datapool": true}'
    selection = '{"n_samples": 3, "strategies": [{"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}]}'

    result = worker_task(dataset_id, selection_config=selection, worker_config=worker).execute(context)

    assert result["n_selected"] == 3


def test_a_failed_run_fails_with_its_own_message(lightly: Sandbox, dataset_name: str, context: dict[str, Any]) -> None:
    bucket = lightly.bucket()
    dataset_id = onboarded(dataset_name, f"s3://{bucket}/empty/", f"s3://{bucket}/lightly/", context)

    with pytest.raises(LightlyRunFailedError, match="FAILED") as caught:
        worker_task(dataset_id).execute(context)

    assert caught.value.run_id
    run = LightlyHook().client.send(calls.get_run_of_scheduled_run(caught.value.scheduled_run_id))
    assert run.message
    assert run.message in " ".join(str(caught.value).split())


@pytest.mark.exhaustive(sample="test_a_run_returns_its_tag_its_counts_and_its_ids")
def test_a_second_run_without_the_datapool_is_refused_before_it_is_scheduled(
    dataset_id: str, context: dict[str, Any]
) -> None:
    worker_task(dataset_id).execute(context)

    with pytest.raises(
        final(LightlyDatasetNotEmptyError), match=r"(?s)4\s+samples\s+already.*nothing\s+was\s+scheduled"
    ):
        worker_task(dataset_id).execute(context)

    assert len(schedule(dataset_id)) == 1


@pytest.mark.exhaustive(sample="test_a_failed_run_fails_with_its_own_message")
def test_a_run_that_the_worker_aborts_fails_with_its_own_message(dataset_id: str, context: dict[str, Any]) -> None:
    # Scheduled together: the dataset is empty for both, and not any more when the second one's turn comes.
    second = worker_task(dataset_id, wait_for_completion=False, priority="LOW", runs_on=[]).execute(context)
    other = worker_task(dataset_id, wait_for_completion=False).execute(context)
    sensors = [
        LightlyRunSensor(
            task_id="wait", dataset_id=dataset_id, scheduled_run_id=run["scheduled_run_id"], poke_interval=0.2
        )
        for run in (second, other)
    ]
    ends: list[Any] = []
    for sensor in sensors:
        try:
            ends.append(sensor.execute(context))
        except LightlyRunAbortedError as aborted:
            ends.append(aborted)

    (aborted,) = [end for end in ends if isinstance(end, LightlyRunAbortedError)]
    assert "datapool" in str(aborted)
    assert [end["n_selected"] for end in ends if isinstance(end, dict)] == [4]


def test_without_waiting_it_returns_at_once(dataset_id: str, context: dict[str, Any]) -> None:
    result = worker_task(dataset_id, wait_for_completion=False, runs_on=[NOBODY]).execute(context)

    assert result["run_id"] is None
    assert [(run.id, run.state, run.runs_on) for run in schedule(dataset_id)] == [
        (result["scheduled_run_id"], "OPEN", [NOBODY])
    ]


@pytest.mark.exhaustive(sample="test_kill_cancels_a_run_that_nobody_took")
def test_a_run_that_nobody_takes_is_canceled_at_the_timeout(dataset_id: str, context: dict[str, Any]) -> None:
    with pytest.raises(LightlyRunTimeoutError, match=r"(?s)OPEN:\s+waiting\s+for\s+a\s+worker.*was\s+canceled"):
        worker_task(dataset_id, runs_on=[NOBODY], timeout=1.0).execute(context)

    assert [run.state for run in schedule(dataset_id)] == ["CANCELED"]


def killed_once(condition: Callable[[], bool], task: RunLightlyWorkerOperator) -> threading.Thread:
    """A thread that kills the task as soon as the condition holds."""

    def wait_and_kill() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        task.on_kill()

    killer = threading.Thread(target=wait_and_kill)
    killer.start()
    return killer


@pytest.mark.parametrize("poll_interval", [pytest.param(0.2, marks=pytest.mark.exhaustive), 300.0])
def test_kill_cancels_a_run_that_nobody_took(poll_interval: float, dataset_id: str, context: dict[str, Any]) -> None:
    task = worker_task(dataset_id, runs_on=[NOBODY], poll_interval=poll_interval)
    killer = killed_once(lambda: task.scheduled_run_id is not None, task)
    started = time.monotonic()

    with pytest.raises(LightlyRunCanceledError, match=r"(?s)killed.*canceled|is CANCELED"):
        task.execute(context)

    killer.join(60)
    assert time.monotonic() - started < 120, "the task did not wait for its next poll"
    assert [run.state for run in schedule(dataset_id)] == ["CANCELED"]


def test_kill_of_a_run_that_a_worker_took_ends_the_task_and_says_that_the_run_goes_on(
    lightly: Sandbox, dataset_id: str, context: dict[str, Any]
) -> None:
    worker_id = platform(lightly, "POST", "/v1/docker/worker", {"name": NOBODY, "workerType": "FULL"})["id"]
    task = worker_task(dataset_id, runs_on=[NOBODY])

    def taken() -> bool:
        if task.scheduled_run_id is None:
            return False
        path = f"/v1/datasets/{dataset_id}/docker/worker/{worker_id}/schedule/{task.scheduled_run_id}"
        platform(lightly, "PUT", path, {"state": "LOCKED"})
        return True

    killer = killed_once(taken, task)
    with pytest.raises(LightlyRunError, match=r"(?s)killed.*could\s+not\s+be\s+canceled.*it\s+continues") as caught:
        task.execute(context)
    killer.join(60)

    assert not isinstance(caught.value, LightlyRunCanceledError)
    assert [run.state for run in schedule(dataset_id)] == ["LOCKED"]


def test_kill_while_the_run_is_being_scheduled_cancels_it(
    lightly: Sandbox, dataset_id: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = worker_task(dataset_id, runs_on=[NOBODY])

    def kill_in_flight(method: str, path: str) -> bool:
        if method == "POST" and path.endswith("/schedule"):
            task.on_kill()
        return False

    with LossyProxy(lightly.lightly_url, kill_in_flight) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", lightly.lightly_connection(host=proxy.url))
        with pytest.raises(LightlyRunCanceledError, match="killed"):
            task.execute(context)
        states = [run.state for run in schedule(dataset_id)]

    assert states == ["CANCELED"]


def test_kill_before_anything_was_scheduled_does_nothing(dataset_id: str) -> None:
    worker_task(dataset_id).on_kill()

    assert schedule(dataset_id) == []


@pytest.mark.exhaustive(sample="test_kill_of_a_run_that_a_worker_took_ends_the_task_and_says_that_the_run_goes_on")
def test_kill_of_a_run_that_is_over_says_that_it_could_not(
    dataset_id: str, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    task = worker_task(dataset_id)
    task.execute(context)

    task.on_kill()

    assert [run.state for run in schedule(dataset_id)] == ["DONE"]


@pytest.mark.exhaustive(sample="test_a_run_returns_its_tag_its_counts_and_its_ids")
@pytest.mark.parametrize("lost", thinned(["POST schedule", "POST vX", "POST datasets"], keep=1))
def test_a_lost_answer_leaves_one_dataset_and_one_run(
    lost: str,
    lightly: Sandbox,
    photos: str,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, last = lost.split()
    losses: list[str] = []

    def loses(sent: str, path: str) -> bool:
        if losses or sent != method or not path.endswith(f"/{last}"):
            return False
        losses.append(path)
        return True

    with LossyProxy(lightly.lightly_url, loses) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", lightly.lightly_connection(host=proxy.url))
        output = f"s3://{photos}/{dataset_name.split()[-1]}/"
        dataset_id = onboarded(dataset_name, f"s3://{photos}/raw/", output, context)
        result = worker_task(dataset_id).execute(context)
        scheduled = [run.id for run in schedule(dataset_id)]
        found = LightlyHook().find_dataset(dataset_name)

    assert losses, "the fault was not met"
    assert result["n_selected"] == 4
    assert scheduled == [result["scheduled_run_id"]]
    assert found
    assert found.id == dataset_id


@pytest.mark.exhaustive(sample="test_a_run_returns_its_tag_its_counts_and_its_ids")
def test_a_platform_that_is_down_for_some_polls_does_not_fail_the_task(
    lightly: Sandbox, dataset_id: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def loses(sent: str, path: str) -> bool:
        if "/docker/runs/schedule/" in path:
            asked.append(path)
            return len(asked) <= 8
        return False

    with LossyProxy(lightly.lightly_url, loses) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", lightly.lightly_connection(host=proxy.url))
        task = worker_task(dataset_id)
        connection = task.hook.connection
        hasty = replace(connection.settings, max_attempts=2, longest_wait=0.1)
        task.hook.__dict__["connection"] = replace(connection, settings=hasty)
        result = task.execute(context)

    assert len(asked) > 8
    assert result["n_selected"] == 4


def test_a_dataset_without_datasource_is_refused_before_a_run_is_scheduled(
    lightly: Sandbox, dataset_name: str, context: dict[str, Any]
) -> None:
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)

    with pytest.raises(LightlyDatasourceError):
        worker_task(dataset_id).execute(context)
    assert schedule(dataset_id) == []


def test_an_unknown_dataset_is_named(lightly: Sandbox, context: dict[str, Any]) -> None:
    with pytest.raises(final(LightlyNotFoundError), match="DATASET_UNKNOWN"):
        worker_task("0" * 24).execute(context)


@pytest.mark.exhaustive(sample="test_a_run_returns_its_tag_its_counts_and_its_ids")
def test_an_unknown_tag_is_refused_with_those_that_there_are(dataset_id: str, context: dict[str, Any]) -> None:
    made = worker_task(dataset_id).execute(context)["tag_name"]

    with pytest.raises(final(LightlyNotFoundError), match=made):
        LightlyHook().get_filenames(dataset_id, "no such tag")
