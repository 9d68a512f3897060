from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.example_calls import CONFIG, DATASET, EXAMPLES
from tests.contract.schema import Contract, assert_fits_contract, contract

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULE = f"/v1/datasets/{DATASET}/docker/worker/schedule"
CONFIGS = "/v1/docker/worker/config/vX"
DATASOURCE = f"/v1/datasets/{DATASET}/datasource"


def faults(method: str, url: str, body: Any = None) -> list[str]:
    raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    return contract().request_faults(method, url, raw)


def body_of(example: str) -> Any:
    return copy.deepcopy(EXAMPLES[example].body)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/v1/datasets"),
        ("GET", "http://127.0.0.1:8420/v1/datasets?shared=false&getAssetsOfTeam=True&pageSize=1&pageOffset=0&token=x"),
        ("GET", f"{SCHEDULE}?states=OPEN&states=DONE&state=LOCKED"),
        ("GET", f"/v1/docker/runs/{DATASET}/logs?cursor=0"),
        ("GET", "/v1/datasets/query/name/a%2Fb?exact=True"),
    ],
)
def test_a_request_as_the_contract_has_it_fits(method: str, url: str) -> None:
    assert_fits_contract(method, url, None)
    assert_fits_contract(method, url, b"")


@pytest.mark.parametrize(
    ("method", "url", "fault"),
    [
        ("GET", "/v2/datasets", "there is no operation"),
        ("GET", "/v1/datasets/", "there is no operation"),
        ("GET", "/v1/datasets//datasource/all", "there is no operation"),
        ("DELETE", "/v1/datasets", "there is no operation"),
        ("get", "/v1/datasets", "there is no operation"),
        ("GET", f"/v1/datasets/{DATASET}/tags/x/y", "there is no operation"),
        ("GET", "/v1/datasets?pagesize=1", "query pagesize is unknown"),
        ("GET", "/v1/datasets?page_size=1", "query page_size is unknown"),
        ("GET", "/v1/datasets?pageSize=0", "query pageSize is below 1"),
        ("GET", "/v1/datasets?pageSize=-1", "query pageSize is below 1"),
        ("GET", "/v1/datasets?pageSize=1.0", "query pageSize is not an integer"),
        ("GET", "/v1/datasets?pageSize=", "query pageSize is not an integer"),
        ("GET", "/v1/datasets?pageSize=1&pageSize=2", "query pageSize stands there 2 times"),
        ("GET", "/v1/datasets?shared=TRUE", "query shared is not a boolean"),
        ("GET", "/v1/datasets?shared=1", "query shared is not a boolean"),
        ("GET", "/v1/datasets?shared", "the query is malformed"),
        ("GET", "/v1/datasets?token=", "query token is empty"),
        ("GET", "/v1/datasets?token=a&token=b", "query token stands there 2 times"),
        ("GET", "/v1/datasets?publicToken=a", "query publicToken is unknown"),
        ("GET", f"{SCHEDULE}?states=OPEN,DONE", "query states is none of the values"),
        ("GET", f"{SCHEDULE}?states=open", "query states is none of the values"),
        ("GET", f"{SCHEDULE}?state=OPEN&state=DONE", "query state stands there 2 times"),
    ],
)
def test_a_path_or_query_outside_the_contract_is_refused(method: str, url: str, fault: str) -> None:
    (found,) = faults(method, url)
    assert found.startswith(fault)
    with pytest.raises(AssertionError, match=re.escape(fault)):
        assert_fits_contract(method, url, None)


def change(example: str, alter: Callable[[Any], Any]) -> Any:
    body = body_of(example)
    alter(body)
    return body


def first_strategy(body: Any) -> Any:
    return body["config"]["selection"]["strategies"][0]


