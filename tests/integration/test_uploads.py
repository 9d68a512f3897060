"""Predictions and metadata that are uploaded, and the selections that use them."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.models.datasource import Datasource
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import (
    LightlyAccessError,
    LightlyInvalidFilesError,
    LightlyResponseError,
    LightlySourceError,
)
from lightly_provider.hooks.aws import AwsConnection
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.uploads import UploadLightlyMetadataOperator, UploadLightlyPredictionsOperator
from lightly_provider.results.lightly_folder import BucketFolder, PlatformPredictions, datasource_for
from lightly_provider.results.own_files import PREDICTIONS
from lightly_provider.results.parallel import spread
from lightly_provider.results.predictions.formats import PredictionFormat
from lightly_provider.results.predictions.uploading import upload_predictions
from lightly_provider.results.sources import Source
from lightly_provider.results.upload import add_task
from tests.final_errors import final
from tests.integration.sandbox import REPOSITORY
from tests.integration.worker_runs import onboarded, worker_task
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

N_SELECTED = 4
BY_SCORE = {
    "n_samples": N_SELECTED,
    "strategies": [
        {
            "input": {"type": "SCORES", "task": "boxes", "score": "objectness_least_confidence"},
            "strategy": {"type": "WEIGHTS"},
        }
    ],
}
WEIGHTED_BY_METADATA = {
    "n_samples": N_SELECTED,
    "strategies": [
        {"input": {"type": "METADATA", "key": "weather.temperature"}, "strategy": {"type": "WEIGHTS"}},
    ],
}


@pytest.fixture
def names(lightly: Sandbox, photos: str) -> list[str]:
    """The photos' names in the input."""
    return [key.removeprefix("raw/") for key in lightly.keys_under(photos) if key.startswith("raw/")]


@pytest.fixture
def output(dataset_name: str) -> str:
    """The prefix of the output, of this test alone."""
    return f"{dataset_name.split()[-1]}/"


@pytest.fixture
def dataset_id(lightly: Sandbox, photos: str, output: str, dataset_name: str, context: dict[str, Any]) -> str:
    """A dataset on the bucket of photos."""
    return onboarded(dataset_name, f"s3://{photos}/raw/", f"s3://{photos}/{output}", context)


def unsure(names: list[str]) -> list[str]:
    """The images of which the model is unsure: not the first ones, which a selection without scores could take."""
    return sorted(names)[5 : 5 + N_SELECTED * 3 : 3]


def score_of(name: str, names: list[str]) -> float:
    return 0.05 if name in unsure(names) else 0.95


def coco_of(names: list[str]) -> str:
    images = [{"id": n, "file_name": name, "width": 4000, "height": 4000} for n, name in enumerate(names)]
    annotations = [
        {"image_id": n, "category_id": 1, "bbox": [1, 1, 20, 20], "score": score_of(name, names)}
        for n, name in enumerate(names)
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]})


def put_coco(names: list[str], put: Callable[[str, str], None]) -> dict[str, Any]:
    put("predictions.json", coco_of(names))
    return {"source": "predictions.json", "format": "coco"}


def put_yolo(names: list[str], put: Callable[[str, str], None]) -> dict[str, Any]:
    put("data.yaml", "names:\n  0: cat\n")
    for name in names:
        put(f"{name.rpartition('.')[0]}.txt", f"0 0.5 0.5 0.25 0.25 {score_of(name, names)}\n")
    return {"source": "", "format": "yolo"}


def put_lightly(names: list[str], put: Callable[[str, str], None]) -> dict[str, Any]:
    put("schema.json", json.dumps({"task_type": "object-detection", "categories": [{"id": 0, "name": "cat"}]}))
    for name in names:
        found = {"category_id": 0, "bbox": [1, 1, 20, 20], "score": score_of(name, names)}
        put(f"{name.rpartition('.')[0]}.json", json.dumps({"file_name": name, "predictions": [found]}))
    return {"source": "", "format": "lightly"}


