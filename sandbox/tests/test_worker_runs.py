"""The worker as a process against the platform and the local AWS, by HTTP alone."""

from __future__ import annotations

import io
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image
from running_sandbox import LIST, READ, WRITE, allow, wait_until, with_keys, with_role

from lightly_sandbox import photos

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from running_sandbox import Api, Customer

TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "ABORTED"}
THUMBNAILS = {"thumbSuffix": ".lightly/thumbnails/[filename]_thumb.[extension]"}
DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
RUN_SECONDS = 60.0


@dataclass(frozen=True)
class Lab:
    """What these tests do again and again as a customer, and the label of the worker that serves them."""

    api: Api
    customer: Customer
    keys: tuple[str, str]
    label: str

    def photos(self, n_photos: int, folder: str = "photos") -> str:
        """Make a bucket with photos."""
        bucket = self.customer.bucket()
        photos.seed(self.customer.s3, bucket, folder, n_photos)
        return bucket

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.customer.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def datasource(
        self, dataset_id: str, purpose: str, path: str, keys: tuple[str, str] | None = None, **more: Any
    ) -> None:
        self.api.put_datasource(dataset_id, **with_keys(path, purpose, keys or self.keys), **more)

    def schedule(
        self,
        dataset_id: str,
        *,
        strategies: tuple[dict[str, Any], ...] = (DIVERSITY,),
        docker: dict[str, Any] | None = None,
        runs_on: tuple[str, ...] | None = None,
        **selection: Any,
    ) -> str:
        config = {
            "workerType": "FULL",
            "docker": docker or {},
            "selection": {"strategies": list(strategies), **selection},
        }
        body = {"version": "V4", "creator": "USER_PIP", "config": config}
        config_id = self.api.ok("POST", "/v1/docker/worker/config/vX", body)["id"]
        body = {"configId": config_id, "priority": "MID", "runsOn": list(runs_on or (self.label,))}
        return str(self.api.ok("POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)["id"])

    def wait(self, dataset_id: str, scheduled_id: str, states: set[str] = TERMINAL) -> dict[str, Any]:
        """Wait until the run is in one of these states."""

        def reached() -> dict[str, Any] | None:
            runs = self.api.ok("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
            run = next((run for run in runs if run["scheduledId"] == scheduled_id), None)
            return run if run is not None and run["state"] in states | TERMINAL else None

        run: dict[str, Any] = wait_until(reached, RUN_SECONDS)
        assert run["state"] in states, run
        # A dataset takes its next run only after this one was given back.
        if run["state"] in TERMINAL:
            wait_until(lambda: self.schedule_state(dataset_id, scheduled_id) == "DONE")
        return run

    def do(self, dataset_id: str, **config: Any) -> dict[str, Any]:
        return self.wait(dataset_id, self.schedule(dataset_id, **config))

    def schedule_state(self, dataset_id: str, scheduled_id: str) -> str:
        states = ["OPEN", "LOCKED", "DONE", "CANCELED"]
        found = self.api.ok("GET", f"/v1/datasets/{dataset_id}/docker/worker/schedule", states=states)
        return str(next(entry["state"] for entry in found if entry["id"] == scheduled_id))

    def processed_until(self, dataset_id: str) -> int:
        path = f"/v1/datasets/{dataset_id}/datasource/processedUntilTimestamp"
        return int(self.api.ok("GET", path)["processedUntilTimestamp"])

    def tags(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self.api.ok("GET", f"/v1/datasets/{dataset_id}/tags"))

    def filenames(self, dataset_id: str, tag: Mapping[str, Any]) -> list[str]:
        path = f"/v1/datasets/{dataset_id}/tags/{tag['id']}/export/basic/filenames"
        answer = self.api.send("GET", path)
        assert answer.ok
        return answer.text.split()

    def samples(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self.api.ok("GET", f"/v1/datasets/{dataset_id}/samples"))

    def artifact(self, run: Mapping[str, Any], kind: str) -> bytes:
        artifact = next(found for found in run["artifacts"] if found["type"] == kind)
        url = self.api.ok("GET", f"/v1/docker/runs/{run['id']}/artifacts/{artifact['id']}/readurl")
        answer = requests.get(url, timeout=30)
        assert answer.ok
        return answer.content

    def sizes(self, run: Mapping[str, Any]) -> dict[str, int]:
        report = json.loads(self.artifact(run, "REPORT_V2_JSON"))
        return dict(report["generalInformation"]["datasetInformation"]["datasetSizes"])

    def logs(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self.api.ok("GET", f"/v1/docker/runs/{run['id']}/logs")["logs"])


@contextmanager
def own_worker(api: Api, label: str, log: Path, name: str = "own") -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, with the token where it belongs."""
    options = ["--url", api.url, "--name", f"{name} {label}", "--label", label, "--poll-interval", "0.05"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightly_sandbox.worker", *options],
            # What a killed worker leaves is to lie where pytest clears up.
            env={**os.environ, "LIGHTLY_TOKEN": api.token, "TMPDIR": str(log.parent)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def lab(
    ready: Mapping[str, Any], api: Api, customer: Customer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    label = secrets.token_hex(8)
    with own_worker(api, label, tmp_path_factory.mktemp("worker") / "log"):
        yield Lab(api, customer, (ready["aws_access_key_id"], ready["aws_secret_access_key"]), label)


@dataclass(frozen=True)
class Place:
    dataset_id: str
    bucket: str


@pytest.fixture
def place(lab: Lab) -> Place:
    """A dataset that reads 40 photos and writes thumbnails beside them."""
    place = Place(lab.api.new_dataset(), lab.photos(40))
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/")
    lab.datasource(place.dataset_id, "LIGHTLY", f"s3://{place.bucket}/lightly/", **THUMBNAILS)
    return place


def test_160_photos_become_a_diverse_selection_within_12_seconds(lab: Lab) -> None:
    dataset_id, bucket = lab.api.new_dataset(), lab.photos(160)
    lab.datasource(dataset_id, "INPUT", f"s3://{bucket}/photos/")
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{bucket}/lightly/", **THUMBNAILS)

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
    assert before <= lab.processed_until(place.dataset_id) <= time.time()


def test_each_selected_image_has_a_thumbnail_and_no_other(lab: Lab, place: Place) -> None:
    lab.do(place.dataset_id, nSamples=6)
    folder = "lightly/.lightly/thumbnails/"
    expected = [
        folder + sample["fileName"].replace(".jpg", "_thumb.jpg") for sample in lab.samples(place.dataset_id)
    ]
    assert sorted(key for key in lab.customer.keys(place.bucket) if key.startswith("lightly/")) == sorted(
        expected
    )
    content = lab.customer.s3.get_object(Bucket=place.bucket, Key=expected[0])["Body"].read()
    assert Image.open(io.BytesIO(content)).size == (256, 192)


def test_thumbnails_are_encrypted_with_the_datasources_key(lab: Lab, place: Place) -> None:
    key_arn = lab.customer.client("kms").create_key()["KeyMetadata"]["Arn"]
    lightly = f"s3://{place.bucket}/encrypted/"
    encryption = {"s3ServerSideEncryptionKMSKey": key_arn}
    lab.datasource(place.dataset_id, "LIGHTLY", lightly, **THUMBNAILS, **encryption)
    run = lab.do(place.dataset_id, nSamples=3)
    assert run["state"] == "COMPLETED", run["message"]
    keys = [key for key in lab.customer.keys(place.bucket) if key.startswith("encrypted/")]
    assert len(keys) == 3
    for key in keys:
        found = lab.customer.s3.head_object(Bucket=place.bucket, Key=key)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", key_arn)


def test_without_thumbnails_nothing_is_written_to_the_bucket(lab: Lab) -> None:
    dataset_id, bucket = lab.api.new_dataset(), lab.photos(10, folder="")
    before = lab.customer.keys(bucket)
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/")
    assert lab.do(dataset_id, nSamples=3)["state"] == "COMPLETED"
    assert lab.customer.keys(bucket) == before


def test_a_datapool_grows_by_what_is_new(lab: Lab, place: Place) -> None:
    datapool = {"useDatapool": True}
    lab.do(place.dataset_id, docker=datapool, nSamples=6)

    unchanged = lab.do(place.dataset_id, docker=datapool, nSamples=6)
    assert unchanged["state"] == "COMPLETED"
    assert unchanged["message"].startswith("no new files")
    assert len(lab.tags(place.dataset_id)) == 1

    # S3's times have whole seconds; what arrives in the second of the listing belongs to it.
    processed_until = lab.processed_until(place.dataset_id)
    wait_until(lambda: time.time() >= processed_until + 1)
    photos.seed(lab.customer.s3, place.bucket, "photos", 60)
    grown = lab.do(place.dataset_id, docker=datapool, nSamples=4)

    assert grown["state"] == "COMPLETED"
    first, second = lab.tags(place.dataset_id)
    old, new = lab.filenames(place.dataset_id, first), lab.filenames(place.dataset_id, second)
    assert (len(old), len(new)) == (6, 4)
    assert set(new) <= {name for name, _ in itertools.islice(photos.frames(60), 40, None)}
    assert (second["prevTagId"], second["totSize"], second["runId"]) == (first["id"], 10, grown["id"])
    assert lab.api.ok("GET", f"/v1/docker/runs/{grown['id']}/tags") == [second]
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
    dataset_id, bucket = lab.api.new_dataset(), lab.photos(12)
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/", **THUMBNAILS)
    docker = {"useDatapool": True, "datasource": {"processAll": True}}
    lab.do(dataset_id, docker=docker, nSamples=4)
    assert any("/.lightly/" in key for key in lab.customer.keys(bucket))
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
    keys = lab.customer.user(*allow(place.bucket, LIST, READ))
    lightly = f"s3://{place.bucket}/lightly/"
    lab.datasource(place.dataset_id, "LIGHTLY", lightly, keys, **THUMBNAILS)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"{place.bucket}/lightly/.lightly/thumbnails/" in run["message"]
    assert "s3:PutObject" in run["message"]
    assert "X-Amz" not in run["message"]
    assert keys[0] not in json.dumps(lab.logs(run))
    assert lab.tags(place.dataset_id) == []

    keys = lab.customer.user(*allow(place.bucket, LIST, READ, WRITE))
    lab.datasource(place.dataset_id, "LIGHTLY", lightly, keys, **THUMBNAILS)
    # Another image comes first now, so that what the failed run left is not selected again.
    _, content = next(photos.frames(1))
    lab.put(place.bucket, "photos/aaa.jpg", content)
    again = lab.do(place.dataset_id, nSamples=1)
    assert again["state"] == "COMPLETED", again["message"]
    (tag,) = lab.tags(place.dataset_id)
    assert lab.filenames(place.dataset_id, tag) == ["aaa.jpg"]


def test_a_refused_read_fails_naming_the_key(lab: Lab, place: Place) -> None:
    keys = lab.customer.user(*allow(place.bucket, LIST))
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/", keys)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"{place.bucket}/photos/" in run["message"]
    assert "s3:GetObject" in run["message"]
    assert "X-Amz" not in run["message"]


def test_a_refused_listing_fails_with_the_words_of_aws(lab: Lab, place: Place) -> None:
    keys = lab.customer.user(*allow(place.bucket, READ))
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/", keys)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert "AccessDenied" in run["message"]


def test_photos_are_read_and_thumbnails_written_by_delegated_access(lab: Lab, place: Place) -> None:
    external_id = "an-external-id"
    reads = lab.customer.role(external_id, *allow(place.bucket, LIST, READ))
    writes = lab.customer.role(external_id, *allow(place.bucket, LIST, READ, WRITE))
    source = with_role(f"s3://{place.bucket}/photos/", "INPUT", reads, external_id)
    target = with_role(f"s3://{place.bucket}/lightly/", "LIGHTLY", writes, external_id)
    lab.api.put_datasource(place.dataset_id, **source)
    lab.api.put_datasource(place.dataset_id, **target, **THUMBNAILS)
    run = lab.do(place.dataset_id, nSamples=3)
    assert run["state"] == "COMPLETED", run["message"]
    assert sum(key.startswith("lightly/") for key in lab.customer.keys(place.bucket)) == 3


def test_videos_fail_in_plain_words(lab: Lab, place: Place) -> None:
    dataset_id = lab.api.new_dataset(type="Videos")
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
    photos.seed(lab.customer.s3, place.bucket, "photos", 300)
    label = secrets.token_hex(8)
    with own_worker(lab.api, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, nSamples=24, runs_on=(label,))
        lab.wait(place.dataset_id, scheduled_id, {"CHECKING_CORRUPTNESS", "COMPUTING_METADATA"})
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert time.monotonic() - began < 5
    run = lab.wait(place.dataset_id, scheduled_id)
    assert run["state"] == "ABORTED"
    assert "The worker was stopped" in run["message"]
    (registered,) = [found for found in lab.api.ok("GET", "/v1/docker/worker") if label in found["labels"]]
    assert registered["state"] == "OFFLINE"
    assert lab.api.token not in (tmp_path / "log").read_text()


def test_a_killed_workers_run_is_ended_when_it_comes_back(lab: Lab, place: Place, tmp_path: Path) -> None:
    photos.seed(lab.customer.s3, place.bucket, "photos", 300)
    label = secrets.token_hex(8)
    with own_worker(lab.api, label, tmp_path / "log") as worker:
        scheduled_id = lab.schedule(place.dataset_id, nSamples=24, runs_on=(label,))
        lab.wait(place.dataset_id, scheduled_id, {"CHECKING_CORRUPTNESS", "COMPUTING_METADATA"})
        worker.kill()
        worker.wait()
    with own_worker(lab.api, label, tmp_path / "log"):
        assert lab.wait(place.dataset_id, scheduled_id)["state"] == "CRASHED"
        again = lab.schedule(place.dataset_id, nSamples=3, runs_on=(label,))
        assert lab.wait(place.dataset_id, again)["state"] == "COMPLETED"


def test_two_workers_do_each_run_once(lab: Lab, tmp_path: Path) -> None:
    bucket, label = lab.photos(5), secrets.token_hex(8)
    scheduled = {}
    for _ in range(6):
        dataset_id = lab.api.new_dataset()
        lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/")
        scheduled[dataset_id] = lab.schedule(dataset_id, nSamples=2, runs_on=(label,))
    with own_worker(lab.api, label, tmp_path / "one"), own_worker(lab.api, label, tmp_path / "two", "other"):
        for dataset_id, scheduled_id in scheduled.items():
            assert lab.wait(dataset_id, scheduled_id)["state"] == "COMPLETED"
            assert len(lab.api.ok("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")) == 1


def test_a_worker_leaves_runs_alone_that_ask_for_other_labels(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    elsewhere = lab.schedule(place.dataset_id, nSamples=2, runs_on=(label, "gpu"))
    other = lab.api.new_dataset()
    lab.datasource(other, "INPUT_OUTPUT", f"s3://{place.bucket}/photos/")
    with own_worker(lab.api, label, tmp_path / "log"):
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
            lab.api.url,
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
