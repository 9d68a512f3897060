"""The worker as a process: ended, killed, two at once, labels, a wrong token."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from worker_lab import own_worker

from lightly_sandbox import photos

if TYPE_CHECKING:
    from pathlib import Path

    from worker_lab import Lab, Place


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


def test_two_workers_do_each_run_once(lab: Lab, tmp_path: Path) -> None:
    bucket, label = lab.photos(5), secrets.token_hex(8)
    scheduled = {}
    for _ in range(6):
        dataset_id = lab.api.new_dataset()
        lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/")
        scheduled[dataset_id] = lab.schedule(dataset_id, nSamples=2, runs_on=(label,))
    with own_worker(lab.api, label, tmp_path / "one"), own_worker(lab.api, label, tmp_path / "two", "other"):
        for dataset_id, scheduled_id in scheduled.items():
            assert lab.wait(dataset_id, scheduled_id)["state"] == "COMPLETED"
            assert len(lab.api.ok("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")) == 1


def test_a_worker_leaves_runs_alone_that_ask_for_other_labels(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    elsewhere = lab.schedule(place.dataset_id, nSamples=2, runs_on=(label, "gpu"))
    other = lab.api.new_dataset()
    lab.datasource(other, "INPUT_OUTPUT", f"s3://{place.bucket}/photos/")
    with own_worker(lab.api, label, tmp_path / "log"):
        later = lab.schedule(other, nSamples=2, runs_on=(label,))
        assert lab.wait(other, later)["state"] == "COMPLETED"
    assert lab.schedule_state(place.dataset_id, elsewhere) == "OPEN"


def test_a_wrong_token_is_refused_without_being_shown(lab: Lab, tmp_path: Path) -> None:
    wrong = "canary-that-is-no-token"
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "lightly_sandbox.worker",
            "--url",
            lab.api.url,
            "--name",
            "impostor",
        ],
        env={**os.environ, "LIGHTLY_TOKEN": wrong},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert "HTTP 401" in ended.stderr
    assert wrong not in ended.stdout + ended.stderr
