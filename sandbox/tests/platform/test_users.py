from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
import requests

from tests.lab.sandbox import LIST, READ, Api, allow, with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer

FIRST_EMAIL = "sandbox@example.com"


def _user(api: Api, team: str | None = None) -> tuple[Api, str]:
    """A new user's requests, and the e-mail address."""
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email} if team is None else {"email": email, "team": team}
    return Api(api.url, api.ok("POST", "/sandbox/users", body)["token"]), email


def _ids(api: Api, path: str = "/v1/datasets", **query: bool) -> list[str]:
    return [found["id"] for found in api.ok("GET", path, **query)]


def test_a_user_has_a_token_of_its_own_and_sees_nobody_elses_datasets(api: Api) -> None:
    other, email = _user(api)
    mine, theirs = api.new_dataset(), other.new_dataset()
    assert _ids(other) == _ids(other, getAssetsOfTeamInclusiveSelf=True) == [theirs]
    assert theirs not in _ids(api)
    assert other.refused("GET", f"/v1/datasets/{mine}")[:2] == (404, "DATASET_UNKNOWN")
    assert api.refused("GET", f"/v1/datasets/{theirs}")[:2] == (404, "DATASET_UNKNOWN")
    owners = {
        api.ok("GET", f"/v1/datasets/{mine}")["userId"],
        other.ok("GET", f"/v1/datasets/{theirs}")["userId"],
    }
    assert len(owners) == 2
    shown = next(one for one in api.ok("GET", "/sandbox/users") if one["email"] == email)
    assert "token" not in shown


def test_a_name_is_unique_per_owner(api: Api) -> None:
    other, _ = _user(api)
    body = {"name": f"shared name {secrets.token_hex(6)}"}
    api.ok("POST", "/v1/datasets", body)
    other.ok("POST", "/v1/datasets", body)
    assert other.refused("POST", "/v1/datasets", body)[:2] == (409, "DATASET_NAME_EXISTS")


@pytest.mark.parametrize("by", ["email", "team"])
def test_a_shared_dataset_is_used_by_others_until_it_is_shared_no_more(api: Api, by: str) -> None:
    team = f"team-{secrets.token_hex(6)}"
    other, email = _user(api, team)
    dataset_id = api.new_dataset()
    path = f"/v1/datasets/{dataset_id}"
    access = f"{path}/collaboration/access"
    whom = {"users": ["nobody@example.com", email]} if by == "email" else {"teams": [team]}
    api.ok("POST", access, {"accessType": "WRITE", **whom})
    name = other.ok("GET", path)["name"]
    assert (
        _ids(other, shared=True)
        == [dataset_id]
        == _ids(other, f"/v1/datasets/query/name/{name}", shared=True)
    )
    assert _ids(other) == _ids(other, getAssetsOfTeam=True) == []
    other.ok("POST", f"{path}/samples", {"fileName": "theirs.jpg"})
    assert api.ok("GET", path)["nSamples"] == 1
    enriched = other.ok("GET", "/v1/datasets/enriched/query/ids", datasetIds=[dataset_id])
    assert [found["id"] for found in enriched] == [dataset_id]
    assert other.refused("DELETE", path)[:2] == (403, "FORBIDDEN")
    assert other.refused("POST", access, {"accessType": "WRITE"})[:2] == (403, "FORBIDDEN")
    api.ok("POST", access, {"accessType": "WRITE", "users": []})
    assert _ids(other, shared=True) == []
    assert other.refused("GET", path)[:2] == (404, "DATASET_UNKNOWN")


def test_a_team_uses_its_members_datasets(api: Api) -> None:
    team = f"team-{secrets.token_hex(6)}"
    (ann, _), (bob, _), (eve, _) = _user(api, team), _user(api, team), _user(api, f"{team}-other")
    anns, bobs = ann.new_dataset(), bob.new_dataset()
    assert _ids(ann, getAssetsOfTeam=True) == [bobs]
    assert _ids(ann, getAssetsOfTeamInclusiveSelf=True) == [anns, bobs]
    assert _ids(ann) == [anns]
    bob.ok("PUT", f"/v1/datasets/{anns}", {"name": f"by bob {secrets.token_hex(6)}"})
    assert _ids(eve, getAssetsOfTeam=True) == []
    assert eve.refused("GET", f"/v1/datasets/{anns}")[:2] == (404, "DATASET_UNKNOWN")


