"""What a dataset still needs: differences of its datasources, and whether a run is due."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lightly_provider.api.models.datasource import Datasource, S3DelegatedAccessDatasource, S3UserAccessDatasource
from lightly_provider.api.models.run import Run
from lightly_provider.contract import Purpose
from lightly_provider.fleet.needs import RunsSeen, difference, need_of_run
from lightly_provider.fleet.planned import Action, FleetPlan, PlannedDataset
from lightly_provider.fleet.report import report_of
from lightly_provider.fleet.schedule import latest_before

NOW = datetime(2026, 11, 28, 10, 30, 20, tzinfo=UTC)
SECRET = "sk" * 20
KEYS = S3UserAccessDatasource(
    purpose=Purpose.INPUT,
    full_path="s3://bkt/a/",
    s3_region="eu-central-1",
    thumb_suffix=None,
    s3_access_key_id="AKIA" + "A" * 16,
    s3_secret_access_key=SECRET,
)
ROLE = S3DelegatedAccessDatasource(
    purpose=Purpose.LIGHTLY,
    full_path="s3://bkt/b/",
    s3_region="eu-central-1",
    thumb_suffix="t/[filename]",
    s3_arn="arn:aws:iam::123456789012:role/Lightly",
    s3_external_id="external-id-1",
)


def stored(wanted: Any, **changes: Any) -> Datasource:
    """The platform's answer about a datasource that was set, with some members changed on the wire."""
    return Datasource.model_validate({"id": "a" * 24, **wanted.to_wire(), **changes})


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        (KEYS, {}, ""),
        (ROLE, {}, ""),
        (KEYS, {"thumbSuffix": ""}, ""),
        (KEYS, {"s3SecretAccessKey": "***"}, ""),
        (KEYS, {"s3SecretAccessKey": None}, ""),
        (ROLE, {"s3ExternalId": "***"}, ""),
        (ROLE, {"s3ExternalId": "x" * 10}, ""),
        (KEYS, {"s3SecretAccessKey": "ty" * 20}, "datasource INPUT has another secret key"),
        (ROLE, {"s3ExternalId": "external-id-2"}, "datasource LIGHTLY has another external ID"),
        (KEYS, {"fullPath": "s3://bkt/c/", "s3Region": "us-east-1"}, "datasource INPUT has another location, region"),
        (KEYS, {"s3AccessKeyId": "AKIA" + "B" * 16}, "datasource INPUT has another access key"),
        (ROLE, {"thumbSuffix": None}, "datasource LIGHTLY has another thumbnails"),
        (KEYS, {"thumbSuffix": "t/[filename]"}, "datasource INPUT has another thumbnails"),
    ],
)
def test_a_datasource_differs_only_in_what_the_file_means(wanted: Any, changes: dict[str, Any], expected: str) -> None:
    assert difference(stored(wanted, **changes), wanted) == expected


def test_a_datasource_that_is_missing_is_named() -> None:
    assert difference(None, ROLE) == "no datasource LIGHTLY yet"


def run(state: str, hours_ago: float = 1.0, message: str | None = None) -> Run:
    created = int((NOW.timestamp() - hours_ago * 3600) * 1000)
    return Run.model_validate({"id": "b" * 24, "state": state, "createdAt": created, "message": message})


DONE = run("COMPLETED")


@pytest.mark.parametrize(
    ("seen", "schedule", "is_needed", "reason"),
    [
        (RunsSeen(), None, True, "no run yet"),
        (
            RunsSeen(waiting="c" * 24, newest=run("COMPLETED")),
            None,
            False,
            f"scheduled run {'c' * 24} waits for a worker; if none takes it, cancel it, by CancelLightlyRunOperator or "
            "in the web app",
        ),
        (
            RunsSeen(waiting="c" * 24, is_other=True),
            None,
            False,
            f"scheduled run {'c' * 24} with another selection, other options of the worker or other labels waits for a "
            "worker; for one as the file says, cancel it, by CancelLightlyRunOperator or in the web app",
        ),
        (RunsSeen(taken="c" * 24, waiting="d" * 24), None, False, f"a worker has taken scheduled run {'c' * 24}"),
        (RunsSeen(newest=run("EMBEDDING"), taken="c" * 24), None, False, f"run {'b' * 24} is EMBEDDING"),
        (RunsSeen(newest=run("EMBEDDING")), "@hourly", False, f"run {'b' * 24} is EMBEDDING"),
        (RunsSeen(newest=run("A_NEW_STATE")), None, False, f"run {'b' * 24} is A_NEW_STATE"),
        (
            RunsSeen(newest=run("FAILED", message="no\nimages"), newest_equal=DONE),
            None,
            True,
            r"the last run is FAILED: no\nimages",
        ),
        (RunsSeen(newest=run("CRASHED")), None, True, "the last run is CRASHED"),
        (RunsSeen(newest=DONE), None, True, "no run with this selection and these options of the worker yet"),
        (RunsSeen(newest=DONE, newest_equal=DONE), None, False, ""),
        (
            RunsSeen(newest=DONE, newest_equal=DONE),
            "@hourly",
            True,
            "a run is due since 2026-11-28 10:00 UTC (@hourly)",
        ),
        (RunsSeen(newest=DONE, newest_equal=DONE), "@daily", False, ""),
        (
            RunsSeen(newest=DONE, newest_equal=run("COMPLETED", 11)),
            "@daily",
            True,
            "a run is due since 2026-11-28 00:00 UTC (@daily)",
        ),
        # No moment that Python knows.
        (RunsSeen(newest=DONE, newest_equal=DONE.model_copy(update={"created_at": 10**40})), "@daily", False, ""),
        (
            RunsSeen(newest=DONE, newest_equal=DONE.model_copy(update={"created_at": -(10**40)})),
            "@daily",
            True,
            "a run is due since 2026-11-28 00:00 UTC (@daily)",
        ),
    ],
)
def test_a_run_is_needed_only_if_none_covers_it(
    seen: RunsSeen, schedule: str | None, is_needed: bool, reason: str
) -> None:
    need = need_of_run(seen, schedule, NOW)
    assert (need.is_needed, need.reason) == (is_needed, reason)
    assert need.in_progress is (not is_needed and bool(reason))


