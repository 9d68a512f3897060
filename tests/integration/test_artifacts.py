"""The files of a run, downloaded to S3 and to a disk."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyDestinationError
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.results import DownloadLightlyArtifactsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from tests.integration.staged_worker import SIZES, StagedWorker, platform, ready_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

SELECTION = {"n_samples": 4, "strategies": [{"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}]}


# The second one has more than one part in S3.
FILES = {"LOG": b"", "REPORT_PDF": b"%PDF" + b"x" * 9 * 2**20, "CORRUPTNESS_CHECK_INFORMATION": b"{}"}


@pytest.fixture(scope="module")
def run(sandbox: Sandbox) -> dict[str, Any]:
    """A run that left files."""
    worker = StagedWorker(sandbox, f"artifacts-{uuid.uuid4().hex[:8]}")
    dataset_id = ready_dataset(sandbox, f"artifacts {uuid.uuid4().hex[:8]}")
    config = platform(
        sandbox, "POST", "/v1/docker/worker/config/vX", {"config": {"workerType": "FULL"}, "version": "V4"}
    )
    body = {"configId": config["id"], "priority": "MID", "runsOn": [worker.label]}
    platform(sandbox, "POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)
    run_id = worker.take(dataset_id)
    for kind, content in FILES.items():
        worker.upload(run_id, kind, f"{kind.lower()}.bin", content)
    worker.finish(dataset_id, run_id)
    return {"run_id": run_id}


@pytest.fixture
def real_run(lightly: Sandbox, context: dict[str, Any]) -> dict[str, Any]:
    """A run of the sandbox's worker on real photos: what its task returned."""
    bucket = lightly.bucket()
    lightly.seed(f"s3://{bucket}/raw/", 12)
    create: Any = CreateLightlyDatasetOperator(task_id="create", dataset_name=f"artifacts {bucket}")
    dataset_id = create.execute(context)
    places = {"resource_path": f"s3://{bucket}/raw/", "datasource_aws_conn_id": "aws_default"}
    configure: Any = ConfigureS3DatasourceOperator(task_id="configure", dataset_id=dataset_id, **places)
    configure.execute(context)
    task: Any = RunLightlyWorkerOperator(
        task_id="run", dataset_id=dataset_id, selection_config=SELECTION, poll_interval=0.2
    )
    result: dict[str, Any] = task.execute(context)
    assert context["ti"].pushed.items() >= result.items()
    return result


def download(run: dict[str, Any], destination: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    task: Any = DownloadLightlyArtifactsOperator(
        task_id="download", run_id=run["run_id"], destination=destination, **arguments
    )
    result: dict[str, Any] = task.execute(context)
    return result


def in_s3(sandbox: Sandbox, bucket: str, run: dict[str, Any], result: dict[str, Any]) -> dict[str, bytes]:
    """The downloaded files by type, each as the result says."""
    contents = {}
    for one in result["files"]:
        key = one["uri"].removeprefix(f"s3://{bucket}/")
        assert key.startswith(f"runs/{run['run_id']}/")
        content = sandbox.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one["bytes"], one["sha256"])
        contents[one["type"]] = content
    return contents


@pytest.mark.exhaustive(sample="test_every_file_is_in_s3_and_a_second_run_writes_none")
def test_every_file_of_a_real_run_is_downloaded_and_its_result_holds_its_dataset(
    lightly: Sandbox, real_run: dict[str, Any], context: dict[str, Any]
) -> None:
    bucket = lightly.bucket()
    result = download(real_run, f"s3://{bucket}/runs/", context)

    contents = in_s3(lightly, bucket, real_run, result)
    assert {"REPORT_PDF", "LOG", "CORRUPTNESS_CHECK_INFORMATION", "RELEVANT_FILENAMES"} <= set(contents)
    assert contents["REPORT_PDF"].startswith(b"%PDF")
    assert "generalInformation" in json.loads(contents["REPORT_V2_JSON"])
    assert result["report"] == real_run["report"]
    assert result["report"]["nSelected"] == 4
    path = real_run["input_path"]
    assert (real_run["dataset_name"], real_run["output_path"]) == (f"artifacts {path.split('/')[2]}", path)
    assert real_run["dataset_url"] == f"{lightly.web_url}/dataset/{result['dataset_id']}"


def test_every_file_is_in_s3_and_a_second_run_writes_none(
    lightly: Sandbox, run: dict[str, Any], context: dict[str, Any]
) -> None:
    bucket, s3 = lightly.bucket(), lightly.aws("s3")

    first = download(run, f"s3://{bucket}/runs/", context)

    contents = in_s3(lightly, bucket, run, first)
    assert {kind: contents[kind] for kind in FILES} == FILES
    assert set(contents) == {*FILES, "REPORT_V2_JSON"}
    assert first["report"] == SIZES
    written = {entry["Key"]: entry["LastModified"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    second = download(run, f"s3://{bucket}/runs", context)
    assert [one["downloaded"] for one in second["files"]] == [False] * len(first["files"])
    assert written == {e["Key"]: e["LastModified"] for e in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_one_type_is_on_the_disk(
    lightly: Sandbox, run: dict[str, Any], context: dict[str, Any], tmp_path: Path
) -> None:
    result = download(run, str(tmp_path), context, types=["REPORT_PDF"])
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path.read_bytes().startswith(b"%PDF")
    assert [one["uri"] for one in result["files"]] == [f"file://{path}"]


def test_a_bucket_that_airflow_may_not_write_is_told_before_anything_is_read(
    lightly: Sandbox, run: dict[str, Any], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = lightly.bucket()
    monkeypatch.setenv("AIRFLOW_CONN_POOR", lightly.aws_connection(lightly.user()))
    with pytest.raises(LightlyDestinationError, match="s3:PutObject"):
        download(run, f"s3://{bucket}/runs/", context, aws_conn_id="poor")
    assert lightly.keys_under(bucket) == []


def test_without_the_right_to_look_the_files_are_written_again(
    lightly: Sandbox, run: dict[str, Any], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = lightly.bucket()
    user = lightly.user({"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": "*"})
    monkeypatch.setenv("AIRFLOW_CONN_WRITER", lightly.aws_connection(user))
    for _ in range(2):
        result = download(run, f"s3://{bucket}/runs/", context, aws_conn_id="writer", types=["LOG"])
        assert [one["downloaded"] for one in result["files"]] == [True]
