from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.lab.sandbox import LIST, READ, WRITE, allow, with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Api, Customer

NAMES = ["a.jpg", "b/c.jpg", "d.png"]


@pytest.fixture
def filled(api: Api, customer: Customer) -> tuple[str, str]:
    """A dataset with three samples and an initial tag."""
    bucket = customer.bucket(*(f"in/{name}" for name in NAMES))
    keys = customer.user(*allow(bucket, LIST, READ, WRITE))
    dataset_id = api.new_dataset()
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT", keys))
    thumbs = {"thumbSuffix": ".lightly/thumbnails/[filename]_thumb.[extension]"}
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/out", "LIGHTLY", keys), **thumbs)
    for name in NAMES:
        sample = {"fileName": name, "metaData": {"sizeInBytes": 10, "sharpness": 1.5, "mean": [0, 0.5, 1]}}
        api.ok("POST", f"/v1/datasets/{dataset_id}/samples", sample)
    tag_id = api.ok("POST", f"/v1/datasets/{dataset_id}/tags/initial", {"imgType": "full"})["id"]
    return dataset_id, tag_id


def _tag(name: str, previous: str, bits: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "prevTagId": previous, "bitMaskData": bits, "totSize": len(NAMES), **more}


def test_samples_have_their_bits_in_the_order_in_which_they_came(api: Api, filled: tuple[str, str]) -> None:
    path = f"/v1/datasets/{filled[0]}"
    dataset = api.ok("GET", path)
    assert (dataset["nSamples"], dataset["sizeInBytes"]) == (3, 30)
    assert api.ok("GET", f"{path}/mappings", field="fileName") == NAMES
    ids = api.ok("GET", f"{path}/mappings", field="_id")
    assert api.ok("GET", f"{path}/mappings", field="fileName", pageSize=1, pageOffset=1) == NAMES[1:2]
    samples = api.ok("GET", f"{path}/samples", sortBy="index")
    assert [(sample["id"], sample["index"], sample["type"]) for sample in samples] == [
        (ids[0], 0, "IMAGE"),
        (ids[1], 1, "IMAGE"),
        (ids[2], 2, "IMAGE"),
    ]
    assert samples[0]["metaData"] == {"sizeInBytes": 10, "sharpness": 1.5, "mean": [0, 0.5, 1]}
    assert api.ok("GET", f"{path}/samples/{ids[1]}") == samples[1]
    assert api.ok("GET", f"{path}/samples", fileName=NAMES[2]) == samples[2:]
    partial = api.ok("GET", f"{path}/samples/partial", mode="fileNames")
    assert partial == [{"id": id_, "fileName": name} for id_, name in zip(ids, NAMES, strict=True)]
    assert api.ok("GET", f"{path}/samples/partial", mode="ids") == [{"id": id_} for id_ in ids]
    assert api.refused("GET", f"{path}/mappings", field="name")[:2] == (400, "MALFORMED_REQUEST")


def test_a_sample_that_comes_again_keeps_its_id_and_bit(api: Api, filled: tuple[str, str]) -> None:
    path = f"/v1/datasets/{filled[0]}"
    ids = api.ok("GET", f"{path}/mappings", field="_id")
    again = api.ok("POST", f"{path}/samples", {"fileName": NAMES[1], "customMetaData": {"scene": 4}})["id"]
    assert again == ids[1]
    sample = api.ok("GET", f"{path}/samples/{again}")
    assert (sample["index"], sample["customMetaData"]) == (1, {"scene": 4})
    assert api.ok("GET", path)["nSamples"] == 3


def test_a_sample_is_changed_where_it_is_told_to(api: Api, filled: tuple[str, str]) -> None:
    path = f"/v1/datasets/{filled[0]}/samples"
    sample_id = api.ok("GET", path, fileName=NAMES[0])[0]["id"]
    api.ok("PUT", f"{path}/{sample_id}", {"thumbName": "t.jpg", "customMetaData": {"scene": 4}})
    api.ok("PUT", f"{path}/{sample_id}", {"fileName": "new.jpg", "customMetaData": None})
    sample = api.ok("GET", f"{path}/{sample_id}")
    assert (sample["fileName"], sample["thumbName"], sample["customMetaData"]) == ("new.jpg", "t.jpg", None)
    assert sample["metaData"]["sharpness"] == 1.5
    taken = {"fileName": NAMES[1]}
    assert api.refused("PUT", f"{path}/{sample_id}", taken)[:2] == (409, "CONFLICT")
    assert api.ok("GET", f"{path}/{sample_id}") == sample


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fileName": "a.jpg", "metaData": {"luminance": 101}},
        {"fileName": "a.jpg", "metaData": {"mean": [0.1, 0.2]}},
        {"fileName": "a.jpg", "index": 3},
        {"fileName": "a.jpg", "cropData": {"parentId": "0" * 24}},
    ],
)
def test_a_sample_outside_the_contract_is_refused(api: Api, filled: tuple[str, str], body: Any) -> None:
    assert api.refused("POST", f"/v1/datasets/{filled[0]}/samples", body)[:2] == (400, "MALFORMED_REQUEST")


