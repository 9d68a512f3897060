"""A sandbox, and an Airflow with the example DAGs: `make sandbox` and `make airflow` for these tests only."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from demo.environment import airflow_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[1]
BUCKET = "s3://demo-photos"
INPUT_PATH, LIGHTLY_PATH = f"{BUCKET}/raw/", f"{BUCKET}/lightly/"
# The demo's IAM user has no permissions for it.
DENIED_PATH = f"{BUCKET}/private/"
EMPTY_PATH = f"{INPUT_PATH}no-photos/"
# Two users of Airflow: one may read every DAG, the other has no role.
READER, WITHOUT_RIGHTS = "reader", "stranger"
# Two cores take a tenth of it.
START_SECONDS = 300.0


def wait_until(condition: Callable[[], Any], seconds: float, *, every: float = 0.2) -> Any:
    """Wait for a truthy answer and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not reached within {seconds} s"
        time.sleep(every)
    return answer


@dataclass(frozen=True)
class Servers:
    """
    Two servers on this machine.

    :param airflow_url: Where Airflow's pages are. They ask for no login.
    :param airflow_home: Airflow's folder.
    :param sandbox: What the sandbox's ready file holds.
    :param secrets: What no page may show.
    """

    airflow_url: str
    airflow_home: Path
    sandbox: dict[str, Any]
    secrets: tuple[str, ...]

    def ask(self, method: str, path: str, body: Any = None, *, accepted: tuple[int, ...] = (200, 201, 204)) -> Any:
        """Send a request to Airflow's API, and return the answer's JSON."""
        repeatable = method != "POST" or 409 in accepted
        with requests.Session() as session:
            session.trust_env = False
            token = session.get(f"{self.airflow_url}/auth/token", timeout=60).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{self.airflow_url}/api/v2{path}"
            for _ in range(10):
                answer = session.request(method, url, json=body, headers=headers, timeout=60)
                # On a busy machine, SQLite is locked for longer than Airflow waits.
                if not repeatable or answer.status_code != 500 or "Database error" not in answer.text:
                    break
                time.sleep(1)
        assert answer.status_code in accepted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def is_ready(self) -> bool:
        """Return whether all of Airflow's services are healthy, and every example DAG is parsed."""
        with requests.Session() as session:
            session.trust_env = False
            try:
                health = session.get(f"{self.airflow_url}/api/v2/monitor/health", timeout=10).json()
            except (requests.ConnectionError, requests.Timeout, ValueError):
                return False
        return all(service["status"] == "healthy" for service in health.values()) and self.dag_ids() == example_ids()

    def dag_ids(self) -> set[str]:
        """Return the ids of all DAGs."""
        return {dag["dag_id"] for dag in self.ask("GET", "/dags?limit=100")["dags"]}

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:
        """Start a DAG run, also of a DAG that is paused."""
        self.ask("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        run = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.ask("POST", f"/dags/{dag_id}/dagRuns", run, accepted=(200, 409))

    def end(self, dag_id: str, run: dict[str, Any]) -> None:
        """
        Mark a DAG run as failed.

        It is not deleted, because that ends the scheduler of Airflow 3.3.2 while it schedules the run
        (ObjectDeletedError).
        """
        self.ask("PATCH", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}", {"state": "failed"})

    def stop(self, dag_id: str) -> None:
        """Pause a DAG, and end all of its runs, also those of its schedule."""
        self.ask("PATCH", f"/dags/{dag_id}", {"is_paused": True})
        for run in self.ask("GET", f"/dags/{dag_id}/dagRuns?state=queued&state=running")["dag_runs"]:
            self.end(dag_id, run)

    def state_at_end(self, dag_id: str, run_id: str, seconds: float) -> str:
        """Wait for the end of a DAG run, and return its state."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        ended = ("success", "failed")
        # The tasks need the API server, too.
        return str(wait_until(lambda: (state := self.ask("GET", path)["state"]) in ended and state, seconds, every=1))


def example_ids() -> set[str]:
    """Return the DAG ids that the files in ``dags/`` declare."""
    lines = [line for path in (REPOSITORY / "dags").glob("*.py") for line in path.read_text().splitlines()]
    return {line.split('"')[1] for line in lines if line.startswith('    dag_id="')}


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """
    Start both servers, and stop them at the end.

    :param folder: Where their state and their output go.
    """
    ready_file = folder / "ready.json"
    sandbox = [os.environ["LIGHTLY_SANDBOX"], "up", "--state-dir", str(folder / "state"), "--workers", "1"]
    sandbox += ["--port", "0", "--aws-port", "0", "--ready-file", str(ready_file), "--hide-secrets"]
    with _process(sandbox, folder / "sandbox.log", {}) as is_running:
        wait_until(lambda: is_running() and ready_file.exists(), START_SECONDS)
        port, *log_ports = _free_ports(3)
        names = ("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT", "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT")
        settings = dict(zip(names, map(str, log_ports), strict=True))
        airflow = [os.environ["AIRFLOW_PYTHON"], "-m", "demo.standalone", "--ready-file", str(ready_file)]
        airflow += ["--port", str(port), "--home", str(folder / "airflow")]
        with _process(airflow, folder / "airflow.log", settings) as airflow_is_running:
            place = json.loads(ready_file.read_text())
            url = f"http://127.0.0.1:{port}"
            starting = Servers(url, folder / "airflow", place, ())
            wait_until(lambda: airflow_is_running() and starting.is_ready(), START_SECONDS)
            handed_over = json.loads(ready_file.with_name("bucket-connection.json").read_text())["password"]
            yield replace(starting, secrets=(place["token"], place["aws_secret_access_key"], handed_over))


@dataclass(frozen=True)
class WithLogin:
    """
    Airflow's pages once more, for users who log in.

    :param url: Where they are.
    :param passwords: The users' passwords.
    """

    url: str
    passwords: dict[str, str]


@contextmanager
def asking_for_a_login(servers: Servers, folder: Path) -> Iterator[WithLogin]:
    """
    Start a second API server on Airflow's database, and stop it at the end.

    :param servers: What runs already.
    :param folder: Where its output and the passwords go.
    """
    (port,) = _free_ports(1)
    passwords = {user: secrets.token_hex(16) for user in (READER, WITHOUT_RIGHTS)}
    file = folder / "passwords.json"
    file.write_text(json.dumps(passwords))
    settings = airflow_environment(servers.airflow_home) | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        # A user with an empty role may read nothing.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{READER}:viewer,{WITHOUT_RIGHTS}:",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
    }
    command = [os.environ["AIRFLOW_PYTHON"], "-m", "airflow", "api-server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    url = f"http://127.0.0.1:{port}"
    with _process(command, folder / "api-server.log", settings) as is_running:
        wait_until(lambda: is_running() and _answers(url), START_SECONDS)
        yield WithLogin(url, passwords)


def _answers(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{url}/api/v2/version", timeout=10).ok
        except (requests.ConnectionError, requests.Timeout):
            return False


@contextmanager
def _process(command: list[str], log: Path, settings: dict[str, str]) -> Iterator[Callable[[], bool]]:
    with log.open("wb") as output:
        environment = {**os.environ, **settings}
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def is_running() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        return True

    try:
        yield is_running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
