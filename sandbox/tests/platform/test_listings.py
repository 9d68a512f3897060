from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.lab.sandbox import LIST, READ, WRITE, allow, with_keys, with_role

if TYPE_CHECKING:
    from tests.lab.sandbox import Api, Customer

NAMES = ["a.jpg", "b/1.jpg", "b/2.jpg", "b/deep/3.jpg", "c/4.jpg", "d.jpg", "é/5.jpg"]
RELEVANT = ".lightly/relevant.txt"


@pytest.fixture
def source(api: Api, customer: Customer) -> tuple[str, str]:
    """A dataset with some files in its one datasource, and its bucket."""
    bucket = customer.bucket(*(f"in/{name}" for name in NAMES))
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ, WRITE))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT_OUTPUT", keys))
    return f"/v1/datasets/{dataset_id}/datasource", bucket


def _listed(api: Api, path: str, cursor: str, **query: Any) -> list[str]:
    names, more = [], True
    while more:
        page = api.ok("GET", path, cursor=cursor, **query)
        names += [row["fileName"] for row in page["data"]]
        more, cursor = page["hasMore"], page["cursor"]
    return names


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 50])
def test_the_shards_have_every_file_once(api: Api, source: tuple[str, str], shards: int) -> None:
    path = f"{source[0]}/list"
    cursors = api.ok("GET", f"{path}/dnc", dncShards=shards)["cursors"]
    assert 1 <= len(cursors) <= shards
    assert len(cursors) > 1 or shards == 1
    parts = [_listed(api, path, cursor) for cursor in cursors]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)


def test_an_empty_input_is_one_shard(api: Api, customer: Customer) -> None:
    bucket = customer.bucket()
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT", keys))
    path = f"/v1/datasets/{dataset_id}/datasource/list"
    (cursor,) = api.ok("GET", f"{path}/dnc", dncShards=4)["cursors"]
    assert _listed(api, path, cursor) == []


def test_relevant_filenames_restrict_the_listing_and_its_shards(
    api: Api, customer: Customer, source: tuple[str, str]
) -> None:
    path, bucket = source
    customer.s3.put_object(Bucket=bucket, Key=f"in/{RELEVANT}", Body=b"b/*\nd.jpg\nnone.jpg\n")
    wanted = ["b/1.jpg", "b/2.jpg", "b/deep/3.jpg", "d.jpg"]
    page = api.ok("GET", f"{path}/list", relevantFilenamesFileName=RELEVANT)
    assert [row["fileName"] for row in page["data"]] == wanted
    cursors = api.ok("GET", f"{path}/list/dnc", dncShards=3, relevantFilenamesFileName=RELEVANT)["cursors"]
    assert sorted(name for cursor in cursors for name in _listed(api, f"{path}/list", cursor)) == wanted
    named = [_listed(api, f"{path}/list", cursor, relevantFilenamesFileName=RELEVANT) for cursor in cursors]
    assert sorted(name for part in named for name in part) == wanted


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"/absolute.jpg\n"])
def test_a_relevant_filenames_file_that_is_no_use_is_named(
    api: Api, customer: Customer, source: tuple[str, str], content: bytes | None
) -> None:
    path, bucket = source
    if content is not None:
        customer.s3.put_object(Bucket=bucket, Key=f"in/{RELEVANT}", Body=content)
    for operation, query in (("list", {}), ("list/dnc", {"dncShards": 2})):
        status, code, error = api.refused(
            "GET", f"{path}/{operation}", relevantFilenamesFileName=RELEVANT, **query
        )
        assert (status, code) == (400, "DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID")
        assert f"s3://{bucket}/in/{RELEVANT}" in error


def test_predictions_and_metadata_are_listed_by_their_own_names(
    api: Api, customer: Customer, source: tuple[str, str]
) -> None:
    path, bucket = source
    for name in (
        "predictions/t/a.json",
        "predictions/t/schema.json",
        "predictions/u/b.json",
        "metadata/c.json",
    ):
        customer.s3.put_object(Bucket=bucket, Key=f"in/.lightly/{name}", Body=b"{}")
    for kind, query, names in (
        ("predictions", {"taskName": "t"}, ["a.json"]),
        ("metadata", {}, ["c.json"]),
    ):
        for redirected in (True, False):
            page = api.ok("GET", f"{path}/{kind}/list", useRedirectedReadUrl=redirected, **query)
            assert [row["fileName"] for row in page["data"]] == names
            assert requests.get(page["data"][0]["readUrl"], timeout=30).content == b"{}"
        (cursor,) = api.ok("GET", f"{path}/{kind}/list/dnc", dncShards=1, **query)["cursors"]
        assert _listed(api, f"{path}/{kind}/list", cursor, **query) == names
        refused = api.refused("GET", f"{path}/{kind}/list", relevantFilenamesRunId="0" * 24, **query)
        assert refused[:2] == (400, "MALFORMED_REQUEST")
        nowhere = {"relevantFilenamesRunId": "0" * 24, "relevantFilenamesArtifactId": "0" * 24}
        assert api.refused("GET", f"{path}/{kind}/list", **nowhere, **query)[:2] == (
            404,
            "DOCKER_RUN_UNKNOWN",
        )
    url = api.ok("GET", f"{path}/predictions/writeUrl", fileName="t/new.json")
    assert requests.put(url, data=b"[1]", timeout=30).ok
    read = api.ok("GET", f"{path}/predictions/file", fileName="t/new.json")
    assert requests.get(read, timeout=30).content == b"[1]"
    for kind, name in (("metadata", "c.json"), ("embeddings", "none.csv")):
        status = requests.get(api.ok("GET", f"{path}/{kind}/file", fileName=name), timeout=30).status_code
        assert (kind, status) == (kind, 200 if name == "c.json" else 404)