def test_write_urls_put_the_file_and_its_thumbnail_where_lightly_writes(
    api: Api, customer: Customer, filled: tuple[str, str]
) -> None:
    path = f"/v1/datasets/{filled[0]}/samples"
    made = api.ok("POST", f"{path}/withWriteUrls", {"fileName": "e/f.jpg"})
    assert requests.put(made["sampleWriteUrls"]["thumb"], data=b"thumb", timeout=30).ok
    assert requests.put(made["sampleWriteUrls"]["full"], data=b"full", timeout=30).ok
    target = api.ok("GET", f"/v1/datasets/{filled[0]}/datasource", purpose="LIGHTLY")["fullPath"]
    bucket = target.split("/")[2]
    assert {"out/e/f.jpg", "out/.lightly/thumbnails/e/f_thumb.jpg"} <= set(customer.keys(bucket))
    assert (
        requests.get(api.ok("GET", f"{path}/{made['id']}/readurl", type="thumb"), timeout=30).content
        == b"thumb"
    )
    sample_id = api.ok("GET", path, fileName=NAMES[0])[0]["id"]
    assert requests.get(api.ok("GET", f"{path}/{sample_id}/readurl"), timeout=30).content == b"some bytes"
    assert set(api.ok("GET", f"{path}/{sample_id}/writeurls")) == {"full", "thumb"}


def test_the_initial_tag_has_every_sample_and_comes_once(api: Api, filled: tuple[str, str]) -> None:
    path = f"/v1/datasets/{filled[0]}/tags"
    tag = api.ok("GET", f"{path}/{filled[1]}")
    assert (tag["name"], tag["bitMaskData"], tag["totSize"]) == ("initial-tag", "0x7", 3)
    assert tag["prevTagId"] is None
    assert api.refused("POST", f"{path}/initial", {"imgType": "full"})[:2] == (409, "TAG_INITIAL_EXISTS")


def test_a_tag_is_a_named_subset(api: Api, filled: tuple[str, str]) -> None:
    dataset_id, initial = filled
    path = f"/v1/datasets/{dataset_id}/tags"
    made = api.ok("POST", path, _tag("selected 1", initial, "0x5", changes={"sampler": {"method": "x"}}))
    tag = api.ok("GET", f"{path}/{made['id']}")
    assert (tag["name"], tag["prevTagId"], tag["bitMaskData"]) == ("selected 1", initial, "0x5")
    assert tag["changes"][0]["changes"] == {"sampler": {"method": "x"}}
    assert [found["id"] for found in api.ok("GET", path)] == [initial, made["id"]]
    assert api.ok("GET", f"{path}/{made['id']}/filenames") == [NAMES[0], NAMES[2]]
    api.ok("PUT", f"{path}/{made['id']}", {"name": "selected 2", "bitMaskData": "0x3"})
    assert api.ok("GET", f"{path}/{made['id']}/filenames") == NAMES[:2]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"bitMaskData": "5"}, 400, "MALFORMED_REQUEST"),
        ({"bitMaskData": "0xF"}, 400, "MALFORMED_REQUEST"),
        ({"bitMaskData": "0x8"}, 400, "DATASET_TAG_INVALID"),
        ({"totSize": 4}, 400, "DATASET_TAG_INVALID"),
        ({"prevTagId": "0" * 24}, 400, "TAG_PREVTAG_NOT_IN_DATASET"),
        ({"name": "initial-tag"}, 409, "TAG_NAME_EXISTS"),
        ({"name": "no/slash"}, 400, "MALFORMED_REQUEST"),
        ({"runId": "0" * 24}, 404, "DOCKER_RUN_UNKNOWN"),
    ],
)
def test_a_tag_that_cannot_be_is_refused(
    api: Api, filled: tuple[str, str], change: dict[str, Any], status: int, code: str
) -> None:
    path = f"/v1/datasets/{filled[0]}/tags"
    body = {**_tag("selected", filled[1], "0x5"), **change}
    assert api.refused("POST", path, body)[:2] == (status, code)


