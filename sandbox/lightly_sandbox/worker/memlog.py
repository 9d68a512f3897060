"""The memory usage of a run (MEMLOG)."""

from __future__ import annotations

import os
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_INTERVAL_SECONDS = 1.0
_STATM = Path("/proc/self/statm")


class MemoryLog:
    """Records the worker's memory once a second, and whenever the run's state changes.

    The contract does not define the file's format; here each line has a time, a state, and a number of MiB.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._noted_at = float("-inf")

    def note(self, state: str, *, now: bool = False) -> None:
        """Add a line, ``now`` or when a second has passed since the last one."""
        if now or time.monotonic() - self._noted_at >= _INTERVAL_SECONDS:
            self._noted_at = time.monotonic()
            at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
            self._lines.append(f"{at} {state:<24} {resident_bytes() / 2**20:9.1f} MiB\n")

    def as_text(self) -> str:
        """Return all lines."""
        return "".join(self._lines)


def resident_bytes() -> int:
    """Return the current memory of this process; on systems without that, its maximum so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB elsewhere (see getrusage(2) there).
    return peak if sys.platform == "darwin" else peak * 1024
