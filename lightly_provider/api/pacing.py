"""
The pause that a platform asked for (HTTP 429), for all threads of this process that use the same token there.

Without it, each of several threads would find out by a refused request of its own, and the platform counts those, too.
"""

from __future__ import annotations

import random
import threading
import time
from functools import lru_cache

# The vendor's client waits at least this long after a 429 (lightly 1.5.26, api/retry_utils.py).
LEAST_PAUSE = 10.0


class Pacing:
    """The pause of one token at one platform; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def pause(self, seconds: float) -> None:
        """
        Let nobody send a request for some time; a longer pause is not shortened.

        :param seconds: Seconds from now on.
        """
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def left(self) -> float:
        """Return how many seconds of the pause are left; 0: there is none."""
        with self._lock:
            return max(0.0, self._until - time.monotonic())

    def wait_before(self, until: float | None) -> float:
        """
        Return how long to wait before the first attempt of a call, in seconds.

        Calls that waited for the same end are sent one after the other, within a second. A call whose deadline is
        before that end is sent at once: it could not be sent later, and may be one that cancels a run.

        :param until: Deadline of the call, by the monotonic clock. None: it has none.
        """
        left = self.left()
        wait = left + random.uniform(0.0, min(1.0, left))  # noqa: S311 (no secret)
        return wait if until is None or time.monotonic() + wait < until else 0.0


@lru_cache(maxsize=256)
def pacing_of(host: str, token: str) -> Pacing:
    """
    Return the pacing that everybody in this process shares who uses this token at this platform.

    :param host: Base URL of the API.
    :param token: API token.
    """
    return Pacing()
