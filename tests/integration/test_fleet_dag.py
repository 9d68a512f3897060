"""The example DAG of a fleet through Airflow itself, against the sandbox: one bad dataset stops no other."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.airflow_run import everything_stored, lines_with, run_dag

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.airflow_run import DagOutcome
    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Keys, Sandbox

DAG_ID = "lightly_fleet"
SAMPLE = "tests/unit/fleet/test_report.py::test_each_dataset_has_its_ending_and_the_failed_one_its_reason"


@dataclass
class Fleet:
    """
    Four datasets: one with a run of the worker, one without, one whose output is closed, one whose bucket is missing.

    :param file: The fleet's file.
    :param names: Names of the datasets, in this order.
    :param bucket: The bucket of the first three.
    :param keys: Those that Lightly gets.
    """

    file: Path
    names: list[str]
    bucket: str
    keys: Keys
    sandbox: Sandbox

    def open(self, *prefixes: str) -> None:
        """Allow Lightly to read the bucket, and to write under prefixes."""
        arn = f"arn:aws:s3:::{self.bucket}"
        read = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": [arn, f"{arn}/*"]}
        write = {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:DeleteObject"],
            "Resource": [f"{arn}/{prefix}/*" for prefix in prefixes],
        }
        self.sandbox.grant(self.keys.user_name, read, write)

    def run(self, database: Path) -> tuple[DagOutcome, dict[str, dict[str, Any]]]:
        """Run the DAG; its outcome, and the report's datasets by name."""
        outcome = run_dag(DAG_ID, {"poll_interval": 0.2}, database)
        report = outcome.xcoms.get(("report", "report"), {"datasets": []})
        return outcome, {dataset["name"]: dataset for dataset in report["datasets"]}


@pytest.fixture
def fleet(lightly: Sandbox, photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    unique = uuid.uuid4().hex[:8]
    names = [f"{kind} {unique}" for kind in ("with a run", "without", "closed", "gone")]
    keys = lightly.user()
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", lightly.aws_connection(keys))
    file = tmp_path / "lightly_fleet.yaml"
    file.write_text(
        f"""
defaults:
  access: lightly_bucket
datasets:
  - name: {names[0]}
    input: s3://{photos}/raw/astronaut/
    output: s3://{photos}/{unique}/open/a/
    selection: {{n_samples: 2, strategies: [{{input: {{type: EMBEDDINGS}}, strategy: {{type: DIVERSITY}}}}]}}
  - name: {names[1]}
    input: s3://{photos}/raw/brick/
    output: s3://{photos}/{unique}/open/b/
  - name: {names[2]}
    input: s3://{photos}/raw/coffee/
    output: s3://{photos}/{unique}/closed/
  - name: {names[3]}
    input: s3://gone-{unique}/raw/
    output: s3://{photos}/{unique}/open/d/
"""
    )
    monkeypatch.setenv("AIRFLOW_VAR_LIGHTLY_FLEET_FILE", str(file))
    made = Fleet(file, names, photos, keys, lightly)
    made.open(f"{unique}/open")
    return made


@pytest.mark.exhaustive(sample=SAMPLE)
def test_the_bad_ones_are_red_with_their_cause_the_others_go_on_and_a_second_run_starts_only_those(
    fleet: Fleet, database: Path, traffic: Traffic, lightly: Sandbox
) -> None:
    with_run, without, closed, gone = fleet.names

    first, endings = fleet.run(database)

    assert first.state == "failed", first.tasks
    assert first.tasks["report"] == "failed"
    assert endings[with_run]["ending"] == endings[without]["ending"] == "onboarded", endings
    assert not endings[closed]["onboarded"]
    assert "s3:PutObject" in endings[closed]["reason"]
    assert not endings[gone]["onboarded"]
    assert "does not exist" in endings[gone]["reason"], endings[gone]

    sent, writes = len(traffic.sent), len(traffic.writes())
    second, endings = fleet.run(database)

    assert second.state == "failed"
    assert endings[with_run]["ending"] == endings[without]["ending"] == "unchanged"
    assert not endings[closed]["onboarded"]
    assert "s3:PutObject" in endings[closed]["reason"]
    # Nothing of the platform is changed, and no run is scheduled.
    assert traffic.writes()[writes:] == []
    assert len(traffic.sent) - sent <= 11 * len(fleet.names)

    # What was refused is granted, and what does not exist is taken out of the file.
    unique = fleet.names[0].rpartition(" ")[2]
    fleet.open(f"{unique}/open", f"{unique}/closed")
    fleet.file.write_text(fleet.file.read_text().partition(f"  - name: {gone}")[0])
    third, endings = fleet.run(database)

    assert third.state == "success", third.tasks
    assert {name: dataset["onboarded"] for name, dataset in endings.items()} == dict.fromkeys(fleet.names[:3], True)
    stored = everything_stored(database)
    assert closed in stored
    for secret in (fleet.keys.secret_access_key, lightly.token):
        assert lines_with(secret, stored) == []


@pytest.mark.exhaustive(sample=SAMPLE)
def test_a_file_with_a_fault_starts_nothing_and_the_report_is_red(
    fleet: Fleet, database: Path, traffic: Traffic
) -> None:
    fleet.file.write_text(fleet.file.read_text().replace("    output:", "    outptu:", 1))
    outcome, endings = fleet.run(database)
    assert outcome.state == "failed"
    assert outcome.tasks["plan"] == outcome.tasks["report"] == "failed"
    assert endings == {}
    assert traffic.writes() == []
