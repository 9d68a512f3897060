from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from lightly_provider.hooks.lightly import LightlyHook
from tests.unit.api.scripted_platform import ScriptedPlatform, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def hook_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[LightlyHook, ScriptedPlatform]]]:
    """A hook whose connection leads to a platform that follows the given steps."""
    with ExitStack() as stack:

        def start(*steps: Step) -> tuple[LightlyHook, ScriptedPlatform]:
            platform = stack.enter_context(ScriptedPlatform(steps))
            connection = {"conn_type": "lightly", "host": platform.address, "password": TOKEN}
            monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
            hook = LightlyHook()
            stack.callback(hook.client.close)
            return hook, platform

        yield start


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between attempts are decided, and not waited for."""
    import tenacity.nap

    class NoTime:
        @staticmethod
        def sleep(seconds: float) -> None:
            """Nothing."""

    monkeypatch.setattr(tenacity.nap, "time", NoTime)