@pytest.mark.parametrize(
    ("url", "example", "alter", "fault"),
    [
        (SCHEDULE, "schedule_run", lambda b: b.pop("configId"), "body.configId is missing"),
        (SCHEDULE, "schedule_run", lambda b: b.update(config_id=CONFIG), "body.config_id is unknown"),
        (SCHEDULE, "schedule_run", lambda b: b.update(configId=None), "body.configId is null"),
        (SCHEDULE, "schedule_run", lambda b: b.update(runsOn=None), "body.runsOn is null"),
        (SCHEDULE, "schedule_run", lambda b: b.update(configId=1), "body.configId is not a string"),
        (SCHEDULE, "schedule_run", lambda b: b.update(configId=CONFIG + "\n"), "body.configId does not match"),
        (SCHEDULE, "schedule_run", lambda b: b.update(configId="x" + CONFIG), "body.configId does not match"),
        (SCHEDULE, "schedule_run", lambda b: b.update(priority="mid"), "body.priority is none of the values"),
        (SCHEDULE, "schedule_run", lambda b: b.update(runsOn="gpu"), "body.runsOn is not an array"),
        (SCHEDULE, "schedule_run", lambda b: b.update(runsOn=["a", 1]), "body.runsOn[1] is not a string"),
        ("/v1/datasets", "create_dataset, images", lambda b: b.update(name="ab"), "body.name is too short"),
        ("/v1/datasets", "create_dataset, images", lambda b: b.update(name="a.bc"), "body.name does not match"),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["docker"].update(useDatapool="true"),
            "body.config.docker.useDatapool is not a boolean",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["docker"].update(numThreads=True),
            "body.config.docker.numThreads is not an integer",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["docker"].update(numThreads=2.0),
            "body.config.docker.numThreads is not an integer",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["docker"].update(numThreads=-2),
            "body.config.docker.numThreads is below -1",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["docker"]["corruptnessCheck"].update(corruptionThreshold=1.01),
            "body.config.docker.corruptnessCheck.corruptionThreshold is above 1",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["lightly"]["criterion"].update(temperature=0),
            "body.config.lightly.criterion.temperature is not above 0",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["lightly"]["collate"].update(sigmas=[1, 2, 3]),
            "body.config.lightly.collate.sigmas is too long",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["lightly"]["collate"].update(sigmas=[1]),
            "body.config.lightly.collate.sigmas is too short",
        ),
        (
            CONFIGS,
            "create_worker_config, everything",
            lambda b: b["config"]["lightly"]["trainer"].update(precision=64),
            "body.config.lightly.trainer.precision is none of the values",
        ),
        (
            CONFIGS,
            "create_worker_config, selection",
            lambda b: b["config"]["selection"].update(strategies=[]),
            "body.config.selection.strategies is too short",
        ),
        (
            CONFIGS,
            "create_worker_config, selection",
            lambda b: first_strategy(b)["strategy"].update(stoppingConditionMinimumDistance=0.1),
            "body.config.selection.strategies[0].strategy.stoppingConditionMinimumDistance is unknown",
        ),
        (
            CONFIGS,
            "create_worker_config, selection",
            lambda b: first_strategy(b)["strategy"].update(distribution="EVEN"),
            "body.config.selection.strategies[0].strategy.distribution is none of its values",
        ),
        (
            CONFIGS,
            "create_worker_config, selection",
            lambda b: first_strategy(b)["input"].update(categories=["a", "a"]),
            "body.config.selection.strategies[0].input.categories holds an item twice",
        ),
        (CONFIGS, "create_worker_config, empty", lambda b: b.update(version="V5"), "body.version is none of V2, V3"),
        (CONFIGS, "create_worker_config, empty", lambda b: b.pop("version"), "body.version is none of V2, V3"),
        (CONFIGS, "create_worker_config, empty", lambda b: b.update(config=[]), "body.config is not an object"),
    ],
)
def test_a_body_outside_the_contract_is_refused(
    url: str, example: str, alter: Callable[[Any], Any], fault: str
) -> None:
    assert not faults("POST", url, body_of(example))
    (found,) = faults("POST", url, change(example, alter))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("alter", "fault"),
    [
        (lambda b: b.update(type="S3DelegatedAccess"), "body.s3ExternalId is missing"),
        (lambda b: b.update(type="s3"), "body.type is none of"),
        (lambda b: b.update(purpose="OUTPUT"), "body.purpose is none of the values"),
        (lambda b: b.update(s3Region="eu-central"), "body.s3Region is none of the values"),
        (lambda b: b.update(s3SecretAccessKey=""), "body.s3SecretAccessKey is too short"),
        (lambda b: b.update(s3SessionToken="x"), "body.s3SessionToken is unknown"),
        (
            lambda b: b.update(s3ServerSideEncryptionKMSKey="alias/x"),
            "body.s3ServerSideEncryptionKMSKey does not match",
        ),
    ],
)
def test_a_datasource_outside_the_contract_is_refused(alter: Callable[[Any], Any], fault: str) -> None:
    found = faults("PUT", DATASOURCE, change("set_datasource, keys", alter))
    assert any(f.startswith(fault) for f in found), found


