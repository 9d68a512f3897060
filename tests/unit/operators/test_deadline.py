"""When a deferred task stops waiting, on each Airflow by its own rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from lightly_provider.operators import deadline
from lightly_provider.operators.deadline import deadline_of, longest_wait

NOW = 1_800_000_000.0
STARTED_BEFORE = 100.0


@pytest.mark.parametrize(
    ("timeout", "limit", "on_airflow_3", "on_airflow_2"),
    [
        (None, None, None, None),
        (60, None, 60, 60),
        (None, 3600, 3600, 3600 - 100 - 60),
        (60, 3600, 60, 60),
        (3500, 3600, 3500, 3600 - 100 - 60),
        (86_400, 3600, 3600, 3600 - 100 - 60),
        (None, 50, 50, 50 - 100 - 25),
    ],
)
@pytest.mark.parametrize("is_airflow_3", [True, False])
def test_a_deferred_task_ends_before_airflow_ends_it(
    timeout: float | None,
    limit: float | None,
    on_airflow_3: float | None,
    on_airflow_2: float | None,
    is_airflow_3: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "AIRFLOW_V_3_0_PLUS", is_airflow_3)
    task = BaseOperator(task_id="a", execution_timeout=None if limit is None else timedelta(seconds=limit))
    ti = SimpleNamespace(start_date=datetime.fromtimestamp(NOW - STARTED_BEFORE, UTC))
    expected = on_airflow_3 if is_airflow_3 else on_airflow_2
    assert deadline_of(task, ti, timeout=timeout, now=NOW) == (None if expected is None else NOW + expected)
    assert longest_wait(task, timeout) == on_airflow_3
