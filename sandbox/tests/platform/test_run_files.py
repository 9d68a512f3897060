"""Where a run's artifacts and its report are, and what a worker asks for beside its work."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import requests

from tests.lab.sandbox import Api, with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer


def _run(api: Api, **more: str) -> str:
    return str(api.ok("POST", "/v1/docker/runs", {"dockerVersion": "3", **more})["id"])


def _upload(api: Api, run_id: str, content: bytes, **more: str) -> str:
    """The path of a new artifact that was uploaded and confirmed."""
    path = f"/v1/docker/runs/{run_id}/artifacts"
    made = api.ok("POST", path, {"fileName": "a file.pdf", "type": "REPORT_PDF", **more})
    assert requests.put(made["signedWriteUrl"], data=content, timeout=30).ok
    api.ok("PUT", f"{path}/{made['artifactId']}/confirmUpload")
    return f"{path}/{made['artifactId']}"


def test_an_artifact_of_the_datasource_is_where_lightlys_own_files_are(api: Api, customer: Customer) -> None:
    bucket, dataset_id = customer.bucket(), api.new_dataset()
    keys = customer.user({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/out", "LIGHTLY", keys))
    run_id = _run(api, datasetId=dataset_id)

    artifact = _upload(api, run_id, b"a report", storageLocation="DATASOURCE")

    assert customer.keys(bucket) == [f"out/.lightly/artifacts/{run_id}/a file.pdf"]
    assert requests.get(api.ok("GET", f"{artifact}/readurl"), timeout=30).content == b"a report"
    (shown,) = api.ok("GET", f"/v1/docker/runs/{run_id}")["artifacts"]
    assert shown["storageLocation"] == "DATASOURCE"


def test_a_run_without_a_dataset_has_no_datasource_for_its_artifacts(api: Api) -> None:
    body = {"fileName": "a.pdf", "type": "REPORT_PDF", "storageLocation": "DATASOURCE"}
    refused = api.refused("POST", f"/v1/docker/runs/{_run(api)}/artifacts", body)
    assert refused[:2] == (400, "DOCKER_RUN_DATASET_UNAVAILABLE")


def test_the_older_report_operations_lead_to_the_report(api: Api) -> None:
    run_id = _run(api)
    path = f"/v1/docker/runs/{run_id}"
    assert api.refused("GET", f"{path}/readReportUrl")[:2] == (404, "DOCKER_RUN_REPORT_UNAVAILABLE")

    assert requests.put(api.ok("GET", f"{path}/writeReportUrl"), data=b"put by the url", timeout=30).ok
    assert requests.get(api.ok("GET", f"{path}/readReportUrl"), timeout=30).content == b"put by the url"

    _upload(api, run_id, b"the artifact")
    assert requests.get(api.ok("GET", f"{path}/readReportUrl"), timeout=30).content == b"the artifact"
    assert api.refused("GET", "/v1/docker/runs/0/writeReportUrl")[:2] == (404, "DOCKER_RUN_UNKNOWN")


def test_a_worker_has_a_licence_and_may_tell_of_its_use(api: Api) -> None:
    licence = api.ok("GET", "/v1/docker/licenseInformation")
    assert licence["licenseIsValid"] is True
    assert licence["licenseExpirationDate"] > time.time() * 1000
    reported = {
        "runId": "a run",
        "action": "started",
        "data": {"any": 1},
        "timestamp": 1,
        "pipVersion": "1.5.26",
        "dockerVersion": "3",
    }
    assert api.ok("POST", "/v1/docker", reported) is None
    assert api.refused("POST", "/v1/docker", {**reported, "timestamp": -1})[:2] == (400, "MALFORMED_REQUEST")


def test_a_worker_is_authorized_for_one_task_and_as_one_user(api: Api) -> None:
    def authorized(of: Api, task: str) -> str:
        answer = of.send("POST", "/v1/docker/workerAuthorization", {"hashedTaskDescription": task})
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
        return answer.text

    email = f"{secrets.token_hex(6)}@example.com"
    other = Api(api.url, api.ok("POST", "/sandbox/users", {"email": email})["token"])
    assert authorized(api, "task") == authorized(api, "task")
    assert len({authorized(api, "task"), authorized(api, "another"), authorized(other, "task")}) == 3
