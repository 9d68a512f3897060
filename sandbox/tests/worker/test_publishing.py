from __future__ import annotations

import io

import pytest
from PIL import Image

from lightly_sandbox.seeding.photos import frames
from lightly_sandbox.worker.publishing import (
    THUMBNAIL_SIDE,
    frame_file,
    members_of,
    output_among,
    thumbnail,
)
from lightly_sandbox.worker.transfer import TransferError, place_of

SUFFIX = ".lightly/thumbnails/[filename]_thumb.[extension]"
INPUT = {"purpose": "INPUT", "fullPath": "s3://in/photos/"}
KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/abc"


def test_thumbnails_go_to_the_lightly_datasource() -> None:
    output = output_among([INPUT, {"purpose": "LIGHTLY", "thumbSuffix": SUFFIX}])
    assert output.thumb_name("coffee/frame_0001.jpg") == ".lightly/thumbnails/coffee/frame_0001_thumb.jpg"
    assert output.headers == {}


def test_thumbnails_go_to_the_one_datasource_that_serves_both_purposes() -> None:
    assert output_among([{"purpose": "INPUT_OUTPUT", "thumbSuffix": SUFFIX}]).thumb_suffix == SUFFIX


@pytest.mark.parametrize(
    "datasources",
    [
        [INPUT],
        [INPUT, {"purpose": "LIGHTLY"}],
        [INPUT | {"thumbSuffix": SUFFIX}],
        [{"purpose": "INPUT_OUTPUT", "thumbSuffix": SUFFIX}, {"purpose": "LIGHTLY"}],
    ],
)
def test_there_are_no_thumbnails_without_a_pattern_where_lightly_writes(
    datasources: list[dict[str, str]],
) -> None:
    assert output_among(datasources).thumb_name("a.jpg") is None


def test_a_write_names_the_datasources_key() -> None:
    output = output_among(
        [{"purpose": "LIGHTLY", "thumbSuffix": SUFFIX, "s3ServerSideEncryptionKMSKey": KMS_KEY}]
    )
    assert output.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert output.headers["x-amz-server-side-encryption-aws-kms-key-id"] == KMS_KEY


@pytest.mark.parametrize(
    ("name", "expected"), [("a_thumb.jpg", "JPEG"), ("a", "JPEG"), ("a_thumb.PNG", "PNG")]
)
def test_a_thumbnail_is_small_and_of_the_format_that_its_name_says(name: str, expected: str) -> None:
    _, content = next(frames(1))
    written, _ = thumbnail(Image.open(io.BytesIO(content)), name)
    small = Image.open(io.BytesIO(written))
    assert small.format == expected
    assert max(small.size) == THUMBNAIL_SIDE


@pytest.mark.parametrize(("ending", "expected"), [("png", "PNG"), ("jpg", "JPEG"), ("tif", "TIFF")])
def test_a_frame_becomes_a_file_of_the_format_that_its_name_says(ending: str, expected: str) -> None:
    _, content = next(frames(1))
    image = Image.open(io.BytesIO(content))
    written = Image.open(io.BytesIO(frame_file(image, f"a-0-mp4.{ending}")[0]))
    assert (written.format, written.size) == (expected, image.size)


def test_a_picture_that_is_small_already_stays_as_it_is() -> None:
    written, _ = thumbnail(Image.new("LA", (30, 20)), "a.jpg")
    assert Image.open(io.BytesIO(written)).size == (30, 20)


def test_the_datapool_is_what_any_tag_holds() -> None:
    tags = [{"bitMaskData": "0x5"}, {"bitMaskData": "0x10"}]
    assert members_of(tags, ["a", "b", "c", "d", "e", "f"]) == [0, 2, 4]
    assert members_of([], ["a"]) == []


def test_a_refused_transfer_names_bucket_and_key_but_not_the_signature() -> None:
    url = "http://127.0.0.1:4566/bucket/a%20folder/x.jpg?X-Amz-Credential=AKIA&X-Amz-Signature=canary"
    error = TransferError("PUT", url, 403, "AccessDenied")
    assert str(error) == "PUT 127.0.0.1:4566/bucket/a folder/x.jpg: HTTP 403 AccessDenied"
    assert "canary" not in repr(error) + place_of(url)
