"""Where ``ListEndedRunsOperator`` keeps its cursor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import Asset

from lightly_provider.operators.events import ListEndedRunsOperator, _Memory

RUNS = Asset("runs")


class Store(dict[str, Any]):
    """The asset state store of one asset."""

    set = dict.__setitem__


def test_each_instance_of_a_mapped_task_has_a_cursor_of_its_own() -> None:
    task = ListEndedRunsOperator(task_id="list", inlets=[RUNS])
    store = Store()

    def memory(map_index: int) -> _Memory:
        ti = SimpleNamespace(dag_id="a_dag", map_index=map_index)
        context: Any = {"ti": ti, "asset_state_store": {RUNS: store}}
        return _Memory(task, context)

    for index in (-1, 0, 1):
        memory(index).write({"cursor of": index})
    assert [memory(index).read() for index in (-1, 0, 1)] == [{"cursor of": index} for index in (-1, 0, 1)]
    # As earlier versions named it.
    assert memory(-1)._key == "lightly_ended_runs_e592f55b1796024a"
    assert len({memory(index).place for index in (-1, 0, 1)}) == 3