def _relevant_artifact(api: Api, lines: str) -> dict[str, str]:
    """A run's artifact of relevant filenames, as a query."""
    run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "3"})["id"]
    path = f"/v1/docker/runs/{run_id}/artifacts"
    made = api.ok("POST", path, {"fileName": "relevant.txt", "type": "RELEVANT_FILENAMES"})
    query = {"relevantFilenamesRunId": run_id, "relevantFilenamesArtifactId": made["artifactId"]}
    assert requests.put(made["signedWriteUrl"], data=lines.encode(), timeout=30).ok
    api.ok("PUT", f"{path}/{made['artifactId']}/confirmUpload")
    return query


@pytest.mark.parametrize("by", ["file", "artifact"])
def test_predictions_and_metadata_are_restricted_to_the_relevant_inputs(
    api: Api, customer: Customer, source: tuple[str, str], by: str
) -> None:
    path, bucket = source
    names = ["a.json", "b/c.json", "b/d-0007-mp4.json", "e-0001-mp4.json", "f.json"]
    for kind in ("predictions/t", "metadata"):
        for name in names:
            customer.s3.put_object(Bucket=bucket, Key=f"in/.lightly/{kind}/{name}", Body=b"{}")
    lines = "a.png\nb/*.jpg\nb/d.mp4\nf.txt\n"
    customer.s3.put_object(Bucket=bucket, Key=f"in/{RELEVANT}", Body=lines.encode())
    relevant = {"relevantFilenamesFileName": RELEVANT} if by == "file" else _relevant_artifact(api, lines)
    for kind, query in (("predictions", {"taskName": "t"}), ("metadata", {})):
        page = api.ok("GET", f"{path}/{kind}/list", **relevant, **query)
        assert [row["fileName"] for row in page["data"]] == names[:3]
        cursors = api.ok("GET", f"{path}/{kind}/list/dnc", dncShards=2, **relevant, **query)["cursors"]
        found = [name for cursor in cursors for name in _listed(api, f"{path}/{kind}/list", cursor, **query)]
        assert sorted(found) == names[:3]


def test_an_artifact_that_was_not_uploaded_restricts_nothing(api: Api, source: tuple[str, str]) -> None:
    run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "3"})["id"]
    body = {"fileName": "relevant.txt", "type": "RELEVANT_FILENAMES"}
    artifact_id = api.ok("POST", f"/v1/docker/runs/{run_id}/artifacts", body)["artifactId"]
    query = {"relevantFilenamesRunId": run_id, "relevantFilenamesArtifactId": artifact_id}
    refused = api.refused("GET", f"{source[0]}/metadata/list", **query)
    assert refused[:2] == (404, "DOCKER_RUN_ARTIFACT_UNAVAILABLE")


def test_with_delegated_access_every_read_is_redirected(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("in/a.jpg")
    role = customer.role("an-external-id", *allow(bucket, LIST, READ, WRITE))
    dataset_id = api.new_dataset()
    source = with_role(f"s3://{bucket}/in", "INPUT_OUTPUT", role, "an-external-id")
    api.put_datasource(dataset_id, **source, thumbSuffix=".lightly/thumbnails/[filename]_thumb.[extension]")
    path = f"/v1/datasets/{dataset_id}"
    (row,) = api.ok("GET", f"{path}/datasource/list", useRedirectedReadUrl=False)["data"]
    sample_id = api.ok("POST", f"{path}/samples", {"fileName": "a.jpg"})["id"]
    sample = f"{path}/samples/{sample_id}"
    urls = [row["readUrl"], api.ok("GET", f"{sample}/readurl")]
    for url in urls:
        assert url.startswith(api.url)
        assert requests.get(url, timeout=30).content == b"some bytes"
        assert requests.get(url.replace("publicToken=", "publicToken=0"), timeout=30).status_code == 401
    wrong_kind = urls[1].replace("type=full", "type=thumbnail")
    assert requests.get(wrong_kind, timeout=30).status_code == 401
    thumb = api.ok("GET", f"{sample}/writeurl", isThumbnail=True)
    assert requests.put(thumb, data=b"thumb", timeout=30).ok
    read = api.ok("GET", f"{sample}/readurl", type="thumbnail")
    assert requests.get(read, timeout=30).content == b"thumb"
