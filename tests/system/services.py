"""Airflow as it runs in production, on loopback: PostgreSQL, Redis, Celery and each of Airflow's services a process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import requests

from tests.system.service_name import VARIABLE, service_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.rest import TaskKey

REPOSITORY = Path(__file__).resolve().parents[2]
START_DEADLINE_S = 120
SERVERS = ("postgres", "redis")
TRIGGERERS = ("triggerer-1", "triggerer-2")
CELERY_WORKER = "celery-worker"


class MissingProgramError(RuntimeError):
    """A program that the tests start is not installed here."""


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()


def program(name: str) -> str:
    """Path of a server's program, also where Debian keeps PostgreSQL's."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, places)]))
    if found is None:
        raise MissingProgramError(f"{name} is not installed; `make test-system` installs it, or says what it needs.")
    return found


@dataclass
class Services:
    """
    Context manager: everything that is needed to run DAGs, each a process that the test may kill.

    :param home: An empty folder for all state.
    :param dags: The folder with the DAGs.
    :param environment: What the services get beside the configuration, e.g. connections.
    :param workers: Names of the Celery workers, which begin with ``celery-worker``.
    :param start_deadline: Seconds within which each must have started.
    """

    home: Path
    dags: Path
    environment: dict[str, str]
    workers: tuple[str, ...] = (CELERY_WORKER,)
    start_deadline: float = START_DEADLINE_S
    processes: dict[str, psutil.Popen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api_port, self._postgres_port, self._redis_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.api_port}"
        self._elsewhere: Path | None = None

    def __enter__(self) -> Services:
        try:
            self._start_postgres()
            self._start_redis()
            self.run_command("db", "migrate")
            for name in ("api-server", "scheduler", "dag-processor", *TRIGGERERS, *self.workers):
                self.start(name)
            self.await_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Airflow's services first: none shall complain of a database that is gone.
        for name in reversed(list(self.processes)):
            self.kill(name)
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)

    def start(self, name: str) -> None:
        """Start one of Airflow's services; one that was killed starts anew under its name."""
        commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self.api_port), "--workers", "1"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
        }
        if name in self.workers:
            # Each worker needs a name, and a file for its process id.
            names = ["--celery-hostname", f"{name}@%h", "--pid", str(self.home / f"{name}.pid")]
            commands[name] = ["celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle", *names]
        command = commands.get(name, ["triggerer", "--skip-serve-logs"])
        self._spawn(name, [sys.executable, "-m", "airflow", *command])

    def start_again_what_ended(self) -> None:
        """What the supervisor of a machine's services does: start those of Airflow's that ended by themselves."""
        for name, process in list(self.processes.items()):
            if name not in SERVERS and process.poll() is not None:
                self.start(name)

    def stop_server(self, name: str) -> None:
        """Stop PostgreSQL or Redis, with what is connected to it."""
        # PostgreSQL: a fast shutdown, which ends the sessions; by SIGTERM it would wait until they end.
        self.processes[name].send_signal(signal.SIGINT)
        self.processes[name].wait(60)

    def start_server(self, name: str) -> None:
        """Start PostgreSQL or Redis again, with what it keeps on disk."""
        {"postgres": self._run_postgres, "redis": self._start_redis}[name]()

    def signal(self, name: str, number: signal.Signals, *, children: bool = True) -> None:
        """Send a signal to a service, and to the processes that it started."""
        for process in self._tree(name) if children else [self.processes[name]]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self, name: str) -> None:
        """End a service and all that it started, at once."""
        tree = self._tree(name)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(tree, timeout=20)

    def stop(self, name: str, *, within: float = 60) -> None:
        """Ask a service to end (SIGTERM), and wait until it has."""
        self.processes[name].terminate()
        self.processes[name].wait(within)

    def start_anew(self, name: str) -> None:
        """What whoever watches a service does when it is silent: ask it to end, end it if it does not, and start it."""
        try:
            self.stop(name, within=20)
        except psutil.TimeoutExpired:
            self.kill(name)
        self.start(name)

    def log_of(self, name: str) -> str:
        """What a service printed."""
        return (self.home / f"{name}.log").read_text(errors="replace")

    def task_log(self, task: TaskKey) -> str:
        """All that the tries of a task logged, the triggerers' part too."""
        folder = self.home / "logs" / f"dag_id={task.dag_id}" / f"run_id={task.run_id}" / f"task_id={task.task_id}"
        if task.map_index >= 0:
            folder /= f"map_index={task.map_index}"
        return "\n".join(path.read_text(errors="replace") for path in sorted(folder.rglob("*.log*")))

    # --- how they start ------------------------------------------------------------------------------------------

    @property
    def airflow_environment(self) -> dict[str, str]:
        """The services' environment; deadlines are shortened so that a test sees what else takes minutes."""
        database = f"postgresql+psycopg2://airflow@127.0.0.1:{self._postgres_port}/airflow"
        configuration = {
            "CORE__DAGS_FOLDER": str(self.dags),
            "CORE__HOSTNAME_CALLABLE": f"{service_name.__module__}.{service_name.__name__}",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__PARALLELISM": "32",
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": "32",
            "DATABASE__SQL_ALCHEMY_CONN": database,
            "CELERY__BROKER_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "CELERY__RESULT_BACKEND": f"db+{database}",
            "CELERY__WORKER_CONCURRENCY": "4",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.api_port),
            "API_AUTH__JWT_SECRET": "system-tests-on-loopback-only",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "3",
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            # Longer than a busy machine takes to start a task.
            "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            # A triggerer's first question to Airflow's API loads all of it, which takes its time on a busy machine.
            "TRIGGERER__ON_KILL_TIMEOUT": "90",
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        return {
            **os.environ,
            **{f"AIRFLOW__{option}": value for option, value in configuration.items()},
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
            **self.environment,
        }

    def _spawn(self, name: str, command: list[str], user: str | None = None) -> None:
        log = (self.home / f"{name}.log").open("a")
        self.processes[name] = psutil.Popen(
            command,
            env={**self.airflow_environment, VARIABLE: name},
            cwd=self.home if user is None else "/",
            stdout=log,
            stderr=subprocess.STDOUT,
            user=user,
            start_new_session=True,
        )
        log.close()

    def run_command(self, *arguments: str) -> None:
        """Run a command of Airflow as an administrator does, and wait for its end."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.airflow_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{done.stdout[-3000:]}")

    def _start_postgres(self) -> None:
        # PostgreSQL refuses to run as root, and no other user can pass through pytest's own folders.
        user = "postgres" if os.geteuid() == 0 else None
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._elsewhere = folder
        if user:
            shutil.chown(folder, user)
        initdb = [program("initdb"), "--pgdata", str(folder), "--username", "airflow", "--auth", "trust"]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd="/")
        self._run_postgres()
        createdb = [program("createdb"), "-h", "127.0.0.1", "-p", str(self._postgres_port), "-U", "airflow", "airflow"]
        self._await("PostgreSQL's database", lambda: _succeeds(createdb), "postgres")

    def _run_postgres(self) -> None:
        user = "postgres" if os.geteuid() == 0 else None
        options = ["-h", "127.0.0.1", "-p", str(self._postgres_port), "-k", "", "-c", "fsync=off"]
        self._spawn("postgres", [program("postgres"), "-D", str(self._elsewhere), *options], user=user)
        self._await("PostgreSQL", lambda: _reachable(self._postgres_port), "postgres")

    def _start_redis(self) -> None:
        # What it holds is on disk when it is asked to end, and there again when it starts.
        options = ["--bind", "127.0.0.1", "--port", str(self._redis_port), "--dir", str(self.home)]
        self._spawn("redis", [program("redis-server"), *options])
        self._await("Redis", lambda: _reachable(self._redis_port), "redis")

    def await_healthy(self) -> None:
        """Wait until Airflow says of itself that it is well."""

        def healthy() -> bool:
            try:
                answer = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
            except (requests.RequestException, ValueError):
                return False
            return all(answer[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer"))

        self._await("Airflow", healthy, *self.processes)

    def _await(self, what: str, ready: Callable[[], object], *names: str) -> None:
        deadline = time.monotonic() + self.start_deadline
        while not ready():
            dead = [name for name in names if self.processes[name].poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self.log_of(name)[-2000:]}" for name in dead or names)
                raise RuntimeError(f"{what} did not start:\n{logs}")
            time.sleep(0.2)

    def _tree(self, name: str) -> list[psutil.Process]:
        process = self.processes[name]
        with suppress(psutil.NoSuchProcess):
            return [*process.children(recursive=True), process]
        return []


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
