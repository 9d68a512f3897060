from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.lab.sandbox import LIST, READ, allow, with_keys, with_role

if TYPE_CHECKING:
    from tests.lab.sandbox import Api, Customer

KEYS = ("AKIAEXAMPLE", "the-secret")


def test_there_is_one_datasource_per_purpose_and_putting_again_replaces_it(api: Api) -> None:
    dataset_id = api.new_dataset()
    path = f"/v1/datasets/{dataset_id}/datasource"
    api.put_datasource(dataset_id, **with_keys("s3://bucket/a", "INPUT", KEYS))
    api.put_datasource(dataset_id, **with_keys("s3://bucket/b", "LIGHTLY", KEYS))
    before = api.ok("GET", path, purpose="INPUT")
    api.put_datasource(dataset_id, **with_keys("s3://bucket/c", "INPUT", KEYS))
    found = api.ok("GET", f"{path}/all")
    assert [(source["purpose"], source["fullPath"]) for source in found] == [
        ("INPUT", "s3://bucket/c"),
        ("LIGHTLY", "s3://bucket/b"),
    ]
    assert found[0]["id"] == before["id"]
    assert api.ok("GET", f"/v1/datasets/{dataset_id}")["datasources"] == [source["id"] for source in found]
    assert api.refused("GET", path)[:2] == (404, "DATASET_DATASOURCE_UNKNOWN"), "INPUT_OUTPUT is the default"


def test_what_was_put_comes_back(api: Api) -> None:
    dataset_id = api.new_dataset()
    body = {
        **with_role("s3://bucket/a", "INPUT_OUTPUT", "arn:aws:iam::123456789012:role/x", "an-external-id"),
        "thumbSuffix": ".lightly/thumbnails/[filename]_thumb.[extension]",
        "s3ServerSideEncryptionKMSKey": "arn:aws:kms:eu-central-1:123456789012:key/some",
    }
    api.put_datasource(dataset_id, **body)
    stored = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource")
    assert len(stored.pop("id")) == 24
    assert stored == body


def test_processed_until_is_kept_in_seconds(api: Api) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource/processedUntilTimestamp"
    assert api.ok("GET", path) == {"processedUntilTimestamp": 0}
    api.ok("PUT", path, {"processedUntilTimestamp": 1_700_000_000})
    assert api.ok("GET", path) == {"processedUntilTimestamp": 1_700_000_000}
    assert api.refused("PUT", path, {"processedUntilTimestamp": -1})[:2] == (400, "MALFORMED_REQUEST")


def test_the_listing_has_the_datasets_kind_of_files_and_urls_that_read_them(
    api: Api, customer: Customer
) -> None:
    images = ["in/a.jpg", "in/deep/er/b.PNG"]
    bucket = customer.bucket(*images, "in/c.mp4", "in/d.txt", "in/.lightly/e.jpg", "other/f.jpg")
    keys = customer.user(*allow(bucket, LIST, READ))
    role = customer.role("an-external-id", *allow(bucket, LIST, READ))
    for source in (
        with_keys(f"s3://{bucket}/in", "INPUT", keys),
        with_role(f"s3://{bucket}/in/", "INPUT", role, "an-external-id"),
    ):
        dataset_id = api.new_dataset()
        api.put_datasource(dataset_id, **source)
        path = f"/v1/datasets/{dataset_id}/datasource/list"
        for redirected in ("false", "true"):
            page = api.ok("GET", path, useRedirectedReadUrl=redirected)
            assert [row["fileName"] for row in page["data"]] == ["a.jpg", "deep/er/b.PNG"]
            assert page["hasMore"] is False
            for row in page["data"]:
                assert requests.get(row["readUrl"], timeout=30).content == b"some bytes"
                assert api.token not in row["readUrl"]
        assert page["data"][0]["readUrl"].startswith(api.url), "the last ones were redirected"
        tampered = page["data"][0]["readUrl"].replace("a.jpg", "deep/er/b.PNG")
        assert requests.get(tampered, timeout=30).status_code == 401
    videos = api.new_dataset(type="Videos")
    api.put_datasource(videos, **with_keys(f"s3://{bucket}/in", "INPUT", keys))
    page = api.ok("GET", f"/v1/datasets/{videos}/datasource/list")
    assert [row["fileName"] for row in page["data"]] == ["c.mp4"]


@pytest.fixture(scope="module")
def more_than_a_page(customer: Customer) -> tuple[str, list[str]]:
    """A bucket with more files than one answer names, and their names."""
    names = [f"{number:04}.jpg" for number in range(1005)]
    return customer.bucket(*names), names


@pytest.mark.parametrize(("shards", "n_pages"), [(1, 2), (3, 3)])
def test_the_listing_goes_on_at_its_cursor_until_there_is_no_more(
    api: Api, customer: Customer, more_than_a_page: tuple[str, list[str]], shards: int, n_pages: int
) -> None:
    bucket, wanted = more_than_a_page
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}", "INPUT", keys))
    path = f"/v1/datasets/{dataset_id}/datasource/list"
    cursors = api.ok("GET", f"{path}/dnc", dncShards=shards)["cursors"]
    assert len(cursors) == shards
    found, pages = [], 0
    for cursor in cursors:
        more = True
        while more:
            page = api.ok("GET", path, cursor=cursor)
            found += [row["fileName"] for row in page["data"]]
            more, cursor, pages = page["hasMore"], page["cursor"], pages + 1
    assert (found, pages) == (wanted, n_pages)
    assert api.refused("GET", path, cursor="made up")[:2] == (400, "MALFORMED_REQUEST")


def test_from_and_to_are_inclusive_seconds(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    modified = int(customer.s3.head_object(Bucket=bucket, Key="a.jpg")["LastModified"].timestamp())
    assert abs(modified - time.time()) < 60
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}", "INPUT", keys))

    def listed(**query: int) -> int:
        return len(api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/list", **query)["data"])

    assert listed(**{"from": modified, "to": modified}) == 1
    assert listed(**{"from": modified + 1}) == 0
    assert listed(to=modified - 1) == 0


def test_a_head_url_tells_whether_a_file_is_there(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}", "INPUT_OUTPUT", keys))
    path = f"/v1/datasets/{dataset_id}/datasource/fileHEAD"
    assert requests.head(api.ok("GET", path, fileName="a.jpg"), timeout=30).status_code == 200
    assert requests.head(api.ok("GET", path, fileName="b.jpg"), timeout=30).status_code == 404


def test_listing_says_what_aws_said(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    dataset_id = api.new_dataset()
    path = f"/v1/datasets/{dataset_id}/datasource/list"
    assert api.refused("GET", path)[:2] == (400, "DATASET_DATASOURCE_UNKNOWN")
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}", "INPUT", customer.user()))
    status, code, error = api.refused("GET", path)
    assert (status, code) == (400, "DATASET_DATASOURCE_CREDENTIALS_ERROR")
    assert "AccessDenied" in error