def test_only_a_leaf_is_deleted(api: Api, filled: tuple[str, str]) -> None:
    dataset_id, initial = filled
    path = f"/v1/datasets/{dataset_id}/tags"
    middle = api.ok("POST", path, _tag("middle", initial, "0x3"))["id"]
    leaf = api.ok("POST", path, _tag("leaf", middle, "0x1"))["id"]
    assert api.refused("DELETE", f"{path}/{initial}")[:2] == (400, "TAG_UNDELETABLE_IS_INITIAL")
    assert api.refused("DELETE", f"{path}/{middle}")[:2] == (400, "TAG_UNDELETABLE_NOT_A_LEAF")
    api.ok("DELETE", f"{path}/{leaf}")
    api.ok("DELETE", f"{path}/{middle}")
    assert [tag["id"] for tag in api.ok("GET", path)] == [initial]


def test_a_runs_tags_come_newest_first(api: Api, filled: tuple[str, str]) -> None:
    dataset_id, initial = filled
    run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "2.11", "datasetId": dataset_id})["id"]
    path = f"/v1/datasets/{dataset_id}/tags"
    made = [api.ok("POST", path, _tag(name, initial, "0x1", runId=run_id))["id"] for name in ("one", "two")]
    assert [tag["id"] for tag in api.ok("GET", f"/v1/docker/runs/{run_id}/tags")] == made[::-1]


def test_a_tag_is_exported_page_by_page(api: Api, filled: tuple[str, str]) -> None:
    dataset_id, initial = filled
    path = f"/v1/datasets/{dataset_id}/tags/{initial}/export/basic"
    source = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource", purpose="INPUT")["fullPath"]

    def text(**query: Any) -> str:
        return api.send("GET", f"{path}/filenames", **query).text

    assert text() == "\n".join(NAMES)
    assert text(pageSize=2) == "\n".join(NAMES[:2])
    assert text(pageSize=2, pageOffset=2) == NAMES[2]
    assert text(pageOffset=3) == ""
    assert text(fileNameFormat="DATASOURCE_FULL").split("\n") == [f"{source}/{name}" for name in NAMES]
    assert text(format="JSON") == '["a.jpg", "b/c.jpg", "d.png"]'
    for url in text(fileNameFormat="REDIRECTED_READ_URL").split("\n"):
        assert requests.get(url, timeout=30).content == b"some bytes"
    rows = api.ok("GET", f"{path}/filenamesAndReadUrls")
    assert [row["fileName"] for row in rows] == NAMES
    assert all(requests.get(row["readUrl"], timeout=30).content == b"some bytes" for row in rows)


def test_the_pages_show_a_dataset_and_its_images(api: Api, filled: tuple[str, str]) -> None:
    run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "2.11", "datasetId": filled[0]})["id"]
    line = {"ts": 1, "level": "INFO", "group": "worker", "msg": "<b>not bold</b>"}
    api.ok("PUT", f"/v1/docker/runs/{run_id}/logs", [line])
    for path, shown in (
        ("/web", filled[0]),
        (f"/web/dataset/{filled[0]}", "b/c.jpg"),
        ("/web/compute/runs", run_id),
        (f"/web/compute/runs/{run_id}", "&lt;b&gt;not bold"),
    ):
        page = requests.get(api.url + path, timeout=30)
        assert page.status_code == 200
        assert shown in page.text
        assert api.token not in page.text


def test_with_a_kms_key_write_urls_demand_its_headers(api: Api, customer: Customer) -> None:
    bucket = customer.bucket()
    key_arn = customer.client("kms").create_key()["KeyMetadata"]["Arn"]
    may_encrypt = {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key_arn}
    keys = customer.user(*allow(bucket, LIST, READ, WRITE), may_encrypt)
    dataset_id = api.new_dataset()
    source = with_keys(f"s3://{bucket}", "INPUT_OUTPUT", keys)
    api.put_datasource(dataset_id, **source, s3ServerSideEncryptionKMSKey=key_arn)
    made = api.ok("POST", f"/v1/datasets/{dataset_id}/samples/withWriteUrls", {"fileName": "a.jpg"})
    url = made["sampleWriteUrls"]["full"]
    assert requests.put(url, data=b"plain", timeout=30).status_code == 403
    headers = {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": key_arn,
    }
    assert requests.put(url, data=b"secret", headers=headers, timeout=30).ok
    assert customer.s3.head_object(Bucket=bucket, Key="a.jpg")["ServerSideEncryption"] == "aws:kms"
