"""schemathesis sends what the OpenAPI document allows, and what it does not, to a running sandbox."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation

from lightly_sandbox.platform.app import openapi_document
from tests.lab.sandbox import Api, with_keys

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, Response

    from tests.lab.sandbox import Customer

load_all_checks()

EXAMPLES = 3
"""Per operation, beside those that cover each rule of the document once."""

ANSWER_SECONDS = 60.0
"""For one request, on a machine with much else to do. There is no limit for all of them together."""


@schemathesis.check
def no_server_error(_ctx: CheckContext, response: Response, case: Case) -> None:
    """501 is what the sandbox answers where it says that something is left out; nothing else may be 5xx."""
    if response.status_code >= 500 and response.status_code != 501:
        raise Failure(operation=case.operation.label, message=f"{response.status_code}: {response.text}")


@schemathesis.check
def what_the_document_allows_is_well_formed(_ctx: CheckContext, response: Response, case: Case) -> None:
    """It may be refused for what there is, or is not; but not as malformed."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    answer = response.json()
    if answer["code"] == "MALFORMED_REQUEST" and not any(rule in answer["error"] for rule in UNSAID):
        raise Failure(operation=case.operation.label, message=f"{answer}")


UNSAID = (
    "query.cursor",  # a string to its user, and yet not any string
    "go together",  # relevantFilenamesRunId and relevantFilenamesArtifactId
    "valid integer",  # JSON Schema takes 1.0 for one, the vendor's client does not
    "too large",  # the contract bounds its integers on one side only, SQLite on both
)

CONFORMANCE = [
    check
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "ignored_auth",
        "unsupported_method",
        "allow_header_conformance",
    )
    for check in CHECKS.get_by_names([name])
]


PUT_DATASOURCE = "PUT /v1/datasets/{datasetId}/datasource"


class World:
    """Things that there are, so that requests reach further than to a 404."""

    def __init__(self, api: Api, customer: Customer, keys: tuple[str, str]) -> None:
        self.api = api
        bucket = customer.bucket("in/a.jpg", "in/b/c.png", "in/.lightly/predictions/t/a.json")
        self._source = with_keys(f"s3://{bucket}/in", "INPUT_OUTPUT", keys)
        self._chance = random.Random(0)
        self.ids = self._made()

    def _made(self) -> dict[str, str]:
        api = self.api
        dataset_id = api.new_dataset()
        path = f"/v1/datasets/{dataset_id}"
        api.put_datasource(dataset_id, **self._source)
        sample_id = api.ok("POST", f"{path}/samples", {"fileName": "a.jpg"})["id"]
        initial = api.ok("POST", f"{path}/tags/initial", {"imgType": "full"})["id"]
        tag = {"name": "a tag", "prevTagId": initial, "bitMaskData": "0x1", "totSize": 1}
        config = {"version": "V4", "config": {"workerType": "FULL"}}
        config_id = api.ok("POST", "/v1/docker/worker/config/vX", config)["id"]
        schedule = {"configId": config_id, "priority": "LOW"}
        run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "3", "datasetId": dataset_id})["id"]
        artifact = {"fileName": "a.json", "type": "REPORT_V2_JSON"}
        worker = {"name": f"worker {secrets.token_hex(6)}", "workerType": "FULL"}
        return {
            "datasetId": dataset_id,
            "sampleId": sample_id,
            "tagId": api.ok("POST", f"{path}/tags", tag)["id"],
            "configId": config_id,
            "scheduledId": api.ok("POST", f"{path}/docker/worker/schedule", schedule)["id"],
            "runId": run_id,
            "artifactId": api.ok("POST", f"/v1/docker/runs/{run_id}/artifacts", artifact)["artifactId"],
            "workerId": api.ok("POST", "/v1/docker/worker", worker)["id"],
            "accessConfigId": api.ok("POST", f"{path}/collaboration/access", {"accessType": "WRITE"})["id"],
        }

    def lead(self, case: Case) -> None:
        """Let most requests be about what there is."""
        component = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
        if component is None or not component.mode.is_positive or self._chance.random() < 0.2:
            return
        known = {name: self.ids[name] for name in case.path_parameters if name in self.ids}
        case.path_parameters.update(known)
        body = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
        if body is not None and body.mode.is_positive and isinstance(case.body, dict):
            case.body.update({name: value for name, value in self._members().items() if name in case.body})

    def _members(self) -> dict[str, str]:
        """Members of bodies that say more than the document can: where there is something, and new names."""
        return {
            "fullPath": self._source["fullPath"],
            "configId": self.ids["configId"],
            "runId": self.ids["runId"],
            **dict.fromkeys(
                ("prevTagId", "queryTagId", "preselectedTagId", "tagId1", "tagId2"), self.ids["tagId"]
            ),
            "fileName": f"{secrets.token_hex(6)}.jpg",
            "newTagName": secrets.token_hex(6),
        }

    def after(self, case: Case, response: Any) -> None:
        """Make anew what was deleted, or can be read no longer."""
        spoils = case.method.upper() == "DELETE" or case.operation.label == PUT_DATASOURCE
        if spoils and response.status_code < 300:
            self.ids = self._made()


