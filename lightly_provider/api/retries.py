"""The retry policy of both clients: which calls are retried, and after which pause."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lightly_provider.api.pacing import LEAST_PAUSE
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyConnectionError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from lightly_provider.api.calls import Call

log = logging.getLogger(__name__)


def is_safe_to_repeat(call: Call[Any], error: BaseException) -> bool:
    """
    Return whether a call can be retried after a failure.

    :param call: The call that was sent.
    :param error: The failure.
    """
    if isinstance(error, LightlyRateLimitError):
        return True
    if isinstance(error, LightlyConnectionError):
        return call.repeatable or not error.maybe_applied
    if isinstance(error, LightlyServerError):
        return call.repeatable and error.status != 501
    if isinstance(error, LightlyResponseError):
        # E.g. a page of a proxy that restarts, instead of the platform's answer.
        return call.repeatable and error.status is not None and error.status < 300
    return False


def policy(
    call: Call[Any],
    *,
    max_attempts: int,
    longest_wait: float,
    within: float | None = None,
    held: Callable[[], float] = lambda: 0.0,
) -> dict[str, Any]:
    """
    Return the retry policy of a call, as keyword arguments of tenacity's ``Retrying`` and ``AsyncRetrying``.

    :param call: Call to send.
    :param max_attempts: Maximum number of attempts, including the first.
    :param longest_wait: Maximum pause, in seconds; limits ``Retry-After``.
    :param within: Maximum time of all attempts and pauses, in seconds. None (default): no limit.
    :param held: Returns for how many seconds nobody may send a request, as the platform asked. Default: 0.
    """
    from tenacity import retry_if_exception, stop_after_attempt

    pause_of: dict[int, float] = {}

    def pause(state: RetryCallState) -> float:
        pause_of[state.attempt_number] = max(_pause(state, longest_wait), held())
        return pause_of[state.attempt_number]

    def is_time_up(state: RetryCallState) -> bool:
        since_start = state.seconds_since_start or 0.0
        return within is not None and since_start + pause_of.get(state.attempt_number, 0.0) >= within

    return {
        "retry": retry_if_exception(lambda error: is_safe_to_repeat(call, error)),
        "wait": pause,
        "stop": lambda state: stop_after_attempt(max_attempts)(state) or is_time_up(state),
        "before_sleep": _logged(max_attempts),
        "reraise": True,
    }


def _pause(state: RetryCallState, longest: float) -> float:
    from tenacity import wait_random_exponential

    error = state.outcome.exception() if state.outcome else None
    jittered = wait_random_exponential(multiplier=1, max=longest)(state)
    if isinstance(error, LightlyApiError) and error.retry_after is not None:
        return float(min(error.retry_after, longest) + min(jittered, 1.0))
    least = min(LEAST_PAUSE, longest) if isinstance(error, LightlyRateLimitError) else 0.0
    return float(max(least, jittered))


def _logged(max_attempts: int) -> Callable[[RetryCallState], None]:
    def log_retry(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        log.warning(
            "Attempt %d of %d failed, the next follows in %.1f s: %s", state.attempt_number, max_attempts, pause, error
        )

    return log_retry
