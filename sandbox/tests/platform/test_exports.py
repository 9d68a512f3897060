from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.lab.sandbox import LIST, READ, WRITE, allow, wait_until, with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Api, Customer

NAMES = ["a.jpg", "b/c.jpg", "d.png", "not-selected.jpg", "e.jpg"]
SELECTED = [*NAMES[:3], NAMES[4]]
FORMS = ("LabelStudio/tasks", "LabelBox/datarows", "LabelBoxV4/datarows", "Sama/tasks")


@pytest.fixture(scope="module")
def selected(api: Api, customer: Customer) -> tuple[str, str]:
    """The address of a tag's exports, and the input's path."""
    bucket = customer.bucket(*(f"in/{name}" for name in NAMES))
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in/", "INPUT", keys))
    for name in NAMES:
        api.ok("POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": name, "metaData": {"sharpness": 2}})
    path = f"/v1/datasets/{dataset_id}/tags"
    initial = api.ok("POST", f"{path}/initial", {"imgType": "full"})["id"]
    body = {"name": "selected", "prevTagId": initial, "bitMaskData": "0x17", "totSize": len(NAMES)}
    return f"{path}/{api.ok('POST', path, body)['id']}/export", f"s3://{bucket}/in"


def test_a_tag_whose_samples_are_far_apart_is_exported_in_their_order(api: Api) -> None:
    dataset_id = api.new_dataset()
    path = f"/v1/datasets/{dataset_id}"
    names = [f"{number}.jpg" for number in range(40)]
    for name in names:
        api.ok("POST", f"{path}/samples", {"fileName": name})
    initial = api.ok("POST", f"{path}/tags/initial", {"imgType": "full"})["id"]
    body = {
        "name": "far apart",
        "prevTagId": initial,
        "bitMaskData": hex(1 | 1 << 20 | 1 << 39),
        "totSize": 40,
    }
    export = f"{path}/tags/{api.ok('POST', f'{path}/tags', body)['id']}/export"
    assert api.send("GET", f"{export}/basic/filenames").text.split("\n") == ["0.jpg", "20.jpg", "39.jpg"]
    rows = api.ok("GET", f"{export}/LabelStudio/tasks", fileNameFormat="NAME", pageOffset=1)
    assert [row["data"]["image"] for row in rows] == ["20.jpg", "39.jpg"]


def test_a_tag_that_was_changed_is_exported_as_it_is_now(api: Api) -> None:
    path = f"/v1/datasets/{(dataset_id := api.new_dataset())}"
    for name in NAMES:
        api.ok("POST", f"{path}/samples", {"fileName": name})
    tag = f"{path}/tags/{api.ok('POST', f'{path}/tags/initial', {'imgType': 'full'})['id']}"
    for mask, selection in (("0x3", NAMES[:2]), ("0x1", NAMES[:1]), ("0x11", [NAMES[0], NAMES[4]])):
        # At once after one another: the tag's time of change may be the same millisecond.
        assert api.send("PUT", tag, {"name": f"tag {mask}", "bitMaskData": mask}).status_code == 204
        assert api.send("GET", f"{tag}/export/basic/filenames").text.split("\n") == selection, dataset_id


def test_a_crop_is_exported_where_it_was_written(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("in/a.jpg")
    keys = customer.user(*allow(bucket, LIST, READ, WRITE))
    dataset_id = api.new_dataset(type="Crops", parentDatasetId=api.new_dataset())
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in/", "INPUT", keys))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/out/", "LIGHTLY", keys))
    crop = {
        "parentId": "0" * 24,
        "predictionUUIDTimestamp": 1,
        "predictionIndex": 3,
        "predictionTaskName": "boxes",
        "predictionTaskCategoryId": 0,
        "predictionTaskScore": 0.5,
    }
    path = f"/v1/datasets/{dataset_id}"
    body = {"fileName": "a-crop-3.png", "cropData": crop}
    written = api.ok("POST", f"{path}/samples/withWriteUrls", body)["sampleWriteUrls"]["full"]
    assert requests.put(written, b"cut out", timeout=30).ok
    tag_id = api.ok("POST", f"{path}/tags/initial", {"imgType": "full"})["id"]
    export = f"{path}/tags/{tag_id}/export"
    (row,) = api.ok("GET", f"{export}/LabelStudio/tasks", includeMetaData=True)
    assert requests.get(row["data"]["image"], timeout=30).content == b"cut out"
    assert (row["data"]["lightlyMetaInfo"]["type"], row["data"]["lightlyMetaInfo"]["cropData"]) == (
        "CROP",
        crop,
    )
    full = api.send("GET", f"{export}/basic/filenames", fileNameFormat="DATASOURCE_FULL").text
    assert full == f"s3://{bucket}/out/.lightly/crops/a-crop-3.png"


