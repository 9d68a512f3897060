"""From an answer to an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightly_provider import exceptions as x
from lightly_provider.api import calls
from lightly_provider.api.answers import Secrets, class_for, error_from_answer, read_answer
from lightly_provider.api.models.datasource import S3DelegatedAccessDatasource
from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.network import RawAnswer
from tests.contract.example_calls import DATASET


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        # by status, where the code says nothing of its own
        (400, None, x.LightlyBadRequestError),
        (400, "MALFORMED_REQUEST", x.LightlyBadRequestError),
        (401, None, x.LightlyAuthenticationError),
        (402, None, x.LightlyPlanError),
        (403, None, x.LightlyForbiddenError),
        (403, "FORBIDDEN", x.LightlyForbiddenError),
        (404, None, x.LightlyNotFoundError),
        (409, None, x.LightlyConflictError),
        (413, "PAYLOAD_TOO_LARGE", x.LightlyBadRequestError),
        (418, None, x.LightlyBadRequestError),
        (422, None, x.LightlyBadRequestError),
        (429, None, x.LightlyRateLimitError),
        (500, None, x.LightlyServerError),
        (501, "NOT_IMPLEMENTED", x.LightlyServerError),
        (503, None, x.LightlyServerError),
        (599, None, x.LightlyServerError),
        (302, None, x.LightlyResponseError),
        (400, "SINCE_INVENTED", x.LightlyBadRequestError),
        (500, "SINCE_INVENTED", x.LightlyServerError),
        # by code, whatever the status
        (400, "UNAUTHORIZED", x.LightlyAuthenticationError),
        (403, "JWT_INVALID", x.LightlyAuthenticationError),
        (403, "USER_ACCOUNT_BLOCKED", x.LightlyAuthenticationError),
        (403, "ACCOUNT_SUBSCRIPTION_INSUFFICIENT", x.LightlyPlanError),
        (403, "TEAM_ACCOUNT_PLAN_INSUFFICIENT", x.LightlyPlanError),
        (400, "DATASET_AT_MAX_CAPACITY", x.LightlyPlanError),
        (400, "DATASET_NAME_EXISTS", x.LightlyConflictError),
        (400, "DOCKER_WORKER_SCHEDULE_UPDATE_FAILED", x.LightlyConflictError),
        (400, "DATASET_UNKNOWN", x.LightlyNotFoundError),
        (400, "DOCKER_RUN_UNKNOWN", x.LightlyNotFoundError),
        (400, "DATASET_DATASOURCE_CREDENTIALS_ERROR", x.LightlyDatasourceError),
        (422, "DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES", x.LightlyDatasourceError),
        (404, "DATASET_DATASOURCE_UNKNOWN", x.LightlyDatasourceError),
        # but too many requests are too many requests
        (429, "UNAUTHORIZED", x.LightlyRateLimitError),
    ],
)
def test_status_and_code_choose_the_class(status: int, code: str | None, expected: type[x.LightlyApiError]) -> None:
    assert class_for(status, code) is expected


def test_the_error_tells_operation_status_code_text_and_request_id() -> None:
    body = {"code": "DATASET_UNKNOWN", "error": "There is no such dataset.", "requestId": "req-7", "errorLabels": []}
    error = error_from_answer("get_dataset_by_id", 404, body, retry_after=3.0)
    assert isinstance(error, x.LightlyNotFoundError)
    assert str(error) == (
        "The platform answered get_dataset_by_id with HTTP 404 DATASET_UNKNOWN: There is no such dataset. "
        "(requestId req-7)"
    )
    assert vars(error) == {
        "operation": "get_dataset_by_id",
        "status": 404,
        "code": "DATASET_UNKNOWN",
        "request_id": "req-7",
        "retry_after": 3.0,
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (None, "no explanation given"),
        ("", "no explanation given"),
        ("<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        ([], "no explanation given"),
        ({}, "no explanation given"),
        ({"error": ""}, "no explanation given"),
        ({"error": None, "code": None, "requestId": None}, "no explanation given"),
        ({"error": {"why": "because"}, "code": 7, "requestId": []}, "{'why': 'because'}"),
        (17, "no explanation given"),
    ],
)
def test_an_error_body_of_another_shape_is_taken_as_it_is(body: Any, text: str) -> None:
    error = error_from_answer("an_operation", 418, body)
    assert str(error) == f"The platform answered an_operation with HTTP 418: {text}."
    assert (error.code, error.request_id) == (None, None)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "Check the API token in the password field of the Airflow connection"),
        (402, "The account's plan or quota does not cover this"),
        (403, "share the dataset with it, or use another token"),
        (429, "Poll less often"),
        (503, "retry the task later"),
        (301, "check the host in the Airflow connection"),
    ],
)
def test_the_error_says_what_to_do(status: int, remedy: str) -> None:
    assert remedy in str(error_from_answer("an_operation", status, None))


def test_a_long_explanation_is_cut() -> None:
    assert len(str(error_from_answer("an_operation", 400, {"error": "x" * 10_000}))) < 600


# --- secrets in identifiers ------------------------------------------------------------------------------------------

# An external ID that somebody chose like the bucket; datasources with it exist.
CHOSEN = "acme-corp-photos"
ROLE = f"arn:aws:iam::123456789012:role/{CHOSEN}-lightly"


def read(call: calls.Call[Any], body: Any, secrets: Secrets) -> Any:
    return read_answer(call, RawAnswer(status=200, content=json.dumps(body).encode()), secrets)


def test_an_external_id_that_is_also_in_the_path_and_the_role_changes_neither() -> None:
    wanted = S3DelegatedAccessDatasource(
        purpose="INPUT", full_path=f"s3://{CHOSEN}/raw/", s3_region="eu-central-1", s3_arn=ROLE, s3_external_id=CHOSEN
    )
    secrets = Secrets("token")
    secrets.add(*calls.set_datasource(DATASET, wanted).secrets)
    secrets.add_external_ids(*calls.set_datasource(DATASET, wanted).external_ids)
    for _ in range(2):  # the first answer teaches the external ID
        (stored,) = read(calls.get_datasources(DATASET), [wanted.to_wire()], secrets)
        assert stored.same_as(wanted)
        rotated = stored.with_access(DelegatedAccess(ROLE, "another-external-id"))
        assert rotated.full_path == wanted.full_path
    assert read(calls.get_sample_names(DATASET, page_offset=0), [f"{CHOSEN}.jpg"], secrets) == [f"{CHOSEN}.jpg"]


def test_an_external_id_is_in_no_text_for_people() -> None:
    secrets = Secrets("token")
    secrets.add_external_ids(CHOSEN)
    red = {"canList": False, "canRead": False, "canWrite": False, "canOverwrite": False}
    said = f"{CHOSEN} and {CHOSEN.replace('-', '%2D')}"
    lights = read(calls.verify_datasource(DATASET), {**red, "errors": {"canList": said}}, secrets)
    assert lights.errors.can_list == "*** and ***"
    with pytest.raises(x.LightlyForbiddenError, match=r"\*\*\* and \*\*\*"):
        read_answer(
            calls.get_datasources(DATASET), RawAnswer(status=403, content=json.dumps({"error": said}).encode()), secrets
        )


def test_what_is_redacted_is_never_stored() -> None:
    secrets = Secrets("token")
    stored = {"purpose": "INPUT", "type": "S3", "s3Region": "eu-central-1", "s3AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}
    secret = "CANARY-secret-of-40-characters-xxxxxxxxx"
    answer = [{**stored, "fullPath": f"s3://a/{secret}/", "s3SecretAccessKey": secret}]
    (datasource,) = read(calls.get_datasources(DATASET), answer, secrets)
    assert datasource.full_path == "s3://a/***/"
    with pytest.raises(ValueError, match=r"where a secret was replaced"):
        datasource.with_access(UserAccess("AKIAIOSFODNN7EXAMPLE", "x" * 40))
