"""A sandbox for the duration of a demo: on free ports, with its state in the demo's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from demo.environment import DemoError, Sandbox, sandbox_executable, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_DEADLINE_S = 120.0


@contextmanager
def running_sandbox(folder: Path) -> Iterator[tuple[Sandbox, Path]]:
    """
    Run a sandbox with one worker; what an earlier one left in the folder is there again.

    :param folder: The demo's folder; the sandbox's state goes to ``sandbox``, its output to ``sandbox.log``.
    :return: The sandbox, and its ready file.
    """
    state, log = folder / "sandbox", folder / "sandbox.log"
    ready_file = state / "ready.json"
    _stop_left_over(ready_file)
    command = [sandbox_executable(), "up", "--state-dir", str(state), "--port", "0", "--aws-port", "0"]
    command += ["--workers", "1", "--ready-file", str(ready_file), "--hide-secrets"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + _START_DEADLINE_S
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:]
                    raise DemoError(f"the sandbox did not start ({' '.join(last)}); {shown_path(log)} says why.")
                time.sleep(0.1)
            yield Sandbox.read(ready_file), ready_file
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()


def _stop_left_over(ready_file: Path) -> None:
    """Stop the sandbox of a demo that was killed; it removes its ready file when it ends."""
    if not ready_file.exists():
        return
    pid = Sandbox.read(ready_file).pid
    if _is_sandbox(pid):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _START_DEADLINE_S
    while _is_sandbox(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    ready_file.unlink(missing_ok=True)


def _is_sandbox(pid: int) -> bool:
    try:
        return "lightly-sandbox" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
