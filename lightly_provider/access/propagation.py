"""
Waiting until a change of IAM has taken effect.

AWS docs: IAM user guide, "Changes that I make are not always immediately visible": a change reaches all servers only
after some time, and until then some answer by the old state and some by the new one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
# One server that knows does not mean that all do.
_SUCCESSES = 2

# What S3, STS and IAM answer as long as a new key, user, role or policy has not reached them all.
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


def may_be_on_its_way(code: str, message: str) -> bool:
    """
    Whether a refusal may be one of a grant that has not arrived yet.

    An explicit deny is a statement of its own, which no waiting removes.

    :param code: AWS's error code.
    :param message: AWS's text.
    """
    return code in _NOT_YET and "explicit deny" not in message


def wait_until(check: Callable[[], str | None], *, timeout: float) -> tuple[str | None, float]:
    """
    Check until a condition holds twice in a row, with growing pauses.

    :param check: Returns None when the condition holds, else what is missing. An exception ends the wait.
    :param timeout: Seconds; 0 looks once.
    :return: None, or what was missing to the last; and the seconds that it took.
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
