"""The process that runs a DAG of a demo (``demo.run_dag``); it gets ready beside the sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from demo.environment import REPOSITORY, DemoError, airflow_environment, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class AirflowProcess:
    """
    The running process.

    :param process: The process.
    :param log: What it prints.
    :param result: What it writes when the DAG run has ended.
    """

    process: subprocess.Popen[bytes]
    log: Path
    result: Path

    def start(self, variables: Mapping[str, str]) -> None:
        """
        Start the DAG run.

        :param variables: For its environment, e.g. Airflow's connections.
        """
        # Without a reader, the process has ended, and its log says why.
        with suppress(BrokenPipeError), cast("IO[bytes]", self.process.stdin) as waiting:
            waiting.write(json.dumps(dict(variables)).encode())

    def xcoms(self, state: str = "success") -> dict[str, dict[str, Any]]:
        """
        Return what the tasks of the ended DAG run pushed, by key and task id; of a mapped task a list.

        :param state: The state in which the DAG run is expected to have ended.
        """
        outcome: dict[str, Any] = json.loads(self.result.read_text()) if self.result.exists() else {"state": "broken"}
        if outcome["state"] != state:
            raise DemoError(f"the DAG run ended as {outcome['state']}; {shown_path(self.log)} says why.")
        found: dict[str, dict[str, Any]] = outcome["xcoms"]
        return found


@contextmanager
def airflow_process(folder: Path, dag_id: str, conf: Mapping[str, Any]) -> Iterator[AirflowProcess]:
    """
    Run ``demo.run_dag``, which imports Airflow and makes its database, and then waits for :meth:`AirflowProcess.start`.

    :param folder: The demo's folder; Airflow's home is ``airflow`` in it.
    :param dag_id: The DAG.
    :param conf: The configuration of the DAG run.
    """
    log, result = folder / "airflow-run.log", folder / "result.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "demo.run_dag", dag_id, "--conf", json.dumps(conf), "--result", str(result)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=airflow_environment(folder / "airflow"),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield AirflowProcess(process, log, result)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
