from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.sandbox import Api


def test_a_new_dataset_is_empty_and_of_images(api: Api) -> None:
    dataset_id = api.new_dataset(creator="USER_PIP", imgType="full")
    dataset = api.ok("GET", f"/v1/datasets/{dataset_id}")
    assert dataset["id"] == dataset_id
    assert (dataset["type"], dataset["imgType"], dataset["nSamples"], dataset["datasources"]) == (
        "Images",
        "full",
        0,
        [],
    )
    assert dataset["createdAt"] > 1_000_000_000_000, "milliseconds, not seconds"


def test_of_many_at_once_one_gets_the_name(api: Api) -> None:
    body = {"name": f"wanted {secrets.token_hex(6)}"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.send("POST", "/v1/datasets", body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.json()["code"] for answer in answers if not answer.ok} == {"DATASET_NAME_EXISTS"}
    assert len(api.ok("GET", f"/v1/datasets/query/name/{body['name']}", exact="True")) == 1


def test_a_name_is_found_exactly_or_by_its_beginning(api: Api) -> None:
    stem = f"look_up {secrets.token_hex(6)}"
    ids = [api.ok("POST", "/v1/datasets", {"name": f"{stem}{end}"})["id"] for end in ("", " b", " c")]
    path = f"/v1/datasets/query/name/{stem}"
    assert [found["id"] for found in api.ok("GET", path, exact="true", shared="false")] == ids[:1]
    assert [found["id"] for found in api.ok("GET", path)] == ids
    assert [found["id"] for found in api.ok("GET", path, pageSize=1, pageOffset=1)] == ids[1:2]
    assert api.ok("GET", path, shared="true") == []
    assert api.ok("GET", path, getAssetsOfTeam="true") == []
    assert api.ok("GET", path.replace("_", "%25"), exact="false") == [], "no wildcard"


def test_a_dataset_is_renamed_unless_the_name_is_taken(api: Api) -> None:
    first, second = api.new_dataset(), api.new_dataset()
    name = f"renamed {secrets.token_hex(6)}"
    api.ok("PUT", f"/v1/datasets/{first}", {"name": name})
    assert api.ok("GET", f"/v1/datasets/{first}")["name"] == name
    assert api.refused("PUT", f"/v1/datasets/{second}", {"name": name})[:2] == (409, "DATASET_NAME_EXISTS")
    assert api.refused("PUT", f"/v1/datasets/{second}", {"name": name, "type": "Videos"})[0] == 400


def test_a_deleted_dataset_is_gone_and_its_name_free(api: Api) -> None:
    dataset_id = api.new_dataset()
    name = api.ok("GET", f"/v1/datasets/{dataset_id}")["name"]
    api.ok("DELETE", f"/v1/datasets/{dataset_id}")
    assert api.refused("GET", f"/v1/datasets/{dataset_id}")[:2] == (404, "DATASET_UNKNOWN")
    assert api.refused("DELETE", f"/v1/datasets/{dataset_id}")[:2] == (404, "DATASET_UNKNOWN")
    api.ok("POST", "/v1/datasets", {"name": name})


def test_children_are_those_made_from_the_dataset(api: Api) -> None:
    parent = api.new_dataset()
    child = api.new_dataset(type="Crops", parentDatasetId=parent)
    assert [found["id"] for found in api.ok("GET", f"/v1/datasets/{parent}/children")] == [child]
    unknown = {"name": "a fine name", "parentDatasetId": "0" * 24}
    assert api.refused("POST", "/v1/datasets", unknown)[:2] == (404, "DATASET_UNKNOWN")


def test_the_enriched_lookups_count_tags_and_name_samples(api: Api) -> None:
    dataset_id = api.new_dataset()
    path = f"/v1/datasets/{dataset_id}"
    names = [f"{number}.jpg" for number in range(6)]
    ids = [api.ok("POST", f"{path}/samples", {"fileName": name})["id"] for name in names]
    api.ok("POST", f"{path}/tags/initial", {"imgType": "full"})
    plain = api.ok("GET", path)
    enriched = "/v1/datasets/enriched"
    by_ids = api.ok("GET", f"{enriched}/query/ids", datasetIds=[dataset_id, "0" * 24])
    assert by_ids == api.ok("GET", f"{enriched}/query/name/{plain['name'][:-1]}")
    assert by_ids == api.ok("GET", enriched, limit=1)
    (found,) = by_ids
    assert (found["nTags"], found["nEmbeddings"], found["samples"]) == (1, 0, ids[:4])
    del plain["datasourceProcessedUntilTimestamp"]
    assert {name: found[name] for name in plain} == plain
    assert found in api.ok("GET", enriched)
    assert api.ok("GET", f"{enriched}/query/name/{plain['name'][:-1]}", exact=True) == []
    assert found not in api.ok("GET", enriched, getAssetsOfTeam=True)
    assert api.refused("GET", f"{enriched}/query/ids")[:2] == (400, "MALFORMED_REQUEST")
