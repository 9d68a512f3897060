"""A worker that is killed, at each state of its run: nothing is lost, nothing hangs, the next run works."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.contract.enums import DockerRunState
from lightly_sandbox.seeding.photos import frames
from tests.lab.network import Match, Network, passing
from tests.lab.sandbox import Api, wait_until
from tests.lab.thinning import thinned
from tests.lab.worker import DIVERSITY, TERMINAL, THUMBNAILS, Lab, own_worker

if TYPE_CHECKING:
    from pathlib import Path

N_PHOTOS = 5
STATES = (
    "STARTED",
    "INITIALIZING",
    "LOADING_DATASET",
    "CHECKING_CORRUPTNESS",
    "COMPUTING_METADATA",
    "EMBEDDING",
    "SAMPLING",
    "SAVING_RESULTS",
    "UPLOADING_DATASET",
    "GENERATING_REPORT",
    "UPLOADING_REPORT",
    "UPLOADED_REPORT",
    "UPLOADING_ARTIFACTS",
    "UPLOADED_ARTIFACTS",
)
# States of those runs alone whose selection is by metadata, predictions, objects or scores of the customer's.
BY_OWN_FILES = (
    "LOADING_METADATA",
    "LOADING_PREDICTION",
    "EMBEDDING_OBJECT_CROPS",
    "COMPUTING_ACTIVE_LEARNING_SCORES",
)
# docs/sandbox.md tells why the worker has no work for them.
NEVER = ("INITIALIZING_OBJECT_CROPS", "TRAINING", "PRETAGGING", "EMBEDDING_FULL_IMAGES")
# Where the work of a state is half done: with one sample, with both of them and no tag, and before the
# timestamp.
WITHIN = {
    "the second sample": "UPLOADING_DATASET",
    "the tag": "UPLOADING_DATASET",
    "the timestamp": "UPLOADED_ARTIFACTS",
}


class Leaves:
    """The request with which a run passes from ``state`` to the next one."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.now = "STARTED"

    def __call__(self, method: str, path: str, body: Any) -> bool:
        if method != "PUT" or not path.startswith("/v1/docker/runs/") or path.count("/") != 4:
            return False
        if self.now == self.state:
            return True
        self.now = body["state"]
        return False


class SecondSample:
    def __init__(self) -> None:
        self.n_seen = 0

    def __call__(self, method: str, path: str, _body: Any) -> bool:
        self.n_seen += method == "POST" and path.endswith("/samples/withWriteUrls")
        return self.n_seen == 2


def _moment(what: str) -> tuple[str, Match]:
    """The state in which the worker is killed, and the request that it does not get answered any more."""
    match what:
        case "the second sample":
            return WITHIN[what], SecondSample()
        case "the tag":
            return WITHIN[what], lambda method, path, _: method == "POST" and path.endswith("/tags/initial")
        case "the timestamp":
            return WITHIN[what], lambda method, path, _: method == "PUT" and "processedUntil" in path
        case state:
            return state, Leaves(state)


def _entry(source: dict[str, Any], strategy: str) -> dict[str, Any]:
    return {"input": source, "strategy": {"type": strategy}}


# One selection that goes through all of them.
BY_ALL_OWN_FILES = (
    _entry({"type": "METADATA", "key": "number"}, "WEIGHTS"),
    _entry({"type": "EMBEDDINGS", "task": "things"}, "DIVERSITY"),
    _entry({"type": "SCORES", "task": "things", "score": "objectness_least_confidence"}, "WEIGHTS"),
)


def _own_files() -> dict[str, Any]:
    """One thing in each photo, and the photo's number."""
    files: dict[str, Any] = {
        "predictions/tasks.json": ["things"],
        "predictions/things/schema.json": {
            "task_type": "object-detection",
            "categories": [{"id": 0, "name": "thing"}],
        },
        "metadata/schema.json": [{"path": "number", "defaultValue": 0, "valueDataType": "NUMERIC_INT"}],
    }
    thing = {"category_id": 0, "bbox": [0, 0, 160, 120], "score": 0.9}
    for number, (name, _) in enumerate(frames(N_PHOTOS)):
        own = name.replace(".jpg", ".json")
        files[f"predictions/things/{own}"] = {"file_name": name, "predictions": [thing]}
        files[f"metadata/{own}"] = {"file_name": name, "type": "image", "metadata": {"number": number}}
    return files


@pytest.fixture(scope="module")
def bucket(lab: Lab) -> str:
    return lab.photos(N_PHOTOS)


@pytest.fixture
def dataset_id(lab: Lab, bucket: str) -> str:
    dataset_id = lab.api.new_dataset()
    lab.datasource(dataset_id, "INPUT", f"s3://{bucket}/photos/")
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{bucket}/lightly/{dataset_id}/", **THUMBNAILS)
    return dataset_id


