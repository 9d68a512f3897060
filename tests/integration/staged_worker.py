"""A Lightly Worker that the test controls step by step, through the API that real workers use."""

from __future__ import annotations

import http.client
import json
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

SIZES = {"nInput": 12, "nCorrupt": 0, "nDuplicate": 0, "nRemoved": 8, "nSelected": 4}


def platform(sandbox: Sandbox, method: str, path: str, body: Any = None, **query: str) -> Any:
    """Send a request that the provider itself may never send, such as a worker's; return the response's JSON."""
    address = urlsplit(sandbox.lightly_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    target = f"{path}?{urlencode({**query, 'token': sandbox.token})}"
    connection.request(method, target, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status < 300, content
    return json.loads(content) if content else None


def ready_dataset(sandbox: Sandbox, name: str) -> str:
    """Create a dataset with a datasource, so that runs can be scheduled; nothing reads the bucket."""
    dataset_id = str(platform(sandbox, "POST", "/v1/datasets", {"name": name, "type": "Images"})["id"])
    source = {
        "purpose": "INPUT_OUTPUT",
        "type": "S3",
        "fullPath": "s3://a-bucket/raw/",
        "s3Region": "eu-central-1",
        "s3AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "s3SecretAccessKey": "a-secret-that-opens-nothing",
    }
    platform(sandbox, "PUT", f"/v1/datasets/{dataset_id}/datasource", source)
    return dataset_id


def of_the_dataset(sandbox: Sandbox, dataset_id: str) -> dict[str, str]:
    """What the result of a run on a :func:`ready_dataset` holds of the dataset."""
    return {
        "dataset_id": dataset_id,
        "dataset_name": str(platform(sandbox, "GET", f"/v1/datasets/{dataset_id}")["name"]),
        "dataset_url": f"{sandbox.web_url}/dataset/{dataset_id}",
        "run_url": f"{sandbox.web_url}/compute/runs",
        "input_path": "s3://a-bucket/raw/",
        "output_path": "s3://a-bucket/raw/",
    }


class StagedWorker:
    """
    A worker with its own label.

    :param sandbox: The platform.
    :param label: Its name and its only label.
    """

    def __init__(self, sandbox: Sandbox, label: str) -> None:
        self._sandbox = sandbox
        self.label = label
        registration = {"name": label, "workerType": "FULL", "labels": [label]}
        self.id = str(platform(sandbox, "POST", "/v1/docker/worker", registration)["id"])
        self.is_in("IDLE")

    def is_in(self, state: str) -> None:
        """Report the worker's state to the platform."""
        platform(self._sandbox, "PUT", f"/v1/docker/worker/{self.id}", {"state": state})

    def schedule(self, dataset_id: str) -> list[dict[str, Any]]:
        """The dataset's schedule, in all states, oldest first."""
        states = "&".join(f"states={state}" for state in ("OPEN", "LOCKED", "DONE", "CANCELED"))
        address = f"{self._sandbox.lightly_url}/v1/datasets/{dataset_id}/docker/worker/schedule"
        with urllib.request.urlopen(f"{address}?{states}&token={self._sandbox.token}") as response:
            entries: list[dict[str, Any]] = json.load(response)
        return entries

    def take(self, dataset_id: str) -> str:
        """Take the dataset's first open scheduled run, and start it; return the run's id."""
        entry = next(e for e in self.schedule(dataset_id) if e["state"] == "OPEN")
        path = f"/v1/datasets/{dataset_id}/docker/worker/{self.id}/schedule/{entry['id']}"
        platform(self._sandbox, "PUT", path, {"state": "LOCKED"})
        body = {"dockerVersion": "2.11.0", "datasetId": dataset_id, "configId": entry["configId"]}
        run_id = str(platform(self._sandbox, "POST", "/v1/docker/runs", body | {"scheduledId": entry["id"]})["id"])
        self.report(run_id, "EMBEDDING", "embedding 12 images")
        return run_id

    def report(self, run_id: str, state: str, message: str) -> None:
        """Set the run's state, and write a line to its log."""
        platform(self._sandbox, "PUT", f"/v1/docker/runs/{run_id}", {"state": state, "message": message})
        if state not in ("COMPLETED", "FAILED", "CRASHED", "ABORTED"):
            line = {"ts": 1, "level": "INFO", "group": "run", "msg": message, "state": state}
            platform(self._sandbox, "PUT", f"/v1/docker/runs/{run_id}/logs", [line])

    def finish(self, dataset_id: str, run_id: str, *, state: str = "COMPLETED") -> None:
        """End the run; if it completed, upload its report first."""
        if state == "COMPLETED":
            self._upload_report(run_id)
        self.report(run_id, state, f"ended as {state}")
        entry = next(e for e in self.schedule(dataset_id) if e["state"] == "LOCKED")
        path = f"/v1/datasets/{dataset_id}/docker/worker/{self.id}/schedule/{entry['id']}"
        platform(self._sandbox, "PUT", path, {"state": "DONE"})

    def _upload_report(self, run_id: str) -> None:
        content = json.dumps({"generalInformation": {"datasetInformation": {"datasetSizes": SIZES}}}).encode()
        self.upload(run_id, "REPORT_V2_JSON", "report_v2.json", content)

    def upload(self, run_id: str, kind: str, file_name: str, content: bytes) -> None:
        """Upload a file of the run."""
        wanted = {"fileName": file_name, "type": kind, "storageLocation": "LIGHTLY"}
        made = platform(self._sandbox, "POST", f"/v1/docker/runs/{run_id}/artifacts", wanted)
        upload = urllib.request.Request(made["signedWriteUrl"], data=content, method="PUT")
        urllib.request.urlopen(upload).close()
        path = f"/v1/docker/runs/{run_id}/artifacts/{made['artifactId']}/confirmUpload"
        platform(self._sandbox, "PUT", path)
