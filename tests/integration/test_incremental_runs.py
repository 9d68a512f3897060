"""Which files a run reads: new ones, those that are named, those since a moment; and what a retry leaves alone."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api import calls
from lightly_provider.exceptions import LightlyDatasetInUseError, LightlySourceError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.results.relevant_filenames import FOLDER
from tests.integration.airflow_run import outcome_of, run_own_dag
from tests.integration.lossy_proxy import LossyProxy
from tests.integration.staged_worker import SIZES, StagedWorker
from tests.integration.worker_runs import NOBODY, onboarded, schedule, worker_task
from tests.unit.documents import DAG_SNIPPETS, dags_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.sandbox import Sandbox
    from tests.integration.task_tries import TaskTries

ODD = "odd [1]*.jpg"
SINCE = 1_764_201_600


@pytest.fixture(scope="module")
def few_photos(sandbox: Sandbox) -> str:
    """A bucket with six photos under raw/, one of which has wildcards in its name."""
    bucket = sandbox.bucket()
    sandbox.seed(f"s3://{bucket}/raw/", 5)
    copied = {"Bucket": bucket, "Key": sandbox.keys_under(bucket)[0]}
    sandbox.aws("s3").copy_object(Bucket=bucket, Key=f"raw/{ODD}", CopySource=copied)
    return bucket


@pytest.fixture
def dataset_id(lightly: Sandbox, few_photos: str, dataset_name: str, context: dict[str, Any]) -> str:
    """A dataset on these photos."""
    return onboarded(dataset_name, f"s3://{few_photos}/raw/", f"s3://{few_photos}/{dataset_name[5:]}/", context)


@pytest.fixture
def names(sandbox: Sandbox, few_photos: str) -> list[str]:
    """The photos' names relative to the input."""
    keys = [key for key in sandbox.keys_under(few_photos) if key.startswith("raw/")]
    return [key.removeprefix("raw/") for key in keys]


