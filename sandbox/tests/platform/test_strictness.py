from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from tests.lab.sandbox import Api

S3 = {
    "type": "S3",
    "purpose": "INPUT",
    "fullPath": "s3://bucket/path/",
    "s3Region": "eu-central-1",
    "s3AccessKeyId": "AKIA",
    "s3SecretAccessKey": "secret",
}
ROLE = {
    "type": "S3DelegatedAccess",
    "purpose": "INPUT",
    "fullPath": "s3://bucket/path/",
    "s3Region": "eu-central-1",
    "s3ExternalId": "ten-or-more",
    "s3ARN": "arn:aws:iam::123456789012:role/Lightly",
}
DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}


def _config(**parts: Any) -> dict[str, Any]:
    return {"version": "V4", "config": {"workerType": "FULL", **parts}}


def _strategy(**members: Any) -> dict[str, Any]:
    return _config(selection={"strategies": [{**DIVERSITY, "strategy": members}]})


def _without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "body.name"),
        ({"name": "ab"}, "body.name"),
        ({"name": "dots.are.wrong"}, "body.name"),
        ({"name": " begins with a space"}, "body.name"),
        ({"name": "a fine name\n"}, "body.name"),
        ({"name": 123}, "body.name"),
        ({"name": "a fine name", "type": "images"}, "body.type"),
        ({"name": "a fine name", "typ": "Images"}, "body.typ"),
        ({"name": "a fine name", "img_type": "full"}, "body.img_type"),
        ({"name": "a fine name", "type": None}, "type must not be null"),
        ({"name": "a fine name", "parentDatasetId": "123"}, "body.parentDatasetId"),
        ([], "body"),
    ],
)
def test_a_dataset_outside_the_contract_is_refused_with_the_members_name(
    api: Api, body: Any, member: str
) -> None:
    status, code, error = api.refused("POST", "/v1/datasets", body)
    assert (status, code) == (400, "MALFORMED_REQUEST")
    assert member in error


@pytest.mark.parametrize(
    ("content_type", "is_taken"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        (None, False),
    ],
)
def test_a_body_has_to_be_declared_as_json(api: Api, content_type: str | None, is_taken: bool) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = json.dumps({"name": f"test {secrets.token_hex(6)}"}).encode()
    url, token = f"{api.url}/v1/datasets", {"token": api.token}
    answer = requests.post(url, body, params=token, headers=headers, timeout=30)
    if is_taken:
        assert answer.status_code == 201, answer.text
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")
        assert "Content-Type" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({**S3, "s3Region": "eu-central-7"}, "s3Region"),
        ({**S3, "s3AccessKeyId": ""}, "s3AccessKeyId"),
        ({**S3, "s3SessionToken": "token"}, "s3SessionToken"),
        ({**S3, "purpose": "OUTPUT"}, "purpose"),
        ({**S3, "thumbSuffix": None}, "thumbSuffix must not be null"),
        ({**S3, "s3ServerSideEncryptionKMSKey": "key"}, "s3ServerSideEncryptionKMSKey"),
        (_without(S3, "purpose"), "purpose"),
        (_without(S3, "type"), "type"),
        ({**S3, "type": "S4"}, "S4"),
        ({**ROLE, "s3ExternalId": "too-short"}, "s3ExternalId"),
        ({**ROLE, "s3ExternalId": "has a space in it"}, "s3ExternalId"),
        ({**ROLE, "s3ARN": "arn:aws-cn:iam::123456789012:role/Lightly"}, "s3ARN"),
        ({**ROLE, "s3Arn": ROLE["s3ARN"]}, "s3Arn"),
        ({**ROLE, "s3AccessKeyId": "AKIA"}, "s3AccessKeyId"),
    ],
)
def test_a_datasource_outside_the_contract_is_refused(api: Api, body: Any, member: str) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource"
    status, code, error = api.refused("PUT", path, body)
    assert (status, code) == (400, "MALFORMED_REQUEST")
    assert member in error
    assert "secret" not in error


