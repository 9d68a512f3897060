"""
Airflow's services, each a process that is forked from this one, with one ``import airflow`` for all of them.

``airflow standalone`` starts five processes that import Airflow one by one, which takes most of its start; its services
also offer their logs to all of the network. These listen on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from demo.airflow_database import initialize_database, keep_connections
from lightly_provider.fleet import set_up_pool

# Airflow's page reads the logs from the files, so the services need not serve them.
SERVICES = {
    "api-server": (),
    "dag-processor": (),
    "scheduler": ("--skip-serve-logs",),
    "triggerer": ("--skip-serve-logs",),
}
_CONNECTION = "AIRFLOW_CONN_"
_LONGEST_STOP_S = 10


def main() -> int:
    """Initialize the database, start the services, and run until one of them ends or SIGTERM."""
    # What several services need is imported before they are forked.
    import airflow.cli.cli_parser
    import airflow.jobs.scheduler_job_runner
    import airflow.jobs.triggerer_job_runner  # noqa: F401
    from airflow import settings
    from airflow.api_fastapi.auth.tokens import get_signing_args
    from airflow.configuration import write_default_airflow_configuration_if_needed

    # Also makes the key that encrypts the connections.
    write_default_airflow_configuration_if_needed()
    initialize_database()
    # The example DAG of a fleet runs in it.
    set_up_pool()
    # From the environment to the database: a connection in the environment is not on Airflow's page.
    names = [name for name in os.environ if name.startswith(_CONNECTION)]
    keep_connections({name.removeprefix(_CONNECTION).lower(): os.environ.pop(name) for name in names})
    # Each service signs with the same key, and opens its own connection to the database.
    get_signing_args()
    settings.dispose_orm()
    logs = Path(os.environ["AIRFLOW_HOME"]) / "services"
    logs.mkdir(parents=True, exist_ok=True)
    services = {_fork(name, arguments, logs / f"{name}.log"): name for name, arguments in SERVICES.items()}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ended, status = os.wait()
        print(f"Airflow's {services.pop(ended)} ended; its log in {logs} says why.", file=sys.stderr, flush=True)
        return os.waitstatus_to_exitcode(status) or 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(services)


def _fork(name: str, arguments: tuple[str, ...], log: Path) -> int:
    """Fork a service, and return its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork() or _become(name, arguments, log)


def _become(name: str, arguments: tuple[str, ...], log: Path) -> NoReturn:
    """Run ``airflow NAME ARGUMENTS`` in this process, and end it."""
    from airflow import settings

    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        settings.configure_orm()  # type: ignore[no-untyped-call]
        sys.argv = ["airflow", name, *arguments]
        runpy.run_module("airflow", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    except BaseException:  # noqa: BLE001 - nothing of this process may go on in the code that forked it
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _stop(services: dict[int, str]) -> None:
    for pid in services:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    # A service that does not end in time is ended by the process that started this one.
    signal.alarm(_LONGEST_STOP_S)
    for pid in services:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main())
