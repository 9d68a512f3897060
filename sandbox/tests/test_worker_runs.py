"""The worker as a process against the platform and the local AWS, by HTTP alone."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from PIL import Image

from lightly_sandbox import photos

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "ABORTED"}
THUMB_SUFFIX = ".lightly/thumbnails/[filename]_thumb.[extension]"
DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Keys:
    access_key_id: str
    secret_access_key: str


@dataclass
class Lab:
    """What the tests do with the sandbox, as a customer of both the platform and AWS."""

    ready: Mapping[str, Any]
    admin: Keys = field(init=False)
    users: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admin = Keys(self.ready["aws_access_key_id"], self.ready["aws_secret_access_key"])
        self._session = requests.Session()
        self._session.trust_env = False

    def aws(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.ready["aws_url"],
            region_name=self.ready["region"],
            aws_access_key_id=self.admin.access_key_id,
            aws_secret_access_key=self.admin.secret_access_key,
        )

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self._session.request(
            method,
            self.ready["lightly_url"] + path,
            params={**query, "token": self.ready["token"]},
            json=body,
            timeout=30,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def bucket(self) -> str:
        name = f"photos-{uuid.uuid4().hex[:12]}"
        self.aws("s3").create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.ready["region"]}
        )
        return name

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.aws("s3").put_object(Bucket=bucket, Key=key, Body=content)

    def keys_of(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.aws("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def user(self, *statements: dict[str, Any]) -> Keys:
        """Make an IAM user who may do this and nothing else."""
        iam, name = self.aws("iam"), f"user-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        self.allow(name, *statements)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        self.users[made["AccessKeyId"]] = name
        return Keys(made["AccessKeyId"], made["SecretAccessKey"])

    def allow(self, user: str, *statements: dict[str, Any]) -> None:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", **each} for each in statements],
        }
        self.aws("iam").put_user_policy(
            UserName=user, PolicyName="narrow", PolicyDocument=json.dumps(document)
        )

    def extend(self, keys: Keys, *statements: dict[str, Any]) -> None:
        self.allow(self.users[keys.access_key_id], *statements)

    def dataset(self, dataset_type: str = "Images") -> str:
        name = f"dataset {uuid.uuid4().hex[:12]}"
        return str(self.call("POST", "/v1/datasets", {"name": name, "type": dataset_type})["id"])

    def datasource(
        self,
        dataset_id: str,
        purpose: str,
        path: str,
        *,
        thumbnails: bool = False,
        keys: Keys | None = None,
        kms_key_arn: str | None = None,
    ) -> None:
        keys = keys or self.admin
        body = {
            "purpose": purpose,
            "type": "S3",
            "fullPath": path,
            "s3Region": self.ready["region"],
            "s3AccessKeyId": keys.access_key_id,
            "s3SecretAccessKey": keys.secret_access_key,
        }
        if thumbnails:
            body["thumbSuffix"] = THUMB_SUFFIX
        if kms_key_arn is not None:
            body["s3ServerSideEncryptionKMSKey"] = kms_key_arn
        self.call("PUT", f"/v1/datasets/{dataset_id}/datasource", body)

    def schedule(
        self,
        dataset_id: str,
        *,
        strategies: tuple[dict[str, Any], ...] = (DIVERSITY,),
        docker: dict[str, Any] | None = None,
        runs_on: tuple[str, ...] = (),
        **selection: Any,
    ) -> str:
        config = {
            "workerType": "FULL",
            "docker": docker or {},
            "selection": {"strategies": list(strategies), **selection},
        }
        body = {"version": "V4", "creator": "USER_PIP", "config": config}
        config_id = self.call("POST", "/v1/docker/worker/config/vX", body)["id"]
        body = {"configId": config_id, "priority": "MID", "runsOn": list(runs_on)}
        return str(self.call("POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)["id"])

    def run(self, dataset_id: str, scheduled_id: str) -> dict[str, Any] | None:
        found = self.call("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
        return next((run for run in found if run["scheduledId"] == scheduled_id), None)

    def wait(self, dataset_id: str, scheduled_id: str, states: set[str] = TERMINAL) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            run = self.run(dataset_id, scheduled_id)
            return run if run is not None and run["state"] in states | TERMINAL else None

        run = until(reached, f"scheduled run {scheduled_id} in {states}")
        assert run["state"] in states, run
        # A dataset takes its next run only after this one was given back.
        if run["state"] in TERMINAL:
            until(lambda: self.schedule_state(dataset_id, scheduled_id) == "DONE", "the schedule to be DONE")
        return run

    def do(self, dataset_id: str, **config: Any) -> dict[str, Any]:
        return self.wait(dataset_id, self.schedule(dataset_id, **config))

    def schedule_state(self, dataset_id: str, scheduled_id: str) -> str:
        states = ["OPEN", "LOCKED", "DONE", "CANCELED"]
        found = self.call("GET", f"/v1/datasets/{dataset_id}/docker/worker/schedule", states=states)
        return str(next(entry["state"] for entry in found if entry["id"] == scheduled_id))

    def tags(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/v1/datasets/{dataset_id}/tags"))

    def filenames(self, dataset_id: str, tag: Mapping[str, Any]) -> list[str]:
        text = self.call("GET", f"/v1/datasets/{dataset_id}/tags/{tag['id']}/export/basic/filenames")
        return str(text).split()

    def samples(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/v1/datasets/{dataset_id}/samples"))

    def artifact(self, run: Mapping[str, Any], kind: str) -> bytes:
        artifact = next(found for found in run["artifacts"] if found["type"] == kind)
        url = self.call("GET", f"/v1/docker/runs/{run['id']}/artifacts/{artifact['id']}/readurl")
        answer = requests.get(url, timeout=30)
        assert answer.ok
        return answer.content

    def sizes(self, run: Mapping[str, Any]) -> dict[str, int]:
        report = json.loads(self.artifact(run, "REPORT_V2_JSON"))
        return dict(report["generalInformation"]["datasetInformation"]["datasetSizes"])

    def logs(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/v1/docker/runs/{run['id']}/logs")["logs"])


def until(condition: Any, what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = itertools.chain((0.02,) * 50, itertools.repeat(0.1))
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(next(pause))
    raise AssertionError(f"waited {DEADLINE_SECONDS} s in vain for {what}")


@pytest.fixture(scope="module")
def lab(sandbox: Mapping[str, Any]) -> Lab:
    return Lab(sandbox)


@dataclass(frozen=True)
class Place:
    dataset_id: str
    bucket: str


@pytest.fixture
def place(lab: Lab) -> Place:
    """A dataset that reads 40 photos and writes thumbnails beside them."""
    place = Place(lab.dataset(), lab.bucket())
    photos.seed(lab.aws("s3"), place.bucket, "photos", 40)
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/")
    lab.datasource(place.dataset_id, "LIGHTLY", f"s3://{place.bucket}/lightly/", thumbnails=True)
    return place


@contextmanager
def own_worker(lab: Lab, label: str, log: Path, name: str = "own") -> Iterator[subprocess.Popen[bytes]]:
    """A worker that nobody shares, with the token where it belongs."""
    arguments = ["--url", lab.ready["lightly_url"], "--name", f"{name} {label}", "--label", label]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightly_sandbox.worker", *arguments, "--poll-interval", "0.05"],
            env={**os.environ, "LIGHTLY_TOKEN": lab.ready["token"]},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_160_photos_become_a_diverse_selection_within_12_seconds(lab: Lab) -> None:
    dataset_id, bucket = lab.dataset(), lab.bucket()
    assert len(photos.seed(lab.aws("s3"), bucket, "photos", 160)) == 160
    lab.datasource(dataset_id, "INPUT", f"s3://{bucket}/photos/")
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{bucket}/lightly/", thumbnails=True)

    run = lab.do(dataset_id, nSamples=24)

    assert (run["state"], run["message"]) == (
        "COMPLETED",
        "selected 24 of 160 images into the tag 'initial-tag'",
    )
    assert run["lastModifiedAt"] - run["createdAt"] < 12_000
    (tag,) = lab.tags(dataset_id)
    selected = lab.filenames(dataset_id, tag)
    assert len(selected) == 24
    assert len({photos.scene_of(name) for name in selected}) >= 13
    assert tag["runId"] == run["id"]


def test_the_platform_shows_what_the_run_did(lab: Lab, place: Place) -> None:
    before = int(time.time())
    run = lab.do(place.dataset_id, nSamples=6)

    states = [line["state"] for line in lab.logs(run)]
    assert [state for state, _ in itertools.groupby(states)] == [
        "INITIALIZING",
        "LOADING_DATASET",
        "CHECKING_CORRUPTNESS",
        "COMPUTING_METADATA",
        "EMBEDDING",
        "SAMPLING",
        "UPLOADING_DATASET",
        "GENERATING_REPORT",
        "UPLOADING_REPORT",
        "UPLOADED_REPORT",
        "UPLOADING_ARTIFACTS",
        "UPLOADED_ARTIFACTS",
        "COMPLETED",
    ]
    assert lab.sizes(run) == {
        "nInput": 40,
        "nCorrupt": 0,
        "nDuplicate": 0,
        "nRemoved": 34,
        "nSelected": 6,
        "nPreselectedDatapool": 0,
        "nSelectedWithDatapool": 6,
    }
    assert b"SAMPLING: selected 6 of 40 images" in lab.artifact(run, "LOG")
    samples = lab.samples(place.dataset_id)
    assert len(samples) == 6
    assert all(sample["metaData"]["sharpness"] > 0 for sample in samples)
    assert all(sample["metaData"]["shape"] == [240, 320, 3] for sample in samples)
    until_seconds = lab.call("GET", f"/v1/datasets/{place.dataset_id}/datasource/processedUntilTimestamp")
    assert before <= until_seconds["processedUntilTimestamp"] <= time.time()


def test_each_selected_image_has_a_thumbnail_and_no_other(lab: Lab, place: Place) -> None:
    lab.do(place.dataset_id, nSamples=6)
    folder = "lightly/.lightly/thumbnails/"
    expected = [
        folder + sample["fileName"].replace(".jpg", "_thumb.jpg") for sample in lab.samples(place.dataset_id)
    ]
    assert sorted(lab.keys_of(place.bucket, "lightly/")) == sorted(expected)
    content = lab.aws("s3").get_object(Bucket=place.bucket, Key=expected[0])["Body"].read()
    assert Image.open(io.BytesIO(content)).size == (256, 192)


def test_thumbnails_are_encrypted_with_the_datasources_key(lab: Lab, place: Place) -> None:
    key_arn = lab.aws("kms").create_key()["KeyMetadata"]["Arn"]
    lightly = f"s3://{place.bucket}/encrypted/"
    lab.datasource(place.dataset_id, "LIGHTLY", lightly, thumbnails=True, kms_key_arn=key_arn)
    run = lab.do(place.dataset_id, nSamples=3)
    assert run["state"] == "COMPLETED", run["message"]
    keys = lab.keys_of(place.bucket, "encrypted/")
    assert len(keys) == 3
    for key in keys:
        found = lab.aws("s3").head_object(Bucket=place.bucket, Key=key)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", key_arn)


def test_without_thumbnails_nothing_is_written_to_the_bucket(lab: Lab) -> None:
    dataset_id, bucket = lab.dataset(), lab.bucket()
    photos.seed(lab.aws("s3"), bucket, "", 10)
    before = sorted(lab.keys_of(bucket))
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/")
    assert lab.do(dataset_id, nSamples=3)["state"] == "COMPLETED"
    assert sorted(lab.keys_of(bucket)) == before


def test_a_datapool_grows_by_what_is_new(lab: Lab, place: Place) -> None:
    datapool = {"useDatapool": True}
    lab.do(place.dataset_id, docker=datapool, nSamples=6)

    unchanged = lab.do(place.dataset_id, docker=datapool, nSamples=6)
    assert unchanged["state"] == "COMPLETED"
    assert unchanged["message"].startswith("no new files")
    assert len(lab.tags(place.dataset_id)) == 1

    # S3's times have whole seconds; what arrives in the second of the listing belongs to it.
    processed = lab.call("GET", f"/v1/datasets/{place.dataset_id}/datasource/processedUntilTimestamp")
    until(lambda: time.time() >= processed["processedUntilTimestamp"] + 1, "the next second")
    photos.seed(lab.aws("s3"), place.bucket, "photos", 60)
    grown = lab.do(place.dataset_id, docker=datapool, nSamples=4)

    assert grown["state"] == "COMPLETED"
    first, second = lab.tags(place.dataset_id)
    old, new = lab.filenames(place.dataset_id, first), lab.filenames(place.dataset_id, second)
    assert (len(old), len(new)) == (6, 4)
    assert set(new) <= {name for name, _ in itertools.islice(photos.frames(60), 40, None)}
    assert (second["prevTagId"], second["totSize"], second["runId"]) == (first["id"], 10, grown["id"])
    assert lab.call("GET", f"/v1/docker/runs/{grown['id']}/tags") == [second]
    sizes = lab.sizes(grown)
    assert (sizes["nInput"], sizes["nPreselectedDatapool"], sizes["nSelectedWithDatapool"]) == (20, 6, 10)


def test_process_all_considers_what_was_left_out_before(lab: Lab, place: Place) -> None:
    lab.do(place.dataset_id, nSamples=6)
    docker = {"useDatapool": True, "datasource": {"processAll": True}}
    run = lab.do(place.dataset_id, docker=docker, nSamples=5)
    assert run["message"].startswith("selected 5 of 34 images")
    first, second = lab.tags(place.dataset_id)
    assert not set(lab.filenames(place.dataset_id, first)) & set(lab.filenames(place.dataset_id, second))


def test_a_filled_dataset_is_not_touched_without_the_datapool(lab: Lab, place: Place) -> None:
    lab.do(place.dataset_id, nSamples=6)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "ABORTED"
    assert "not empty" in run["message"]
    assert "use_datapool" in run["message"]
    assert len(lab.samples(place.dataset_id)) == 6


def test_thumbnails_in_the_same_place_are_no_input(lab: Lab) -> None:
    dataset_id, bucket = lab.dataset(), lab.bucket()
    photos.seed(lab.aws("s3"), bucket, "photos", 12)
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/", thumbnails=True)
    docker = {"useDatapool": True, "datasource": {"processAll": True}}
    lab.do(dataset_id, docker=docker, nSamples=4)
    assert any("/.lightly/" in key for key in lab.keys_of(bucket))
    assert lab.do(dataset_id, docker=docker, nSamples=4)["message"].startswith("selected 4 of 8 images")


def test_an_empty_prefix_fails_and_is_named(lab: Lab, place: Place) -> None:
    path = f"s3://{place.bucket}/nothing/"
    lab.datasource(place.dataset_id, "INPUT", path)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"no images at all under {path}" in run["message"]


def test_a_few_corrupt_files_are_counted_and_left_out(lab: Lab, place: Place) -> None:
    lab.put(place.bucket, "photos/broken.jpg", b"this is no JPEG")
    _, content = next(photos.frames(1))
    lab.put(place.bucket, "photos/cut-off.jpg", content[: len(content) // 2])
    run = lab.do(place.dataset_id, nSamples=42)
    assert run["state"] == "COMPLETED"
    assert run["message"].endswith("; 2 files were corrupt")
    assert lab.sizes(run)["nCorrupt"] == 2
    assert lab.sizes(run)["nSelected"] == 40
    warnings = [line["msg"] for line in lab.logs(run) if line["level"] == "WARNING"]
    assert [message.split()[0] for message in warnings] == ["broken.jpg", "cut-off.jpg"]


def test_too_many_corrupt_files_fail_the_run(lab: Lab, place: Place) -> None:
    lab.put(place.bucket, "photos/broken.jpg", b"this is no JPEG")
    run = lab.do(place.dataset_id, nSamples=6, docker={"corruptnessCheck": {"corruptionThreshold": 0.01}})
    assert run["state"] == "FAILED"
    assert "1 of 41 files are corrupt" in run["message"]
    assert "broken.jpg" in run["message"]
    assert lab.samples(place.dataset_id) == []
    assert b"broken.jpg is left out" in lab.artifact(run, "LOG")


def test_all_kinds_of_images_are_read(lab: Lab, place: Place) -> None:
    _, content = next(photos.frames(1))
    photo = Image.open(io.BytesIO(content))
    kinds = {
        "grey.png": (photo.convert("L"), "PNG"),
        "deep.png": (photo.convert("L").convert("I").point(lambda value: value * 256).convert("I;16"), "PNG"),
        "palette.png": (photo.convert("P"), "PNG"),
        "transparent.PNG": (photo.convert("RGBA"), "PNG"),
        "print.jpeg": (photo.convert("CMYK"), "JPEG"),
        "web.webp": (photo, "WEBP"),
    }
    for name, (image, image_format) in kinds.items():
        written = io.BytesIO()
        image.save(written, image_format)
        lab.put(place.bucket, f"kinds/{name}", written.getvalue())
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/kinds/")
    run = lab.do(place.dataset_id, nSamples=100)
    assert run["state"] == "COMPLETED", run["message"]
    assert {sample["fileName"] for sample in lab.samples(place.dataset_id)} == set(kinds)


def test_a_refused_write_fails_naming_the_key_and_leaves_nothing_in_the_way(lab: Lab, place: Place) -> None:
    bucket = f"arn:aws:s3:::{place.bucket}"
    may_read = {"Action": ["s3:ListBucket", "s3:GetObject"], "Resource": [bucket, f"{bucket}/*"]}
    keys = lab.user(may_read)
    lightly = f"s3://{place.bucket}/lightly/"
    lab.datasource(place.dataset_id, "LIGHTLY", lightly, thumbnails=True, keys=keys)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"{place.bucket}/lightly/.lightly/thumbnails/" in run["message"]
    assert "s3:PutObject" in run["message"]
    assert "X-Amz" not in run["message"]
    assert keys.access_key_id not in json.dumps(lab.logs(run))
    assert lab.tags(place.dataset_id) == []

    lab.extend(keys, may_read, {"Action": "s3:PutObject", "Resource": f"{bucket}/lightly/*"})
    # Another image comes first now, so that what the failed run left is not selected again.
    _, content = next(photos.frames(1))
    lab.put(place.bucket, "photos/aaa.jpg", content)
    again = lab.do(place.dataset_id, nSamples=1)
    assert again["state"] == "COMPLETED", again["message"]
    (tag,) = lab.tags(place.dataset_id)
    assert lab.filenames(place.dataset_id, tag) == ["aaa.jpg"]


def test_a_refused_read_fails_naming_the_key(lab: Lab, place: Place) -> None:
    bucket = f"arn:aws:s3:::{place.bucket}"
    keys = lab.user({"Action": "s3:ListBucket", "Resource": bucket})
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/", keys=keys)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"{place.bucket}/photos/" in run["message"]
    assert "s3:GetObject" in run["message"]
    assert "X-Amz" not in run["message"]


def test_a_refused_listing_fails_with_the_words_of_aws(lab: Lab, place: Place) -> None:
    keys = lab.user({"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{place.bucket}/*"})
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/", keys=keys)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert "AccessDenied" in run["message"]


def test_videos_fail_in_plain_words(lab: Lab, place: Place) -> None:
    dataset_id = lab.dataset("Videos")
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{place.bucket}/photos/")
    run = lab.do(dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert "cannot decode videos yet" in run["message"]


def test_what_the_worker_cannot_do_fails_and_is_named(lab: Lab, place: Place) -> None:
    run = lab.do(place.dataset_id, nSamples=6, docker={"enableTraining": True})
    assert run["state"] == "FAILED"
    assert "docker.enableTraining" in run["message"]


def test_nothing_selected_is_no_failure_and_no_tag(lab: Lab, place: Place) -> None:
    never = {
        "input": {"type": "METADATA", "key": "lightly.sharpness"},
        "strategy": {"type": "THRESHOLD", "threshold": 0, "operation": "SMALLER"},
    }
    run = lab.do(place.dataset_id, strategies=(never, DIVERSITY), nSamples=6)
    assert (run["state"], run["message"]) == ("COMPLETED", "selected 0 of 40 images")
    assert lab.tags(place.dataset_id) == []


def test_sigterm_aborts_the_run_and_ends_the_worker(lab: Lab, place: Place, tmp_path: Path) -> None:
    photos.seed(lab.aws("s3"), place.bucket, "photos", 300)
    label = uuid.uuid4().hex
    with own_worker(lab, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, nSamples=24, runs_on=(label,))
        lab.wait(place.dataset_id, scheduled_id, {"CHECKING_CORRUPTNESS", "COMPUTING_METADATA"})
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert time.monotonic() - began < 5
    run = lab.wait(place.dataset_id, scheduled_id)
    assert run["state"] == "ABORTED"
    assert "The worker was stopped" in run["message"]
    (registered,) = [found for found in lab.call("GET", "/v1/docker/worker") if label in found["labels"]]
    assert registered["state"] == "OFFLINE"
    assert lab.ready["token"] not in (tmp_path / "log").read_text()


def test_a_killed_workers_run_is_ended_when_it_comes_back(lab: Lab, place: Place, tmp_path: Path) -> None:
    photos.seed(lab.aws("s3"), place.bucket, "photos", 300)
    label = uuid.uuid4().hex
    with own_worker(lab, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, nSamples=24, runs_on=(label,))
        lab.wait(place.dataset_id, scheduled_id, {"CHECKING_CORRUPTNESS", "COMPUTING_METADATA"})
        worker.kill()
        worker.wait()
    with own_worker(lab, label, tmp_path / "log"):
        assert lab.wait(place.dataset_id, scheduled_id)["state"] == "CRASHED"
        again = lab.schedule(place.dataset_id, nSamples=3, runs_on=(label,))
        assert lab.wait(place.dataset_id, again)["state"] == "COMPLETED"


def test_two_workers_do_each_run_once(lab: Lab, tmp_path: Path) -> None:
    bucket, label = lab.bucket(), uuid.uuid4().hex
    photos.seed(lab.aws("s3"), bucket, "photos", 5)
    scheduled = {}
    for _ in range(6):
        dataset_id = lab.dataset()
        lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/")
        scheduled[dataset_id] = lab.schedule(dataset_id, nSamples=2, runs_on=(label,))
    with own_worker(lab, label, tmp_path / "one"), own_worker(lab, label, tmp_path / "two", "other"):
        for dataset_id, scheduled_id in scheduled.items():
            assert lab.wait(dataset_id, scheduled_id)["state"] == "COMPLETED"
            assert len(lab.call("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")) == 1


def test_a_worker_leaves_runs_alone_that_ask_for_other_labels(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = uuid.uuid4().hex
    elsewhere = lab.schedule(place.dataset_id, nSamples=2, runs_on=(label, "gpu"))
    other = lab.dataset()
    lab.datasource(other, "INPUT_OUTPUT", f"s3://{place.bucket}/photos/")
    with own_worker(lab, label, tmp_path / "log"):
        later = lab.schedule(other, nSamples=2, runs_on=(label,))
        assert lab.wait(other, later)["state"] == "COMPLETED"
    assert lab.schedule_state(place.dataset_id, elsewhere) == "OPEN"


def test_a_wrong_token_is_refused_without_being_shown(lab: Lab, tmp_path: Path) -> None:
    wrong = "canary-that-is-no-token"
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "lightly_sandbox.worker",
            "--url",
            lab.ready["lightly_url"],
            "--name",
            "impostor",
        ],
        env={**os.environ, "LIGHTLY_TOKEN": wrong},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert "HTTP 401" in ended.stderr
    assert wrong not in ended.stdout + ended.stderr
