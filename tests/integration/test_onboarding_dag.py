"""The example DAG through Airflow itself, against the sandbox, in both access methods."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from tests.integration.airflow_run import (
    everything_stored,
    example_dags,
    lines_with,
    run_dag,
    store,
    without_requests_to_mask,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Traffic
    from tests.integration.dag_process import DagProcess
    from tests.integration.sandbox import Sandbox

DAG_ID = "lightly_s3_onboarding"
N_SAMPLES = 8
EXTERNAL_ID = "canary-external-id-7c1d"


@pytest.fixture
def onboarding(photos: str, dataset_name: str) -> dict[str, Any]:
    """The DAG's parameters for one onboarding."""
    return {
        "dataset_name": dataset_name,
        "input_path": f"s3://{photos}/raw/",
        "lightly_path": f"s3://{photos}/{dataset_name.replace(' ', '-')}/",
        "n_samples": N_SAMPLES,
        "poll_interval": 0.2,
    }


def statements(onboarding: dict[str, Any]) -> list[dict[str, Any]]:
    """What Lightly needs for this onboarding, and no more."""
    found = []
    for key, purpose in (("input_path", Purpose.INPUT), ("lightly_path", Purpose.LIGHTLY)):
        found += policy_document(S3Location.parse(onboarding[key], argument=key), purpose)["Statement"]
    return found