def test_a_path_that_is_no_s3_uri_is_an_invalid_datasource(api: Api) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource"
    status, code, error = api.refused("PUT", path, {**S3, "fullPath": "gs://bucket/path"})
    assert (status, code) == (400, "DATASET_DATASOURCE_INVALID")
    assert "fullPath" in error


def test_another_cloud_is_known_and_not_there(api: Api) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource"
    assert api.refused("PUT", path, {"type": "GCS", "purpose": "INPUT"})[:2] == (501, "NOT_IMPLEMENTED")


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (_config(docker={"process_all": True}), "process_all"),
        (_config(docker={"datasource": {"processAll": "True"}}), "processAll"),
        (_config(docker={"enableCorruptnessCheck": True}), "enableCorruptnessCheck"),
        (_config(docker={"numProcesses": -2}), "numProcesses"),
        (_config(docker={"cacheSize": 1.0}), "cacheSize"),
        (_config(docker={"datasource": {"inputExpiration": {"minDaysToExpiration": 1}}}), "handlingStrategy"),
        (_config(lightly={"trainer": {"precision": 8}}), "precision"),
        (_config(lightly={"collate": {"sigmas": [1.0]}}), "sigmas"),
        (_config(lightly={"model": {"name": "resnet-9"}}), "name"),
        (_config(selection={"nSamples": 10}), "strategies"),
        (_config(selection={"nSamples": 10, "strategies": []}), "strategies"),
        (_config(selection={"nSamples": 1.5, "strategies": [DIVERSITY]}), "nSamples"),
        (_config(selection={"proportionSamples": 1.5, "strategies": [DIVERSITY]}), "proportionSamples"),
        (
            _strategy(type="DIVERSITY", stoppingConditionMinimumDistance=0.1),
            "stoppingConditionMinimumDistance",
        ),
        (_strategy(type="TYPICALITY", numNearestNeighbors=1), "numNearestNeighbors"),
        (_strategy(type="BALANCE", distribution="EVEN"), "distribution"),
        ({**_config(), "version": "V9"}, "version"),
        ({"config": {"workerType": "FULL"}}, "version"),
        ({"version": "V4", "config": {}}, "workerType"),
    ],
)
def test_a_worker_config_outside_v4_is_refused(api: Api, body: Any, member: str) -> None:
    status, code, error = api.refused("POST", "/v1/docker/worker/config/vX", body)
    assert (status, code) == (400, "MALFORMED_REQUEST")
    assert member in error


def test_older_worker_configs_are_known_and_not_there(api: Api) -> None:
    body = {**_config(), "version": "V3"}
    assert api.refused("POST", "/v1/docker/worker/config/vX", body)[:2] == (501, "NOT_IMPLEMENTED")


