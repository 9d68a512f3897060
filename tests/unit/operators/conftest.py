from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.api.scripted_platform import ScriptedPlatform, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ScriptedPlatform]]:
    """Starts a platform that follows the given steps, and sets the connection ``lightly_default`` to it."""
    import tenacity.nap

    class NoTime:
        @staticmethod
        def sleep(seconds: float) -> None:
            """The pauses between attempts are decided, and not waited for."""

    monkeypatch.setattr(tenacity.nap, "time", NoTime)
    with ExitStack() as stack:

        def start(*steps: Step) -> ScriptedPlatform:
            started = stack.enter_context(ScriptedPlatform(steps))
            connection = {"conn_type": "lightly", "host": started.address, "password": TOKEN}
            monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
            return started

        yield start


class TaskInstance:
    """Stands for Airflow's, which needs a running task: keeps what is pushed."""

    task_id = "task"
    map_index = -1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(
        self,
        *,
        task_ids: str,
        key: str = "return_value",
        include_prior_dates: bool = False,
        map_indexes: int | None = None,
    ) -> Any:
        return self.xcoms.get(key)


@pytest.fixture
def context() -> dict[str, Any]:
    """As much of a task's context as the operators use."""
    return {"ti": TaskInstance()}
