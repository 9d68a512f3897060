"""
A process that imports Airflow once and answers commands, a line of JSON each, over two pipes.

The module to run gets the numbers of the pipes as its arguments: it reads commands from the first, and writes answers
to the second.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class ForkingProcess:
    """
    The process; :meth:`close` ends it.

    :param module: Module that it runs.
    :param log: File for its output.
    :param environment: Environment variables to set in it.
    """

    def __init__(self, module: str, *, log: Path, environment: dict[str, str]) -> None:
        mine, theirs = os.pipe(), os.pipe()
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs[0]), str(mine[1])],
            env=os.environ | environment,
            cwd=REPOSITORY,
            pass_fds=(theirs[0], mine[1]),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        os.close(theirs[0])
        os.close(mine[1])
        self.answers, self.commands = os.fdopen(mine[0]), os.fdopen(theirs[1], "w")

    def close(self) -> None:
        """End the process."""
        self.commands.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.answers.close()
        self._log.close()

    def log(self) -> str:
        """Return its whole output."""
        return Path(self._log.name).read_text(errors="replace")
