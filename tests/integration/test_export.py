"""Exports from the sandbox: of images, of frames of videos, and of crops. Each address leads to a file."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyAccessError, LightlySampleFileError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.results import ExportLightlyTagOperator
from lightly_provider.results.formats import FORMATS
from tests.final_errors import final
from tests.integration.conftest import TaskInstance
from tests.integration.sandbox import executable
from tests.integration.staged_worker import platform
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.sandbox import Sandbox

N_IMAGES, N_FRAMES, N_CROPS = 5, 4, 3
KINDS = ("images", "videos", "crops")
ADDRESSED = [form for form in FORMATS if form not in ("filenames", "sama", "read-urls")]
CANARY = "publicToken="


@dataclass(frozen=True)
class Tagged:
    """A dataset with a tag, and the bucket where its files are."""

    sandbox: Sandbox
    dataset_id: str
    tag_name: str
    bucket: str
    n_samples: int

    def exists(self, address: str) -> bool:
        """Whether an address leads to an object, by HEAD on the local AWS; https:// as AWS would resolve it."""
        if address.startswith("https://"):
            parts = urlsplit(address)
            assert parts.netloc == f"{self.bucket}.s3.{self.sandbox.region}.amazonaws.com"
            bucket, key = self.bucket, unquote(parts.path[1:])
        else:
            bucket, _, key = address.removeprefix("s3://").partition("/")
        s3 = self.sandbox.aws("s3")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)
        if key not in [one["Key"] for one in listed.get("Contents", ())]:
            return False
        return int(s3.head_object(Bucket=bucket, Key=key)["ContentLength"]) > 0


