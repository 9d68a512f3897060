"""Where ``ListEndedRunsOperator`` keeps its cursor."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from lightly_provider import airflow_internals
from lightly_provider.operators.events import ListEndedRunsOperator, _Memory, _was_handed_on

RUNS = Asset("runs")
DAY = 24 * 3600


class Store(dict[str, Any]):
    """The asset state store of one asset."""

    set = dict.__setitem__


class Stores:
    """The asset state stores by asset: here, one for all. An asset of Airflow 3.0 cannot be a dict's key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, asset: Any) -> Store:
        return self._store


def test_each_instance_of_a_mapped_task_has_a_cursor_of_its_own() -> None:
    task = ListEndedRunsOperator(task_id="list", inlets=[RUNS])
    store = Store()

    def memory(map_index: int) -> _Memory:
        ti = SimpleNamespace(dag_id="a_dag", map_index=map_index)
        context: Any = {"ti": ti, "asset_state_store": Stores(store)}
        return _Memory(task, context)

    for index in (-1, 0, 1):
        memory(index).write({"cursor of": index})
    assert [memory(index).read() for index in (-1, 0, 1)] == [{"cursor of": index} for index in (-1, 0, 1)]
    # As earlier versions named it.
    assert memory(-1)._key == "lightly_ended_runs_e592f55b1796024a"
    assert len({memory(index).place for index in (-1, 0, 1)}) == 3


@pytest.mark.parametrize(
    ("state", "age", "was_handed_on"),
    [
        (airflow_internals.DELETED, 8 * DAY, True),
        (airflow_internals.DELETED, DAY, False),
        (None, 8 * DAY, False),
        ("failed", 8 * DAY, False),
        ("success", DAY, True),
    ],
)
def test_the_runs_of_a_task_that_airflow_has_deleted_by_age_are_not_handed_on_again(
    state: str | None, age: float, was_handed_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_internals, "state_of_task", lambda **_: state)
    owner = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    cursor: Any = SimpleNamespace(owner=owner, looked_at=time.time() - age, returned=None)
    assert _was_handed_on(None, cursor) is was_handed_on
