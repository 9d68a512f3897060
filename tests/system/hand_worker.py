"""A Lightly Worker whose steps the test takes one by one, through the platform's API like the real one."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

WORKER_VERSION = "2.13.1"
# By which the sandbox knows its own workers, and spares them its faults.
AGENT = "lightly-sandbox-worker/by-hand"


@dataclass
class HandWorker:
    """
    A registered worker that does what it is told to, and nothing by itself.

    :param url: The platform's address.
    :param token: The account's token.
    """

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        body = {
            "name": f"by hand {uuid.uuid4().hex[:8]}",
            "workerType": "FULL",
            "labels": [],
            "dockerVersion": WORKER_VERSION,
        }
        self.id = str(self._send("POST", "docker/worker", body)["id"])
        self.show_presence()

    def show_presence(self) -> None:
        """Be seen, as a worker does every few seconds."""
        self._send("PUT", f"docker/worker/{self.id}", {"state": "IDLE"})

    def scheduled_runs(self, dataset_id: str) -> list[dict[str, Any]]:
        """All that was ever scheduled on a dataset, oldest first."""
        states = [("states", state) for state in ("OPEN", "LOCKED", "DONE", "CANCELED")]
        return list(self._send("GET", f"datasets/{dataset_id}/docker/worker/schedule", params=states))

    def take(self, dataset_id: str) -> str:
        """Take the dataset's oldest open scheduled run, and begin it; the run's id."""
        scheduled = next(each for each in self.scheduled_runs(dataset_id) if each["state"] == "OPEN")
        self._set_schedule(scheduled, "LOCKED")
        body = {"dockerVersion": WORKER_VERSION, "datasetId": dataset_id, "scheduledId": scheduled["id"]}
        body |= {"configId": scheduled["configId"], "creator": "USER_WORKER"}
        return str(self._send("POST", "docker/runs", body)["id"])

    def say(self, run_id: str, state: str, message: str = "") -> None:
        """Tell the run's state."""
        body = {"state": state, "message": message, "ts": int(time.time() * 1000)}
        self._send("PUT", f"docker/runs/{run_id}", body)

    def finish(self, dataset_id: str, run_id: str, state: str = "COMPLETED", message: str = "") -> None:
        """End a run."""
        self.say(run_id, state, message)
        for scheduled in self.scheduled_runs(dataset_id):
            if scheduled["state"] == "LOCKED":
                self._set_schedule(scheduled, "DONE")

    def run_state(self, run_id: str) -> str:
        """A run's state."""
        return str(self._send("GET", f"docker/runs/{run_id}")["state"])

    def _set_schedule(self, scheduled: dict[str, Any], state: str) -> None:
        path = f"datasets/{scheduled['datasetId']}/docker/worker/{self.id}/schedule/{scheduled['id']}"
        self._send("PUT", path, {"state": state})

    def _send(self, method: str, path: str, body: object = None, params: list[tuple[str, str]] | None = None) -> Any:
        query = [("token", self.token), *(params or [])]
        answer = requests.request(
            method, f"{self.url}/v1/{path}", params=query, json=body, headers={"User-Agent": AGENT}, timeout=30
        )
        if not answer.ok:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text[:1000]}")
        return answer.json() if answer.content else None
