"""``make airflow``: Airflow with the example DAGs, connected to the sandbox that ``make sandbox`` runs."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from demo import provision
from demo.environment import REPOSITORY, DemoError, Sandbox, airflow_environment, executable


def main() -> int:
    """Prepare the bucket, then become ``airflow standalone``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    try:
        environment = _environment(arguments.ready_file, arguments.port)
    except DemoError as error:
        print(f"Airflow was not started: {error}", file=sys.stderr)
        return 1
    print(
        f"Airflow starts at http://127.0.0.1:{arguments.port} (no login needed). Trigger lightly_s3_onboarding with\n"
        f"  input_path    {provision.INPUT}\n  lightly_path  {provision.LIGHTLY}\n  poll_interval 2\n"
        "Ctrl-C stops it.",
        flush=True,
    )
    return _become_airflow(environment)


def _become_airflow(environment: dict[str, str]) -> NoReturn:
    os.execve(executable("airflow"), ["airflow", "standalone"], environment)  # noqa: S606 - it takes this one's place


def _environment(ready_file: Path, port: int) -> dict[str, str]:
    if not ready_file.exists():
        raise DemoError("the sandbox is not running; start it with `make sandbox` in another terminal.")
    sandbox = Sandbox.read(ready_file)
    try:
        os.kill(sandbox.pid, 0)
    except ProcessLookupError:
        raise DemoError("the sandbox has stopped; start it with `make sandbox` in another terminal.") from None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoError(f"port {port} is taken; choose another with `make airflow AIRFLOW_PORT=8090`.") from None
    provision.upload_photos(ready_file)
    connection = provision.bucket_connection(sandbox, ready_file.with_name("bucket-connection.json"))
    return {
        **airflow_environment(sandbox, REPOSITORY / "airflow-home", connection),
        # Everybody who reaches the page is an administrator, so only this machine may reach it.
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }


if __name__ == "__main__":
    sys.exit(main())
