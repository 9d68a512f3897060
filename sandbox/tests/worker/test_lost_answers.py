"""The worker behind a network that loses requests, or answers to requests that have been done."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.seeding import photos
from tests.lab.network import Match, Network, passing
from tests.lab.sandbox import wait_until, with_keys
from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.lab.sandbox import Api, Customer

RUN_SECONDS = 60.0


@pytest.fixture
def scheduled(ready: Mapping[str, Any], api: Api, customer: Customer) -> tuple[str, str, str]:
    """Five photos, a run over them for one label alone, and that label."""
    bucket, label = customer.bucket(), secrets.token_hex(8)
    photos.seed(customer.s3, bucket, "", 5)
    dataset_id = api.new_dataset()
    keys = ready["aws_access_key_id"], ready["aws_secret_access_key"]
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/", "INPUT_OUTPUT", keys))
    strategy = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
    config = {"workerType": "FULL", "selection": {"nSamples": 2, "strategies": [strategy]}}
    body = {"version": "V4", "creator": "USER_PIP", "config": config}
    config_id = api.ok("POST", "/v1/docker/worker/config/vX", body)["id"]
    body = {"configId": config_id, "priority": "MID", "runsOn": [label]}
    schedule = api.ok("POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)
    return dataset_id, schedule["id"], label


def is_schedule_state(state: str) -> Match:
    return lambda method, path, body: method == "PUT" and "schedule" in path and body["state"] == state


def is_run_state(state: str) -> Match:
    return lambda _, path, body: path.startswith("/v1/docker/runs/") and state in str(body)


LOST: dict[str, Match] = {
    "the lock": is_schedule_state("LOCKED"),
    "the new run": lambda method, path, _: (method, path) == ("POST", "/v1/docker/runs"),
    "a state": is_run_state("EMBEDDING"),
    "the last state": is_run_state("COMPLETED"),
    "the giving back": is_schedule_state("DONE"),
    "the sign of life": lambda _, __, body: body == {"state": "BUSY"},
}


def work_until_done(api: Api, scheduled: tuple[str, str, str], network: Network, log: Path) -> None:
    """Let a worker behind the network do the run until the platform says that it is given back."""
    dataset_id, scheduled_id, label = scheduled
    options = ["--url", network.url, "--name", f"lost {label}", "--label", label, "--poll-interval", "0.05"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "lightly_sandbox", "worker", *options],
            env={**os.environ, "LIGHTLY_TOKEN": api.token},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"

    def is_given_back() -> bool:
        assert worker.poll() is None, log.read_text()
        return scheduled_id in {entry["id"] for entry in api.ok("GET", path, states=["DONE"])}

    try:
        wait_until(is_given_back, RUN_SECONDS)
    finally:
        worker.terminate()
        worker.wait(20)
    assert network.left == 0, "less was lost than should have been, so nothing was tried"
    (run,) = api.ok("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
    assert run["state"] == "COMPLETED", run["message"]
    assert api.token not in log.read_text()


@pytest.mark.parametrize("what", thinned(list(LOST), keep=1))
def test_a_run_is_done_once_although_an_answer_was_lost(
    what: str, api: Api, scheduled: tuple[str, str, str], tmp_path: Path
) -> None:
    with passing(Network(api.url, LOST[what])) as network:
        work_until_done(api, scheduled, network, tmp_path / "log")


@pytest.mark.exhaustive(sample="test_a_run_is_done_once_although_an_answer_was_lost")
def test_a_run_is_given_back_although_the_platform_was_away_for_longer_than_the_worker_repeats(
    api: Api, scheduled: tuple[str, str, str], tmp_path: Path
) -> None:
    # One request and its five repetitions.
    away = Network(api.url, is_schedule_state("DONE"), 6, drops=True)
    with passing(away) as network:
        work_until_done(api, scheduled, network, tmp_path / "log")
