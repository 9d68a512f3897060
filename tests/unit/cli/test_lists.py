"""What ``doctor``, ``datasets`` and ``runs`` make of the platform's answers."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.api.models.dataset import Dataset
from lightly_provider.api.models.datasource import Datasource
from lightly_provider.api.models.run import Run, ScheduledRun, Worker
from lightly_provider.cli.connection_check import datasets_check, token_check, workers_check
from lightly_provider.cli.datasets import described, newest_runs, row, summary
from lightly_provider.cli.lookup import is_id, moment
from lightly_provider.cli.runs import listed


def an_id(number: int) -> str:
    return f"{number:024x}"


def dataset(number: int = 1, **members: Any) -> Dataset:
    return Dataset(**{"id": an_id(number), "name": f"birds {number}", "type": "Images", "user_id": "user-1", **members})


def a_run(number: int, created_at: int, **members: Any) -> Run:
    return Run(
        **{"id": an_id(number), "state": "COMPLETED", "dataset_id": an_id(1), "created_at": created_at, **members}
    )


def worker(state: str) -> Worker:
    return Worker(id=an_id(9), name="gpu", user_id="user-2", state=state, labels=["a"])


@pytest.mark.parametrize(
    ("states", "status", "detail"),
    [
        ([], "WARN", "none is registered, so a run waits; start a Lightly Worker"),
        (
            ["OFFLINE", "CRASHED", "OFFLINE"],
            "WARN",
            "3: 2 OFFLINE, 1 CRASHED; none is running, so a run waits; start one",
        ),
        (["OFFLINE", "BUSY"], "PASS", "2: 1 OFFLINE, 1 BUSY"),
        (["IDLE"], "PASS", "1: 1 IDLE"),
    ],
)
def test_workers_pass_if_one_is_running(states: list[str], status: str, detail: str) -> None:
    assert workers_check([worker(state) for state in states]) == {
        "check": "workers",
        "status": status,
        "detail": detail,
    }


def test_the_user_is_who_owns_a_dataset_or_a_worker() -> None:
    assert token_check([dataset()], [worker("IDLE")])["detail"] == "accepted, of user user-1"
    assert token_check([], [worker("IDLE")])["detail"] == "accepted, of user user-2"
    assert token_check([], [])["detail"] == "accepted; its user owns no dataset and no worker yet"


def test_datasets_are_counted_by_type() -> None:
    many = [dataset(1), dataset(2, type="Videos"), dataset(3)]
    assert datasets_check(many)["detail"] == "3: 2 Images, 1 Videos"
    assert datasets_check([])["status"] == "PASS"


def test_the_newest_run_of_each_dataset_counts_in_whatever_order_they_come() -> None:
    runs = [a_run(11, 5), a_run(12, 9), a_run(13, 7), a_run(14, 1, dataset_id=an_id(2)), a_run(15, 99, dataset_id=None)]
    assert {key: run.id for key, run in newest_runs(runs).items()} == {an_id(1): an_id(12), an_id(2): an_id(14)}


def test_a_dataset_in_a_table_has_its_locations_and_its_last_run() -> None:
    source = Datasource(purpose="INPUT", type="S3", full_path="s3://b/raw/", s3_secret_access_key="CANARY")
    shown = row(summary(dataset(created_at=1_700_000_000_000), [source], a_run(11, 1_700_000_001_000)))
    assert shown["created"] == "2023-11-14T22:13:20Z"
    assert shown["datasources"] == ["INPUT s3://b/raw/"]
    assert shown["last_run"] == "COMPLETED 2023-11-14T22:13:21Z"
    gone = row(summary(dataset(), None, None))
    assert (gone["datasources"], gone["last_run"], gone["created"]) == ("(deleted)", None, None)


def test_a_datasource_is_shown_without_its_secrets() -> None:
    for access, expected in (
        (
            {"s3_access_key_id": "AKIAIOSFODNN7EXAMPLE", "s3_secret_access_key": "CANARY"},
            "user access with the key AKIA…MPLE",
        ),
        (
            {"s3_arn": "arn:aws:iam::123456789012:role/x", "s3_external_id": "CANARY"},
            "delegated access through the role arn:aws:iam::123456789012:role/x",
        ),
        ({}, None),
    ):
        shown = described(Datasource(purpose="INPUT", type="S3", full_path="s3://b/raw/", **access))
        assert shown["access"] == expected
        assert "CANARY" not in str(shown)


def test_a_scheduled_run_is_listed_only_while_it_has_no_run() -> None:
    def entry(number: int, state: str) -> ScheduledRun:
        return ScheduledRun(id=an_id(number), dataset_id=an_id(1), config_id=an_id(7), state=state, created_at=number)

    runs = [a_run(11, 3, scheduled_id=an_id(21)), a_run(12, 4000, message="done")]
    entries = [entry(21, "OPEN"), entry(22, "OPEN"), entry(23, "LOCKED"), entry(24, "CANCELED"), entry(25, "DONE")]
    found = listed(runs, entries, {an_id(1): "birds"})
    assert [(each["id"], each["scheduled_run_id"], each["state"]) for each in found][:2] == [
        (an_id(12), None, "COMPLETED"),
        (an_id(11), an_id(21), "COMPLETED"),
    ]
    assert {(each["scheduled_run_id"], each["state"]) for each in found[2:]} == {
        (an_id(22), "OPEN"),
        (an_id(24), "CANCELED"),
    }
    assert {each["dataset"] for each in found} == {"birds"}


@pytest.mark.parametrize("milliseconds", [0, -1, 10**18])
def test_a_time_that_is_none_is_none(milliseconds: int) -> None:
    assert moment(milliseconds) is None


def test_an_id_has_24_digits() -> None:
    assert is_id("6a9c21d4e8b05f7312c4d9ab")
    assert not is_id("6a9c21d4e8b05f7312c4d9ab\n")
    assert not is_id("birds")
