"""The sandbox's processes: started with a lifeline, watched, and stopped together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightly_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STOP_SECONDS = 12.0
LOG_TAIL_LINES = 15
HOPELESS_SECONDS = 5.0
"""A worker that ends sooner than this after its start would end again."""


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with ``variables``, for a process of the sandbox.

    LIGHTLY_WORKER_ID is left out: the user's shell may name a worker there, which is not the sandbox's.
    """
    own = {name: value for name, value in os.environ.items() if name != "LIGHTLY_WORKER_ID"}
    return {**own, **variables}


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: a module of the sandbox, its arguments (no secrets: other users can see them).

    ``inherits`` are the inherited file descriptors, of sockets and locks.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    inherits: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    restarts: bool = False
    """Whether it is started again when it fails, as Docker's restart policy ``on-failure`` does it."""


@dataclass(slots=True)
class Child:
    """A running program and its log file."""

    program: Program
    process: subprocess.Popen[bytes]
    log: Path
    started_at: float

    def send(self, secrets: bytes) -> None:
        """Send the secrets that the program expects on its standard input."""
        if self.process.stdin is None:
            raise AssertionError("every child has a standard input")
        try:
            self.process.stdin.write(secrets)
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # It has ended; ``Children.check`` reports this with the end of its log.

    def end(self) -> str:
        """Describe how it ended, with the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(
            (
                f"The sandbox's {self.program.name} ended with exit code {self.process.returncode}. "
                f"The last lines of its log, {self.log}:",
                *lines,
            )
        )


class Children:
    """Programs that are started one after the other, and stopped in reverse order."""

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._running: list[Child] = []
        # Nothing is ever written to the pipe: closing it is the signal. See lifeline.py.
        self._lifeline, self._held = os.pipe()

    def start(self, program: Program) -> Child:
        """Start ``program``; its output is added to its log."""
        log = self._logs / f"{program.name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 (our own modules)
                [
                    # -P: otherwise `python -m` would also import from the current folder, the user's, where
                    # a file may have the same name as a module.
                    *(sys.executable, "-P", "-m", "lightly_sandbox.process.lifeline", str(self._lifeline)),
                    *(program.module, *program.arguments),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(self._lifeline, *program.inherits),
                env=environment_with({"PYTHONUNBUFFERED": "1", **program.environment}),
                # Only the supervisor gets a Ctrl-C in the terminal; it then stops the others in order.
                start_new_session=True,
            )
        child = Child(program, process, log, time.monotonic())
        self._running.append(child)
        return child

    def check(self) -> None:
        """Restart a worker that has failed. Exit code 0 means that a run or a signal ended it.

        Raises:
            SandboxError: another part has ended, or a worker has failed right after its start.
        """
        for child in list(self._running):
            if child.process.poll() is None:
                continue
            if child.program.restarts and child.process.returncode == 0:
                self._running.remove(child)
                self._say(
                    f"{child.program.name} has shut down, because of a run's shutdown_when_job_finished or a "
                    "signal. Start another one with `lightly-sandbox worker`, or restart this sandbox."
                )
                continue
            hopeless = time.monotonic() - child.started_at < HOPELESS_SECONDS
            if hopeless or not child.program.restarts:
                raise SandboxError(child.end())
            self._running.remove(child)
            self._say(f"{child.program.name} ended with exit code {child.process.returncode}; restarting it.")
            self.start(child.program)

    def stop(self) -> None:
        """Ask each program to end, the last one first, and kill those that do not."""
        for child in reversed(self._running):
            if child.process.poll() is None:
                child.process.terminate()
                try:
                    child.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()
        os.close(self._held)
        os.close(self._lifeline)