@pytest.mark.parametrize(
    ("put_files", "write_through"),
    [
        pytest.param(put_coco, "bucket", id="coco through the bucket"),
        pytest.param(put_lightly, "platform", id="lightly through the platform", marks=pytest.mark.exhaustive),
        pytest.param(put_yolo, "bucket", id="yolo through the bucket", marks=pytest.mark.exhaustive),
        pytest.param(put_coco, "platform", id="coco through the platform", marks=pytest.mark.exhaustive),
        pytest.param(put_lightly, "bucket", id="lightly through the bucket", marks=pytest.mark.exhaustive),
    ],
)
def test_a_run_selects_by_the_scores_that_were_uploaded(
    put_files: Callable[..., dict[str, Any]],
    write_through: str,
    lightly: Sandbox,
    photos: str,
    names: list[str],
    output: str,
    dataset_id: str,
    context: dict[str, Any],
) -> None:
    bucket = lightly.bucket()
    s3 = lightly.aws("s3")
    given = put_files(names, lambda key, text: s3.put_object(Bucket=bucket, Key=f"model/{key}", Body=text.encode()))
    given["source"] = f"s3://{bucket}/model/{given['source']}"

    def upload() -> Any:
        return UploadLightlyPredictionsOperator(
            task_id="upload", dataset_id=dataset_id, task_name="boxes", write_through=write_through, **given
        ).execute(context)

    done = upload()
    assert (done["files"], done["written"], done["unmatched"]) == (40, 40, 0)
    assert done["uri"] == f"s3://{photos}/{output}.lightly/predictions/boxes/"

    again = upload()
    assert (again["written"], again["unchanged"], again["schema_written"], again["task_added"]) == (0, 40, False, False)

    result = worker_task(dataset_id, selection_config=BY_SCORE).execute(context)
    assert sorted(LightlyHook().get_filenames(dataset_id, result["tag_name"])) == unsure(names)


def test_the_boxes_of_yolo_become_pixels_of_the_real_image(
    lightly: Sandbox, photos: str, names: list[str], output: str, dataset_id: str, context: dict[str, Any]
) -> None:
    from PIL import Image

    (name, *_) = names
    bucket = lightly.bucket()
    lightly.aws("s3").put_object(
        Bucket=bucket, Key=f"{name.rpartition('.')[0]}.txt", Body=b"1 0.5 0.5 1.0 0.5 0.75\n0 0.25 0.5 0.5 1 1\n"
    )

    UploadLightlyPredictionsOperator(
        task_id="upload",
        dataset_id=dataset_id,
        task_name="boxes",
        source=f"s3://{bucket}/",
        format="yolo",
        categories=["cat", "dog"],
    ).execute(context)

    photo = lightly.aws("s3").get_object(Bucket=photos, Key=f"raw/{name}")["Body"].read()
    width, height = Image.open(io.BytesIO(photo)).size
    key = f"{output}.lightly/predictions/boxes/{name.rpartition('.')[0]}.json"
    stored = json.loads(lightly.aws("s3").get_object(Bucket=photos, Key=key)["Body"].read())
    assert stored["file_name"] == name
    assert stored["predictions"] == [
        {"category_id": 1, "bbox": pytest.approx([0, height / 4, width, height / 2], abs=0.01), "score": 0.75},
        {"category_id": 0, "bbox": pytest.approx([0, 0, width / 2, height], abs=0.01), "score": 1},
    ]


def test_an_empty_image_is_named_where_yolo_needs_its_size(lightly: Sandbox, tmp_path: Path) -> None:
    bucket = lightly.bucket()
    lightly.aws("s3").put_object(Bucket=bucket, Key="raw/a.jpg", Body=b"")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2 0.9\n")
    datasource = Datasource.model_validate(
        {"purpose": "INPUT_OUTPUT", "type": "S3", "fullPath": f"s3://{bucket}/raw/", "s3Region": lightly.region}
    )
    folder = BucketFolder(
        PREDICTIONS,
        connection=AwsConnection("aws_default"),
        input_datasource=datasource,
        own=datasource,
        dataset_type="Images",
    )

    with pytest.raises(LightlyInvalidFilesError, match=r"The size of the image a\.jpg cannot be read"):
        upload_predictions(
            folder,
            Source.parse(str(tmp_path), aws_conn_id=None),
            task_name="boxes",
            source_format=PredictionFormat.YOLO,
            categories=["cat"],
            log=logging.getLogger(__name__),
        )
    assert lightly.keys_under(bucket) == ["raw/a.jpg"]


@pytest.mark.exhaustive(sample="test_a_run_selects_by_the_scores_that_were_uploaded")
def test_a_run_selects_by_the_metadata_that_were_uploaded(
    lightly: Sandbox, names: list[str], dataset_id: str, context: dict[str, Any]
) -> None:
    bucket, table = lightly.bucket(), io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file_name", "weather.temperature", "weather.sky", "vehicle"])
    for name in names:
        rows.writerow([name, "30.5" if name in unsure(names) else "-1", "sunny, warm", "007"])
    lightly.aws("s3").put_object(Bucket=bucket, Key="metadata.csv", Body=table.getvalue().encode())

    def upload() -> Any:
        return UploadLightlyMetadataOperator(
            task_id="upload", dataset_id=dataset_id, source=f"s3://{bucket}/metadata.csv", format="csv"
        ).execute(context)

    done = upload()
    assert done["schema"] == {
        "weather.temperature": "NUMERIC_FLOAT",
        "weather.sky": "CATEGORICAL_STRING",
        "vehicle": "CATEGORICAL_STRING",
    }
    assert (done["written"], done["unmatched"]) == (40, 0)
    again = upload()
    assert (again["written"], again["unchanged"], again["schema_written"]) == (0, 40, False)

    result = worker_task(dataset_id, selection_config=WEIGHTED_BY_METADATA).execute(context)
    assert sorted(LightlyHook().get_filenames(dataset_id, result["tag_name"])) == unsure(names)