def test_a_worker_config_comes_back_as_it_was_sent(api: Api) -> None:
    sent = {
        "workerType": "FULL",
        "docker": {"datasource": {"processAll": True}, "useDatapool": True, "crops": {}},
        "lightly": {"trainer": {"precision": 16}, "collate": {"rrDegrees": None, "sigmas": [0.1, 2]}},
        "selection": {
            "nSamples": 10,
            "strategies": [
                {
                    "input": {"type": "EMBEDDINGS"},
                    "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1},
                },
                {
                    "input": {"type": "PREDICTIONS", "task": "my/task", "name": "CLASS_DISTRIBUTION"},
                    "strategy": {"type": "BALANCE", "distribution": "TARGET", "target": {"a_b": 0.5}},
                },
            ],
            "autoTasks": [{"type": "TILING", "name": "tiles", "numRows": 2, "numCols": 2}],
        },
    }
    config_id = api.ok("POST", "/v1/docker/worker/config/vX", {"version": "V4", "config": sent})["id"]
    stored = api.ok("GET", f"/v1/docker/worker/config/vX/{config_id}")
    assert (stored["id"], stored["version"], stored["config"]) == (config_id, "V4", sent)


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_without_the_token_nothing_is_served(api: Api, token: str | None) -> None:
    query = {} if token is None else {"token": token}
    for path in ("/v1/datasets", "/v1/quota", "/v1/datasets/enriched"):
        answer = requests.get(api.url + path, params=query, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")


def test_the_token_is_taken_from_the_query_only(api: Api) -> None:
    header = {"Authorization": f"Bearer {api.token}"}
    assert requests.get(f"{api.url}/v1/datasets", headers=header, timeout=30).status_code == 401


def test_the_versions_need_no_token(api: Api) -> None:
    for which in ("latest", "minimum"):
        answer = requests.get(f"{api.url}/v1/versions/pip/{which}", timeout=30)
        assert answer.json().count(".") == 2


@pytest.mark.parametrize("flag", ["True", "true", "False", "false"])
def test_both_spellings_of_a_boolean_are_taken(api: Api, flag: str) -> None:
    found = api.ok("GET", "/v1/datasets", shared=flag, pageSize=1)
    assert isinstance(found, list)


@pytest.mark.parametrize(
    "query", [{"shared": "yes"}, {"shared": "1"}, {"pageSize": "0"}, {"pageOffset": "-1"}]
)
def test_a_query_outside_the_contract_is_refused(api: Api, query: dict[str, str]) -> None:
    status, code, error = api.refused("GET", "/v1/datasets", **query)
    assert (status, code) == (400, "MALFORMED_REQUEST")
    assert next(iter(query)) in error


def test_every_failure_has_the_documented_body(api: Api) -> None:
    assert api.refused("GET", "/v1/nowhere")[:2] == (404, "NOT_FOUND")
    assert api.refused("GET", "/v2")[:2] == (404, "NOT_FOUND")
    assert api.refused("PATCH", "/v1/datasets")[0] == 405
    assert api.refused("GET", "/v1/datasets/0/embeddings")[:2] == (501, "NOT_IMPLEMENTED")
    assert api.refused("POST", "/v1/docker/authorization", {})[:2] == (501, "NOT_IMPLEMENTED")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/datasets/{}", "DATASET_UNKNOWN"),
        ("/v1/datasets/{}/datasource/all", "DATASET_UNKNOWN"),
        ("/v1/datasets/{}/tags", "DATASET_UNKNOWN"),
        ("/v1/docker/runs/{}", "DOCKER_RUN_UNKNOWN"),
        ("/v1/docker/runs/schedule/{}", "DOCKER_RUN_UNKNOWN"),
        ("/v1/docker/worker/{}", "DOCKER_WORKER_UNKNOWN"),
        ("/v1/docker/worker/config/vX/{}", "DOCKER_WORKER_CONFIG_UNKNOWN"),
    ],
)
def test_an_unknown_id_is_404_with_its_own_code(api: Api, path: str, code: str) -> None:
    assert api.refused("GET", path.format("0" * 24))[:2] == (404, code)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{not json", b"\xff\xfe", b"null", b"[" * 10_000, b'{"processedUntilTimestamp": NaN}'],
    ids=["empty", "no json", "no text", "null", "deep", "no number"],
)
def test_a_body_that_is_no_json_is_refused(api: Api, raw: bytes) -> None:
    url = f"{api.url}/v1/datasets/{api.new_dataset()}/datasource/processedUntilTimestamp"
    headers = {"Content-Type": "application/json"}
    answer = requests.put(url, params={"token": api.token}, data=raw, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")


@pytest.mark.parametrize("kind", [["S3"], {"a": 1}, None, 3, "GCS "])
def test_a_kind_that_is_no_word_is_refused(api: Api, kind: Any) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource"
    assert api.refused("PUT", path, {**S3, "type": kind})[:2] == (400, "MALFORMED_REQUEST")
    config = {"version": kind, "config": {"workerType": "FULL"}}
    assert api.refused("POST", "/v1/docker/worker/config/vX", config)[:2] == (400, "MALFORMED_REQUEST")


def test_a_number_beyond_64_bits_is_refused(api: Api) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource/processedUntilTimestamp"
    body = {"processedUntilTimestamp": 10**30}
    assert api.refused("PUT", path, body)[:2] == (400, "MALFORMED_REQUEST")
    assert api.refused("GET", "/v1/datasets", pageSize=10**30)[:2] == (400, "MALFORMED_REQUEST")
