"""A sandbox for the duration of a demo: on free ports, with its state in the demo's folder."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from demo.environment import DemoError, Sandbox, sandbox_executable, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    _stop_left_over(state, ready_file)
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


def _stop_left_over(state: Path, ready_file: Path) -> None:
    """
    Stop the sandbox of a demo that was killed; it removes its ready file when it ends.

    :raises DemoError: It does not end.
    """
    if not ready_file.exists():
        return
    # The sandbox knows by its lock whether it still runs; a process id may be another process's by now.
    command = [sandbox_executable(), "stop", "--state-dir", str(state)]
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=_START_DEADLINE_S, check=False)
    if stopped.returncode:
        raise DemoError(f"the sandbox of an earlier demo could not be stopped: {stopped.stderr.strip()}")
    ready_file.unlink(missing_ok=True)
