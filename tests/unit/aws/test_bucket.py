"""What is counted under a location, and what a location without files probably meant."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import pytest

from lightly_provider.aws.bucket import (
    Listed,
    MediaType,
    UnclearContentError,
    choose_dataset_type,
    count_all,
    media_type,
    survey,
)
from lightly_provider.aws.location import S3Location
from lightly_provider.diagnosis.content import check_content, near_misses
from lightly_provider.diagnosis.findings import Status
from tests.unit.aws.recorded_lister import RecordedLister

RAW = S3Location("acme", "raw/")
IMAGES, VIDEOS, OTHER = MediaType


def lister(*keys: str, page_size: int = 1000) -> RecordedLister:
    return RecordedLister(sorted(keys), page_size)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        *(("a.jpg", IMAGES), ("a/b.JPEG", IMAGES), ("a.tar.png", IMAGES), ("b.MP4", VIDEOS), ("b.webm", VIDEOS)),
        *(("b.m4v", VIDEOS), ("b.hevc", VIDEOS), ("b.mpg", VIDEOS), ("b.mpeg", VIDEOS), ("b.mkv", OTHER)),
        *(("a.txt", OTHER), ("a/jpg", OTHER), ("a.jpg/b", OTHER), ("a", OTHER)),
    ],
)
def test_a_files_kind_is_told_by_the_end_of_its_name(key: str, kind: MediaType) -> None:
    assert media_type(key) is kind


def test_one_page_is_one_request_whatever_the_bucket_holds() -> None:
    bucket = lister(*(f"raw/{n:05}.jpg" for n in range(5000)))
    inventory = survey(bucket, RAW)
    assert bucket.requests == 1
    assert not inventory.is_complete
    assert inventory.describe() == "1000 or more objects, 1000 images"


def test_folders_and_lightlys_own_files_do_not_count_and_empty_files_are_told() -> None:
    inventory = survey(
        lister("raw/", "raw/.lightly/thumbnails/a.jpg", "raw/a.jpg", "raw/b.empty.jpg", "raw/c.txt"), RAW
    )
    assert inventory.describe() == "3 objects, 1 images, 1 of other types, 1 without content"
    assert inventory.numbers() == {"objects": 3, "images": 1, "videos": 0, "other": 1, "empty": 1}


SHAPES = {
    "flat": [f"raw/{n:05}.jpg" for n in range(3210)],
    "folders": [f"raw/{n % 37:02}/{n:05}.jpg" for n in range(3210)],
    "deep": [f"raw/a/b/c/{n % 7}/{n % 5}/{n:05}.mp4" for n in range(3210)],
    "many folders": [f"raw/{n:05}/x.jpg" for n in range(3210)],
    "mixed": [
        "raw/x.jpg",
        "raw/a/",
        "raw/a.txt",
        *(f"raw/a/{n}.jpg" for n in range(500)),
        "raw/b/c/d.mp4",
        "rawer/e.jpg",
    ],
    "nothing": ["rawer/e.jpg"],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("page_size", [10, 1000])
def test_a_full_count_counts_each_file_once_in_whatever_shape(shape: str, page_size: int) -> None:
    keys = SHAPES[shape]
    wanted = [key for key in keys if key.startswith("raw/") and not key.endswith("/")]
    inventory = count_all(lister(*keys, page_size=page_size), RAW, workers=4)
    assert inventory.n_objects == len(wanted)
    assert inventory.counts[IMAGES] == sum(key.endswith(".jpg") for key in wanted)
    assert inventory.is_complete


class ManyKeys(Sequence[str]):
    """Sorted keys in ten folders, which take no memory."""

    def __len__(self) -> int:
        return 40_000

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        assert isinstance(at, int)
        return f"raw/{at // 4_000}/{at % 4_000:04}.jpg"


@pytest.mark.exhaustive(sample="test_folders_and_lightlys_own_files_do_not_count_and_empty_files_are_told")
def test_the_memory_of_a_full_count_does_not_grow_with_the_bucket() -> None:
    tracemalloc.start()
    try:
        inventory = count_all(RecordedLister(ManyKeys()), RAW, workers=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert inventory.n_objects == 40_000
    assert peak < 3 * 2**20


@pytest.mark.parametrize(
    ("images", "videos", "chosen"), [(10, 0, IMAGES), (0, 1, VIDEOS), (100, 3, IMAGES), (1, 2, VIDEOS)]
)
def test_auto_takes_what_there_is_clearly_more_of(images: int, videos: int, chosen: MediaType) -> None:
    keys = [f"raw/{n}.jpg" for n in range(images)] + [f"raw/{n}.mp4" for n in range(videos)]
    assert choose_dataset_type(survey(lister(*keys), RAW), RAW) is chosen


@pytest.mark.parametrize(
    ("keys", "expected"),
    [((), "There are no images and no videos under"), (("raw/a.jpg", "raw/a.mp4"), "1 images and 1 videos")],
)
def test_auto_refuses_a_tie_and_nothing(keys: tuple[str, ...], expected: str) -> None:
    with pytest.raises(UnclearContentError, match=expected):
        choose_dataset_type(survey(lister(*keys), RAW), RAW)


@pytest.mark.parametrize(
    ("location", "keys", "meant"),
    [
        ("s3://acme/Raw/", ["raw/a.jpg"], "s3://acme/raw/"),
        ("s3://acme/data/RAW/", ["data/raw/a.jpg"], "s3://acme/data/raw/"),
        ("s3://acme/raw//x/", ["raw/x/a.jpg"], "s3://acme/raw/x/"),
        ("s3://acme/raw/x/", ["/raw/x/a.jpg"], "exact:s3://acme//raw/x/"),
        ("s3://acme/acme/raw/", ["raw/a.jpg"], "s3://acme/raw/"),
        ("s3://acme/raw/", ["raw-2024/a.jpg"], "s3://acme/raw-2024/"),
        ("s3://acme/rwa/", ["raw/a.jpg"], "s3://acme/raw/"),
    ],
)
def test_a_slip_in_the_prefix_is_answered_by_what_was_meant(location: str, keys: list[str], meant: str) -> None:
    assert near_misses(lister(*keys), S3Location.from_stored(location))[0] == meant


def test_nothing_near_is_suggested_where_nothing_is() -> None:
    assert near_misses(lister("zebra/a.jpg"), RAW) == []


# --- the check ------------------------------------------------------------------------------------------------------


def test_files_of_the_right_kind_pass_at_the_cost_of_one_request() -> None:
    bucket = lister(*(f"raw/{n:05}.jpg" for n in range(5000)))
    assert check_content(bucket, RAW, "Images").status is Status.PASS
    assert bucket.requests == 1


def test_the_kind_is_looked_for_beyond_the_first_page_and_then_no_further() -> None:
    keys = [f"raw/a{n:05}.txt" for n in range(2500)] + ["raw/b.mp4"]
    assert check_content(lister(*keys), RAW, "Videos").status is Status.PASS
    bucket = lister(*(f"raw/{n:06}.txt" for n in range(100_000)))
    assert check_content(bucket, RAW, "Videos").status is Status.WARN
    assert bucket.requests <= 11


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        (["raw/a.mp4"], "create the dataset as Videos"),
        (["Raw/a.jpg"], "Did you mean s3://acme/Raw/?"),
        (["zebra/a.jpg"], "upload the files first"),
    ],
)
def test_no_match_is_a_warning_with_what_to_do(keys: list[str], advice: str) -> None:
    finding = check_content(lister(*keys), RAW, "Images")
    assert finding.status is Status.WARN
    assert finding.message.startswith("no images under s3://acme/raw/")
    assert finding.remedy
    assert advice in finding.remedy.texts[0]


class ArchivedLister(RecordedLister):
    """Lists keys of which those that end in ``.frozen.jpg`` lie in an archive."""

    def page(self, prefix: str, **options: Any) -> Listed:
        page = super().page(prefix, **options)
        return replace(page, archived=frozenset(key for key, _ in page.objects if key.endswith(".frozen.jpg")))


@pytest.mark.parametrize(
    ("keys", "required", "status", "words"),
    [
        (["raw/a.frozen.jpg", "raw/b.frozen.jpg", "raw/c.jpg"], False, "WARN", "2 of 3 images are archived"),
        (["raw/a.frozen.jpg", "raw/b.frozen.jpg", "raw/c.jpg"], True, "WARN", "2 of 3 images are archived"),
        (["raw/a.frozen.jpg"], False, "WARN", "1 of 1 images are archived"),
        (["raw/a.frozen.jpg"], True, "FAIL", "1 of 1 images are archived"),
        (["raw/a.mp4"], True, "FAIL", "no images under s3://acme/raw/"),
        ([], True, "FAIL", "no images under s3://acme/raw/"),
        (["raw/a.jpg"], True, "PASS", "1 object, 1 images"),
    ],
)
def test_archived_files_are_counted_and_a_file_may_be_required(
    keys: list[str], required: bool, status: str, words: str
) -> None:
    finding = check_content(ArchivedLister(keys), RAW, "Images", required=required)
    assert (finding.status, words in finding.message) == (Status[status], True)
    assert status == "PASS" or finding.remedy or finding.failure
