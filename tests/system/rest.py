"""Airflow as a person at its page meets it: start a DAG run, look at a task, mark it, clear it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class AirflowRest:
    """
    Airflow's public REST API.

    :param url: The API server's address.
    """

    url: str

    def __post_init__(self) -> None:
        self._session = requests.Session()
        token = requests.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def start(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run of a DAG as soon as Airflow knows the DAG; the DAG run's id."""
        self.wait_for(f"DAG {dag_id}", lambda: self._session.get(f"{self.url}/api/v2/dags/{dag_id}").ok, within=90)
        body = {"logical_date": None, "conf": conf}
        return str(self._send("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """A task instance."""
        mapped = "" if map_index < 0 else f"/{map_index}"
        return dict(self._send("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}{mapped}"))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a DAG run."""
        found = self._send("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000")
        return list(found["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """An XCom's value; None if there is none."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true"
        answer = self._session.get(f"{self.url}/api/v2/{path}", timeout=30)
        return answer.json()["value"] if answer.ok else None

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """What the buttons "mark as failed" and "mark as success" do."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._send("PATCH", path, {"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """What the button "clear" does."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self._send("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def wait_for_state(self, dag_id: str, run_id: str, task_id: str, *states: str, within: float = 90) -> str:
        """Wait until a task is in one of the states; which."""
        seen = ""

        def reached() -> bool:
            nonlocal seen
            seen = str(self.task(dag_id, run_id, task_id)["state"])
            return seen in states

        self.wait_for(f"{task_id} to be {' or '.join(states)}", reached, within=within)
        return seen

    def wait_for(self, what: str, reached: Callable[[], object], *, within: float) -> None:
        """Wait for a condition, with a deadline in seconds."""
        deadline = time.monotonic() + within
        while not reached():
            if time.monotonic() > deadline:
                raise AssertionError(f"Waited {within:g} s in vain for {what}.")
            time.sleep(0.3)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=30)
        if not answer.ok:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text[:1000]}")
        return answer.json()