# The default run onboards with a role by the other example, in test_delegated_access_dag.py.
@pytest.fixture(params=["user access", pytest.param("delegated access", marks=pytest.mark.exhaustive)])
def access(
    request: pytest.FixtureRequest, lightly: Sandbox, onboarding: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The connection ``lightly_bucket`` in each access method; the secrets in it."""
    if request.param == "user access":
        keys = lightly.user(*statements(onboarding))
        connection, secrets = lightly.aws_connection(keys), [keys.secret_access_key]
    else:
        role = lightly.role(EXTERNAL_ID, *statements(onboarding))
        extra = {"role_arn": role, "assume_role_kwargs": {"ExternalId": EXTERNAL_ID}, "region_name": lightly.region}
        connection, secrets = lightly.aws_connection(**extra), [EXTERNAL_ID]
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", connection)
    return [*secrets, lightly.token]


def test_a_bucket_is_onboarded_and_a_second_run_changes_nothing(
    access: list[str],
    onboarding: dict[str, Any],
    database: Path,
    traffic: Traffic,
    lightly: Sandbox,
) -> None:
    first = run_dag(DAG_ID, onboarding, database)

    assert first.state == "success", first.tasks
    selection = first.xcoms["print_selection", "return_value"]
    run = first.xcoms["run_worker", "return_value"]
    assert len(selection) == len(set(selection)) == N_SAMPLES
    assert run["n_selected"] == N_SAMPLES
    assert run["tag_name"]
    assert run["report"]["nInput"] == 40
    assert run["report"]["nSelected"] == N_SAMPLES
    assert first.xcoms["configure", "return_value"]["changed"] == ["INPUT", "LIGHTLY"]
    verdict = first.xcoms["verify_permissions", "return_value"]
    assert verdict["ok"]
    # Only what is tried with the same keys is known of each of two datasources.
    known = "UNKNOWN" if EXTERNAL_ID in access else "PASS"
    assert {(c["purpose"], c["permission"], c["status"]) for c in verdict["checks"]} == {
        ("INPUT", "list", known),
        ("INPUT", "read", known),
        ("INPUT", "write", "SKIP"),
        ("INPUT", "overwrite", "SKIP"),
        *(("LIGHTLY", permission, known) for permission in ("list", "read", "write", "overwrite")),
    }
    thumbnails = [key for key in lightly.keys_under(onboarding["input_path"].split("/")[2]) if "_thumb." in key]
    mine = [key for key in thumbnails if key.startswith(onboarding["lightly_path"].split("/", 3)[3])]
    assert len(mine) == N_SAMPLES, "thumbnails are on for LIGHTLY"
    exported = first.xcoms["export", "return_value"]
    assert exported["uri"] == f"{onboarding['lightly_path']}selected.jsonl"
    bucket, _, key = exported["uri"].removeprefix("s3://").partition("/")
    manifest = lightly.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()
    assert [json.loads(line)["filename"] for line in manifest] == selection
    link = f"{lightly.web_url}/dataset/{first.xcoms['create_dataset', 'return_value']}"
    assert first.xcoms["create_dataset", "lightly_dataset_url"] == link

    writes_of_first = len(traffic.writes())
    second = run_dag(DAG_ID, onboarding, database)

    assert second.state == "success", second.tasks
    for task in ("create_dataset", "print_selection", "export"):
        assert second.xcoms[task, "return_value"] == first.xcoms[task, "return_value"]
    assert second.xcoms["configure", "return_value"]["changed"] == []
    assert second.xcoms["run_worker", "return_value"]["tag_name"] is None
    # Only the worker's run is new: its configuration, and its entry in the schedule.
    written = [path.rsplit("/", 1)[-1] for _, path in traffic.writes()[writes_of_first:]]
    assert written == ["vX", "schedule"]


@pytest.mark.exhaustive(sample="test_a_bucket_is_onboarded_and_a_second_run_changes_nothing")
def test_no_secret_shows_in_logs_xcoms_rendered_fields_or_the_serialized_dag(
    access: list[str], onboarding: dict[str, Any], dag_process: DagProcess, database: Path, airflow_home: Path
) -> None:
    printed = dag_process.run(DAG_ID, onboarding)

    assert "DAG run success" in printed, printed[-3000:]
    printed = without_requests_to_mask(printed)
    stored = everything_stored(database)
    kept = "".join(path.read_text(errors="replace") for path in airflow_home.rglob("*.log"))
    # What is searched does hold what was sent beside the secrets: urllib3's own line for a request, for one.
    assert "/v1/docker/worker/config/vX?token=***" in printed
    assert onboarding["dataset_name"] in stored
    assert onboarding["lightly_path"] in stored
    for secret in access:
        assert lines_with(secret, printed, stored, kept) == []
    # Of a run in which all is well, nothing is an error, and the Amazon provider's remarks are at DEBUG.
    assert lines_with("XCom not found", printed) == []
    assert [line for line in lines_with("credentials retrieved", printed) if "debug" not in line.lower()] == []


@pytest.mark.exhaustive(sample="test_a_bucket_is_onboarded_and_a_second_run_changes_nothing")
def test_no_secret_shows_when_a_task_fails(
    lightly: Sandbox,
    onboarding: dict[str, Any],
    dag_process: DagProcess,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = "canary-token-that-is-refused"
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", lightly.lightly_connection(password=token))

    printed = without_requests_to_mask(dag_process.run(DAG_ID, onboarding))

    assert "LightlyAuthenticationError" in printed
    assert "Check the API token" in printed
    assert lines_with(token, printed) == []
    assert token not in everything_stored(database)


@pytest.mark.exhaustive(sample="test_a_bucket_is_onboarded_and_a_second_run_changes_nothing")
def test_a_second_run_selects_from_what_is_new_in_the_bucket(
    lightly: Sandbox, dataset_name: str, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = lightly.bucket()
    lightly.seed(f"s3://{bucket}/raw/", 20)
    conf = {
        "dataset_name": dataset_name,
        "input_path": f"s3://{bucket}/raw/",
        "lightly_path": f"s3://{bucket}/lightly/",
        "n_samples": 5,
        "poll_interval": 0.2,
    }
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", lightly.aws_connection(lightly.user(*statements(conf))))
    first = run_dag(DAG_ID, conf, database)
    assert first.state == "success", first.tasks

    lightly.seed(f"s3://{bucket}/raw/later/", 20)
    second = run_dag(DAG_ID, conf, database)

    assert second.state == "success", second.tasks
    before = set(first.xcoms["print_selection", "return_value"])
    after = set(second.xcoms["print_selection", "return_value"])
    assert not any(name.startswith("later/") for name in before)
    assert len([name for name in after if name.startswith("later/")]) == 5
    assert second.xcoms["run_worker", "return_value"]["report"]["nInput"] == 20


@pytest.mark.exhaustive(sample="test_a_bucket_is_onboarded_and_a_second_run_changes_nothing")
def test_the_worker_does_not_run_when_a_permission_is_missing(
    lightly: Sandbox, onboarding: dict[str, Any], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only = policy_document(S3Location.parse(onboarding["input_path"], argument="input_path"), Purpose.INPUT)
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", lightly.aws_connection(lightly.user(*read_only["Statement"])))

    outcome = run_dag(DAG_ID, onboarding, database)

    assert outcome.state == "failed"
    assert outcome.tasks["verify_permissions"] == "failed"
    assert outcome.tasks["run_worker"] == "upstream_failed"
    verdict = outcome.xcoms["verify_permissions", "verdict"]
    failed = {(c["purpose"], c["permission"]) for c in verdict["checks"] if c["status"] == "FAIL"}
    assert ("LIGHTLY", "write") in failed
    assert ("INPUT", "read") not in failed


def test_all_example_dags_parse_and_serialize_without_a_connection(database: Path) -> None:
    dags = example_dags()

    assert set(dags) >= {
        DAG_ID,
        "ingest_then_trigger",
        "ingest_and_announce",
        "lightly_on_new_images",
        "lightly_access_health",
        "lightly_active_learning",
    }
    for dag in dags.values():
        assert dag.doc_md


def test_the_ingestion_dag_runs_and_triggers_the_onboarding(lightly: Sandbox, photos: str, database: Path) -> None:
    store(example_dags()[DAG_ID])  # as it is triggered
    outcome = run_dag("ingest_then_trigger", {"input_path": f"s3://{photos}/raw/"}, database)

    assert outcome.tasks["ingest"] == "success"
    assert outcome.xcoms["ingest", "return_value"] == 40
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT conf FROM dag_run WHERE dag_id = ?", (DAG_ID,)).fetchall()
    assert any(photos in json.dumps(str(conf)) for (conf,) in rows)
