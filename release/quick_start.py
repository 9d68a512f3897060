"""Follow the README of the built wheel to a green run of the example DAG: `make test-quick-start`.

As somebody does who has the index page and no checkout: Airflow in one new environment, the sandbox in another one,
both distributions from ``dist/``, and the commands of the README as they stand there, in three terminals. What differs
is that Airflow gets a free port, and listens on this machine only.
"""

from __future__ import annotations

import argparse
import email
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from release.distributions import PROVIDER, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AIRFLOW = "3.3.2"
DAG = "lightly_s3_onboarding"
_SANDBOX_STARTS_S, _AIRFLOW_STARTS_S, _RUN_S = 120.0, 300.0, 300.0
_LOOK_EVERY_S = 0.5


class QuickStartError(Exception):
    """What did not work, in a sentence."""


def commands(description: str) -> dict[str, list[str]]:
    """Return the blocks without a language of a README, by the heading under which they stand."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^## ", description, flags=re.MULTILINE):
        blocks = re.findall(r"^ *```\n(.*?)^ *```$", section, flags=re.MULTILINE | re.DOTALL)
        found[section.splitlines()[0]] = [textwrap.dedent(block) for block in blocks]
    return found


def description_of(wheel: Path) -> str:
    """Return the README as a package index shows it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        payload = email.message_from_bytes(archive.read(name)).get_payload(decode=True)
    return payload.decode("utf-8") if isinstance(payload, bytes) else ""


def run(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a block in a shell, to its end."""
    done = subprocess.run(
        ["bash", "-euc", command],  # noqa: S607
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise QuickStartError(f"This failed:\n{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")


@contextmanager
def running(command: str, folder: Path, environment: dict[str, str], log: Path) -> Iterator[Callable[[], str]]:
    """Run a block in a shell until the end of the context; gives a function for what it printed so far."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-euc", command],  # noqa: S607
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def printed() -> str:
        text = log.read_text(encoding="utf-8", errors="replace")
        if process.poll() is not None:
            raise QuickStartError(f"This ended:\n{command}\n{text[-4000:]}")
        return text

    try:
        yield printed
    finally:
        # As Ctrl-C in a terminal reaches all processes of the command.
        for number, seconds in ((signal.SIGINT, 30), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a truthy answer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise QuickStartError(f"{what} within {seconds:.0f} s.")
        time.sleep(_LOOK_EVERY_S)


def states(database: Path, table: str) -> list[str]:
    """Return the states of the DAG's runs (``dag_run``) or tasks (``task_instance``); none before there is a table."""
    if not database.exists():
        return []
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
            asked = opened.execute(f"SELECT state FROM {table} WHERE dag_id = ?", (DAG,))  # noqa: S608
            return [str(row[0]) for row in asked]
    except sqlite3.OperationalError:
        return []


def is_parsed(database: Path) -> bool:
    """Whether Airflow knows the DAG."""
    if not database.exists():
        return False
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
            return bool(opened.execute("SELECT 1 FROM serialized_dag WHERE dag_id = ?", (DAG,)).fetchall())
    except sqlite3.OperationalError:
        return False


def follow(dist: Path, folder: Path) -> None:
    """
    Follow the README in an empty folder.

    :param dist: The folder of the built wheels.
    :param folder: Takes the place of the home folder, and of the folder in which the user works.
    """
    blocks = commands(description_of(dist / PROVIDER.file("wheel", PROVIDER.version())))
    (install,) = blocks["Install"]
    sandbox, photos, airflow, trigger = blocks["Run the example DAG"]

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    kept = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_CACHE_DIR")
    before = {name: value for name, value in os.environ.items() if name in kept}
    before |= {"HOME": str(folder), "PIP_FIND_LINKS": str(dist), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    constraints = REPOSITORY / "release" / "constraints" / f"airflow-{AIRFLOW}.txt"
    in_airflow = before | {
        "PATH": f"{folder}/airflow-venv/bin:{before['PATH']}",
        "PIP_CONSTRAINT": str(constraints),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    # What the user has already.
    uv, python = str(Path(sys.executable).with_name("uv")), f"{folder}/airflow-venv/bin/python"
    made = f"{uv} venv --quiet --seed --python {sys.executable} {folder}/airflow-venv"
    run(made, folder, dict(os.environ))
    wanted = f"{uv} pip install --quiet --python {python} --constraint {constraints} apache-airflow=={AIRFLOW}"
    run(wanted, folder, dict(os.environ))
    run(install, folder, in_airflow)

    in_sandbox = before | {"PIP_CONSTRAINT": str(REPOSITORY / "sandbox" / "constraints.txt")}
    with running(sandbox, folder, in_sandbox, folder / "sandbox.log") as printed:
        exports: list[str] = []

        def has_exports() -> bool:
            exports[:] = [line for line in printed().splitlines() if line.startswith("export ")]
            return len(exports) == 2

        wait_until(has_exports, _SANDBOX_STARTS_S + 300, "The sandbox printed no two lines that begin with export")
        second_terminal = "\n".join([*exports, photos, airflow])
        database = folder / "airflow" / "airflow.db"
        with running(second_terminal, folder, in_airflow, folder / "airflow.log") as of_airflow:
            wait_until(lambda: of_airflow() and is_parsed(database), _AIRFLOW_STARTS_S, "Airflow parsed no example DAG")
            run(trigger, folder, in_airflow)
            ended = ("success", "failed")
            wait_until(
                lambda: of_airflow() and (found := states(database, "dag_run")) and found[0] in ended,
                _RUN_S,
                f"The DAG run did not end ({states(database, 'task_instance')})",
            )
            if states(database, "dag_run") != ["success"]:
                raise QuickStartError(f"The DAG run failed: {states(database, 'task_instance')}.\n{_logs(folder)}")


def _logs(folder: Path) -> str:
    logs = sorted((folder / "airflow" / "logs").rglob("attempt=*.log"), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text(encoding="utf-8", errors="replace")[-4000:] if logs else ""


def main() -> int:
    """Follow the README, and say how long it took; 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dist", type=Path, default=REPOSITORY / "dist", help="folder of the wheels (default dist)")
    dist = parser.parse_args().dist.resolve()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lightly-quick-start-") as folder:
        try:
            follow(dist, Path(folder))
        except QuickStartError as error:
            print(f"The README does not lead to a green run. {error}", file=sys.stderr)
            print("0 passed, 1 failed")
            return 1
    print(f"From the README of the wheel to a green run of {DAG}: {time.monotonic() - started:.0f} s")
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
