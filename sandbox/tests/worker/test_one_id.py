"""Two workers with one id: what one of them works on is not touched by the other."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.worker.api import ApiError, Platform
from lightly_sandbox.worker.service import _Worker
from tests.lab.sandbox import with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Api


@dataclass(frozen=True)
class Twins:
    """A scheduled run, the worker that came later, and what the earlier one, the test itself, does."""

    api: Api
    worker_id: str
    scheduled: dict[str, Any]
    later: _Worker

    def lock(self) -> None:
        path = f"/v1/datasets/{self.scheduled['datasetId']}/docker/worker/{self.worker_id}/schedule"
        self.api.ok("PUT", f"{path}/{self.scheduled['id']}", {"state": "LOCKED"})

    def begin(self) -> str:
        body = {"dockerVersion": "1", "scheduledId": self.scheduled["id"]}
        return str(self.api.ok("POST", "/v1/docker/runs", body)["id"])

    def states(self, run_id: str) -> tuple[str, str]:
        """The states of the run and of the scheduled run."""
        run = self.api.ok("GET", f"/v1/docker/runs/{run_id}")
        path = f"/v1/docker/worker/{self.worker_id}/schedule"
        (entry,) = self.api.ok("GET", path, state="LOCKED")
        return run["state"], entry["state"]

    def lose_the_platform(self) -> None:
        """Let the later one look after what it had taken, as after lost answers."""
        self.later._settled = False
        assert self.later._step() is False


@pytest.fixture
def twins(api: Api) -> Twins:
    label, dataset_id = secrets.token_hex(8), api.new_dataset()
    api.put_datasource(dataset_id, **with_keys("s3://nowhere/", "INPUT_OUTPUT", ("AKIA", "a secret key")))
    body = {"name": f"twin {label}", "workerType": "FULL", "labels": [label]}
    worker_id = api.ok("POST", "/v1/docker/worker", body)["id"]
    config = {"version": "V4", "config": {"workerType": "FULL"}}
    config_id = api.ok("POST", "/v1/docker/worker/config/vX", config)["id"]
    body = {"configId": config_id, "priority": "MID", "runsOn": [label]}
    api.ok("POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)
    (scheduled,) = api.ok("GET", "/v1/docker/worker/schedule", labels=[label])
    platform = Platform(api.url, api.token)
    later = _Worker(platform, worker_id, frozenset({label}), threading.Event(), settled=True)
    return Twins(api, worker_id, scheduled, later)


def test_who_is_too_late_to_lock_leaves_the_others_run_alone(twins: Twins) -> None:
    twins.lock()
    run_id = twins.begin()
    assert not twins.later._lock(twins.scheduled)
    twins.lose_the_platform()
    assert twins.states(run_id) == ("STARTED", "LOCKED")


def test_who_is_too_late_to_begin_leaves_the_others_run_alone(twins: Twins) -> None:
    twins.lock()
    # It cannot know yet that this is not its own lock, whose answer was lost.
    assert twins.later._lock(twins.scheduled)
    run_id = twins.begin()
    with pytest.raises(ApiError, match="has a run already"):
        twins.later._do(twins.scheduled)
    twins.lose_the_platform()
    assert twins.states(run_id) == ("STARTED", "LOCKED")


def test_what_another_with_the_id_took_is_not_settled(twins: Twins) -> None:
    twins.lock()
    run_id = twins.begin()
    twins.lose_the_platform()
    assert twins.states(run_id) == ("STARTED", "LOCKED")