def read(dataset_id: str, context: dict[str, Any], **arguments: Any) -> int:
    """How many files a run reads, of which it selects one."""
    selection = {"n_samples": 1, "strategies": [{"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}]}
    result = worker_task(dataset_id, selection_config=selection, **arguments).execute(context)
    return 0 if result["report"] is None else int(result["report"]["nInput"])


def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)


@pytest.mark.exhaustive(sample="test_a_run_reads_the_files_of_a_manifest_only")
def test_new_files_all_files_and_files_since_a_moment(
    lightly: Sandbox, few_photos: str, dataset_name: str, context: dict[str, Any]
) -> None:
    bucket = lightly.bucket()

    def add(name: str) -> None:
        """Put a photo into the bucket, in a later second than the run before."""
        source = {"Bucket": few_photos, "Key": f"raw/{ODD}"}
        until(lambda: time.time() > LightlyHook().get_processed_until(dataset_id) + 1)
        lightly.aws("s3").copy_object(Bucket=bucket, Key=f"raw/{name}", CopySource=source)

    dataset_id = onboarded(dataset_name, f"s3://{bucket}/raw/", f"s3://{bucket}/lightly/", context)
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        add(name)

    assert read(dataset_id, context, only_new=True) == 3
    add("4.jpg")
    add("5.jpg")
    assert read(dataset_id, context, only_new=True) == 2
    # Of five files, the two that are selected are left out, and then three.
    assert read(dataset_id, context, only_new=True, reset_processed_until=0) == 3
    assert read(dataset_id, context, only_new=False, worker_config={"use_datapool": True}) == 2


def own_folder(dataset_id: str) -> str:
    """Where the dataset's relevant filenames are."""
    (lightly,) = [d for d in LightlyHook().get_datasources(dataset_id) if d.purpose == "LIGHTLY"]
    return f"{lightly.full_path.split('/', 3)[3]}{FOLDER}"


def test_a_run_reads_the_files_of_a_manifest_only(
    lightly: Sandbox, few_photos: str, dataset_id: str, names: list[str], context: dict[str, Any]
) -> None:
    wanted = [names[0], ODD, names[0], "not-there.jpg"]
    lines = [{"source-ref": f"s3://{few_photos}/raw/{name}", "filename": name} for name in wanted]
    key, body = f"manifests/{dataset_id}.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    lightly.aws("s3").put_object(Bucket=few_photos, Key=key, Body=body)

    assert read(dataset_id, context, relevant_filenames=f"s3://{few_photos}/{key}") == 2

    (written,) = [key for key in lightly.keys_under(few_photos) if own_folder(dataset_id) in key]
    content = lightly.aws("s3").get_object(Bucket=few_photos, Key=written)["Body"].read().decode()
    assert content == f"{names[0]}\nodd [[]1][*].jpg\nnot-there.jpg\n"


def test_names_that_cannot_be_read_schedule_nothing(few_photos: str, dataset_id: str, context: dict[str, Any]) -> None:
    with pytest.raises(LightlySourceError, match=r"nothing-here\.jsonl"):
        read(dataset_id, context, relevant_filenames=f"s3://{few_photos}/nothing-here.jsonl")
    with pytest.raises(ValueError, match=r"not\s+a\s+file\s+in\s+the\s+dataset's\s+input"):
        read(dataset_id, context, relevant_filenames=["s3://another-bucket/a.jpg"])

    assert schedule(dataset_id) == []


def test_a_reset_is_refused_while_another_run_is_active(dataset_id: str, context: dict[str, Any]) -> None:
    other = worker_task(dataset_id, runs_on=[NOBODY], wait_for_completion=False).execute(context)
    hook = LightlyHook()
    hook.set_processed_until(dataset_id, SINCE)

    with pytest.raises(
        LightlyDatasetInUseError, match=rf"(?s){other['scheduled_run_id']}.*\(OPEN\).*nothing\s+was\s+reset"
    ):
        read(dataset_id, context, reset_processed_until=0)

    assert hook.get_processed_until(dataset_id) == SINCE
    assert len(schedule(dataset_id)) == 1
    hook.cancel_scheduled_run(dataset_id, other["scheduled_run_id"])


# --- tries that are killed ----------------------------------------------------------------------------------------


@dataclass
class Scene:
    """What the proxy between task and platform sees, and at which request the first try is killed."""

    kills_before: str = ""
    kills_after: str = ""
    pid: Future[int] = field(default_factory=Future)
    is_killed: bool = False
    writes: list[str] = field(default_factory=list)

    def drops(self, method: str, path: str) -> bool:
        """Before the platform hears of a request."""
        if method != "GET":
            self.writes.append(path.rsplit("/", 1)[-1])
        return bool(self.kills_before) and self._kills(f"{method} {path}", self.kills_before)

    def loses(self, method: str, path: str) -> bool:
        """After the platform answered it."""
        return bool(self.kills_after) and self._kills(f"{method} {path}", self.kills_after)

    def _kills(self, request: str, wanted: str) -> bool:
        method, _, end = wanted.partition(" ")
        if self.is_killed or not request.startswith(method) or not request.endswith(end):
            return False
        self.is_killed = True
        os.kill(self.pid.result(60), signal.SIGKILL)
        return True


@pytest.fixture
def worker(lightly: Sandbox) -> StagedWorker:
    """A worker of the test's own."""
    return StagedWorker(lightly, f"growing-{uuid.uuid4().hex[:8]}")


@dataclass
class Killed:
    """A task whose first try is killed, and its further tries."""

    sandbox: Sandbox
    tries: TaskTries
    worker: StagedWorker
    dataset_id: str
    names: list[str]
    scene: Scene

    def run(self, database: Path, between: Callable[[], Any] = lambda: None) -> dict[str, Any]:
        """Two tries, the first of which is killed; what the second returned."""
        conf = {"dataset_id": self.dataset_id, "label": self.worker.label, "since": SINCE, "names": self.names}
        run_id = self.tries.begin("worker_tries_of_a_growing_bucket", conf)
        with LossyProxy(self.sandbox.lightly_url, self.scene.loses, drops=self.scene.drops) as proxy:
            connections = {
                "AIRFLOW_CONN_LIGHTLY_DEFAULT": self.sandbox.lightly_connection(host=proxy.url),
                "AIRFLOW_CONN_AWS_DEFAULT": self.sandbox.aws_connection(self.sandbox.admin),
            }
            self.scene.pid.set_result(self.tries.start(run_id, "run", **connections))
            between()
            assert self.tries.end() == "killed", self.tries.log()[-4000:]
            self.tries.start(run_id, "run", **connections)
            self.finish()
            assert self.tries.end() == "success", self.tries.log()[-4000:]
        result: dict[str, Any] = outcome_of(database, "worker_tries_of_a_growing_bucket", run_id).xcoms[
            "run", "return_value"
        ]
        return result

    def finish(self) -> None:
        """Let the worker do the open run, if there is one."""
        until(lambda: self.worker.schedule(self.dataset_id))
        if self.worker.schedule(self.dataset_id)[-1]["state"] == "OPEN":
            self.worker.finish(self.dataset_id, self.worker.take(self.dataset_id))
            LightlyHook().set_processed_until(self.dataset_id, SINCE + 60)


@pytest.mark.exhaustive(sample="test_a_reset_is_refused_while_another_run_is_active")
def test_a_try_that_is_killed_between_the_reset_and_the_schedule_resets_once(
    lightly: Sandbox, tries: TaskTries, worker: StagedWorker, dataset_id: str, names: list[str], database: Path
) -> None:
    task = Killed(lightly, tries, worker, dataset_id, names[:2], Scene(kills_after="PUT processedUntilTimestamp"))

    result = task.run(database)

    assert result["report"] == SIZES
    assert task.scene.writes == ["vX", "processedUntilTimestamp", "vX", "schedule"]
    assert [run.state for run in schedule(dataset_id)] == ["DONE"]


@pytest.mark.exhaustive(sample="test_a_reset_is_refused_while_another_run_is_active")
def test_a_reset_is_not_repeated_by_a_try_that_finds_the_run(
    lightly: Sandbox, tries: TaskTries, worker: StagedWorker, dataset_id: str, names: list[str], database: Path
) -> None:
    task = Killed(lightly, tries, worker, dataset_id, names[:2], Scene(kills_before="GET tags"))

    result = task.run(database, between=task.finish)

    assert result["report"] == SIZES
    assert task.scene.writes == ["vX", "processedUntilTimestamp", "schedule"]
    assert LightlyHook().get_processed_until(dataset_id) == SINCE + 60, "what the run has moved stays"
    assert [run.state for run in schedule(dataset_id)] == ["DONE"]


@pytest.mark.exhaustive(sample="test_a_reset_is_refused_while_another_run_is_active")
def test_a_retry_with_the_same_relevant_filenames_finds_the_run(
    lightly: Sandbox,
    few_photos: str,
    tries: TaskTries,
    worker: StagedWorker,
    dataset_id: str,
    names: list[str],
    database: Path,
) -> None:
    task = Killed(lightly, tries, worker, dataset_id, names[:2], Scene(kills_after="POST schedule"))

    task.run(database)

    (run,) = schedule(dataset_id)
    config = LightlyHook().client.send(calls.get_worker_config(run.config_id)).config["docker"]
    keys = [key for key in lightly.keys_under(few_photos) if own_folder(dataset_id) in key]
    assert [key.split("/", 1)[1] for key in keys] == [config["relevantFilenamesFile"]]
    assert config["useDatapool"] is True
    assert task.scene.writes.count("schedule") == 1


# --- the guide ----------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive(sample="test_a_run_reads_the_files_of_a_manifest_only")
def test_the_guides_daily_dag_runs_as_it_is_written(
    lightly: Sandbox, few_photos: str, context: dict[str, Any], database: Path, tmp_path: Path
) -> None:
    (snippet,) = [block for block in DAG_SNIPPETS if '"grows_every_day"' in block.text]
    name, bucket = f"guide {uuid.uuid4().hex[:12]}", lightly.bucket()
    (tmp_path / "growing_bucket.py").write_text(snippet.text.replace("my-photos", name).replace("my-bucket", bucket))
    onboarded(name, f"s3://{few_photos}/raw/", f"s3://{bucket}/lightly/", context)
    dags, errors = dags_in(tmp_path)
    assert not errors
    dag = dags["grows_every_day"]
    dag.get_task("run_worker").poll_interval = 0.2

    first = run_own_dag(dag, database)
    second = run_own_dag(dag, database)

    assert first.state == second.state == "success", (first.tasks, second.tasks)
    exported = first.xcoms["export", "return_value"]
    assert exported["count"] == first.xcoms["run_worker", "return_value"]["n_selected"] == 1
    bucket_of_it, _, key = exported["uri"].removeprefix("s3://").partition("/")
    body = lightly.aws("s3").get_object(Bucket=bucket_of_it, Key=key)["Body"].read()
    assert json.loads(body)["source-ref"].startswith(f"s3://{few_photos}/raw/")
    assert second.tasks["export"] == "skipped"
    assert second.xcoms["run_worker", "return_value"]["tag_name"] is None
