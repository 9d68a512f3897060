"""Secrets that are easy to find: each of the tests' secrets holds the word CANARY, and no text may."""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightly_provider.exceptions import LightlyError

CANARY = "CANARY"


def texts_of(error: BaseException) -> str:
    """All that a log, a debugger or a task's log can show of an exception."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is not None and current not in chain:
            chain.append(current)
            waiting += [current.__cause__, current.__context__]
    parts = [text for e in chain for text in (str(e), repr(e), repr(e.args), repr(vars(e)))]
    return "\n".join([*parts, *traceback.format_exception(error)])


def assert_tells_nothing(error: LightlyError | None) -> LightlyError:
    assert error is not None
    assert CANARY not in texts_of(error)
    assert error.__context__ is None, "the exception underneath holds the address with the token"
    assert error.__cause__ is None
    assert CANARY not in texts_of(pickle.loads(pickle.dumps(error)))
    return error
