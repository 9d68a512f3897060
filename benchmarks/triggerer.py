"""
Measures what a real triggerer takes of a processor while many worker runs are waited for.

One after the other, Airflow's own triggerer (``airflow triggerer``) waits for nothing, for tasks of
``RunLightlyWorkerOperator``, and for tasks with the usual form of a trigger (``usual_trigger.py``: a session of
aiohttp per poll); each time it is a new one, on a SQLite database of its own. The platform is a sandbox on this
machine in which every other run is taken by a worker; its processor time is not counted. The tasks are deferred by
Airflow itself (``deferred_tasks.py``).

Processor time is that of all of the triggerer's processes, over some intervals between two polls, from half an interval
after the last trigger has started: seconds of the processor, whatever else the machine does meanwhile. Memory (PSS:
what processes share is counted once) is that at the end. "Over idle" is less what the triggerer that waits for nothing
takes, so what Airflow itself does for each trigger is in it.

Needs Airflow 3.3 or newer, Linux, and ``lightly-sandbox`` (where LIGHTLY_SANDBOX says, or on the PATH). Usage:
``python benchmarks/triggerer.py [--triggers 300] [--interval 60] [--intervals 3]``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from cryptography.fernet import Fernet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Target of ours: of a core, over what an idle triggerer takes, for 300 runs.
MOST_PERCENT = 2.0
HERE = Path(__file__).resolve().parent
IDLE, OURS, USUAL = "no trigger", "ours", "an aiohttp session per poll"
_FORMS = {OURS: "ours", USUAL: "usual"}
_LONGEST_S = 300.0
# Airflow's default, [triggerer] capacity.
_CAPACITY = 1000
# By which the sandbox knows a worker of its own, and does not count its requests.
_WORKER = {"User-Agent": "lightly-sandbox-worker/benchmark"}
# Sooner than the sandbox takes a silent worker for gone.
_PRESENCE_S = 10.0


class Platform:
    """
    A running sandbox without workers; this process is its one worker.

    :param folder: For its state.
    """

    def __init__(self, folder: Path) -> None:
        ready = folder / "ready.json"
        command = [os.environ.get("LIGHTLY_SANDBOX", "lightly-sandbox"), "up", "--state-dir", str(folder / "state")]
        log = (folder / "sandbox.log").open("w")
        self._process = subprocess.Popen(
            [*command, "--port", "0", "--aws-port", "0", "--workers", "0", "--ready-file", str(ready)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        until(ready.exists, self._process, folder / "sandbox.log")
        self._ready: dict[str, str] = json.loads(ready.read_text())
        body = {"name": "benchmark", "workerType": "FULL", "labels": [], "dockerVersion": "2.13.1"}
        self._worker_id = self._send("POST", "docker/worker", body)["id"]
        # A fault that does nothing to the requests that it meets but count them.
        self._send("POST", "", {"kind": "delay", "operation": "* *", "seconds": 0}, root="/sandbox/faults")

    @property
    def connection(self) -> str:
        """The Airflow connection to it."""
        return json.dumps(
            {"conn_type": "lightly", "host": self._ready["lightly_url"], "password": self._ready["token"]}
        )

    def requests(self) -> int:
        """How many were sent by others than this worker."""
        return int(self._send("GET", "", root="/sandbox/faults")[0]["matched"])

    def add_datasets(self, count: int) -> list[str]:
        """Make datasets on which runs can be scheduled; nobody looks into their bucket."""
        source = {
            "purpose": "INPUT_OUTPUT",
            "type": "S3",
            "fullPath": "s3://bucket/raw/",
            "s3Region": self._ready["region"],
            "s3AccessKeyId": self._ready["aws_access_key_id"],
            "s3SecretAccessKey": self._ready["aws_secret_access_key"],
        }
        ids = [
            str(self._send("POST", "datasets", {"name": f"dataset {number}", "type": "Images"})["id"])
            for number in range(count)
        ]
        for dataset_id in ids:
            self._send("PUT", f"datasets/{dataset_id}/datasource", source)
        return ids

    def take_every_other(self, dataset_ids: list[str]) -> list[str]:
        """Begin the run of every other dataset; the scheduled runs of all."""
        scheduled = [self._send("GET", f"datasets/{each}/docker/worker/schedule")[0] for each in dataset_ids]
        for entry in scheduled[::2]:
            dataset_id = entry["datasetId"]
            place = f"datasets/{dataset_id}/docker/worker/{self._worker_id}/schedule/{entry['id']}"
            self._send("PUT", place, {"state": "LOCKED"})
            body = {"dockerVersion": "2.13.1", "datasetId": dataset_id, "scheduledId": entry["id"]}
            body |= {"configId": entry["configId"], "creator": "USER_WORKER"}
            run_id = self._send("POST", "docker/runs", body)["id"]
            self._send("PUT", f"docker/runs/{run_id}", {"state": "EMBEDDING", "ts": int(time.time() * 1000)})
        return [str(entry["id"]) for entry in scheduled]

    def show_presence(self) -> None:
        """Be seen, so that the runs go on."""
        self._send("PUT", f"docker/worker/{self._worker_id}", {"state": "BUSY"})

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

    def _send(self, method: str, path: str, body: object = None, root: str = "/v1/") -> Any:
        import requests

        address = f"{self._ready['lightly_url']}{root}{path}"
        query = {"token": self._ready["token"]}
        answer = requests.request(method, address, params=query, json=body, headers=_WORKER, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"{method} {root}{path}: HTTP {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None


class Airflow:
    """
    An AIRFLOW_HOME with a SQLite database.

    :param home: Its folder, which is made.
    :param connection: That to the platform.
    :param origin: The one whose database it begins with a copy of; None: one that is migrated from nothing.
    """

    def __init__(self, home: Path, connection: str, origin: Airflow | None = None) -> None:
        self.home = home
        (home / "dags").mkdir(parents=True)
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_LIGHTLY_DEFAULT": connection,
            # Where the triggerer finds the usual form.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
        }
        if origin is None:
            self._run("migrate", [sys.executable, "-m", "airflow", "db", "migrate"])
        else:
            shutil.copy(origin.home / "airflow.db", home)

    def defer(self, form: str, interval: float, ids: list[str]) -> None:
        """Make the deferred tasks."""
        command = [sys.executable, str(HERE / "deferred_tasks.py"), _FORMS[form], str(interval)]
        self._run("defer", command, json.dumps(ids))

    @contextmanager
    def triggerer(self, n: int) -> Iterator[psutil.Popen]:
        """A triggerer in which this many triggers have started."""
        log = (self.home / "triggerer.log").open("w")
        # The server of logs would listen on all interfaces.
        process = psutil.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            env=self._environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        try:
            until(lambda: self._is_up() and self._n_started() >= n, process, self.home / "triggerer.log")
            yield process
        finally:
            tree = [process, *process.children(recursive=True)]
            process.terminate()
            for each in psutil.wait_procs(tree, timeout=30)[1]:
                each.kill()

    def n_ended(self) -> int:
        """How many of the tasks wait no longer."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            query = "SELECT count(*) FROM task_instance WHERE state != 'deferred'"
            return int(database.execute(query).fetchone()[0])

    def _is_up(self) -> bool:
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            query = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
            return bool(database.execute(query).fetchone()[0])

    def _n_started(self) -> int:
        # Each trigger's first line is in its task's log.
        return sum(1 for _ in (self.home / "logs").rglob("*.trigger.*.log"))

    def _run(self, name: str, command: list[str], text: str = "") -> None:
        done = subprocess.run(
            command,
            env=self._environment,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout[-4000:]}")


