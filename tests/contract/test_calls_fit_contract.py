from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api import calls
from tests.contract.example_calls import EXAMPLES
from tests.contract.schema import assert_fits_contract, contract

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call

# The only operations that the contract knows and the provider may send twice although they change something.
REPEATABLE_WRITES = {
    "create_dataset",
    "create_docker_worker_config_vx",
    "update_datasource_by_dataset_id",
    "update_datasource_processed_until_timestamp_by_dataset_id",
    "cancel_scheduled_docker_run_state_by_id",
    "register_docker_worker",
    "delete_docker_worker_registry_entry_by_id",
    "delete_dataset_by_id",
    "create_or_update_shared_access_config_by_dataset_id",
    "create_tag_by_dataset_id",
    "delete_tag_by_tag_id",
}


def as_sent(call: Call[Any]) -> tuple[str, str, bytes | None]:
    from requests import Request

    request = Request(
        call.method, f"https://api.test{call.path}", params={**call.query, "token": "t"}, json=call.body
    ).prepare()
    body = request.body.encode() if isinstance(request.body, str) else request.body
    return str(request.method), str(request.url), body


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_call_fits_the_contract(example: str) -> None:
    assert_fits_contract(*as_sent(EXAMPLES[example]))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_call_carries_the_name_of_its_operation(example: str) -> None:
    call = EXAMPLES[example]
    operation = contract().operation(call.operation)
    found = contract().find(call.method, call.path)
    assert found is not None
    assert found[0] == operation


def test_every_constructor_of_a_call_has_an_example() -> None:
    constructors = {
        name
        for name, function in inspect.getmembers(calls, inspect.isfunction)
        if function.__module__ == calls.__name__ and not name.startswith("_")
    }
    assert constructors == {example.split(",")[0] for example in EXAMPLES}


def test_the_facts_hold_the_operations_of_the_calls_and_no_others() -> None:
    assert {o["operation"] for o in contract().operations} == {call.operation for call in EXAMPLES.values()}


@pytest.mark.parametrize("example", EXAMPLES)
def test_only_reads_and_writes_that_may_be_doubled_are_repeatable(example: str) -> None:
    call = EXAMPLES[example]
    assert call.repeatable == (call.method == "GET" or call.operation in REPEATABLE_WRITES)


def test_the_maximal_examples_use_every_member_that_the_contract_has_for_a_request() -> None:
    used: set[str] = set()

    def walk(value: Any, model_name: str) -> None:
        model = contract().models[model_name]
        if model["kind"] == "oneOf":
            chosen = value[model["discriminator"]["property"]]
            walk(value, model["discriminator"]["mapping"][chosen])
            return
        for field in model.get("fields", ()):
            if field["wire"] not in value:
                continue
            used.add(f"{model_name}.{field['wire']}")
            inner = field["schema"].get("items", field["schema"])
            for item in value[field["wire"]] if "items" in field["schema"] else [value[field["wire"]]]:
                if "$ref" in inner and isinstance(item, dict):
                    walk(item, inner["$ref"])

    for call in EXAMPLES.values():
        wanted = contract().operation(call.operation)["requestBody"]
        if wanted:
            walk(call.body, wanted["schema"]["$ref"])

    reached = {place.split(".")[0] for place in used}
    every = {f"{name}.{f['wire']}" for name in reached for f in contract().models[name]["fields"]}
    # What the platform or a worker fills in itself, and what only other kinds of datasets have.
    never_sent = {
        "CreateDockerWorkerRegistryEntryRequest.dockerVersion",
        "DatasetCreateRequest.imgType",
        "DatasetCreateRequest.parentDatasetId",
        "DatasourceConfigS3.id",
        "DatasourceConfigS3DelegatedAccess.id",
        # How a tag came about, beside its samples.
        "TagCreateRequest.changes",
        "TagCreateRequest.preselectedTagId",
        "TagCreateRequest.queryTagId",
        "TagCreateRequest.runId",
    }
    assert every - used == never_sent
