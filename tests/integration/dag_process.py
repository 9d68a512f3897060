"""
Runs example DAGs in a process of their own, whose whole output is kept, with Airflow's logging at DEBUG.

``DagProcess`` starts ``python -m tests.integration.dag_process``: it imports Airflow and parses the DAGs once, and
forks for each DAG run. So no run knows what another has registered for masking.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from tests.integration.airflow_run import example_dags
from tests.integration.forking_process import ForkingProcess

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS = "AIRFLOW_CONN_"


class DagProcess:
    """
    Context manager: the process that forks for each DAG run.

    :param folder: Where the output of each run goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n_runs = 0

    def __enter__(self) -> DagProcess:
        environment = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}
        self._process = ForkingProcess(__name__, log=self._folder / "start.txt", environment=environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def run(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Run an example DAG to its end, with this process's connections; return everything that was printed."""
        self._n_runs += 1
        output = self._folder / f"run-{self._n_runs}.txt"
        connections = {name: value for name, value in os.environ.items() if name.startswith(CONNECTIONS)}
        command = {"dag_id": dag_id, "conf": conf, "output": str(output), "connections": connections}
        print(json.dumps(command), file=self._process.commands, flush=True)
        if not self._process.answers.readline():
            raise RuntimeError(f"The process of the DAG runs ended:\n{self._process.log()[-4000:]}")
        return output.read_text(errors="replace")


# --- in the process of the DAG runs ------------------------------------------------------------------------------


def main() -> None:
    """Answer commands until there are no more."""
    commands, answers = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "w")
    dags, api = example_dags(), _initialized_api()
    for line in commands:
        command = json.loads(line)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _run(dags[command["dag_id"]], api, command)
        os.waitpid(pid, 0)
        print("ended", file=answers, flush=True)
    # Not by the interpreter's own end, which would wait for the thread of Airflow's API.
    os._exit(0)


def _initialized_api() -> Any:
    """Airflow's API in this process, which takes some seconds to initialize; None: Airflow 2 has none."""
    try:
        from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, in_process_api_server
    except ImportError:
        return None
    InProcessTestSupervisor._api_client().variables.get("none")
    return in_process_api_server()


def _run(dag: Any, api: Any, command: dict[str, Any]) -> None:
    """Run the DAG in this fork, and end it."""
    try:
        output = os.open(command["output"], os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for name in [name for name in os.environ if name.startswith(CONNECTIONS)]:
            del os.environ[name]
        os.environ.update(command["connections"])
        _leave_to_parent(api)
        print("DAG run", dag.test(run_conf=command["conf"]).state)
    except BaseException:  # noqa: BLE001 - it must not go on as the other process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _leave_to_parent(api: Any) -> None:
    """Forget database connections and the API's thread: both stay in the process that was forked."""
    from airflow import settings

    settings.engine.dispose(close=False)
    if api is not None:
        del api.transport
        if settings.async_engine is not None:
            settings.async_engine.sync_engine.dispose(close=False)


if __name__ == "__main__":
    main()
