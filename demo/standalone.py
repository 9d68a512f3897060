"""``make airflow``: Airflow with the example DAGs, connected to the sandbox that ``make sandbox`` runs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from demo import provision
from demo.bucket import BUCKET, INPUT, LIGHTLY, N_PHOTOS
from demo.environment import REPOSITORY, DemoError, Sandbox, airflow_environment, connection_variables
from demo.fleet_file import write_fleet_file

_LOOK_EVERY_S = 0.25
_LONGEST_STOP_S = 10
_DAG = "lightly_s3_onboarding"
# The folders of some of the photos: the datasets of the example DAG of a fleet.
_FLEET = ("astronaut", "brick", "coffee")


def main() -> int:
    """Prepare the bucket, then run Airflow until Ctrl-C."""
    started = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True, help="what the sandbox wrote when it was ready")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, default=REPOSITORY / "airflow-home")
    arguments = parser.parse_args()
    home = arguments.home.absolute()
    try:
        sandbox = _running_sandbox(arguments.ready_file)
        _check_port(arguments.port)
        print(f"> Uploading {N_PHOTOS} real photos to {INPUT}, and starting Airflow", flush=True)
        connection = provision.bucket_connection(sandbox, arguments.ready_file.with_name("bucket-connection.json"))
        environment = _environment(sandbox, home, connection, arguments.port)
    except DemoError as error:
        print(f"Airflow was not started: {error}", file=sys.stderr)
        return 1
    return _run_airflow(environment, home, arguments.ready_file, arguments.port, started)


def _run_airflow(environment: dict[str, str], home: Path, sandbox: Path, port: int, started: float) -> int:
    """Run Airflow's services until one of them ends or Ctrl-C, and leave none of them behind."""
    ready = home / "ready.json"
    (home / "services").mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)
    # A session of its own: Ctrl-C reaches this process alone, which then ends all of them.
    with _log(home, "start").open("wb") as log:
        airflow = psutil.Popen(
            [sys.executable, "-m", "demo.airflow_services"],
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Beside the services' start, most of which does not need the photos.
        provision.upload_photos(sandbox)
        while airflow.poll() is None and not _is_ready(port):
            time.sleep(_LOOK_EVERY_S)
        if airflow.poll() is None:
            # Others wait for this file, so it is written whole.
            new = ready.with_suffix(".new")
            new.write_text(json.dumps({"url": f"http://127.0.0.1:{port}", "pid": os.getpid()}))
            new.replace(ready)
            print(_invitation(port, home, time.monotonic() - started), flush=True)
        status = int(airflow.wait())
        print(f"Airflow ended; {_log(home, 'start')} says why.", file=sys.stderr)
        return status or 1
    except KeyboardInterrupt:
        return 130
    except subprocess.CalledProcessError as error:
        print(f"The photos were not uploaded: {error.stderr.decode(errors='replace').strip()}", file=sys.stderr)
        return 1
    finally:
        ready.unlink(missing_ok=True)
        _stop(airflow)


def _log(home: Path, service: str) -> Path:
    return home / "services" / f"{service}.log"


def _invitation(port: int, home: Path, seconds: float) -> str:
    return (
        f"Airflow is ready after {seconds:.0f} s: http://127.0.0.1:{port}/dags/{_DAG} (no login)\n"
        "  Click Trigger, and Trigger again: the form has the sandbox's values. Then open the run's graph.\n"
        f"  Logs of the services: {home / 'services'}; Ctrl-C stops Airflow."
    )


def _is_ready(port: int) -> bool:
    """Whether each service works, and Airflow's page lists the example DAGs."""
    health = _answer(port, "/api/v2/monitor/health")
    if any(health.get(part, {}).get("status") != "healthy" for part in ("scheduler", "dag_processor", "triggerer")):
        return False
    # Without a login, every visitor is an administrator and gets a token.
    token = _answer(port, "/auth/token").get("access_token", "")
    files = {dag["relative_fileloc"] for dag in _answer(port, "/api/v2/dags?limit=100", token).get("dags", ())}
    # One that cannot be parsed is shown on Airflow's page.
    files |= {error["filename"] for error in _answer(port, "/api/v2/importErrors", token).get("import_errors", ())}
    return files >= {path.name for path in (REPOSITORY / "dags").glob("*.py")}


def _answer(port: int, path: str, token: str = "") -> dict[str, Any]:
    """The API's answer; empty if it does not answer yet."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - its scheme is http
            found: dict[str, Any] = json.load(answer)
    except (URLError, OSError, ValueError):
        return {}
    return found


def _stop(airflow: psutil.Popen) -> None:
    if airflow.poll() is not None:
        return
    # A second Ctrl-C must not leave a service behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    services = [*airflow.children(recursive=True), airflow]
    for service in services:
        with suppress(psutil.NoSuchProcess):
            service.terminate()
    for service in psutil.wait_procs(services, timeout=_LONGEST_STOP_S)[1]:
        with suppress(psutil.NoSuchProcess):
            service.kill()


def _running_sandbox(ready_file: Path) -> Sandbox:
    if not ready_file.exists():
        raise DemoError("the sandbox is not running; start it with `make sandbox` in another terminal.")
    sandbox = Sandbox.read(ready_file)
    try:
        os.kill(sandbox.pid, 0)
    except ProcessLookupError:
        raise DemoError("the sandbox has stopped; start it with `make sandbox` in another terminal.") from None
    return sandbox


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoError(f"port {port} is taken; choose another with `make airflow AIRFLOW_PORT=8090`.") from None


def _environment(sandbox: Sandbox, home: Path, bucket_connection: str, port: int) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    fleet_file = home / "lightly_fleet.yaml"
    write_fleet_file(fleet_file, [(f"{BUCKET}-{name}", f"{INPUT}{name}/", f"{LIGHTLY}{name}/") for name in _FLEET])
    path = [str(REPOSITORY / "demo" / "airflow_settings"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {
        **airflow_environment(home),
        **connection_variables(sandbox, bucket_connection),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "AIRFLOW_VAR_LIGHTLY_FLEET_FILE": str(fleet_file),
        # Everybody who reaches the page is an administrator, so only this machine may reach it.
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }


if __name__ == "__main__":
    sys.exit(main())