def test_the_hook_reads_and_writes_predictions_without_keys_of_the_bucket(dataset_id: str, names: list[str]) -> None:
    hook = LightlyHook()
    assert sorted(hook.list_input_files(dataset_id)) == sorted(names)
    assert list(hook.list_prediction_files(dataset_id, "boxes")) == []
    assert hook.read_prediction_file(dataset_id, "boxes/ü #?.json") is None

    assert hook.write_prediction_file(dataset_id, "boxes/ü #?.json", b"{}", if_none=True)
    assert not hook.write_prediction_file(dataset_id, "boxes/ü #?.json", b"[]", if_none=True)
    found = hook.read_prediction_file(dataset_id, "boxes/ü #?.json")
    assert found is not None
    assert found.content == b"{}"
    assert list(hook.list_prediction_files(dataset_id, "boxes")) == ["ü #?.json"]
    assert hook.write_prediction_file(dataset_id, "boxes/ü #?.json", b"[1]", if_match=found.etag)
    assert not hook.write_prediction_file(dataset_id, "boxes/ü #?.json", b"[2]", if_match=found.etag)
    assert hook.read_metadata_file(dataset_id, "schema.json") is None
    assert list(hook.list_metadata_files(dataset_id)) == []


_KILLED = """
import json, os, signal, sys
from botocore.client import BaseClient
from lightly_provider.operators.uploads import UploadLightlyPredictionsOperator
from tests.integration.conftest import TaskInstance

call, left = BaseClient._make_api_call, [int(sys.argv[1])]

def counted(client, operation, arguments):
    if operation == "PutObject":
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    return call(client, operation, arguments)

BaseClient._make_api_call = counted
UploadLightlyPredictionsOperator(task_id="upload", **json.loads(sys.argv[2])).execute({"ti": TaskInstance()})
"""
# Forty files, the schema, and the list of tasks.
N_WRITES = 42


@pytest.mark.parametrize("n_writes", thinned(range(N_WRITES), keep=1, seed=3))
def test_an_upload_that_was_killed_at_any_write_is_seen_by_nobody_and_completed_by_the_next(
    n_writes: int,
    lightly: Sandbox,
    photos: str,
    names: list[str],
    output: str,
    dataset_id: str,
    context: dict[str, Any],
    tmp_path: Path,
) -> None:
    (tmp_path / "coco.json").write_text(coco_of(names))
    given = {
        "dataset_id": dataset_id,
        "task_name": "boxes",
        "source": str(tmp_path / "coco.json"),
        "format": "coco",
    }
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(n_writes), json.dumps(given)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -9, killed.stderr[-2000:]
    folder = f"{output}.lightly/predictions/"
    present = {key.removeprefix(folder) for key in lightly.keys_under(photos) if key.startswith(folder)}
    assert "tasks.json" not in present
    assert "boxes/schema.json" not in present or len(present) == 41

    done = UploadLightlyPredictionsOperator(task_id="upload", **given).execute(context)

    assert done["files"] == done["written"] + done["unchanged"] == 40
    assert done["unchanged"] == len(present - {"boxes/schema.json"})
    assert done["task_added"]
    whole = {key.removeprefix(folder) for key in lightly.keys_under(photos) if key.startswith(folder)}
    assert len(whole) == N_WRITES


