"""The operator that lists ended runs, in Airflow: what a task that failed had listed is listed again."""

from __future__ import annotations

import json
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset

from lightly_provider.operators.events import ListEndedRunsOperator
from tests.integration.airflow_run import mark_success, run_own_dag
from tests.unit.triggers.waiting_platform import WaitingPlatform

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.providers.common.compat.sdk import Context

HAS_ASSET_STATE_STORE = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)


class Killed(ListEndedRunsOperator):
    """Fails after it has kept its cursor, if told to: as if it were killed before Airflow knows of its success."""

    fails = False

    def perform(self, context: Context) -> list[dict[str, Any]]:
        """List the runs, and fail."""
        found = super().perform(context)
        if self.fails:
            raise RuntimeError(f"killed, with {len(found)} runs")
        return found


@pytest.mark.exhaustive(
    sample="tests/unit/runs/test_ended.py::test_every_run_that_ends_is_handed_on_whatever_is_killed"
)
@pytest.mark.parametrize("has_asset", [True, False])
def test_a_task_that_fails_after_it_kept_its_cursor_loses_nothing(
    has_asset: bool, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_asset and not HAS_ASSET_STATE_STORE:
        pytest.skip("Airflow before 3.3 has no asset state store.")
    dag_id = f"ended_runs_{'asset' if has_asset else 'xcom'}"
    with DAG(dag_id, schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False) as dag:
        task = Killed(task_id="list", inlets=[Asset(name=f"{dag_id}-asset")] if has_asset else [])

    with WaitingPlatform() as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": platform.token}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        platform.add(1, run_state="COMPLETED")
        platform.add(2, run_state="EMBEDDING")

        def listed(*, killed: bool = False) -> list[str] | None:
            task.fails = killed
            outcome = run_own_dag(dag, database)
            assert outcome.state == ("failed" if killed else "success")
            value = outcome.xcoms.get(("list", "return_value"))
            return None if value is None else [each["dag_run_id"] for each in value]

        assert listed() == []
        platform.runs[f"{2:024x}"].run_state = "FAILED"
        platform.add(3, run_state="COMPLETED")
        assert listed(killed=True) is None
        ids = [f"lightly_run__{platform.runs[f'{n:024x}'].run_id}" for n in (2, 3)]
        assert listed(killed=True) is None
        mark_success(database, dag_id, "list")
        assert sorted(listed() or []) == ids
        assert listed() == []
