"""
Measures the first minutes of a new user: from a clone to a finished run in Airflow's graph, by the README's commands.

    python3 benchmarks/first_hour.py [--demo]

Clones the committed state of this checkout into a temporary folder, where nothing is installed yet, and runs there what
the README says. Packages may come from a cache of the installer. ``--demo`` also runs ``make demo``, twice. Needs only
the standard library, git, make and python3.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
DAG = "lightly_s3_onboarding"
LONGEST_STEP_S = 600.0
LOOK_EVERY_S = 0.25


def main() -> int:
    """Run the commands, and print how long each took; 0 if the run in Airflow succeeded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--demo", action="store_true", help="run `make demo` twice, too")
    with_demo = parser.parse_args().demo
    steps: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="first-hour-") as temporary, ExitStack() as started:
        checkout = Path(temporary) / "checkout"
        with timed("git clone", steps):
            subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(checkout)], check=True)  # noqa: S607
        with timed("install (make .venv/.ready .venv-sandbox/.ready)", steps):
            make(checkout, ".venv/.ready", ".venv-sandbox/.ready")
        with timed("make sandbox: ready", steps):
            ports = {name: free_port() for name in ("SANDBOX_PORT", "AWS_PORT", "AIRFLOW_PORT")}
            options = [f"{name}={port}" for name, port in ports.items()]
            sandbox = started.enter_context(running(checkout, "sandbox", *options))
            wait(lambda: (checkout / "sandbox-state" / "ready.json").exists(), sandbox)
        with timed("make airflow: ready", steps):
            airflow = started.enter_context(running(checkout, "airflow", *options))
            ready = checkout / "airflow-home" / "ready.json"
            wait(ready.exists, airflow)
        with timed(f"{DAG}: triggered to finished", steps):
            state = run_dag(json.loads(ready.read_text())["url"], airflow)
        report(steps, f"from the clone to a run that is {state}")
        started.close()
        if with_demo:
            demos: list[tuple[str, float]] = []
            for which in ("first", "second"):
                with timed(f"make demo, the {which} time", demos):
                    make(checkout, "demo")
            report(demos, "both")
    return 0 if state == "success" else 1


@contextmanager
def timed(name: str, steps: list[tuple[str, float]]) -> Iterator[None]:
    """Note how long a step took."""
    began = time.monotonic()
    yield
    steps.append((name, time.monotonic() - began))
    print(f"  {name}: {steps[-1][1]:.1f} s", file=sys.stderr, flush=True)


def report(steps: list[tuple[str, float]], total: str) -> None:
    """Print a table in Markdown."""
    print("| step | seconds |\n|---|---|")
    for name, seconds in [*steps, (total, sum(seconds for _, seconds in steps))]:
        print(f"| {name} | {seconds:.1f} |")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", flush=True)


def make(checkout: Path, *targets: str) -> None:
    """Run make targets to their end, with their output on the standard error."""
    subprocess.run(["make", *targets], cwd=checkout, env=environment(), stdout=sys.stderr, check=True)  # noqa: S607


@contextmanager
def running(checkout: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A make target that runs until Ctrl-C."""
    process = subprocess.Popen(
        ["make", *arguments],  # noqa: S607
        cwd=checkout,
        env=environment(),
        stdout=sys.stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()


def environment() -> dict[str, str]:
    """The variables of this process, but for those that would lead to another checkout or Airflow."""
    foreign = ("AIRFLOW", "LIGHTLY", "PYTHONPATH", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def wait(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for a condition while the process runs."""
    deadline = time.monotonic() + LONGEST_STEP_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r} ended, or took longer than {LONGEST_STEP_S:.0f} s; see above.")
        time.sleep(LOOK_EVERY_S)


def run_dag(url: str, airflow: subprocess.Popen[bytes]) -> str:
    """Trigger the DAG with the values that its form shows, and return the state at its end."""
    token = _call(url, "/auth/token")["access_token"]
    params = _call(url, f"/api/v2/dags/{DAG}/details", token)["params"]
    conf = {name: param["value"] for name, param in params.items()}
    run = _call(url, f"/api/v2/dags/{DAG}/dagRuns", token, {"logical_date": None, "conf": conf})["dag_run_id"]
    state = ""

    def is_over() -> bool:
        nonlocal state
        state = _call(url, f"/api/v2/dags/{DAG}/dagRuns/{run}", token)["state"]
        return state in ("success", "failed")

    wait(is_over, airflow)
    return state


def _call(url: str, path: str, token: str = "", body: dict[str, Any] | None = None) -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{url}{path}", data, headers), timeout=60) as answer:  # noqa: S310 - its scheme is http
        return json.load(answer)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