HOUR_AGO = int(NOW.timestamp()) - 3600


@pytest.mark.parametrize(
    ("seen", "is_needed", "reads_all"),
    [
        (RunsSeen(), True, False),
        (RunsSeen(newest=DONE), True, True),
        (RunsSeen(newest=run("FAILED")), True, True),
        (RunsSeen(newest=run("FAILED"), newest_equal=DONE), True, False),
        (RunsSeen(newest=run("FAILED"), newest_equal=run("COMPLETED", 2), changed_at=HOUR_AGO), True, True),
        (RunsSeen(newest=run("COMPLETED", 2), newest_equal=run("COMPLETED", 2), changed_at=HOUR_AGO), True, True),
        (RunsSeen(newest=DONE, newest_equal=DONE, changed_at=HOUR_AGO), False, False),
        (RunsSeen(newest=run("COMPLETED", 0.5), newest_equal=run("COMPLETED", 0.5), changed_at=HOUR_AGO), False, False),
    ],
)
def test_a_run_after_a_change_of_the_selection_or_of_the_input_reads_all_files(
    seen: RunsSeen, is_needed: bool, reads_all: bool
) -> None:
    need = need_of_run(seen, None, NOW)
    assert (need.is_needed, need.reads_all) == (is_needed, reads_all)


def test_a_run_that_is_only_due_reads_the_new_files() -> None:
    need = need_of_run(RunsSeen(newest=DONE, newest_equal=DONE), "@hourly", NOW)
    assert (need.is_needed, need.reads_all) == (True, False)


@pytest.mark.parametrize(
    ("then", "ending"),
    [
        (RunsSeen(newest=run("EMBEDDING")), "in progress"),
        (RunsSeen(newest=DONE, newest_equal=DONE), "unchanged"),
        (RunsSeen(newest=run("FAILED")), None),
        (RunsSeen(newest=run("CRASHED")), None),
        (RunsSeen(newest=run("ABORTED")), None),
        # The scheduled run was canceled.
        (RunsSeen(), None),
    ],
)
def test_a_run_that_an_earlier_dag_run_left_is_in_progress_and_started_again_only_if_it_ends_badly(
    then: RunsSeen, ending: str | None
) -> None:
    def ending_of(seen: RunsSeen) -> str | None:
        need = need_of_run(seen, None, NOW)
        if need.is_needed:
            return None
        of_plan = {"name": "a", "owner": None, "action": "unchanged", "in_progress": need.in_progress}
        report = report_of({"datasets": [{**of_plan, "reason": need.reason}], "parts": []}, {}, {}, {})
        report.raise_if_incomplete()
        assert report.n_onboarded + report.n_in_progress == 1
        return str(report.datasets[0].ending)

    assert ending_of(RunsSeen(waiting="c" * 24)) == "in progress"
    assert ending_of(then) == ending


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("@hourly", datetime(2026, 11, 28, 10, tzinfo=UTC)),
        ("30 10 * * *", datetime(2026, 11, 28, 10, 30, tzinfo=UTC)),
        ("31 10 * * *", datetime(2026, 11, 27, 10, 31, tzinfo=UTC)),
        ("@weekly", datetime(2026, 11, 22, tzinfo=UTC)),
        ("@monthly", datetime(2026, 11, 1, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_the_latest_time_of_a_schedule_may_be_this_minute(schedule: str, expected: datetime) -> None:
    assert latest_before(schedule, NOW) == expected


def planned(name: str, action: Action, reason: str = "") -> PlannedDataset:
    return PlannedDataset(name=name, action=action, reason=reason)


def test_a_plan_is_one_sentence_in_which_equal_reasons_are_one() -> None:
    plan = FleetPlan(
        datasets=(
            *(planned(f"new {n}", Action.CREATE) for n in range(12)),
            *(planned(f"changed {n}", Action.UPDATE) for n in range(3)),
            *(planned(f"done {n}", Action.UNCHANGED) for n in range(85)),
            planned("odd", Action.CANNOT_WORK, "its bucket does not exist."),
            *(planned(f"locked {n}", Action.CANNOT_WORK, "there is no connection 'c'") for n in range(5)),
        ),
        quota="1000",
    )
    assert plan.summary() == (
        "12 to create, 3 to update, 85 unchanged, 6 cannot work because there is no connection 'c' (locked 0, locked "
        "1, locked 2 and 2 more); its bucket does not exist (odd)"
    )
    assert (len(plan.to_do), len(plan.cannot_work)) == (15, 6)
    assert plan.as_dict()["datasets"][0]["action"] == "create"
