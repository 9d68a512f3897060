"""The worker's runs that end well, by HTTP alone."""

from __future__ import annotations

import io
import itertools
import json
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from pypdf import PdfReader

from lightly_sandbox.seeding import photos
from tests.lab.sandbox import wait_until
from tests.lab.worker import THUMBNAILS

if TYPE_CHECKING:
    from tests.lab.worker import Lab, Place


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_160_photos_become_a_diverse_selection(lab: Lab) -> None:
    dataset_id, bucket = lab.api.new_dataset(), lab.photos(160)
    lab.datasource(dataset_id, "INPUT", f"s3://{bucket}/photos/")
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{bucket}/lightly/", **THUMBNAILS)

    run = lab.do(dataset_id, nSamples=24)

    assert (run["state"], run["message"]) == (
        "COMPLETED",
        "selected 24 of 160 images into the tag 'initial-tag'",
    )
    (tag,) = lab.tags(dataset_id)
    selected = lab.filenames(dataset_id, tag)
    assert len(selected) == 24
    assert len({photos.scene_of(name) for name in selected}) >= 13
    assert tag["runId"] == run["id"]


def test_the_platform_shows_what_the_run_did(lab: Lab, place: Place) -> None:
    before = int(time.time())
    run = lab.do(place.dataset_id, report=True, nSamples=6)

    states = [line["state"] for line in lab.logs(run)]
    assert [state for state, _ in itertools.groupby(states)] == [
        "INITIALIZING",
        "LOADING_DATASET",
        "CHECKING_CORRUPTNESS",
        "COMPUTING_METADATA",
        "EMBEDDING",
        "SAMPLING",
        "SAVING_RESULTS",
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
    kinds = {artifact["type"]: artifact["fileName"] for artifact in run["artifacts"]}
    assert kinds == {
        "REPORT_V2_JSON": "report_v2.json",
        "REPORT_PDF": "report.pdf",
        "CORRUPTNESS_CHECK_INFORMATION": "corruptness_check_information.json",
        "RELEVANT_FILENAMES": "relevant_filenames.txt",
        "LOG": "log.txt",
        "MEMLOG": "memlog.txt",
    }
    assert b"SAMPLING: selected 6 of 40 images" in lab.artifact(run, "LOG")
    considered = lab.artifact(run, "RELEVANT_FILENAMES").decode().splitlines()
    assert considered == sorted(name for name, _ in photos.frames(40))
    corruptness = json.loads(lab.artifact(run, "CORRUPTNESS_CHECK_INFORMATION"))
    assert corruptness == {"corrupt_samples": {}, "corrupt_videos": {}}
    memory = [line.split() for line in lab.artifact(run, "MEMLOG").decode().splitlines()]
    assert {"INITIALIZING", "EMBEDDING", "UPLOADED_REPORT"} <= {state for _, state, _, _ in memory}
    assert all(20 < float(mebibytes) < 2000 for _, _, mebibytes, _ in memory)
    report = PdfReader(io.BytesIO(lab.artifact(run, "REPORT_PDF")))
    assert run["id"] in report.pages[0].extract_text()
    assert lab.samples(place.dataset_id)[0]["fileName"] in report.pages[3].extract_text()
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


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
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


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_without_thumbnails_nothing_is_written_to_the_bucket(lab: Lab) -> None:
    dataset_id, bucket = lab.api.new_dataset(), lab.photos(10, folder="")
    before = lab.customer.keys(bucket)
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/")
    assert lab.do(dataset_id, nSamples=3)["state"] == "COMPLETED"
    assert lab.customer.keys(bucket) == before


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_a_datapool_grows_by_what_is_new(lab: Lab, place: Place) -> None:
    datapool = {"useDatapool": True}
    lab.do(place.dataset_id, docker=datapool, nSamples=6)

    unchanged = lab.do(place.dataset_id, docker=datapool, nSamples=6)
    assert unchanged["state"] == "COMPLETED"
    assert {artifact["type"] for artifact in unchanged["artifacts"]} == {"LOG", "MEMLOG"}
    assert unchanged["message"].startswith("no new files")
    assert len(lab.tags(place.dataset_id)) == 1

    # S3's times have whole seconds; what arrives in the second of the listing belongs to it.
    processed_until = lab.processed_until(place.dataset_id)
    wait_until(lambda: time.time() >= processed_until + 1)
    photos.seed(lab.customer.s3, place.bucket, "photos", 60)
    grown = lab.do(place.dataset_id, docker=datapool, report=True, nSamples=4)

    assert grown["state"] == "COMPLETED"
    first, second = lab.tags(place.dataset_id)
    old, new = lab.filenames(place.dataset_id, first), lab.filenames(place.dataset_id, second)
    assert (len(old), len(new)) == (6, 4)
    assert set(new) <= {name for name, _ in itertools.islice(photos.frames(60), 40, None)}
    assert (second["prevTagId"], second["totSize"], second["runId"]) == (first["id"], 10, grown["id"])
    assert lab.api.ok("GET", f"/v1/docker/runs/{grown['id']}/tags") == [second]
    sizes = lab.sizes(grown)
    assert (sizes["nInput"], sizes["nPreselectedDatapool"], sizes["nSelectedWithDatapool"]) == (20, 6, 10)


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_process_all_considers_what_was_left_out_before(lab: Lab, place: Place) -> None:
    lab.do(place.dataset_id, nSamples=6)
    docker = {"useDatapool": True, "datasource": {"processAll": True}}
    run = lab.do(place.dataset_id, docker=docker, nSamples=5)
    assert run["message"].startswith("selected 5 of 34 images")
    first, second = lab.tags(place.dataset_id)
    assert not set(lab.filenames(place.dataset_id, first)) & set(lab.filenames(place.dataset_id, second))


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_a_run_without_a_report_has_its_lists_all_the_same(lab: Lab, place: Place) -> None:
    run = lab.do(place.dataset_id, report=False, nSamples=6)
    assert {artifact["type"] for artifact in run["artifacts"]} == {
        "CORRUPTNESS_CHECK_INFORMATION",
        "RELEVANT_FILENAMES",
        "LOG",
        "MEMLOG",
    }
    assert not {line["state"] for line in lab.logs(run)} & {"GENERATING_REPORT", "UPLOADING_REPORT"}


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_a_filled_dataset_is_not_touched_without_the_datapool(lab: Lab, place: Place) -> None:
    lab.do(place.dataset_id, nSamples=6)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "ABORTED"
    assert "not empty" in run["message"]
    assert "use_datapool" in run["message"]
    assert len(lab.samples(place.dataset_id)) == 6


@pytest.mark.exhaustive(sample="test_the_platform_shows_what_the_run_did")
def test_thumbnails_in_the_same_place_are_no_input(lab: Lab) -> None:
    dataset_id, bucket = lab.api.new_dataset(), lab.photos(12)
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/", **THUMBNAILS)
    docker = {"useDatapool": True, "datasource": {"processAll": True}}
    lab.do(dataset_id, docker=docker, nSamples=4)
    assert any("/.lightly/" in key for key in lab.customer.keys(bucket))
    assert lab.do(dataset_id, docker=docker, nSamples=4)["message"].startswith("selected 4 of 8 images")
