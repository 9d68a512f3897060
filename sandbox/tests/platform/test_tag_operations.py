from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.lab.sandbox import Api

N_SAMPLES = 4


@pytest.fixture
def tags(api: Api) -> tuple[str, str, str, str]:
    """The address of a dataset's tags, its initial tag, and two tags that have one sample in common."""
    dataset_id = api.new_dataset()
    for number in range(N_SAMPLES):
        api.ok("POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": f"{number}.jpg"})
    path = f"/v1/datasets/{dataset_id}/tags"
    initial = api.ok("POST", f"{path}/initial", {"imgType": "full"})["id"]
    made = [
        api.ok("POST", path, {"name": name, "prevTagId": initial, "bitMaskData": bits, "totSize": N_SAMPLES})
        for name, bits in (("one", "0x3"), ("two", "0x6"))
    ]
    return path, initial, made[0]["id"], made[1]["id"]


@pytest.mark.parametrize(
    ("operation", "bits"), [("UNION", "0x7"), ("INTERSECTION", "0x2"), ("DIFFERENCE", "0x1")]
)
def test_two_tags_are_combined(api: Api, tags: tuple[str, str, str, str], operation: str, bits: str) -> None:
    path, _, one, two = tags
    body = {"tagId1": one, "tagId2": two, "operation": operation}
    for kind in ("arithmetics", "arithmetics/bitmask"):
        assert api.ok("POST", f"{path}/{kind}", body) == {"bitMaskData": bits}
    answer = api.send("POST", f"{path}/arithmetics", {**body, "newTagName": "both", "creator": "USER_PIP"})
    assert answer.status_code == 200
    tag = api.ok("GET", f"{path}/{answer.json()['id']}")
    assert (tag["name"], tag["prevTagId"], tag["bitMaskData"], tag["totSize"]) == (
        "both",
        one,
        bits,
        N_SAMPLES,
    )
    change = tag["changes"][0]
    assert change["creator"] == "USER_PIP"
    assert change["changes"] == {"arithmetics": {"operation": operation, "tag1": "one", "tag2": "two"}}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"operation": "XOR"}, 400, "MALFORMED_REQUEST"),
        ({"tagId2": "0" * 24}, 404, "TAG_UNKNOWN"),
        ({"newTagName": "two"}, 409, "TAG_NAME_EXISTS"),
        ({"newTagName": "x"}, 400, "MALFORMED_REQUEST"),
        ({"runId": "0" * 24}, 404, "DOCKER_RUN_UNKNOWN"),
    ],
)
def test_what_cannot_be_combined_is_refused(
    api: Api, tags: tuple[str, str, str, str], change: dict[str, Any], status: int, code: str
) -> None:
    path, _, one, two = tags
    body = {"tagId1": one, "tagId2": two, "operation": "UNION", **change}
    assert api.refused("POST", f"{path}/arithmetics", body)[:2] == (status, code)


def test_upsizing_brings_every_tag_to_the_datasets_size(api: Api, tags: tuple[str, str, str, str]) -> None:
    path, initial, one, _ = tags
    samples = path.removesuffix("tags") + "samples"
    for number in range(2):
        api.ok("POST", samples, {"fileName": f"new {number}.jpg"})
    body = {"upsizeTagName": "new ones", "upsizeTagCreator": "USER_WORKER"}
    made = api.ok("POST", f"{path}/upsize", body)["id"]
    found = {tag["id"]: (tag["bitMaskData"], tag["totSize"]) for tag in api.ok("GET", path)}
    assert (found[initial], found[one], found[made]) == (("0x3f", 6), ("0x3", 6), ("0x30", 6))
    assert api.ok("GET", f"{path}/{made}")["prevTagId"] == initial
    change = api.ok("GET", f"{path}/{one}")["changes"][-1]
    assert (change["creator"], change["changes"]) == ("USER_WORKER", {"upsize": {"from": 4.0, "to": 6.0}})
    assert api.refused("POST", f"{path}/upsize", body)[:2] == (409, "TAG_NAME_EXISTS")
    again = api.ok("POST", f"{path}/upsize", {**body, "upsizeTagName": "nothing new"})["id"]
    assert api.ok("GET", f"{path}/{again}")["bitMaskData"] == "0x0"


def test_nothing_is_upsized_before_there_is_a_tag(api: Api) -> None:
    body = {"upsizeTagName": "new ones", "upsizeTagCreator": "USER_PIP"}
    path = f"/v1/datasets/{api.new_dataset()}/tags/upsize"
    assert api.refused("POST", path, body)[:2] == (404, "TAG_UNKNOWN")
