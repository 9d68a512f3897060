"""When a queue that uploads arrive in should be drained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Bell:
    """
    Rings when messages wait and the queue has been quiet for a while, or when they have waited long enough.

    After it rang, it is silent until the queue was empty or the cool-down has passed. So a slow drain is not called
    again and again, and messages that it left are not forgotten.

    :param quiet_period: Seconds for which the number of messages must not have changed.
    :param longest_wait: Seconds after which it rings although messages keep arriving.
    :param cool_down: Seconds of silence after it rang, unless the queue was empty.
    """

    quiet_period: float
    longest_wait: float
    cool_down: float
    _count: int = 0
    _waiting_since: float | None = None
    _changed_at: float = 0.0
    _silent_until: float = float("-inf")

    def rings(self, count: int, now: float) -> bool:
        """
        Look at the queue once.

        :param count: How many messages wait.
        :param now: The time in seconds, from a clock that never goes back.
        """
        if count <= 0:
            self._count, self._waiting_since, self._silent_until = 0, None, float("-inf")
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        if count != self._count:
            self._count, self._changed_at = count, now
        is_time = now - self._changed_at >= self.quiet_period or now - self._waiting_since >= self.longest_wait
        if not is_time or now < self._silent_until:
            return False
        self._waiting_since, self._silent_until = now, now + self.cool_down
        return True
