from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from lightly_provider import exceptions
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyRunError,
)

ALL = [
    cls
    for _, cls in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(cls, BaseException) and cls.__module__ == exceptions.__name__
]


def made(cls: type[LightlyError]) -> LightlyError:
    members: dict[str, Any] = {}
    if issubclass(cls, LightlyConnectionError):
        members = {"operation": "o", "maybe_applied": True}
    elif issubclass(cls, LightlyApiError):
        members = {"operation": "o", "status": 418, "code": "C", "request_id": "r", "retry_after": 1.5}
    elif issubclass(cls, LightlyRunError):
        members = {"scheduled_run_id": "s", "run_id": "r"}
    return cls("what happened", **members)


@pytest.mark.parametrize("cls", ALL)
def test_every_error_is_a_lightly_error_with_its_own_text(cls: type[LightlyError]) -> None:
    assert issubclass(cls, LightlyError)
    assert str(made(cls)) == "what happened"
    assert cls.__doc__


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_every_error_survives_the_way_to_another_process(cls: type[LightlyError], copied: Any) -> None:
    before = made(cls)
    after = copied(before)
    assert type(after) is cls
    assert (str(after), after.args, vars(after)) == (str(before), before.args, vars(before))


def test_a_connection_that_cannot_be_right_is_a_value_error_too() -> None:
    assert issubclass(LightlyConnectionConfigError, ValueError)


def test_no_error_of_the_platform_is_a_value_error() -> None:
    assert [c for c in ALL if issubclass(c, LightlyApiError) and issubclass(c, ValueError)] == []


def test_what_a_run_leaves_behind_is_told_by_its_ids() -> None:
    error = LightlyRunError("it failed", scheduled_run_id="s")
    assert (error.scheduled_run_id, error.run_id) == ("s", None)
