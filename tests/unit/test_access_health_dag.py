"""What the health DAG reports, and when it fails; whole runs of it are among the integration tests."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyError, LightlyPermissionsError

if TYPE_CHECKING:
    from collections.abc import Callable

DAG_FILE = Path(__file__).parents[2] / "dags" / "lightly_access_health.py"
A, B, C = (letter * 24 for letter in "abc")


class TaskInstance:
    """Keeps XComs from one run to the next, as Airflow does with ``include_prior_dates``."""

    task_id = "report"
    map_index = -1

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        return self.pushed.get(key)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture(scope="module")
def report() -> Callable[..., list[str]]:
    """The function of the task ``report``."""
    return runpy.run_path(str(DAG_FILE))["report"].function  # type: ignore[no-any-return]


def verdict(dataset_id: str, status: str = "PASS") -> dict[str, Any]:
    check = {
        "purpose": "INPUT",
        "permission": "read",
        "status": status,
        "cause": None if status == "PASS" else "no policy allows it",
        "location": "s3://acme/raw/",
        "access": "user access",
    }
    return {"dataset_id": dataset_id, "ok": status == "PASS", "checks": [check]}


def test_all_is_well(report: Callable[..., list[str]]) -> None:
    ti = TaskInstance()
    assert report([A, B], [verdict(A), verdict(B)], ti=ti) == []
    assert ti.pushed["verdicts"].keys() == {A, B}


def test_no_dataset_is_well_too(report: Callable[..., list[str]]) -> None:
    assert report([], None, ti=TaskInstance()) == []


def test_a_dataset_without_a_verdict_fails_and_keeps_its_last_one(report: Callable[..., list[str]]) -> None:
    ti = TaskInstance()
    report([A, B], [verdict(A), verdict(B)], ti=ti)
    with pytest.raises(LightlyError, match=f"1 of 2 datasets could not be verified .{B}.") as caught:
        report([A, B], [verdict(A)], ti=ti)
    assert not isinstance(caught.value, LightlyPermissionsError)
    assert ti.pushed["changes"] == []
    with pytest.raises(LightlyPermissionsError):
        report([A, B], [verdict(A), verdict(B, "FAIL")], ti=ti)
    (change,) = ti.pushed["changes"]
    assert change.startswith(f"Dataset {B}: INPUT read (Lightly says): PASS -> FAIL")


@pytest.mark.parametrize("verdicts", [None, []])
def test_a_listing_that_failed_is_a_failure_and_no_dataset_is_gone(
    report: Callable[..., list[str]], verdicts: list[dict[str, Any]] | None
) -> None:
    ti = TaskInstance()
    report([A, B], [verdict(A), verdict(B)], ti=ti)
    with pytest.raises(LightlyError, match="The datasets could not be listed"):
        report(None, verdicts, ti=ti)
    assert ti.pushed["changes"] == []
    assert ti.pushed["verdicts"].keys() == {A, B}


def test_what_a_listing_no_longer_holds_is_gone(report: Callable[..., list[str]]) -> None:
    ti = TaskInstance()
    report([A, B], [verdict(A), verdict(B)], ti=ti)
    assert report([A, C], [verdict(A), verdict(C)], ti=ti) == [f"Dataset {B} is gone"]
    assert ti.pushed["verdicts"].keys() == {A, C}


def test_a_denial_beside_one_that_was_not_seen_names_both(report: Callable[..., list[str]]) -> None:
    with pytest.raises(LightlyPermissionsError, match=f"{A}.*{B}"):
        report([A, B], [verdict(A, "FAIL")], ti=TaskInstance())
