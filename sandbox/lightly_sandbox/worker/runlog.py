"""What a run reports to its owner: its state, its log lines, and its memory usage."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lightly_sandbox.worker.memlog import MemoryLog

if TYPE_CHECKING:
    from lightly_sandbox.worker.api import Platform

logger = logging.getLogger(__name__)

_FLUSH_LINES = 50


class RunLog:
    """Collects a run's log lines, and sends them when the state changes or there are enough of them.

    ``memory`` is not sent; it becomes an artifact.
    """

    def __init__(self, platform: Platform, run_id: str) -> None:
        self._platform = platform
        self._run_id = run_id
        self._lines: list[dict[str, Any]] = []
        self._n_sent = 0
        self.memory = MemoryLog()
        self.state = "STARTED"

    def enter(self, state: str, message: str) -> None:
        """Enter a state."""
        self.flush()
        self.memory.note(self.state, now=True)
        self.state = state
        self._platform.set_run_state(self._run_id, state, message)
        self.say(message)
        self.flush()

    def say(self, message: str, level: str = "INFO") -> None:
        """Add a line."""
        logger.log(logging.getLevelNamesMapping()[level], "run %s: %s: %s", self._run_id, self.state, message)
        self._lines.append(
            {
                "ts": int(time.time() * 1000),
                "level": level,
                "group": "run",
                "origin": "lightly_sandbox.worker",
                "msg": message,
                "state": self.state,
            }
        )
        if len(self._lines) - self._n_sent >= _FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Send the lines that have not been sent."""
        if self._n_sent < len(self._lines):
            self._platform.add_logs(self._run_id, self._lines[self._n_sent :])
            self._n_sent = len(self._lines)

    def as_text(self) -> str:
        """Return all lines in a readable form, with times in UTC."""
        return "".join(
            f"{datetime.fromtimestamp(line['ts'] / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
            f" {line['level']:<7} {line['state']}: {line['msg']}\n"
            for line in self._lines
        )
