"""The OpenAPI document differs from the contract's facts where a reason is given, and nowhere else."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.contract.comparison import FACTS, differences

if TYPE_CHECKING:
    from collections.abc import Callable

V4_ONLY = "only V4: the older versions are deprecated in the API, and the vendor's client sends V4"
OTHER_CLOUDS = "there is no such cloud here"
WORDS = "the operation's words are closed in the vendor's client (lightly 1.5.26, api/*.py), not in its types"

DEVIATIONS = {
    ("create_docker_worker_config", "left out"): V4_ONLY,
    ("create_docker_worker_config_v2", "left out"): V4_ONLY,
    ("create_docker_worker_config_v3", "left out"): V4_ONLY,
    ("get_docker_worker_config_by_id", "left out"): V4_ONLY,
    ("get_docker_worker_config_v2_by_id", "left out"): V4_ONLY,
    ("get_docker_worker_config_v3_by_id", "left out"): V4_ONLY,
    ("get_docker_worker_configs", "left out"): V4_ONLY,
    ("update_docker_worker_config_by_id", "left out"): V4_ONLY,
    (
        "create_docker_worker_config_vx body",
        'is {"$ref": "DockerWorkerConfigOmniV4CreateRequest"}, '
        'not {"$ref": "DockerWorkerConfigOmniVXCreateRequest"}',
    ): V4_ONLY,
    (
        "get_docker_worker_config_vxby_id 200",
        'is {"$ref": "DockerWorkerConfigV4Data"}, not {"$ref": "DockerWorkerConfigVXData"}',
    ): V4_ONLY,
    ("DockerWorkerConfigOmniVXCreateRequest", "not in the document"): V4_ONLY,
    ("DockerWorkerConfigVXData", "not in the document"): V4_ONLY,
    ("create_docker_worker_config_vx 501", "not in the contract"): V4_ONLY,
    ("DatasourceConfig DatasourceConfigAzure", "not in the document"): OTHER_CLOUDS,
    ("DatasourceConfig DatasourceConfigGCS", "not in the document"): OTHER_CLOUDS,
    ("DatasourceConfig DatasourceConfigLIGHTLY", "not in the document"): OTHER_CLOUDS,
    ("DatasourceConfig DatasourceConfigLOCAL", "not in the document"): OTHER_CLOUDS,
    ("DatasourceConfig DatasourceConfigOBS", "not in the document"): OTHER_CLOUDS,
    (
        "post_docker_authorization_request",
        "left out",
    ): "deprecated in the API, for a worker that selects by a configuration older than V2",
    (
        "register_dataset_upload_by_id",
        "left out",
    ): "belongs to uploading images through the platform, which the client cannot do any more",
    (
        "get_sample_image_read_url_by_id query type",
        'is {"enum": ["full", "thumbnail", "thumb"], "type": "string"}, not {"type": "string"}',
    ): WORDS,
    (
        "get_sample_image_resource_redirect_by_id query type",
        'is {"enum": ["full", "thumbnail", "thumb"], "type": "string"}, not {"type": "string"}',
    ): WORDS,
    (
        "get_sample_mappings_by_dataset_id query field",
        'is {"enum": ["fileName", "_id"], "type": "string"}, not {"type": "string"}',
    ): WORDS,
}
MORE_REFUSALS = {
    "401": "every operation with a token refuses a wrong one; the contract says so of some only",
    "409": "a name that is taken, a state that does not allow it: the contract has the codes, and no status",
    "422": "scheduling what the datasource lacks (lightly 1.5.26, api/api_workflow_compute_worker.py)",
}


@pytest.fixture(scope="module")
def document(ready: dict[str, Any]) -> dict[str, Any]:
    answer = requests.get(f"{ready['lightly_url']}/openapi.json", timeout=30)
    assert answer.ok
    found: dict[str, Any] = answer.json()
    return found


def _without_more_refusals(found: list[tuple[str, str]]) -> set[tuple[str, str]]:
    return {
        (place, what)
        for place, what in found
        if not (what == "not in the contract" and place.rsplit(" ", 1)[-1] in MORE_REFUSALS)
    }


def test_it_differs_from_the_contract_where_a_reason_is_given_and_nowhere_else(
    document: dict[str, Any],
) -> None:
    found = _without_more_refusals(list(differences(document)))
    assert found - DEVIATIONS.keys() == set()
    assert DEVIATIONS.keys() - found == set(), "these are no differences any more"


def test_it_has_every_operation_of_the_contract(document: dict[str, Any]) -> None:
    operations = [
        operation["operationId"] for item in document["paths"].values() for operation in item.values()
    ]
    assert len(operations) == len(set(operations)) == 104
    assert set(operations) == {operation["operation"] for operation in FACTS["operations"]}


def test_it_needs_no_token_and_has_none_of_the_sandboxs_secrets(ready: dict[str, Any]) -> None:
    text = requests.get(f"{ready['lightly_url']}/openapi.json", timeout=30).text
    for secret in (ready["token"], ready["aws_access_key_id"], ready["aws_secret_access_key"]):
        assert secret not in text


def _operation(document: dict[str, Any], path: str, method: str) -> Any:
    return document["paths"][path][method]


SCHEDULE = "/v1/datasets/{datasetId}/docker/worker/schedule"
TAG = ("components", "schemas", "TagCreateRequest")
CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an operation is gone": lambda d: d["paths"].pop(SCHEDULE),
    "its name": lambda d: _operation(d, SCHEDULE, "post").update(operationId="another"),
    "a parameter is gone": lambda d: _operation(d, SCHEDULE, "get")["parameters"].pop(),
    "a parameter's type": lambda d: _operation(d, SCHEDULE, "get")["parameters"][-1].update(
        schema={"type": "string"}
    ),
    "a parameter is required": lambda d: _operation(d, SCHEDULE, "get")["parameters"][-1].update(
        required=True
    ),
    "a body is gone": lambda d: _operation(d, SCHEDULE, "post").pop("requestBody"),
    "a body's model": lambda d: _operation(d, SCHEDULE, "post")["requestBody"]["content"].update(
        {"application/json": {"schema": {"$ref": "#/components/schemas/TagData"}}}
    ),
    "an answer's model": lambda d: _operation(d, SCHEDULE, "post")["responses"]["201"]["content"].update(
        {"application/json": {"schema": {"type": "string"}}}
    ),
    "an answer's kind": lambda d: _operation(d, SCHEDULE, "get")["responses"]["200"].update(
        content={"text/html": {"schema": {"type": "string"}}}
    ),
    "the token": lambda d: _operation(d, SCHEDULE, "get").update(security=[]),
    "a member is gone": lambda d: d[TAG[0]][TAG[1]][TAG[2]]["properties"].pop("runId"),
    "a member is required": lambda d: d[TAG[0]][TAG[1]][TAG[2]]["required"].append("runId"),
    "a member's pattern": lambda d: d[TAG[0]][TAG[1]][TAG[2]]["properties"]["name"].update(pattern="^.*$"),
    "unknown members": lambda d: d[TAG[0]][TAG[1]][TAG[2]].pop("additionalProperties"),
    "null": lambda d: d[TAG[0]][TAG[1]]["TagData"]["properties"].update(
        prevTagId={"type": "string", "pattern": "^[a-f0-9]{24}$"}
    ),
    "a word": lambda d: d[TAG[0]][TAG[1]]["TagCreator"]["enum"].append("ME"),
    "a default": lambda d: d[TAG[0]][TAG[1]]["AutoTaskTiling"]["properties"]["overlap"].update(default=1),
    "a discriminator": lambda d: d[TAG[0]][TAG[1]]["AutoTaskTiling"]["properties"]["type"].update(const="X"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_the_document_is_seen(document: dict[str, Any], what: str) -> None:
    changed = copy.deepcopy(document)
    CHANGES[what](changed)
    assert changed != document
    assert _without_more_refusals(list(differences(changed))) != DEVIATIONS.keys()
