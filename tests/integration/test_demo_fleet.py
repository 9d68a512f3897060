"""What ``make demo-fleet`` runs, with fewer datasets: its last lines, a second time, its secrets, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.integration.sandbox import REPOSITORY, executable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("airflow.sdk", reason="the demo runs Airflow 3")

N = 3
SAMPLE = "tests/unit/fleet/test_report.py::test_each_dataset_has_its_ending_and_the_failed_one_its_reason"
LONGEST_S = 400


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "demo.fleet", "--datasets", str(N), "--output", str(folder)]


def secrets_in(folder: Path) -> list[str]:
    """The token, the administrator's key, and that of Lightly's user."""
    found = [json.loads((folder / "bucket-connection.json").read_text())["password"]]
    kept = (folder / "ready-copy.json").read_text()
    ready = json.loads(kept)
    return [*found, ready["token"], ready["aws_secret_access_key"]]


@pytest.fixture(autouse=True)
def traffic() -> None:
    """No requests of this process, and so no sandbox beside the one that is started."""


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "LIGHTLY_SANDBOX": executable()}


@pytest.fixture
def demo(tmp_path: Path, environment: dict[str, str], interruptible: None) -> Iterator[subprocess.Popen[str]]:
    """The demo, in a session of its own, as in a terminal."""
    process = subprocess.Popen(
        command(tmp_path),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lines_until(process: subprocess.Popen[str], text: str, folder: Path) -> list[str]:
    """What it prints until a line has a text; the sandbox's ready file is copied when it is there."""
    lines = []
    for line in process.stdout or ():
        lines.append(line.rstrip("\n"))
        ready = folder / "sandbox" / "ready.json"
        if ready.exists():
            (folder / "ready-copy.json").write_bytes(ready.read_bytes())
        if text in line:
            return lines
    raise AssertionError("\n".join(lines))


@pytest.mark.exhaustive(sample=SAMPLE)
@pytest.mark.timeout(2 * LONGEST_S)
def test_the_last_lines_are_the_statement_and_the_count_twice_in_a_row_and_nothing_has_a_secret(
    demo: subprocess.Popen[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    printed = lines_until(demo, "datasets onboarded", tmp_path)
    assert demo.wait(60) == 0
    again = subprocess.run(
        command(tmp_path),
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=True,
    )

    for lines in (printed, again.stdout.splitlines()):
        assert lines[-1] == f"{N - 1} of {N} datasets onboarded"
        statement = json.loads("\n".join(lines[lines.index("{") : -1]))
        assert "s3:PutObject" in statement["Action"]
        assert any("demo-fleet/results/" in resource for resource in statement["Resource"])
    assert sum("unchanged" in line for line in again.stdout.splitlines()) == N - 1
    logs = [path.read_text(errors="replace") for path in tmp_path.rglob("*.log")]
    kept = [*logs, (tmp_path / "result.json").read_text(), (tmp_path / "lightly_fleet.yaml").read_text()]
    everything = "\n".join([*printed, again.stdout, again.stderr, *kept])
    assert "camera-01" in everything
    for secret in secrets_in(tmp_path):
        assert len(secret) > 15
        assert secret not in everything


@pytest.mark.exhaustive(sample=SAMPLE)
def test_ctrl_c_leaves_nothing_running(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    lines_until(demo, "Airflow runs", tmp_path)
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(60) == 130
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if str(tmp_path) in command] == []
