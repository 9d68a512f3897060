"""What a task pushed before is read without an ERROR in the log of a first run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lightly_provider.operators.earlier_xcom import pushed_before

VERDICT = {"ok": True}


class OfAirflow3:
    """As much of Airflow 3's task instance: a single XCom that is not there is an ERROR in the task's log."""

    task_id, dag_id, map_index = "verify", "dag", -1

    def __init__(self, xcoms: dict[str, Any], n_successes: int, previous: str | None) -> None:
        self.xcoms, self.n_successes, self.previous = xcoms, n_successes, previous
        self.errors = 0

    def get_ti_count(self, *, states: list[str], **_: Any) -> int:
        assert states == ["success"]
        return self.n_successes

    def get_previous_dagrun(self) -> Any:
        return self.previous and SimpleNamespace(run_id=self.previous)

    def xcom_pull(self, *, run_id: str | None = None, include_prior_dates: bool = False, **_: Any) -> Any:
        if run_id is not None:
            return self.xcoms.get(run_id, [])
        assert include_prior_dates
        self.errors += not self.xcoms
        return next(reversed(self.xcoms.values()), None)


@pytest.mark.parametrize(
    ("xcoms", "n_successes", "previous", "expected"),
    [
        ({}, 0, None, None),
        # Its first run failed before it pushed anything.
        ({}, 0, "first", None),
        # Its first run failed, and pushed why.
        ({"first": VERDICT}, 0, "first", VERDICT),
        # The run before failed without an answer, and an earlier one succeeded.
        ({"first": VERDICT}, 1, "second", VERDICT),
    ],
)
def test_what_an_earlier_run_pushed_is_found_and_nothing_is_no_error(
    xcoms: dict[str, Any], n_successes: int, previous: str | None, expected: Any
) -> None:
    ti = OfAirflow3(xcoms, n_successes, previous)
    assert pushed_before(ti, "verdict") == expected
    assert ti.errors == 0


def test_airflow_2_reads_its_database() -> None:
    asked: dict[str, Any] = {}

    def pull(**arguments: Any) -> Any:
        asked.update(arguments)
        return VERDICT

    assert pushed_before(SimpleNamespace(task_id="verify", map_index=3, xcom_pull=pull), "verdict") == VERDICT
    assert (asked["map_indexes"], asked["include_prior_dates"]) == (3, True)