@pytest.fixture(scope="module")
def answered() -> dict[str, list[int]]:
    """The statuses of the answers, by operation."""
    return defaultdict(list)


@pytest.fixture(scope="module")
def world(ready: dict[str, Any], customer: Customer) -> World:
    user = {"email": f"{secrets.token_hex(6)}@example.com"}
    first = Api(ready["lightly_url"], ready["token"])
    api = Api(first.url, first.ok("POST", "/sandbox/users", user)["token"])
    return World(api, customer, (ready["aws_access_key_id"], ready["aws_secret_access_key"]))


schema = schemathesis.openapi.from_dict(openapi_document())
schema.config.generation.update(with_security_parameters=False, database="none")

OPERATIONS = frozenset(
    f"{method.upper()} {path}" for path, methods in openapi_document()["paths"].items() for method in methods
)
SAMPLE = frozenset(random.Random(0).sample(sorted(OPERATIONS), 12))
"""What the default run tries; drawn with a fixed seed, so always the same."""

as_documented = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schema.include(func=lambda context: context.operation.label in SAMPLE).parametrize()
@as_documented
def test_a_sample_of_the_operations_keeps_what_the_document_says(
    case: Case, world: World, answered: dict[str, list[int]]
) -> None:
    try_it(case, world, answered)


@pytest.mark.exhaustive(sample="test_a_sample_of_the_operations_keeps_what_the_document_says")
@schema.exclude(func=lambda context: context.operation.label in SAMPLE).parametrize()
@as_documented
def test_each_other_operation_keeps_what_the_document_says(
    case: Case, world: World, answered: dict[str, list[int]]
) -> None:
    try_it(case, world, answered)


def try_it(case: Case, world: World, answered: dict[str, list[int]]) -> None:
    """Send a request, and check the answer."""
    world.lead(case)
    response = case.call(base_url=world.api.url, params={"token": world.api.token}, timeout=ANSWER_SECONDS)
    answered[case.operation.label].append(response.status_code)
    world.after(case, response)
    case.validate_response(
        response, checks=[no_server_error, what_the_document_allows_is_well_formed, *CONFORMANCE]
    )


@pytest.mark.parametrize(
    ("operations", "min_requests", "min_done"),
    [
        pytest.param(SAMPLE, 400, 6, id="a sample"),
        pytest.param(OPERATIONS - SAMPLE, 4_500, 70, id="the others", marks=pytest.mark.exhaustive),
    ],
)
def test_the_requests_reached_what_there_is(
    operations: frozenset[str], min_requests: int, min_done: int, answered: dict[str, list[int]]
) -> None:
    """
    What passes above without having asked for anything, or is refused each time, would prove little.

    Of the 104 operations, so many are to have done what was asked of them, once at least. The others are left
    out (501), ask for more than one request can hold, or are called with another token than the user's.
    """
    if not set(answered) & operations:
        pytest.skip("none of these operations was tried in this process")
    assert set(answered) >= operations
    asked = {operation: statuses for operation, statuses in answered.items() if operation in operations}
    assert min(len(statuses) for statuses in asked.values()) >= EXAMPLES
    assert sum(len(statuses) for statuses in asked.values()) >= min_requests
    done = {operation for operation, statuses in asked.items() if min(statuses) < 300}
    assert len(done) >= min_done, f"never done: {sorted(operations - done)}"
