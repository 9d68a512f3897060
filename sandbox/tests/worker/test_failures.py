"""The worker's runs that end otherwise: each says what, where and why."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from pypdf import PdfReader

from lightly_sandbox.seeding import photos
from tests.lab.sandbox import LIST, READ, WRITE, allow, with_role
from tests.lab.thinning import thinned
from tests.lab.worker import DIVERSITY, THUMBNAILS

if TYPE_CHECKING:
    from tests.lab.worker import Lab, Place

UNVERIFIED = {"datasource": {"bypassVerify": True}}


@pytest.mark.parametrize(
    ("purpose", "folder", "rights", "missing"),
    thinned(
        [
            ("INPUT", "photos", (LIST,), "read (s3:GetObject; "),
            ("INPUT", "photos", (READ,), "list (s3:ListBucket; "),
        ],
        keep=1,
    ),
)
def test_a_missing_permission_fails_the_run_before_it_reads_anything(
    lab: Lab, place: Place, purpose: str, folder: str, rights: tuple[str, ...], missing: str
) -> None:
    keys = lab.customer.user(*allow(place.bucket, *rights))
    lab.datasource(place.dataset_id, purpose, f"s3://{place.bucket}/{folder}/", keys)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"the platform may not {missing}AccessDenied: " in run["message"]
    assert "docker.datasource.bypassVerify" in run["message"]
    assert {line["state"] for line in lab.logs(run)} == {"INITIALIZING"}


@pytest.mark.exhaustive(sample="test_a_missing_permission_fails_the_run_before_it_reads_anything")
def test_a_common_datasource_without_thumbnails_needs_no_right_to_write(lab: Lab) -> None:
    bucket = lab.photos(3)
    keys = lab.customer.user(*allow(bucket, LIST, READ))
    dataset_id = lab.api.new_dataset()
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/", keys)
    run = lab.do(dataset_id, nSamples=1)
    assert run["state"] == "COMPLETED", run["message"]


def test_an_empty_prefix_fails_and_is_named(lab: Lab, place: Place) -> None:
    path = f"s3://{place.bucket}/nothing/"
    lab.datasource(place.dataset_id, "INPUT", path)
    run = lab.do(place.dataset_id, nSamples=6)
    assert run["state"] == "FAILED"
    assert f"no images at all under {path}" in run["message"]


@pytest.mark.exhaustive(sample="test_too_many_corrupt_files_fail_the_run")
def test_a_few_corrupt_files_are_counted_and_left_out(lab: Lab, place: Place) -> None:
    lab.put(place.bucket, "photos/broken.jpg", b"this is no JPEG")
    _, content = next(photos.frames(1))
    lab.put(place.bucket, "photos/cut-off.jpg", content[: len(content) // 2])
    run = lab.do(place.dataset_id, report=True, nSamples=42)
    assert run["state"] == "COMPLETED"
    assert run["message"].endswith("; 2 files were corrupt")
    corruptness = json.loads(lab.artifact(run, "CORRUPTNESS_CHECK_INFORMATION"))
    assert list(corruptness["corrupt_samples"]) == ["broken.jpg", "cut-off.jpg"]
    assert "cannot identify image file" in corruptness["corrupt_samples"]["broken.jpg"]
    assert "broken.jpg" in PdfReader(io.BytesIO(lab.artifact(run, "REPORT_PDF"))).pages[-1].extract_text()
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
    corruptness = json.loads(lab.artifact(run, "CORRUPTNESS_CHECK_INFORMATION"))
    assert list(corruptness["corrupt_samples"]) == ["broken.jpg"]


@pytest.mark.exhaustive(sample="test_too_many_corrupt_files_fail_the_run")
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


@pytest.mark.exhaustive(sample="test_too_many_corrupt_files_fail_the_run")
def test_a_refused_write_fails_naming_the_key_and_leaves_nothing_in_the_way(lab: Lab, place: Place) -> None:
    keys = lab.customer.user(*allow(place.bucket, LIST, READ))
    lightly = f"s3://{place.bucket}/lightly/"
    lab.datasource(place.dataset_id, "LIGHTLY", lightly, keys, **THUMBNAILS)
    run = lab.do(place.dataset_id, nSamples=6, docker=UNVERIFIED)
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


@pytest.mark.exhaustive(sample="test_an_empty_prefix_fails_and_is_named")
def test_a_refused_read_fails_naming_the_key(lab: Lab, place: Place) -> None:
    keys = lab.customer.user(*allow(place.bucket, LIST))
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/", keys)
    run = lab.do(place.dataset_id, nSamples=6, docker=UNVERIFIED)
    assert run["state"] == "FAILED"
    assert f"{place.bucket}/photos/" in run["message"]
    assert "s3:GetObject" in run["message"]
    assert "X-Amz" not in run["message"]


@pytest.mark.exhaustive(sample="test_an_empty_prefix_fails_and_is_named")
def test_a_refused_listing_fails_with_the_words_of_aws(lab: Lab, place: Place) -> None:
    keys = lab.customer.user(*allow(place.bucket, READ))
    lab.datasource(place.dataset_id, "INPUT", f"s3://{place.bucket}/photos/", keys)
    run = lab.do(place.dataset_id, nSamples=6, docker=UNVERIFIED)
    assert run["state"] == "FAILED"
    assert "AccessDenied" in run["message"]


@pytest.mark.exhaustive(sample="test_too_many_corrupt_files_fail_the_run")
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


def test_what_the_worker_cannot_do_fails_and_is_named(lab: Lab, place: Place) -> None:
    run = lab.do(place.dataset_id, nSamples=6, docker={"enableTraining": True})
    assert run["state"] == "FAILED"
    assert "docker.enableTraining" in run["message"]


@pytest.mark.exhaustive(sample="test_an_empty_prefix_fails_and_is_named")
def test_nothing_selected_is_no_failure_and_no_tag(lab: Lab, place: Place) -> None:
    never = {
        "input": {"type": "METADATA", "key": "lightly.sharpness"},
        "strategy": {"type": "THRESHOLD", "threshold": 0, "operation": "SMALLER"},
    }
    run = lab.do(place.dataset_id, strategies=(never, DIVERSITY), nSamples=6)
    assert (run["state"], run["message"]) == ("COMPLETED", "selected 0 of 40 images")
    assert lab.tags(place.dataset_id) == []