def test_users_without_a_team_are_no_team(api: Api) -> None:
    (ann, _), (bob, _) = _user(api), _user(api)
    dataset_id = ann.new_dataset()
    assert bob.refused("GET", f"/v1/datasets/{dataset_id}")[:2] == (404, "DATASET_UNKNOWN")
    assert _ids(bob, getAssetsOfTeam=True) == _ids(bob, getAssetsOfTeamInclusiveSelf=True) == []


def test_the_first_user_can_share_and_be_shared_with_too(api: Api) -> None:
    other, _ = _user(api)
    mate, _ = _user(api, "sandbox-team")
    dataset_id = other.new_dataset()
    body = {"accessType": "WRITE", "users": [FIRST_EMAIL]}
    other.ok("POST", f"/v1/datasets/{dataset_id}/collaboration/access", body)
    assert dataset_id in _ids(api, shared=True)
    mine = api.new_dataset()
    assert mine in _ids(mate, getAssetsOfTeam=True)
    assert mate.new_dataset() in _ids(api, getAssetsOfTeam=True)


def test_workers_and_runs_are_their_users(api: Api) -> None:
    other, _ = _user(api)
    worker_id = other.ok("POST", "/v1/docker/worker", {"name": "theirs", "workerType": "FULL"})["id"]
    run_id = other.ok("POST", "/v1/docker/runs", {"dockerVersion": "2.11"})["id"]
    assert api.refused("GET", f"/v1/docker/worker/{worker_id}")[:2] == (404, "DOCKER_WORKER_UNKNOWN")
    assert api.refused("GET", f"/v1/docker/runs/{run_id}")[:2] == (404, "DOCKER_RUN_UNKNOWN")
    assert [one["id"] for one in other.ok("GET", "/v1/docker/runs")] == [run_id]


def test_a_redirected_link_works_without_any_token(api: Api, customer: Customer) -> None:
    other, _ = _user(api)
    bucket = customer.bucket("in/a.jpg")
    dataset_id = other.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    other.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT", keys))
    page = other.ok("GET", f"/v1/datasets/{dataset_id}/datasource/list", useRedirectedReadUrl=True)
    assert requests.get(page["data"][0]["readUrl"], timeout=30).content == b"some bytes"


def test_an_email_address_is_given_once(api: Api) -> None:
    _, email = _user(api)
    for taken in (email, FIRST_EMAIL):
        assert api.refused("POST", "/sandbox/users", {"email": taken})[:2] == (409, "CONFLICT")
    assert api.refused("POST", "/sandbox/users", {"email": "no address"})[:2] == (400, "MALFORMED_REQUEST")


def _worker(api: Api, **query: str) -> str:
    body = {"name": f"worker {secrets.token_hex(6)}", "workerType": "FULL"}
    return str(api.ok("POST", "/v1/docker/worker", body, **query)["id"])


def test_a_teams_workers_and_runs_are_listed_when_asked_for(api: Api) -> None:
    team = f"team-{secrets.token_hex(6)}"
    (mine, _), (theirs, _), (stranger, _) = _user(api, team), _user(api, team), _user(api)
    workers = [_worker(user) for user in (mine, theirs, stranger)]
    runs = [
        user.ok("POST", "/v1/docker/runs", {"dockerVersion": "3"})["id"] for user in (mine, theirs, stranger)
    ]
    for path, (own, others, _) in (("/v1/docker/worker", workers), ("/v1/docker/runs", runs)):
        assert _ids(mine, path) == [own]
        assert _ids(mine, path, getAssetsOfTeam=True) == [others]
        assert set(_ids(mine, path, getAssetsOfTeamInclusiveSelf=True)) == {own, others}
    counted = mine.send("GET", "/v1/docker/runs/count", getAssetsOfTeamInclusiveSelf=True)
    assert counted.text == "2"


def test_a_worker_is_registered_for_a_member_of_the_team_only(api: Api) -> None:
    team = f"team-{secrets.token_hex(6)}"
    (mine, _), (theirs, _), (stranger, _) = _user(api, team), _user(api, team), _user(api)
    of_theirs, of_stranger = (
        one.ok("GET", f"/v1/datasets/{one.new_dataset()}")["userId"] for one in (theirs, stranger)
    )
    registered = _worker(mine, forUserId=of_theirs)
    assert _ids(theirs, "/v1/docker/worker") == [registered]
    assert _ids(mine, "/v1/docker/worker") == []
    body = {"name": "a worker", "workerType": "FULL"}
    for whom in (of_stranger, "nobody"):
        refused = mine.refused("POST", "/v1/docker/worker", body, forUserId=whom)
        assert refused[:2] == (403, "USER_NOT_KNOWN")
