"""The ingestion example with a scheduler: past days are backfilled, and no two runs work on one dataset at once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Platform
    from tests.system.rest import AirflowRest
    from tests.system.services import Services

INGESTION, ONE_RUN, POOLED = "lightly_ingestion", "lightly_onboard_ingested", "pooled_onboard_ingested"
BUCKET, POOL = "system-ingestion", "lightly_ingested_photos"
DAYS = ("2026-11-02", "2026-11-03", "2026-11-04")
PHOTOS_PER_DAY = 4
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Onboardings:
    """When the runs of a DAG were at work, and when its tasks were."""

    runs: list[Span]
    tasks: list[Span]


def span(each: dict[str, Any]) -> Span:
    """From when to when a run or a task instance was at work."""
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
    airflow.run_command("pools", "set", "--include-deferred", POOL, "1", "One task at a time")
    rest.wait_for_dag(INGESTION)
    airflow.run_command(
        *("backfill", "create", "--dag-id", INGESTION, "--from-date", DAYS[0], "--to-date", DAYS[-1]),
        *("--max-active-runs", "3"),
    )
    rest.wait_for("the backfill", lambda: are_over(rest, INGESTION, len(DAYS), "backfill"), within=240)
    # Beside those that the asset started.
    for dag_id in (ONE_RUN, POOLED) * 2:
        rest.start(dag_id, {})
    prefixes = [key.rpartition("/")[0] for key in platform.sandbox.keys_under(BUCKET) if key.startswith("ingested/")]
    assert sorted(prefixes) == sorted(f"ingested/{day}" for day in DAYS for _ in range(PHOTOS_PER_DAY))

    onboardings = {}
    for dag_id in (ONE_RUN, POOLED):
        rest.wait_for(f"{dag_id}", lambda dag_id=dag_id: are_over(rest, dag_id, 3), within=420)
        runs = rest.dag_runs(dag_id)
        assert {run["state"] for run in runs} == {"success"}
        tasks = [task for run in runs for task in rest.tasks(dag_id, run["dag_run_id"])]
        onboardings[dag_id] = Onboardings([span(run) for run in runs], [span(task) for task in tasks])
    assert overlapping(onboardings[ONE_RUN].runs) == []
    assert overlapping(onboardings[POOLED].runs), "nothing but the pool held them back"
    assert overlapping(onboardings[POOLED].tasks) == []