def test_an_archive_has_the_tags_files_under_their_names(api: Api, selected: tuple[str, str]) -> None:
    answer = api.send("GET", f"{selected[0]}/zip")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == SELECTED
        assert {archive.read(name) for name in SELECTED} == {b"some bytes"}


def test_an_archive_of_files_that_cannot_be_read_is_refused(api: Api, customer: Customer) -> None:
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(customer.bucket(), LIST, READ))
    api.put_datasource(dataset_id, **with_keys("s3://not-there/in/", "INPUT", keys))
    path = f"/v1/datasets/{dataset_id}"
    api.ok("POST", f"{path}/samples", {"fileName": "a.jpg"})
    tag_id = api.ok("POST", f"{path}/tags/initial", {"imgType": "full"})["id"]
    refused = api.refused("GET", f"{path}/tags/{tag_id}/export/zip")
    assert refused[:2] == (400, "DATASET_DATASOURCE_CREDENTIALS_ERROR")


def _named(form: str, row: dict[str, Any]) -> str:
    """What a row says its image is."""
    found: str = {
        "LabelStudio/tasks": lambda: row["data"]["image"],
        "LabelBox/datarows": lambda: row["imageUrl"],
        "LabelBoxV4/datarows": lambda: row["row_data"],
        "Sama/tasks": lambda: row["data"]["url"],
    }[form]()
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_labeling_tool_gets_urls_that_read_the_images_page_by_page(
    api: Api, selected: tuple[str, str], form: str
) -> None:
    path = f"{selected[0]}/{form}"
    rows = api.ok("GET", path)
    urls = [_named(form, row) for row in rows]
    assert [parse_qs(urlsplit(url).query)["path"] for url in urls] == [[name] for name in SELECTED]
    assert all(requests.get(url, timeout=30).content == b"some bytes" for url in urls)
    assert api.ok("GET", path, pageSize=3) == rows[:3]
    assert api.ok("GET", path, pageSize=3, pageOffset=3) == rows[3:]
    assert api.ok("GET", path, pageOffset=4) == []
    assert api.ok("GET", path, previewExample=True) == rows[:1]
    assert [_named(form, row) for row in api.ok("GET", path, fileNameFormat="NAME")] == SELECTED
    full = [_named(form, row) for row in api.ok("GET", path, fileNameFormat="DATASOURCE_FULL")]
    assert full == [f"{selected[1]}/{name}" for name in SELECTED]


def test_each_tool_gets_its_own_form(api: Api, selected: tuple[str, str]) -> None:
    studio, box, box_v4, sama = (
        api.ok("GET", f"{selected[0]}/{form}", includeMetaData=True, fileNameFormat="NAME")[3]
        for form in FORMS
    )
    assert (studio["id"], studio["data"]["lightlyFileName"]) == (4, "e.jpg")
    assert studio["data"]["lightlyMetaInfo"]["metaData"] == {"sharpness": 2}
    assert box == {"externalId": "e.jpg", "imageUrl": "e.jpg"}
    assert box_v4 == {"row_data": "e.jpg", "global_key": "e.jpg", "media_type": "IMAGE"}
    assert (sama["data"]["id"], sama["data"]["lightlyFileName"]) == (4, "e.jpg")
    assert json.loads(sama["data"]["lightlyMetaInfo"]) == studio["data"]["lightlyMetaInfo"]
    without = api.ok("GET", f"{selected[0]}/LabelStudio/tasks")[0]["data"]
    assert "lightlyMetaInfo" not in without


def test_an_url_ends_when_it_was_told_to(api: Api, selected: tuple[str, str]) -> None:
    path = f"{selected[0]}/LabelStudio/tasks"
    (row,) = api.ok("GET", path, expiresIn=2, pageSize=1)
    url = _named("LabelStudio/tasks", row)
    assert requests.get(url, timeout=30).content == b"some bytes"
    wait_until(lambda: requests.get(url, timeout=30).status_code == 401, 10)
    token = parse_qs(urlsplit(url).query)["publicToken"][0]
    forever = url.replace(token, f".{token.partition('.')[2]}")
    assert requests.get(forever, timeout=30).status_code == 401


def test_an_access_control_that_there_is_not_is_refused(api: Api, selected: tuple[str, str]) -> None:
    path = f"{selected[0]}/basic/filenames"
    assert api.refused("GET", path, accessControl="mine")[:2] == (400, "ACCESS_CONTROL_UNKNOWN")
    assert api.send("GET", path, accessControl="default").text.split("\n") == SELECTED


def test_an_export_of_an_unknown_tag_is_refused(api: Api, selected: tuple[str, str]) -> None:
    dataset = selected[0].split("/tags/")[0]
    for form in (*FORMS, "basic/filenames", "basic/filenamesAndReadUrls"):
        path = f"{dataset}/tags/{'0' * 24}/export/{form}"
        assert api.refused("GET", path)[:2] == (404, "TAG_UNKNOWN")