def sent(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """The status of an answer of a read or write address, and its content."""
    request = Request(url, data=body, method=method, headers={"Content-Type": "application/json"} if body else {})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


class Worker:
    """What a worker and a person do on the platform."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def send(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The answer to a request."""
        return platform(self.sandbox, method, f"/v1{path}", body, **query)

    def dataset(self, kind: str, bucket: str, parent: str | None = None) -> str:
        """A new dataset whose input is under raw/, and where Lightly writes under lightly/."""
        body = {"name": f"export {uuid.uuid4().hex[:12]}", "type": kind} | (
            {"parentDatasetId": parent} if parent else {}
        )
        dataset_id: str = self.send("POST", "/datasets", body)["id"]
        for folder, purpose in (("raw", Purpose.INPUT), ("lightly", Purpose.LIGHTLY)):
            uri = f"s3://{bucket}/{folder}/"
            keys = self.sandbox.user(*policy_document(S3Location.parse(uri, argument="uri"), purpose)["Statement"])
            datasource = {
                "purpose": purpose,
                "type": "S3",
                "fullPath": uri,
                "s3Region": self.sandbox.region,
                "s3AccessKeyId": keys.access_key_id,
                "s3SecretAccessKey": keys.secret_access_key,
            }
            self.send("PUT", f"/datasets/{dataset_id}/datasource", datasource)
        return dataset_id

    def run(self, dataset_id: str, n_samples: int) -> None:
        """Have a worker select."""
        strategies = [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]
        config = {"workerType": "FULL", "docker": {}, "selection": {"nSamples": n_samples, "strategies": strategies}}
        created = self.send("POST", "/docker/worker/config/vX", {"version": "V4", "config": config})
        schedule = {"configId": created["id"], "priority": "MID"}
        self.send("POST", f"/datasets/{dataset_id}/docker/worker/schedule", schedule)
        deadline = time.monotonic() + 120
        while True:
            runs = self.send("GET", f"/docker/runs/query/datasetId/{dataset_id}")
            if runs and runs[0]["state"] in ("COMPLETED", "FAILED", "ABORTED", "CRASHED"):
                assert runs[0]["state"] == "COMPLETED", runs[0]
                return
            assert time.monotonic() < deadline, runs
            time.sleep(0.1)

    def tag(self, dataset_id: str, name: str, bits: int, n_samples: int) -> None:
        """Tag some samples by hand, after the initial tag."""
        initial = self.send("GET", f"/datasets/{dataset_id}/tags")[0]["id"]
        body = {"name": name, "prevTagId": initial, "bitMaskData": hex(bits), "totSize": n_samples}
        self.send("POST", f"/datasets/{dataset_id}/tags", body)


@pytest.fixture(scope="module")
def images(sandbox: Sandbox, photos: str) -> Tagged:
    """A dataset of images, of which a worker has selected some, and two tags by hand."""
    worker = Worker(sandbox)
    dataset_id = worker.dataset("Images", photos)
    worker.run(dataset_id, N_IMAGES)
    worker.tag(dataset_id, "first two", 0b00011, N_IMAGES)
    worker.tag(dataset_id, "every other", 0b10101, N_IMAGES)
    return Tagged(sandbox, dataset_id, "initial-tag", photos, N_IMAGES)


@pytest.fixture(scope="module")
def videos(sandbox: Sandbox) -> Tagged:
    """A dataset of videos, of which a worker has selected frames."""
    bucket = sandbox.bucket()
    command = [executable(), "seed", f"s3://{bucket}/raw", "--videos", "2", "--ready-file", str(sandbox.ready_file)]
    subprocess.run(command, check=True, capture_output=True)
    worker = Worker(sandbox)
    dataset_id = worker.dataset("Videos", bucket)
    worker.run(dataset_id, N_FRAMES)
    return Tagged(sandbox, dataset_id, "initial-tag", bucket, N_FRAMES)


@pytest.fixture(scope="module")
def crops(sandbox: Sandbox, images: Tagged) -> Tagged:
    """A dataset of crops, as a worker that cuts out objects would leave it: children of the images' dataset."""
    worker, bucket = Worker(sandbox), images.bucket
    dataset_id = worker.dataset("Crops", bucket, parent=images.dataset_id)
    parents = worker.send("GET", f"/datasets/{images.dataset_id}/samples")
    for number in range(N_CROPS):
        crop = {
            "parentId": parents[number]["id"],
            "predictionUUIDTimestamp": 1,
            "predictionIndex": number,
            "predictionTaskName": "boxes",
            "predictionTaskCategoryId": 0,
            "predictionTaskScore": 0.5,
        }
        stem = parents[number]["fileName"].rpartition(".")[0]
        body = {"fileName": f"{stem}-crop-{number}.png", "cropData": crop}
        made = worker.send("POST", f"/datasets/{dataset_id}/samples/withWriteUrls", body)
        assert sent("PUT", made["sampleWriteUrls"]["full"], b"cut out")[0] == 200
    worker.send("POST", f"/datasets/{dataset_id}/tags/initial", {"imgType": "full"})
    return Tagged(sandbox, dataset_id, "initial-tag", bucket, N_CROPS)


@pytest.fixture
def tagged(kind: str, request: pytest.FixtureRequest, lightly: Sandbox) -> Tagged:
    """A dataset of the kind that the test is about."""
    found: Tagged = request.getfixturevalue(kind)
    return found


def export(tagged: Tagged, key: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """What the operator returns, and the object that it wrote."""
    given = {"dataset_id": tagged.dataset_id, "tag_name": tagged.tag_name}
    given |= {"destination": f"s3://{tagged.bucket}/exports/{key}", **arguments}
    made = ExportLightlyTagOperator(task_id="export", **given)
    result: dict[str, Any] = made.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    body = tagged.sandbox.aws("s3").get_object(Bucket=tagged.bucket, Key=f"exports/{key}")["Body"].read()
    return result, body


def addresses(form: str, content: bytes) -> Iterator[str]:
    """What an export says its samples' files are."""
    if form == "uris":
        for line in content.decode().splitlines():
            yield line.partition("#")[0]
    elif form == "manifest":
        yield from (json.loads(line)["source-ref"] for line in content.splitlines())
    elif form == "parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(io.BytesIO(content))["source-ref"].to_pylist()
    elif form == "label-studio":
        for task in json.loads(content):
            yield task["data"].get("image") or task["data"]["video"]
    else:
        yield from (row["row_data"] for row in json.loads(content))


def kinds_by(forms: list[str]) -> list[Any]:
    """Each kind in each form; a run of videos takes as long as all others together, so they are exhaustive."""
    return [
        pytest.param(kind, form, marks=[pytest.mark.exhaustive] if kind == "videos" else [])
        for kind in KINDS
        for form in forms
    ]


def form_of(kind: str, form: str) -> str:
    """What a sample of the matrices must cover."""
    return form


@pytest.mark.parametrize(
    ("kind", "form"),
    thinned(kinds_by(ADDRESSED), keep=5, covering=form_of),
)
def test_every_address_leads_to_an_object(tagged: Tagged, form: str) -> None:
    result, content = export(tagged, f"{tagged.dataset_id}.{form}", format=form)

    assert result == {
        "uri": f"s3://{tagged.bucket}/exports/{tagged.dataset_id}.{form}",
        "count": tagged.n_samples,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    found = list(addresses(form, content))
    assert len(found) == len(set(found)) == tagged.n_samples
    assert [address for address in found if not tagged.exists(address)] == []


@pytest.mark.parametrize(
    ("kind", "form"),
    thinned(kinds_by(["sama", "read-urls"]), keep=2, covering=form_of),
)
def test_every_read_address_reads_a_file(tagged: Tagged, form: str) -> None:
    result, content = export(tagged, f"{tagged.dataset_id}.{form}", format=form, read_urls_expire_in=600)

    if form == "sama":
        urls = [task["data"]["url"] for task in json.loads(content)]
    else:
        urls = [json.loads(line)["read_url"] for line in content.splitlines()]
    assert result["count"] == len(set(urls)) == tagged.n_samples
    assert {sent("GET", url)[0] for url in urls} == {200}
    forged = urls[0].replace(CANARY, f"{CANARY}0")
    assert sent("GET", forged)[0] == 401


@pytest.mark.parametrize("kind", thinned(KINDS, keep=1, seed=2))
def test_filenames_are_those_of_the_tag_and_no_object_is_looked_for(tagged: Tagged) -> None:
    result, content = export(tagged, f"{tagged.dataset_id}.txt")

    assert content.decode().splitlines() == LightlyHook().get_filenames(tagged.dataset_id, tagged.tag_name)
    assert result["count"] == tagged.n_samples


@pytest.mark.parametrize("kind", thinned(KINDS, keep=1, seed=1))
def test_a_second_export_is_the_same_file(tagged: Tagged) -> None:
    assert (
        export(tagged, f"{tagged.dataset_id}-1.jsonl", format="manifest")[1]
        == (export(tagged, f"{tagged.dataset_id}-2.jsonl", format="manifest")[1])
    )


@pytest.mark.parametrize(
    ("arguments", "places"),
    thinned(
        [
            ({"subtract": ["first two"]}, [2, 3, 4]),
            ({"since_tag": "every other"}, [1, 3]),
            ({"tag_name": "first two", "union_with": ["every other"]}, [0, 1, 2, 4]),
            ({"intersect_with": ["every other", "first two"]}, [0]),
            ({"tag_name": "first two", "intersect_with": ["every other"], "subtract": ["initial-tag"]}, []),
        ],
        keep=2,
    ),
)
def test_tags_are_combined_in_every_format_alike(
    lightly: Sandbox, images: Tagged, arguments: dict[str, Any], places: list[int]
) -> None:
    names = LightlyHook().get_filenames(images.dataset_id, "initial-tag")
    expected = [names[place] for place in places]
    before = len(LightlyHook().get_tags(images.dataset_id))

    _, content = export(images, "combined.txt", **arguments)
    _, manifest = export(images, "combined.jsonl", format="manifest", **arguments)
    _, sama = export(images, "combined.json", format="sama", **arguments)

    assert sorted(content.decode().splitlines()) == sorted(expected)
    assert sorted(json.loads(line)["filename"] for line in manifest.splitlines()) == sorted(expected)
    assert sorted(task["data"]["lightlyFileName"] for task in json.loads(sama)) == sorted(expected)
    assert len(LightlyHook().get_tags(images.dataset_id)) == before


# --- frames and crops without a file ------------------------------------------------------------------------------


@pytest.fixture
def unsaved_frames(videos: Tagged, lightly: Sandbox) -> Iterator[Tagged]:
    """The videos' dataset, whose first frame has no file."""
    name = LightlyHook().get_filenames(videos.dataset_id, videos.tag_name)[0]
    yield from _without(videos, f"lightly/.lightly/frames/{name}")


@pytest.fixture
def unsaved_crops(crops: Tagged, lightly: Sandbox) -> Iterator[Tagged]:
    """The crops' dataset, whose first crop has no file."""
    name = LightlyHook().get_filenames(crops.dataset_id, crops.tag_name)[0]
    yield from _without(crops, f"lightly/.lightly/crops/{name}")


def _without(tagged: Tagged, *keys: str) -> Iterator[Tagged]:
    s3 = tagged.sandbox.aws("s3")
    kept = {key: s3.get_object(Bucket=tagged.bucket, Key=key)["Body"].read() for key in keys}
    for key in keys:
        s3.delete_object(Bucket=tagged.bucket, Key=key)
    yield tagged
    for key, body in kept.items():
        s3.put_object(Bucket=tagged.bucket, Key=key, Body=body)


@pytest.mark.parametrize(
    ("kind", "form"),
    thinned([(kind, form) for kind in ("unsaved_frames", "unsaved_crops") for form in ADDRESSED], keep=3),
)
@pytest.mark.exhaustive(sample="test_every_address_leads_to_an_object")
def test_a_sample_without_a_file_is_what_it_was_cut_from(request: pytest.FixtureRequest, kind: str, form: str) -> None:
    tagged: Tagged = request.getfixturevalue(kind)

    result, content = export(tagged, f"unsaved.{form}", format=form)

    found = list(addresses(form, content))
    assert result["count"] == len(found) == tagged.n_samples
    assert [address for address in found if not tagged.exists(address)] == []
    assert len([address for address in found if "/raw/" in address]) == 1


def test_a_frame_without_a_file_says_where_in_its_video_it_is(unsaved_frames: Tagged) -> None:
    rows = [json.loads(line) for line in export(unsaved_frames, "m.jsonl", format="manifest")[1].splitlines()]
    (row,) = [row for row in rows if "frame" in row]
    video, _, number = row["filename"].removesuffix("-mp4.png").rpartition("-")

    assert row["source-ref"] == f"s3://{unsaved_frames.bucket}/raw/{video}.mp4"
    assert row["frame"] == int(number)
    assert row["time"] >= 0
    (uri,) = [line for line in export(unsaved_frames, "u.txt", format="uris")[1].decode().splitlines() if "#" in line]
    assert uri.startswith(f"{row['source-ref']}#t=")
    assert uri.endswith(f"&frame={row['frame']}")
    (task,) = [one for one in json.loads(export(unsaved_frames, "s.json", format="sama")[1]) if "frame" in one["data"]]
    assert (task["data"]["url"], task["data"]["frame"]) == (row["source-ref"], row["frame"])


def test_a_crop_without_a_file_says_where_in_its_image_it_is(unsaved_crops: Tagged) -> None:
    rows = [json.loads(line) for line in export(unsaved_crops, "m.jsonl", format="manifest")[1].splitlines()]
    (row,) = [row for row in rows if "crop_index" in row]

    assert (row["crop_task"], row["crop_index"]) == ("boxes", 0)
    assert row["source-ref"].startswith(f"s3://{unsaved_crops.bucket}/raw/")


@pytest.mark.parametrize(
    ("kind", "setting"), [("unsaved_frames", "output_image_format"), ("unsaved_crops", "crops.enable_upload")]
)
def test_a_sample_without_a_file_has_no_read_address_and_nothing_is_written(
    request: pytest.FixtureRequest, kind: str, setting: str
) -> None:
    tagged: Tagged = request.getfixturevalue(kind)

    with pytest.raises(final(LightlySampleFileError), match=rf"(?s)has no file at\s+s3://.*{setting}"):
        export(tagged, "no-urls.jsonl", format="read-urls")
    assert not tagged.exists(f"s3://{tagged.bucket}/exports/no-urls.jsonl")


def test_a_frame_without_a_file_and_a_video_is_refused_with_the_setting_of_the_worker(
    videos: Tagged, lightly: Sandbox
) -> None:
    name = LightlyHook().get_filenames(videos.dataset_id, videos.tag_name)[0]
    video = f"{name.removesuffix('-mp4.png').rpartition('-')[0]}.mp4"
    for tagged in _without(videos, f"lightly/.lightly/frames/{name}", f"raw/{video}"):
        with pytest.raises(
            final(LightlySampleFileError),
            match=r"(?s)its\s+video\s+is\s+not\s+in\s+the\s+bucket\s+either;\s+.*output_image_format",
        ):
            export(tagged, "nothing.jsonl", format="manifest")
        assert not tagged.exists(f"s3://{tagged.bucket}/exports/nothing.jsonl")


def test_a_crop_without_a_file_and_an_image_is_refused_with_the_setting_of_the_worker(
    images: Tagged, crops: Tagged, lightly: Sandbox
) -> None:
    name = LightlyHook().get_filenames(crops.dataset_id, crops.tag_name)[0]
    image = LightlyHook().get_filenames(images.dataset_id, images.tag_name)[0]
    for tagged in _without(crops, f"lightly/.lightly/crops/{name}", f"raw/{image}"):
        with pytest.raises(
            final(LightlySampleFileError), match=r"(?s)image\s+around\s+it\s+is\s+not\s+in\s+.*crops\.enable_upload"
        ):
            export(tagged, "nothing.jsonl", format="manifest")


def test_a_connection_that_may_not_look_is_told_what_to_allow(
    videos: Tagged, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": "*"}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_BUCKET", lightly.aws_connection(lightly.user(write)))

    with pytest.raises(LightlyAccessError, match=rf"allow\s+s3:GetObject\s+on\s+arn:aws:s3:::{videos.bucket}/"):
        export(videos, "not-seen.jsonl", format="manifest", aws_conn_id="team_bucket")
    assert not videos.exists(f"s3://{videos.bucket}/exports/not-seen.jsonl")
    assert export(videos, "seen.txt", aws_conn_id="team_bucket")[0]["count"] == N_FRAMES
