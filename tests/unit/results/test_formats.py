"""What each format writes, of samples with and without a file of their own."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from lightly_provider.api.models.sample import NamePage
from lightly_provider.exceptions import LightlyDatasourceError, LightlyExtraMissingError, LightlyResponseError
from lightly_provider.hooks.verbs.tags import TaggedFile
from lightly_provider.results import export
from lightly_provider.results.export import check_installed
from lightly_provider.results.formats import labeling, records, text
from lightly_provider.results.formats.parquet import parquet
from lightly_provider.results.samples import ExportedSample

DATASET, RUN = "a" * 24, "b" * 24
IMAGE = ExportedSample("ordner/ü\u2028.jpg", "s3://my-bucket/raw/ordner/ü\u2028.jpg", "initial-tag", RUN)
FRAME = ExportedSample(
    "street-153-mp4.png", "s3://my-bucket/raw/street.mp4", "initial-tag", None, frame=153, time=5.1000001
)
CROP = ExportedSample("a-crop-3.png", "s3://my-bucket/raw/a.jpg", "initial-tag", RUN, crop_task="boxes", crop_index=3)
PAGES: list[list[ExportedSample]] = [[IMAGE, FRAME], [CROP]]
REGIONS = {"my-bucket": "eu-central-1"}


def lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.decode("ascii").splitlines()]


def test_filenames_are_lines_exactly_as_in_the_bucket() -> None:
    names = [["a\u2028b.jpg", "c\r.jpg"], ["ü.jpg"]]

    assert b"".join(text.lines(names)).decode().split("\n") == ["a\u2028b.jpg", "c\r.jpg", "ü.jpg", ""]
    assert b"".join(text.lines([])) == b""


def test_addresses_are_lines_unless_one_has_a_line_break() -> None:
    page = NamePage("s3://b/ä.jpg\ns3://b/\u2028.jpg".encode())
    broken = NamePage(b"s3://b/a.jpg\ns3://b/b\rc.jpg\ns3://b/d.jpg")

    assert b"".join(text.lines(text.checked_uris([page, ["s3://b/c.jpg"]]))) == page.lines + b"\ns3://b/c.jpg\n"
    for pages in [page, broken], [["s3://b/a.jpg", "s3://b/b\rc.jpg"]], [["s3://b/b\nc.jpg"]]:
        with pytest.raises(LightlyResponseError, match=r"s3://b/b\\[nr]c.jpg has a line break in it"):
            list(text.checked_uris(pages))


def test_an_address_of_a_video_or_an_image_says_where_in_it_the_sample_is() -> None:
    assert b"".join(text.lines(text.uris(PAGES))).decode().split("\n") == [
        IMAGE.address,
        "s3://my-bucket/raw/street.mp4#t=5.1&frame=153",
        "s3://my-bucket/raw/a.jpg#crop=3&task=boxes",
        "",
    ]


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_an_address_with_a_line_break_is_no_line(end: str) -> None:
    broken = ExportedSample(f"a{end}b.png", f"s3://my-bucket/raw/a{end}b.mp4", "initial-tag", None, frame=1)

    with pytest.raises(
        LightlyResponseError, match=r"a\\[nr]b.mp4 has a line break in it.*export the format 'manifest'"
    ):
        list(text.uris([[IMAGE], [broken]]))
    assert [row["filename"] for row in lines(b"".join(records.manifest([[broken]], dataset_id=DATASET)))] == [
        f"a{end}b.png"
    ]


def test_a_manifest_is_one_object_a_line_whatever_is_in_the_names() -> None:
    image, frame, crop = lines(b"".join(records.manifest(PAGES, dataset_id=DATASET)))

    assert image == {
        "source-ref": IMAGE.address,
        "filename": IMAGE.filename,
        "dataset_id": DATASET,
        "tag_name": "initial-tag",
        "run_id": RUN,
    }
    assert (frame["source-ref"], frame["frame"], frame["time"]) == (FRAME.address, 153, 5.1000001)
    assert (crop["source-ref"], crop["crop_task"], crop["crop_index"]) == (CROP.address, "boxes", 3)
    assert b"".join(records.manifest([], dataset_id=DATASET)) == b""


def test_read_urls_stand_beside_their_filenames() -> None:
    found = lines(b"".join(records.read_urls([[TaggedFile("a.jpg", "https://x/?publicToken=1")]])))

    assert found == [{"filename": "a.jpg", "read_url": "https://x/?publicToken=1"}]


def test_label_studio_gets_tasks_with_an_id_that_stays_the_same() -> None:
    image, frame, crop = json.loads(b"".join(labeling.label_studio(PAGES, dataset_id=DATASET)))

    assert image["data"]["image"] == IMAGE.address
    assert image["data"]["lightly_id"] == f"{DATASET}/{IMAGE.filename}"
    assert (frame["data"]["video"], frame["data"]["frame"]) == (FRAME.address, 153)
    assert "image" not in frame["data"]
    assert (crop["data"]["image"], crop["data"]["crop_index"]) == (CROP.address, 3)


def test_labelbox_gets_data_rows_with_https_addresses_and_global_keys() -> None:
    image, frame, crop = json.loads(b"".join(labeling.labelbox(PAGES, dataset_id=DATASET, regions=REGIONS)))

    assert image == {
        "row_data": "https://my-bucket.s3.eu-central-1.amazonaws.com/raw/ordner/%C3%BC%E2%80%A8.jpg",
        "global_key": f"{DATASET}/{IMAGE.filename}",
        "media_type": "IMAGE",
    }
    assert (frame["media_type"], frame["attachments"]) == (
        "VIDEO",
        [{"type": "RAW_TEXT", "value": "frame 153, time 5.1000001"}],
    )
    assert crop["attachments"] == [{"type": "RAW_TEXT", "value": "crop_task boxes, crop_index 3"}]


def test_global_keys_are_short_enough_for_labelbox_and_differ() -> None:
    keys = {labeling.global_key(DATASET, "x" * 1000 + end) for end in "abc"}

    assert len(keys) == 3
    assert {len(key) for key in keys} == {200}


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-gov-west", "my-bucket.s3.us-gov-west-1.amazonaws.com"),
        ("cn-northwest-1", "my-bucket.s3.cn-northwest-1.amazonaws.com.cn"),
    ],
)
def test_the_https_address_has_the_host_of_its_region(region: str, host: str) -> None:
    assert labeling.https_address("s3://my-bucket/a b+c", {"my-bucket": region}) == f"https://{host}/a%20b%2Bc"


@pytest.mark.parametrize("address", ["gs://my-bucket/a.jpg", "s3://other-bucket/a.jpg"])
def test_an_object_without_an_https_address_is_refused(address: str) -> None:
    with pytest.raises(LightlyDatasourceError, match="has no https address"):
        labeling.https_address(address, REGIONS)


def test_samas_tasks_are_the_platforms_own_and_lead_to_what_is_there() -> None:
    task = {"priority": 1, "data": {"id": 1, "url": "https://x", "image": "https://x", "own": 5}}

    image, frame = json.loads(b"".join(labeling.sama([[(IMAGE, task), (FRAME, task)]])))

    assert image == task
    where = {"url": FRAME.address, "image": FRAME.address, "frame": 153, "time": 5.1000001}
    assert frame == {"priority": 1, "data": {"id": 1, "own": 5, **where}}


@pytest.mark.parametrize(
    "encoded",
    [
        labeling.label_studio([], dataset_id=DATASET),
        labeling.labelbox([], dataset_id=DATASET, regions=REGIONS),
        labeling.sama([]),
    ],
)
def test_an_import_file_of_nothing_is_an_empty_array(encoded: Any) -> None:
    assert json.loads(b"".join(encoded)) == []


def test_parquet_has_the_manifests_columns_in_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("lightly_provider.results.formats.parquet.ROW_GROUP", 2)
    read = pq.ParquetFile(io.BytesIO(b"".join(parquet(PAGES, dataset_id=DATASET))))

    assert read.num_row_groups == 2
    rows = read.read().to_pylist()
    assert [{k: v for k, v in row.items() if v is not None} for row in rows] == [
        {k: v for k, v in records.record(sample, dataset_id=DATASET).items() if v is not None}
        for page in PAGES
        for sample in page
    ]
    empty = pq.ParquetFile(io.BytesIO(b"".join(parquet([], dataset_id=DATASET))))
    assert empty.metadata.num_rows == 0
    assert empty.schema_arrow == read.schema_arrow


def test_a_format_whose_package_is_missing_is_refused_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed("parquet")
    check_installed("manifest")
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    check_installed("manifest")
    with pytest.raises(LightlyExtraMissingError, match=r"install airflow-provider-lightly\[parquet\]"):
        check_installed("parquet")
