"""``make airflow``: Airflow with the example DAGs, connected to the sandbox that ``make sandbox`` runs."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from demo import provision
from demo.environment import REPOSITORY, DemoError, Sandbox, airflow_environment, executable


def main() -> int:
    """Prepare the bucket, then run ``airflow standalone``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, default=REPOSITORY / "airflow-home")
    arguments = parser.parse_args()
    try:
        environment = _environment(arguments.ready_file, arguments.port, arguments.home)
    except DemoError as error:
        print(f"Airflow was not started: {error}", file=sys.stderr)
        return 1
    print(
        f"Airflow starts at http://127.0.0.1:{arguments.port} (no login needed). Trigger lightly_s3_onboarding with\n"
        f"  input_path    {provision.INPUT}\n  lightly_path  {provision.LIGHTLY}\n  poll_interval 2\n"
        "Ctrl-C stops it.",
        flush=True,
    )
    return _run_airflow(environment)


def _run_airflow(environment: dict[str, str]) -> int:
    """Run ``airflow standalone`` until it ends or Ctrl-C, and leave none of its services behind."""
    # A session of its own: Ctrl-C reaches this process alone, which then ends all of them.
    airflow = psutil.Popen([executable("airflow"), "standalone"], env=environment, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(airflow.wait())
    except KeyboardInterrupt:
        services = [*airflow.children(recursive=True), airflow]
        for service in services:
            with suppress(psutil.NoSuchProcess):
                service.terminate()
        for service in psutil.wait_procs(services, timeout=10)[1]:
            with suppress(psutil.NoSuchProcess):
                service.kill()
        return 130


def _environment(ready_file: Path, port: int, home: Path) -> dict[str, str]:
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
        **airflow_environment(sandbox, home.absolute(), connection),
        # Everybody who reaches the page is an administrator, so only this machine may reach it.
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }


if __name__ == "__main__":
    sys.exit(main())