@pytest.mark.parametrize(
    ("method", "url", "body", "fault"),
    [
        ("POST", SCHEDULE, None, "the body is missing"),
        ("POST", SCHEDULE, b"", "the body is missing"),
        ("POST", SCHEDULE, b"{", "the body is not JSON"),
        ("POST", SCHEDULE, b"\xff", "the body is not JSON"),
        ("POST", SCHEDULE, b"[]", "body is not an object"),
        ("POST", SCHEDULE, b'{"configId": "a", "configId": "b"}', "the body is not JSON: an object has a member twice"),
        ("POST", SCHEDULE, b'{"configId": NaN}', "the body is not JSON: NaN is not JSON"),
        ("POST", SCHEDULE, b"configId=a", "the body is not JSON"),
        ("PUT", f"{SCHEDULE}/{DATASET}", b"{}", "there is a body, and the operation takes none"),
        ("GET", "/v1/datasets", b"null", "there is a body, and the operation takes none"),
    ],
)
def test_a_body_that_is_missing_unreadable_or_unwanted_is_refused(
    method: str, url: str, body: bytes | None, fault: str
) -> None:
    (found,) = faults(method, url, body)
    assert found.startswith(fault)


def test_no_refusal_repeats_a_value() -> None:
    body = change("set_datasource, keys", lambda b: b.update(s3Region="CANARY-1", s3SecretAccessKey=["CANARY-2"]))
    with pytest.raises(AssertionError) as refused:
        assert_fits_contract("PUT", f"{DATASOURCE}?token=CANARY-3&x=CANARY-4", json.dumps(body).encode())
    assert "body.s3Region" in str(refused.value)
    assert "CANARY" not in str(refused.value)


def test_a_required_query_parameter_and_a_nullable_member_count() -> None:
    facts: dict[str, Any] = {
        "operations": [
            {
                "operation": "put_thing",
                "method": "PUT",
                "path": "/things/{id}",
                "pathParams": [{"wire": "id", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}],
                "queryParams": [{"wire": "q", "schema": {"type": "string", "minLength": 2}, "required": True}],
                "requestBody": {"schema": {"$ref": "Thing"}, "required": True},
                "responses": {},
            }
        ],
        "models": {
            "Thing": {
                "kind": "object",
                "extra": "allow",
                "fields": [
                    {"wire": "a", "required": True, "nullable": True, "schema": {"type": "integer"}},
                    {
                        "wire": "b",
                        "required": False,
                        "schema": {"type": "object", "additionalProperties": {"type": "integer"}},
                    },
                ],
            }
        },
    }
    own = Contract(facts)
    assert own.request_faults("PUT", "/things/1?q=xy", b'{"a": null, "more": 1, "b": {"x": 1}}') == []
    assert own.request_faults("PUT", "/things/1", b'{"a": 1}') == ["query q is missing"]
    assert own.request_faults("PUT", "/things/%31?q=x", b'{"a": 1}') == ["query q is too short"]
    assert own.request_faults("PUT", "/things/x?q=xy", b'{"a": 1}') == ["path id does not match ^[0-9]+$"]
    assert own.request_faults("PUT", "/things/1?q=xy", b'{"a": 1, "b": {"x": "1"}}') == ["body.b.x is not an integer"]


@pytest.mark.parametrize("schema", [{"type": "string", "format": "uuid"}, {"type": "date"}, {"$ref": "Nothing"}])
def test_facts_with_a_rule_that_is_not_checked_are_refused(schema: dict[str, Any]) -> None:
    model = {
        "kind": "object",
        "fields": [{"wire": "a", "required": True, "schema": {"type": "array", "items": schema}}],
    }
    with pytest.raises(ValueError, match="a rule that is not checked"):
        Contract({"operations": [], "models": {"A": model}})


def test_every_pattern_in_the_facts_is_anchored() -> None:
    patterns = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(contract().models))
    assert patterns
    for pattern in map(json.loads, patterns):
        assert pattern.startswith("^"), pattern
        assert pattern.endswith("$"), pattern
