"""
Wait until an IAM change has taken effect.

AWS docs: IAM user guide, "Changes that I make are not always immediately visible": IAM is eventually consistent. Until
a change has reached all servers, some respond with the old state and some with the new one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
# One success does not prove that the change has reached all servers.
_SUCCESSES = 2

# Error codes that S3, STS and IAM return until a new key, user, role or policy has reached all servers.
_NOT_YET = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AuthFailure",
        "ForbiddenException",
        "403",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "NoSuchEntity",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


def may_be_propagating(code: str, message: str) -> bool:
    """
    Return whether AWS may have denied a request because a grant has not propagated yet.

    An explicit deny is a policy statement, so waiting does not help.

    :param code: AWS error code.
    :param message: AWS error message.
    """
    return code in _NOT_YET and "explicit deny" not in message


def wait_until(check: Callable[[], str | None], *, timeout: float) -> tuple[str | None, float]:
    """
    Check a condition, with growing pauses, until it holds twice in a row.

    :param check: Returns None when the condition holds, else what is missing. An exception ends the wait.
    :param timeout: Maximum wait, in seconds; 0 checks once.
    :return: None on success, else what was missing at the last check; and the elapsed seconds.
    """
    started = time.monotonic()
    pause, successes = _FIRST_PAUSE_S, 0
    while True:
        missing = check()
        successes = 0 if missing else successes + 1
        waited = time.monotonic() - started
        if missing is None and (successes >= _SUCCESSES or timeout <= 0):
            return None, waited
        left = timeout - waited
        if left <= 0:
            return missing, waited
        time.sleep(min(pause, left))
        pause = _FIRST_PAUSE_S if missing is None else min(pause * 2, _LONGEST_PAUSE_S)
