"""The worker as a process: ended, killed, several at once, labels, priorities, the last run."""

from __future__ import annotations

import secrets
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.seeding import photos
from tests.lab.worker import own_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.worker import Lab, Place

pytestmark = pytest.mark.exhaustive(
    sample="tests/worker/test_kills.py::test_a_killed_worker_leaves_a_crashed_run_and_a_dataset_to_go_on_with"
)


def test_sigterm_aborts_the_run_and_ends_the_worker(lab: Lab, place: Place, tmp_path: Path) -> None:
    photos.seed(lab.customer.s3, place.bucket, "photos", 300)
    label = secrets.token_hex(8)
    with own_worker(lab.api, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, nSamples=24, runs_on=(label,))
        lab.wait(place.dataset_id, scheduled_id, {"CHECKING_CORRUPTNESS", "COMPUTING_METADATA"})
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    run = lab.wait(place.dataset_id, scheduled_id)
    assert run["state"] == "ABORTED"
    assert "The worker was stopped" in run["message"]
    (registered,) = [found for found in lab.api.ok("GET", "/v1/docker/worker") if label in found["labels"]]
    assert registered["state"] == "OFFLINE"
    assert lab.api.token not in (tmp_path / "log").read_text()


def test_a_killed_workers_run_is_ended_when_it_comes_back(lab: Lab, place: Place, tmp_path: Path) -> None:
    photos.seed(lab.customer.s3, place.bucket, "photos", 300)
    label = secrets.token_hex(8)
    with own_worker(lab.api, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, nSamples=24, runs_on=(label,))
        lab.wait(place.dataset_id, scheduled_id, {"CHECKING_CORRUPTNESS", "COMPUTING_METADATA"})
        worker.kill()
        worker.wait()
    with own_worker(lab.api, label, tmp_path / "log"):
        assert lab.wait(place.dataset_id, scheduled_id)["state"] == "CRASHED"
        again = lab.schedule(place.dataset_id, nSamples=3, runs_on=(label,))
        assert lab.wait(place.dataset_id, again)["state"] == "COMPLETED"


def test_three_workers_share_the_runs_of_six_datasets(lab: Lab, tmp_path: Path) -> None:
    bucket, label = lab.photos(5), secrets.token_hex(8)
    docker = {"useDatapool": True, "uploadReport": False}
    scheduled: dict[str, list[str]] = {}
    for _ in range(6):
        dataset_id = lab.api.new_dataset()
        lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/")
        # Two for each, so that a worker may be tempted to take the second while another has the first.
        scheduled[dataset_id] = [
            lab.schedule(dataset_id, docker=docker, nSamples=2, runs_on=(label,)) for _ in range(2)
        ]
    with ExitStack() as workers:
        for name in ("one", "two", "three"):
            workers.enter_context(own_worker(lab.api, label, tmp_path / name, name))
        for dataset_id, entries in scheduled.items():
            for scheduled_id in entries:
                run = lab.wait(dataset_id, scheduled_id)
                assert run["state"] == "COMPLETED", run["message"]
    owners = set()
    for dataset_id, entries in scheduled.items():
        runs = lab.api.ok("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
        assert sorted(run["scheduledId"] for run in runs) == sorted(entries), "each is worked on once"
        later, earlier = runs
        assert earlier["lastModifiedAt"] <= later["createdAt"], "one at a time on a dataset"
        path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
        owners |= {entry["owner"] for entry in lab.api.ok("GET", path, states=["DONE"])}
    assert len(owners) > 1, "they share the load"


def test_a_worker_takes_the_urgent_first(lab: Lab, place: Place, tmp_path: Path) -> None:
    label, other = secrets.token_hex(8), lab.api.new_dataset()
    lab.datasource(other, "INPUT_OUTPUT", f"s3://{place.bucket}/photos/")
    low = lab.schedule(place.dataset_id, nSamples=2, priority="LOW", runs_on=(label,))
    critical = lab.schedule(other, nSamples=2, priority="CRITICAL", runs_on=(label,))
    with own_worker(lab.api, label, tmp_path / "log"):
        first, second = lab.wait(other, critical), lab.wait(place.dataset_id, low)
    assert first["lastModifiedAt"] <= second["createdAt"]


def test_the_last_run_shuts_the_worker_down(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    last = {"shutdownWhenJobFinished": True, "useDatapool": True, "uploadReport": False}
    with own_worker(lab.api, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, docker=last, nSamples=2, runs_on=(label,))
        assert lab.wait(place.dataset_id, scheduled_id)["state"] == "COMPLETED"
        assert worker.wait(20) == 0
    (registered,) = [found for found in lab.api.ok("GET", "/v1/docker/worker") if label in found["labels"]]
    assert registered["state"] == "OFFLINE"


def test_a_last_run_that_fails_shuts_the_worker_down_too(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    last = {"shutdownWhenJobFinished": True, "enableTraining": True}
    with own_worker(lab.api, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, docker=last, nSamples=2, runs_on=(label,))
        assert lab.wait(place.dataset_id, scheduled_id)["state"] == "FAILED"
        assert worker.wait(20) == 0


def test_a_worker_leaves_runs_alone_that_ask_for_other_labels(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    elsewhere = lab.schedule(place.dataset_id, nSamples=2, runs_on=(label, "gpu"))
    other = lab.api.new_dataset()
    lab.datasource(other, "INPUT_OUTPUT", f"s3://{place.bucket}/photos/")
    with own_worker(lab.api, label, tmp_path / "log"):
        later = lab.schedule(other, nSamples=2, runs_on=(label,))
        assert lab.wait(other, later)["state"] == "COMPLETED"
    assert lab.schedule_state(place.dataset_id, elsewhere) == "OPEN"
