"""What the health DAG reports, and when it fails; whole runs of it are among the integration tests."""

from __future__ import annotations

import json
import logging
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyError, LightlyPermissionsError
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

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


def test_a_datasource_in_another_cloud_is_left_out_and_reported(
    report: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find_datasets = runpy.run_path(str(DAG_FILE))["find_datasets"].function
    in_s3, in_gcs, in_both, hidden, empty = (letter * 24 for letter in "abcde")
    s3, gcs = {"type": "S3", "purpose": "INPUT"}, {"type": "GCS", "purpose": "LIGHTLY"}

    def sources(*items: dict[str, str]) -> Answer:
        return Answer(200, documented_answer("get_datasources_by_dataset_id", *items))

    listed = [
        {"id": each, "datasources": ["f" * 24] if each != empty else []}
        for each in (in_s3, in_gcs, in_both, hidden, empty)
    ]
    steps = [
        Answer(200, documented_answer("get_datasets", *listed)),
        *(sources(s3), sources(gcs), sources(s3, gcs), Answer(403, {"code": "FORBIDDEN", "error": "no"})),
    ]
    ti = TaskInstance()
    # Verified in the last run, when it was in S3.
    report([in_gcs], [verdict(in_gcs)], ti=ti)
    with ScriptedPlatform(steps) as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": "a-token-of-the-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        found = find_datasets(ti=ti)

    assert found == [in_s3, in_both, hidden]
    left_out = {in_gcs: ["LIGHTLY of type GCS"], in_both: ["LIGHTLY of type GCS"]}
    assert ti.pushed["not_in_s3"] == left_out
    with caplog.at_level(logging.INFO):
        assert report(found, [verdict(each) for each in found], ti=ti) == []
    assert "3 datasets verified, 0 changes." in caplog.text
    assert f"2 datasets have datasources that are not verified:\n  Dataset {in_gcs}: LIGHTLY of type GCS" in caplog.text
