"""
Measures a fleet: ``dags/lightly_fleet.py`` onboards as many datasets as wished, two of them with a broken bucket.

Airflow runs as in production, on this machine: PostgreSQL, Redis, CeleryExecutor with two workers, each of Airflow's
services a process. The platform is a sandbox whose requests fail at a rate of 1 %. Checked are: all datasets but two
are onboarded, these are named with their cause, and the DAG run is failed; a second DAG run, for which nothing has
changed, sends at most 11 requests per dataset to the platform, as the sandbox counts them; and the first one takes at
most 1.3 times as long as a DAG of as many mapped tasks that do nothing (``mapped_nothing.py``), which the same services
run before it. ``--small`` runs a few datasets by ``dag.test`` in this process, on SQLite, and takes no times.

Installs what it needs into ``.venv-system`` and ``.venv-sandbox`` by ``make``, and PostgreSQL and Redis by
``scripts/setup-services``. Usage: ``python3 benchmarks/fleet.py [--datasets 100] [--small]``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NoReturn

REPOSITORY = Path(__file__).resolve().parents[1]
# The system tests' services, and the demo's way to run a DAG.
sys.path.insert(0, str(REPOSITORY))

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.integration.sandbox import Sandbox

# Targets of ours.
MOST_REQUESTS, MOST_TIMES = 11.0, 1.3
FAULTY = 0.01
DAG_ID, NOTHING = "lightly_fleet", "mapped_nothing"
WORKERS = ("celery-worker-1", "celery-worker-2")
# Those of a dataset without a selection.
TASKS = ("create_dataset", "configure", "verify_permissions", "run_worker")
SMALL = 6
_LONGEST_RUN_S = 3600.0


@dataclass(frozen=True)
class Ended:
    """
    How a DAG run ended.

    :param state: Its state.
    :param seconds: From its start to its end.
    :param report: What its task ``report`` pushed; empty if it has none.
    :param tasks: By task: how many ran, and the medians of the seconds that one waited for a worker and ran.
    """

    state: str
    seconds: float
    report: dict[str, Any]
    tasks: dict[str, tuple[int, float, float]] = field(default_factory=dict)


class Fleet:
    """
    The datasets: buckets with a file each, a user for Lightly, and ``lightly_fleet.yaml``.

    :param sandbox: The sandbox.
    :param folder: For the file.
    :param n: How many datasets.
    """

    def __init__(self, sandbox: Sandbox, folder: Path, n: int) -> None:
        self.n = n
        self.names = [f"fleet-{number:04}" for number in range(n)]
        sealed, gone = self.names[n // 3], self.names[2 * n // 3]
        # What the report must say of each broken bucket.
        self.broken = {sealed: "s3:", gone: "does not exist"}
        self.connection = sandbox.aws_connection(sandbox.user(*_statements("fleet-")))
        s3 = sandbox.aws("s3")
        place = {"LocationConstraint": sandbox.region}
        buckets = {name: f"sealed-{name}" if name == sealed else name for name in self.names}
        for name, bucket in buckets.items():
            if name != gone:
                s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
                s3.put_object(Bucket=bucket, Key="raw/a.jpg", Body=b"content")
        self.file = folder / "lightly_fleet.yaml"
        self.file.write_text(_yaml(buckets))


def _yaml(buckets: Mapping[str, str]) -> str:
    lines = ["defaults: {access: lightly_bucket}", "datasets:"]
    for name, bucket in buckets.items():
        lines.append(f"  - {{name: {name}, input: s3://{bucket}/raw/, output: s3://{bucket}/lightly/}}")
    return "\n".join(lines) + "\n"


def _statements(prefix: str) -> list[dict[str, Any]]:
    """What Lightly may do: all it needs, in the buckets of a prefix."""
    actions = ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = [f"arn:aws:s3:::{prefix}*", f"arn:aws:s3:::{prefix}*/*"]
    return [{"Effect": "Allow", "Action": actions, "Resource": resources}]


class Requests:
    """Counts the requests to the platform by a fault of the sandbox that does nothing."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._url, self._token = f"{sandbox.lightly_url}/sandbox/faults", {"token": sandbox.token}
        body = {"kind": "delay", "operation": "* *", "seconds": 0}
        self._id = self._send("POST", body)["id"]

    def __call__(self) -> int:
        """How many there have been."""
        return next(int(fault["matched"]) for fault in self._send("GET") if fault["id"] == self._id)

    def _send(self, method: str, body: object = None) -> Any:
        import requests

        answer = requests.request(method, self._url, params=self._token, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()


class InThisProcess:
    """Runs DAGs by ``dag.test``, on SQLite. Airflow reads its configuration when it is imported: make one only."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        from demo.environment import airflow_environment

        os.environ.update({**airflow_environment(folder / "airflow"), **variables})
        from demo.airflow_database import initialize_database

        initialize_database()
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(REPOSITORY / "dags" / f"{DAG_ID}.py"), bundle_name="dags-folder")
        if bag.import_errors:
            raise RuntimeError(str(bag.import_errors))
        self._dags = bag.dags

    def run(self, dag_id: str) -> Ended:
        """Run a DAG until it ends."""
        from demo.run_dag import xcoms_of

        began = time.monotonic()
        run = self._dags[dag_id].test()
        seconds = time.monotonic() - began
        return Ended(str(run.state), seconds, xcoms_of(run).get("report", {}).get("report", {}))


class InServices:
    """
    Runs DAGs in Airflow's services.

    :param url: Address of Airflow's API server.
    """

    def __init__(self, url: str) -> None:
        from tests.system.rest import AirflowRest

        self._rest = AirflowRest(url)

    def run(self, dag_id: str) -> Ended:
        """Run a DAG until it ends."""
        from tests.system.rest import TaskKey

        run_id = self._rest.start(dag_id, {})
        ends = ("success", "failed")
        self._rest.wait_for(dag_id, lambda: self._rest.dag_run_state(dag_id, run_id) in ends, within=_LONGEST_RUN_S)
        run = self._rest.dag_run(dag_id, run_id)
        began, ended = (datetime.fromisoformat(run[moment]) for moment in ("start_date", "end_date"))
        report = self._rest.xcom(TaskKey(dag_id, run_id, "report"), "report") if dag_id == DAG_ID else {}
        return Ended(
            str(run["state"]), (ended - began).total_seconds(), report or {}, _times(self._rest.tasks(dag_id, run_id))
        )


def _times(instances: list[dict[str, Any]]) -> dict[str, tuple[int, float, float]]:
    by_task: dict[str, list[tuple[float, float]]] = {}
    for one in instances:
        moments = [
            one[name] and datetime.fromisoformat(one[name]) for name in ("scheduled_when", "start_date", "end_date")
        ]
        if all(moments):  # one that was skipped did not run
            waited, ran = ((after - before).total_seconds() for before, after in pairwise(moments))
            by_task.setdefault(one["task_id"], []).append((waited, ran))
    return {
        task_id: (len(times), median(waited for waited, _ in times), median(ran for _, ran in times))
        for task_id, times in by_task.items()
    }


@contextmanager
def services(folder: Path, n: int, variables: dict[str, str]) -> Iterator[InServices]:
    """Airflow's services, and the pool."""
    from lightly_provider.fleet.pool import name_of_pool
    from tests.system.services import Services

    dags = folder / "dags"
    dags.mkdir()
    for file in (REPOSITORY / "dags" / f"{DAG_ID}.py", Path(__file__).with_name(f"{NOTHING}.py")):
        (dags / file.name).symlink_to(file)
    environment = {
        **variables,
        "BENCHMARK_DATASETS": str(n - 2),
        "BENCHMARK_TASKS": " ".join(TASKS),
        "BENCHMARK_POOL": name_of_pool("lightly_default"),
    }
    with Services(folder, dags, environment, WORKERS) as running:
        setup = [sys.executable, "-m", "lightly_provider", "fleet", "setup"]
        subprocess.run(setup, env=running.airflow_environment, check=True)
        yield InServices(running.url)


def check(fleet: Fleet, ended: Ended) -> list[str]:
    """Return what is not as it should be after a DAG run: a sentence each."""
    faults = [] if ended.state == "failed" else [f"The DAG run ended as {ended.state}, and not as failed."]
    datasets = {dataset["name"]: dataset for dataset in ended.report.get("datasets", ())}
    missing = {name: dataset["reason"] for name, dataset in datasets.items() if not dataset["onboarded"]}
    if len(datasets) != fleet.n:
        faults.append(f"{len(datasets)} of {fleet.n} datasets are in the report.")
    faults += [f"{name} is not onboarded: {missing[name]}" for name in missing if name not in fleet.broken]
    for name, cause in fleet.broken.items():
        if cause not in missing.get(name, ""):
            faults.append(f"{name} is not reported with {cause!r}, but: {missing.get(name, 'it is onboarded')}")
    return faults


@dataclass(frozen=True)
class Result:
    """
    What was measured.

    :param text: The table, and what is missed.
    :param faults: What is missed: a sentence each.
    """

    text: str
    faults: tuple[str, ...]


def measure(fleet: Fleet, sandbox: Sandbox, airflow: InThisProcess | InServices) -> Result:
    """Run the tasks that do nothing where times are taken, then the fleet twice."""
    from tests.system.faults import faulty_answers

    nothing = airflow.run(NOTHING) if isinstance(airflow, InServices) else None
    with faulty_answers(sandbox, share=FAULTY):
        requests = Requests(sandbox)
        first, n_first = airflow.run(DAG_ID), requests()
        second, n_second = airflow.run(DAG_ID), requests() - n_first
    faults = check(fleet, first) + check(fleet, second)
    lines = [
        f"{fleet.n} datasets, {len(fleet.broken)} of them with a broken bucket; {FAULTY:.0%} of the requests fail",
        f"{'':<34}{'seconds':>10}{'requests per dataset':>23}",
    ]
    if nothing:
        lines.append(f"{'mapped tasks that do nothing':<34}{nothing.seconds:>10.1f}")
    for title, ended, sent in (("first pass", first, n_first), ("second pass: nothing has changed", second, n_second)):
        lines.append(f"{title:<34}{ended.seconds:>10.1f}{sent / fleet.n:>23.2f}")
    for title, tasks in (("nothing", nothing.tasks if nothing else {}), ("first pass", first.tasks)):
        for task_id, (n, waited, ran) in tasks.items():
            lines.append(f"  {title}: {n:>4} {task_id:<28} waited {waited:6.1f} s, ran {ran:5.1f} s (medians)")
    lines += [
        f"  {dataset['name']}: {dataset['ending']}: {dataset['reason'].splitlines()[0]}"
        for dataset in first.report.get("datasets", ())
        if not dataset["onboarded"]
    ]
    if (per_dataset := n_second / fleet.n) > MOST_REQUESTS:
        faults.append(f"The second pass sent {per_dataset:.1f} requests per dataset, more than {MOST_REQUESTS:g}.")
    if nothing:
        times = first.seconds / nothing.seconds
        lines.append(f"The first pass took {times:.2f} times as long as tasks that do nothing.")
        if times > MOST_TIMES:
            faults.append(f"That is more than {MOST_TIMES:g} times.")
    lines += [f"MISSED: {fault}" for fault in faults] or ["All targets are kept."]
    return Result("\n".join(lines), tuple(faults))


def _install(arguments: list[str]) -> NoReturn:
    """Make the environments and see that the servers are there, then run this again in the environment of Airflow."""
    for command in (["make", ".venv-system/.ready", ".venv-sandbox/.ready"], ["scripts/setup-services"]):
        subprocess.run(command, cwd=REPOSITORY, check=True)
    python = str(REPOSITORY / ".venv-system" / "bin" / "python")
    os.execv(python, [python, str(Path(__file__).resolve()), "--installed", *arguments])  # noqa: S606 - no shell


def main() -> int:
    """Measure, and say whether the targets are kept."""
    parser = argparse.ArgumentParser(description="Onboards a fleet of datasets, two of them with a broken bucket.")
    parser.add_argument("--datasets", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--small", action="store_true", help=f"{SMALL} datasets, in this process and environment")
    parser.add_argument("--installed", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.small and not arguments.installed:
        _install(sys.argv[1:])
    if arguments.datasets < 3:
        parser.error(f"--datasets is {arguments.datasets}; give at least 3, as two of them are broken.")
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from onboarding import logs_elsewhere

    from tests.integration.sandbox import RunningSandbox

    with tempfile.TemporaryDirectory(prefix="fleet-", ignore_cleanup_errors=True) as home:
        folder = Path(home)
        with RunningSandbox(folder / "sandbox", "--workers", "0") as sandbox:
            fleet = Fleet(sandbox, folder, SMALL if arguments.small else arguments.datasets)
            variables = {
                "AIRFLOW_CONN_LIGHTLY_DEFAULT": sandbox.lightly_connection(),
                "AIRFLOW_CONN_LIGHTLY_BUCKET": fleet.connection,
                "AIRFLOW_VAR_LIGHTLY_FLEET_FILE": str(fleet.file),
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            if arguments.small:
                with logs_elsewhere(folder / "airflow.log"):
                    result = measure(fleet, sandbox, InThisProcess(folder, variables))
            else:
                with services(folder, fleet.n, variables) as airflow:
                    result = measure(fleet, sandbox, airflow)
    print(result.text)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