def until(condition: Callable[[], object], process: subprocess.Popen[Any] | psutil.Popen, log: Path) -> None:
    """Wait for a condition while a process runs."""
    deadline = time.monotonic() + _LONGEST_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            what = "ended" if process.poll() is not None else f"was not ready within {_LONGEST_S:g} s"
            raise RuntimeError(f"The process of {log.name} {what}:\n{log.read_text()[-4000:]}")
        time.sleep(0.5)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a triggerer took: processor time in percent of a core, requests per interval, memory."""

    percent: float
    requests: float
    mib: float


def cpu_seconds(process: psutil.Popen) -> float:
    """What a process and all that it started have used of the processors, those that ended included."""
    tree = [process, *process.children(recursive=True)]
    return sum(sum((t.user, t.system, t.children_user, t.children_system)) for t in (p.cpu_times() for p in tree))


def measure(platform: Platform, process: psutil.Popen, interval: float, intervals: int) -> Cost:
    """The cost of a triggerer, from half an interval from now on."""

    def pause(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            platform.show_presence()
            time.sleep(min(left, _PRESENCE_S))

    pause(interval / 2)
    first_requests, first_cpu, began = platform.requests(), cpu_seconds(process), time.monotonic()
    pause(interval * intervals)
    cpu, seconds = cpu_seconds(process) - first_cpu, time.monotonic() - began
    tree = [process, *process.children(recursive=True)]
    return Cost(
        percent=100 * cpu / seconds,
        requests=(platform.requests() - first_requests) / intervals,
        mib=sum(each.memory_full_info().pss for each in tree) / 2**20,
    )


def main() -> int:
    """Print the table; 1 if ours misses the target."""
    parser = argparse.ArgumentParser(description="What a real triggerer takes while many worker runs are waited for.")
    parser.add_argument("--triggers", type=int, default=300, help="deferred tasks (default 300)")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between two polls (default 60)")
    parser.add_argument("--intervals", type=int, default=3, help="intervals measured (default 3)")
    arguments = parser.parse_args()
    if not 1 <= arguments.triggers <= _CAPACITY:
        parser.error(f"--triggers is {arguments.triggers}; one triggerer takes 1 to {_CAPACITY}.")
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    n, costs = arguments.triggers, dict[str, Cost]()
    print(
        f"{'':<29}{'triggers':>9}{'% of a core':>13}{'over idle':>11}{'requests/interval':>19}"
        f"{'MiB':>7}{'over idle':>11}"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        platform = Platform(root)
        try:
            dataset_ids = platform.add_datasets(n)
            scheduled_run_ids: list[str] = []
            origin = Airflow(root / "airflow", platform.connection)
            for number, form in enumerate((IDLE, OURS, USUAL)):
                airflow = Airflow(root / f"airflow-{number}", platform.connection, origin)
                if form == OURS:
                    airflow.defer(form, arguments.interval, dataset_ids)
                    scheduled_run_ids = platform.take_every_other(dataset_ids)
                elif form == USUAL:
                    airflow.defer(form, arguments.interval, scheduled_run_ids)
                with airflow.triggerer(0 if form == IDLE else n) as process:
                    costs[form] = cost = measure(platform, process, arguments.interval, arguments.intervals)
                if n_ended := airflow.n_ended():
                    raise RuntimeError(f"{form}: {n_ended} of {n} tasks did not wait until the end of the measurement.")
                idle = costs[IDLE]
                print(
                    f"{form:<29}{0 if form == IDLE else n:>9}{cost.percent:>13.2f}{cost.percent - idle.percent:>11.2f}"
                    f"{cost.requests:>19.1f}{cost.mib:>7.0f}{cost.mib - idle.mib:>11.0f}",
                    flush=True,
                )
                shutil.rmtree(airflow.home)
        finally:
            platform.stop()
    over_idle = costs[OURS].percent - costs[IDLE].percent
    is_kept = over_idle <= MOST_PERCENT
    print(f"ours: at most {MOST_PERCENT:g} % of a core over idle: {'kept' if is_kept else 'MISSED'}")
    return int(not is_kept)


if __name__ == "__main__":
    sys.exit(main())