def test_what_is_written_is_encrypted_with_the_key_of_the_datasource(
    lightly: Sandbox, photos: str, names: list[str], output: str, dataset_id: str, context: dict[str, Any]
) -> None:
    key = lightly.aws("kms").create_key()["KeyMetadata"]["Arn"]
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=f"s3://{photos}/raw/",
        output_resource_path=f"s3://{photos}/{output}",
        datasource_aws_conn_id="aws_default",
        kms_key_arn=key,
    ).execute(context)

    UploadLightlyMetadataOperator(task_id="upload", dataset_id=dataset_id, source={names[0]: {"sky": "blue"}}).execute(
        context
    )

    stored = f"{output}.lightly/metadata/{names[0].rpartition('.')[0]}.json"
    for name in (stored, f"{output}.lightly/metadata/schema.json"):
        head = lightly.aws("s3").head_object(Bucket=photos, Key=name)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_a_write_that_lightly_may_not_do_names_the_remedy_and_no_signature(
    lightly: Sandbox,
    photos: str,
    names: list[str],
    output: str,
    dataset_name: str,
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    may_read = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": f"arn:aws:s3:::{photos}*"}
    keys = lightly.user(may_read)
    monkeypatch.setenv("AIRFLOW_CONN_READER", lightly.aws_connection(keys))
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=f"s3://{photos}/raw/",
        output_resource_path=f"s3://{photos}/{output}",
        datasource_aws_conn_id="reader",
    ).execute(context)
    (tmp_path / "coco.json").write_text(coco_of(names))

    with pytest.raises(final(LightlyResponseError)) as refused:
        UploadLightlyPredictionsOperator(
            task_id="upload",
            dataset_id=dataset_id,
            task_name="boxes",
            source=str(tmp_path / "coco.json"),
            format="coco",
            write_through="platform",
            # Nothing in AWS is asked.
            aws_conn_id="there-is-no-such-connection",
        ).execute(context)

    text = f"{' '.join(str(refused.value).split())}\n{caplog.text}"
    assert "HTTP 403 AccessDenied; check the permissions of the dataset's datasource" in text
    signatures = re.findall(r"(?:X-Amz-Signature|Signature|X-Amz-Security-Token)=([^&\s]+)", text)
    assert set(signatures) <= {"***"}
    assert signatures, "nothing of the signed addresses was logged, so this proves nothing"
    assert keys.secret_access_key not in text


def test_tasks_that_are_added_at_the_same_time_are_all_listed(
    lightly: Sandbox, photos: str, output: str, dataset_id: str
) -> None:
    tasks = [f"task-{number}" for number in range(12)]
    hook = LightlyHook()
    datasources = hook.get_datasources(dataset_id)
    folders = [
        BucketFolder(
            PREDICTIONS,
            connection=AwsConnection("aws_default"),
            input_datasource=datasource_for(datasources, Purpose.INPUT, dataset_id),
            own=datasource_for(datasources, Purpose.LIGHTLY, dataset_id),
            dataset_type="Images",
        ),
        PlatformPredictions(hook, dataset_id, datasource_for(datasources, Purpose.LIGHTLY, dataset_id)),
    ]

    added = list(spread(lambda number: add_task(folders[number % 2], tasks[number]), range(12), threads=6))

    assert added == [True] * 12
    stored = lightly.aws("s3").get_object(Bucket=photos, Key=f"{output}.lightly/predictions/tasks.json")["Body"]
    assert sorted(json.load(stored)) == sorted(tasks)


def test_a_source_in_s3_is_listed_read_and_refused(lightly: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, s3 = lightly.bucket(), lightly.aws("s3")
    keys = ["model/a #1?.json", "model/sub/b.json", "model/sub/", "model/c.txt", "model.json", "modelling/d.json"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())

    def names(address: str, *suffixes: str) -> list[str]:
        return [file.name for file in Source.parse(address, aws_conn_id="aws_default").files(*suffixes)]

    assert names(f"s3://{bucket}/model/") == names(f"s3://{bucket}/model") == ["a #1?.json", "c.txt", "sub/b.json"]
    assert names(f"s3://{bucket}/model/", ".json") == ["a #1?.json", "sub/b.json"]
    assert names(f"s3://{bucket}/model/*.json") == ["a #1?.json"]
    assert names(f"s3://{bucket}/model/**/*.json") == ["a #1?.json", "sub/b.json"]
    assert names(f"s3://{bucket}/model.json") == ["model.json"]
    single = Source.parse(f"s3://{bucket}/model/a #1?.json", aws_conn_id="aws_default").file()
    assert single.read(most=100) == b"model/a #1?.json"

    with pytest.raises(
        LightlySourceError, match=rf"There\s+is\s+nothing\s+at\s+s3://{bucket}/missing/;\s+check\s+the\s+address"
    ):
        names(f"s3://{bucket}/missing/")
    with pytest.raises(LightlySourceError, match=r"There\s+is\s+no\s+bucket\s+'no-such-bucket-4711'"):
        names("s3://no-such-bucket-4711/model/")
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", lightly.aws_connection(lightly.user()))
    with pytest.raises(LightlyAccessError, match=r"(?s)AWS\s+refused\s+ListObjectsV2\s+.*'nobody'.*AccessDenied"):
        list(Source.parse(f"s3://{bucket}/model/", aws_conn_id="nobody").files())