def _selection(lab: Lab, bucket: str, dataset_id: str, state: str) -> tuple[dict[str, Any], ...]:
    """The strategies of a run that comes to the state, and what they need in the bucket."""
    if state not in BY_OWN_FILES:
        return (DIVERSITY,)
    for own, content in _own_files().items():
        lab.put(bucket, f"lightly/{dataset_id}/.lightly/{own}", json.dumps(content).encode())
    return BY_ALL_OWN_FILES


def _kill_when_held(lab: Lab, network: Network, label: str, log: Path) -> None:
    """Start a worker behind the network, and kill it while it waits for the answer that does not come."""
    with passing(network), own_worker(Api(network.url, lab.api.token), label, log) as worker:
        wait_until(lambda: network.held.is_set() or worker.poll() is not None, 60)
        assert worker.poll() is None, log.read_text()
        worker.kill()
        worker.wait()


def _members(lab: Lab, dataset_id: str) -> list[str]:
    """The files in the dataset's tags, each as often as there is a tag that has it."""
    return sorted(name for tag in lab.tags(dataset_id) for name in lab.filenames(dataset_id, tag))


def _samples(lab: Lab, dataset_id: str) -> list[str]:
    return sorted(sample["fileName"] for sample in lab.samples(dataset_id))


def test_no_state_is_left_out() -> None:
    assert {*STATES, *BY_OWN_FILES, *NEVER} | TERMINAL == {state.value for state in DockerRunState}


@pytest.mark.parametrize("what", thinned([*STATES, *BY_OWN_FILES, *WITHIN], keep=1))
def test_a_killed_worker_leaves_a_crashed_run_and_a_dataset_to_go_on_with(
    lab: Lab, bucket: str, dataset_id: str, what: str, tmp_path: Path
) -> None:
    label = secrets.token_hex(8)
    state, moment = _moment(what)
    strategies = _selection(lab, bucket, dataset_id, state)
    # The report takes longer than all the rest.
    docker = {"useDatapool": True, "uploadReport": "REPORT" in state}
    scheduled_id = lab.schedule(
        dataset_id, docker=docker, strategies=strategies, nSamples=2, runs_on=(label,)
    )
    _kill_when_held(lab, Network(lab.api.url, moment, holds=True), label, tmp_path / "log")
    run = lab.api.ok("GET", f"/v1/docker/runs/schedule/{scheduled_id}")
    assert run["state"] == state, run
    assert lab.schedule_state(dataset_id, scheduled_id) == "LOCKED"

    # It comes back under its name, as the one that `up` starts again does.
    lab.api.ok("POST", "/v1/docker/worker", {"name": f"own {label}", "workerType": "FULL", "labels": [label]})
    run = lab.wait(dataset_id, scheduled_id)
    assert run["state"] == "CRASHED"
    assert f"own {label}" in run["message"]
    published = _members(lab, dataset_id)
    assert _samples(lab, dataset_id) == published, "no sample is in the dataset without a tag"
    assert len(published) in (0, 2)
    was_processed = lab.processed_until(dataset_id) > 0
    assert not was_processed or published, "nothing is skipped that was not published"

    docker = {"useDatapool": True, "uploadReport": False}
    run = lab.do(dataset_id, docker=docker, strategies=strategies, nSamples=2)
    assert run["state"] == "COMPLETED", run
    assert _samples(lab, dataset_id) == _members(lab, dataset_id)
    assert set(published) <= set(_members(lab, dataset_id))
    assert lab.processed_until(dataset_id) > 0
    if was_processed:
        assert run["message"].startswith("no new files")
    else:
        considered = lab.artifact(run, "RELEVANT_FILENAMES").decode().split()
        photos = {name for name, _ in frames(N_PHOTOS)}
        assert set(considered) == photos - set(published), "every photo was considered, and none twice"
        assert len(_samples(lab, dataset_id)) == len(published) + 2


@pytest.mark.exhaustive(sample="test_a_killed_worker_leaves_a_crashed_run_and_a_dataset_to_go_on_with")
def test_what_a_killed_worker_had_taken_and_not_begun_is_for_another(
    lab: Lab, dataset_id: str, tmp_path: Path
) -> None:
    def begins(method: str, path: str, _body: Any) -> bool:
        return (method, path) == ("POST", "/v1/docker/runs")

    label = secrets.token_hex(8)
    scheduled_id = lab.schedule(dataset_id, nSamples=2, runs_on=(label,))
    _kill_when_held(lab, Network(lab.api.url, begins, holds=True), label, tmp_path / "log")
    assert lab.schedule_state(dataset_id, scheduled_id) == "LOCKED"
    lab.api.ok("POST", "/v1/docker/worker", {"name": f"own {label}", "workerType": "FULL", "labels": [label]})
    assert lab.schedule_state(dataset_id, scheduled_id) == "OPEN"
    with own_worker(lab.api, label, tmp_path / "log", "other"):
        assert lab.wait(dataset_id, scheduled_id)["state"] == "COMPLETED"
