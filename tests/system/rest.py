"""Airflow as a person at its page meets it: start a DAG run, look at a task, mark it, clear it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import requests

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskKey(NamedTuple):
    """
    Which task instance.

    :param map_index: The index of a mapped task; -1: it is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def path_without_index(self) -> str:
        """Where the REST API has it, as if it were not mapped."""
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{self.task_id}"

    @property
    def path(self) -> str:
        """Where the REST API has it."""
        return self.path_without_index + (f"/{self.map_index}" if self.map_index >= 0 else "")


@dataclass
class AirflowRest:
    """
    Airflow's public REST API.

    :param url: The API server's address.
    """

    url: str

    def __post_init__(self) -> None:
        self._started: list[tuple[str, str]] = []
        self._session = requests.Session()
        token = requests.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def start(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run of a DAG as soon as Airflow knows the DAG; the DAG run's id."""
        self.wait_for_dag(dag_id)
        body = {"logical_date": None, "conf": conf}
        run_id = str(self._send("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])
        self._started.append((dag_id, run_id))
        return run_id

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until Airflow knows a DAG."""
        self.wait_for(f"DAG {dag_id}", lambda: self._session.get(f"{self.url}/api/v2/dags/{dag_id}").ok, within=90)

    def end_what_was_started(self) -> None:
        """Mark the DAG runs that are not over as failed, so that their tasks take no slot from others."""
        while self._started:
            run = self._started.pop()
            if self.dag_run_state(*run) in ("queued", "running"):
                self.mark_dag_run(*run, "failed")

    def task(self, task: TaskKey) -> dict[str, Any]:
        """A task instance."""
        return dict(self._send("GET", task.path))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a DAG run."""
        found: list[dict[str, Any]] = []
        while True:
            # More than 100 at once are refused by Airflow's default [api] maximum_page_limit.
            path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100&offset={len(found)}"
            page = self._send("GET", path)["task_instances"]
            found += page
            if len(page) < 100:
                return found

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG, whoever started them."""
        return list(self._send("GET", f"dags/{dag_id}/dagRuns?limit=100")["dag_runs"])

    def xcom(self, task: TaskKey, key: str = "return_value") -> Any:
        """An XCom's value; None if there is none."""
        path = f"{task.path_without_index}/xcomEntries/{key}?deserialize=true&map_index={task.map_index}"
        answer = self._session.get(f"{self.url}/api/v2/{path}", timeout=30)
        return answer.json()["value"] if answer.ok else None

    def approval(self, task: TaskKey) -> dict[str, Any]:
        """What a task asks a person."""
        return dict(self._send("GET", f"{task.path_without_index}/{task.map_index}/hitlDetails"))

    def answer(self, task: TaskKey, option: str) -> None:
        """What the buttons of the page "Required Actions" do."""
        path = f"{task.path_without_index}/{task.map_index}/hitlDetails"
        self._send("PATCH", path, {"chosen_options": [option]})

    def mark(self, task: TaskKey, state: str) -> None:
        """What the buttons "mark as failed" and "mark as success" do."""
        self._send("PATCH", task.path, {"new_state": state})

    def mark_dag_run(self, dag_id: str, run_id: str, state: str) -> None:
        """What the same buttons of a DAG run do."""
        self._send("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A DAG run."""
        return dict(self._send("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def dag_run_state(self, dag_id: str, run_id: str) -> str:
        """A DAG run's state."""
        return str(self.dag_run(dag_id, run_id)["state"])

    def clear(self, dag_id: str, run_id: str, *tasks: str | tuple[str, int]) -> None:
        """What the button "clear" does, for tasks and for (task, map index)."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": tasks, "only_failed": False}
        self._send("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def wait_for_state(self, task: TaskKey, *states: str, within: float = 90) -> str:
        """Wait until a task is in one of the states; which."""
        seen = ""

        def reached() -> bool:
            nonlocal seen
            seen = str(self.task(task)["state"])
            return seen in states

        self.wait_for(f"{task} to be {' or '.join(states)}", reached, within=within)
        return seen

    def wait_for(self, what: str, reached: Callable[[], object], *, within: float) -> None:
        """Wait for a condition, with a deadline in seconds; an API server that is too busy to answer is asked again."""

        def is_reached() -> object:
            try:
                return reached()
            except requests.Timeout:
                return False

        deadline = time.monotonic() + within
        while not is_reached():
            if time.monotonic() > deadline:
                raise AssertionError(f"Waited {within:g} s in vain for {what}.")
            time.sleep(0.3)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=30)
        if not answer.ok:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text[:1000]}")
        return answer.json()
