"""The ingestion example with a scheduler: past days are backfilled, and no two runs work on one dataset at once."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Platform
    from tests.system.rest import AirflowRest
    from tests.system.services import Services

INGESTION, ONBOARDING = "lightly_ingestion", "lightly_onboard_ingested"
BUCKET = "system-ingestion"
DAYS = ("2026-11-02", "2026-11-03", "2026-11-04")
PHOTOS_PER_DAY = 4
Span = tuple[datetime, datetime]


def span(each: dict[str, Any]) -> Span:
    """From when to when a run was at work."""
    return datetime.fromisoformat(each["start_date"]), datetime.fromisoformat(each["end_date"])


def overlapping(spans: list[Span]) -> list[tuple[Span, Span]]:
    """Neighbours of which the second began before the first ended."""
    return [(first, second) for first, second in itertools.pairwise(sorted(spans)) if second[0] < first[1]]


def are_over(rest: AirflowRest, dag_id: str, at_least: int, run_type: str = "") -> bool:
    """Whether a DAG has so many runs, and all of them are over."""
    states = [run["state"] for run in rest.dag_runs(dag_id) if run_type in run["run_type"]]
    return len(states) >= at_least and not {"queued", "running"} & set(states)


@pytest.fixture(scope="module")
def folder_of_days(platform: Platform, airflow: Services) -> None:
    """Photos of three days in the folder from which the example takes them, and its bucket."""
    sandbox = platform.sandbox
    s3 = sandbox.aws("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": sandbox.region})
    source = sandbox.bucket()
    sandbox.seed(f"s3://{source}/", PHOTOS_PER_DAY * len(DAYS))
    for number, key in enumerate(sandbox.keys_under(source)):
        file = airflow.home / "incoming" / DAYS[number % len(DAYS)] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.get_object(Bucket=source, Key=key)["Body"].read())


@pytest.mark.usefixtures("folder_of_days", "real_worker")
def test_past_days_are_backfilled_and_no_two_runs_work_on_a_dataset_at_once(
    platform: Platform, rest: AirflowRest, airflow: Services
) -> None:
    rest.wait_for_dag(INGESTION)
    airflow.run_command(
        *("backfill", "create", "--dag-id", INGESTION, "--from-date", DAYS[0], "--to-date", DAYS[-1]),
        *("--max-active-runs", "3"),
    )
    rest.wait_for("the backfill", lambda: are_over(rest, INGESTION, len(DAYS), "backfill"), within=240)
    # Beside those that the asset started.
    for _ in range(2):
        rest.start(ONBOARDING, {})
    prefixes = [key.rpartition("/")[0] for key in platform.sandbox.keys_under(BUCKET) if key.startswith("ingested/")]
    assert sorted(prefixes) == sorted(f"ingested/{day}" for day in DAYS for _ in range(PHOTOS_PER_DAY))

    rest.wait_for(ONBOARDING, lambda: are_over(rest, ONBOARDING, 3), within=420)
    runs = rest.dag_runs(ONBOARDING)
    assert {run["state"] for run in runs} == {"success"}
    assert overlapping([span(run) for run in runs]) == []
