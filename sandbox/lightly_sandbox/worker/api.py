"""The part of the Lightly REST API that a worker uses."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from lightly_sandbox.worker.network import TIMEOUT_SECONDS, new_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAGE_SIZE = 5000


class ApiError(Exception):
    """The platform refused a request, or could not be reached (then ``status`` is None).

    The text names the operation without the query of its URL, which contains the token.
    """

    def __init__(self, operation: str, status: int | None, code: str, reason: str) -> None:
        said = f"HTTP {status} {code}".strip() if status else "no answer"
        super().__init__(f"{operation}: {said}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class WriteUrls:
    """The URLs to write a sample's image and its thumbnail to."""

    full: str
    thumb: str


class Platform:
    """Sends a worker's requests. If the network fails, it retries requests that are safe to repeat."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._session = new_session(retries=5)

    def hurry(self) -> None:
        """Stop retrying: the process is about to end."""
        self._session = new_session(retries=0)

    def register_worker(self, name: str, labels: Sequence[str], version: str) -> str:
        body = {"name": name, "workerType": "FULL", "labels": list(labels), "dockerVersion": version}
        return self._created("/v1/docker/worker", body | {"creator": "USER_WORKER"})

    def labels_of_worker(self, worker_id: str) -> list[str]:
        registered = self._send("GET", f"/v1/docker/worker/{worker_id}")
        return [str(label) for label in registered["labels"]]

    def set_worker_state(self, worker_id: str, state: str) -> None:
        self._send("PUT", f"/v1/docker/worker/{worker_id}", body={"state": state})

    def open_schedule(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        return self._list("/v1/docker/worker/schedule", state="OPEN", labels=list(labels))

    def worker_schedule(self, worker_id: str, state: str) -> list[dict[str, Any]]:
        return self._list(f"/v1/docker/worker/{worker_id}/schedule", state=state)

    def set_schedule_state(self, dataset_id: str, worker_id: str, scheduled_id: str, state: str) -> None:
        path = f"/v1/datasets/{dataset_id}/docker/worker/{worker_id}/schedule/{scheduled_id}"
        self._send("PUT", path, body={"state": state})

    def create_run(self, scheduled: Mapping[str, Any], version: str) -> str:
        return self._created(
            "/v1/docker/runs",
            {
                "dockerVersion": version,
                "datasetId": scheduled["datasetId"],
                "scheduledId": scheduled["id"],
                "configId": scheduled["configId"],
                "creator": "USER_WORKER",
            },
        )

    def run_of(self, scheduled_id: str) -> dict[str, Any] | None:
        """Return the run of a scheduled run, or None while there is none."""
        try:
            return dict(self._send("GET", f"/v1/docker/runs/schedule/{scheduled_id}"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def set_run_state(self, run_id: str, state: str, message: str) -> None:
        body = {"state": state, "message": message, "ts": int(time.time() * 1000)}
        self._send("PUT", f"/v1/docker/runs/{run_id}", body=body)

    def add_logs(self, run_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        self._send("PUT", f"/v1/docker/runs/{run_id}/logs", body=list(lines))

    def config(self, config_id: str) -> dict[str, Any]:
        return dict(self._send("GET", f"/v1/docker/worker/config/vX/{config_id}"))

    def dataset(self, dataset_id: str) -> dict[str, Any]:
        return dict(self._send("GET", f"/v1/datasets/{dataset_id}"))

    def datasources(self, dataset_id: str) -> list[dict[str, Any]]:
        return self._list(f"/v1/datasets/{dataset_id}/datasource/all")

    def verify(self, dataset_id: str) -> dict[str, Any]:
        """Return the permission lights of the dataset's datasources, with AWS's errors for the red ones."""
        return dict(self._send("GET", f"/v1/datasets/{dataset_id}/datasource/verify"))

    def files(
        self, dataset_id: str, since: int, until: int, relevant_filenames: str | None
    ) -> Iterator[tuple[str, str]]:
        """Yield name and read URL of each file modified from ``since`` to ``until`` (Unix seconds).

        ``relevant_filenames`` is a file among Lightly's own that names the files to list; None for all.
        """
        path = f"/v1/datasets/{dataset_id}/datasource/list"
        relevant = {} if relevant_filenames is None else {"relevantFilenamesFileName": relevant_filenames}
        yield from self._listing(path, {"from": since, "to": until, **relevant})

    def prediction_files(self, dataset_id: str, task: str) -> Iterator[tuple[str, str]]:
        """Yield name, relative to the task's folder, and read URL of each of its files."""
        path = f"/v1/datasets/{dataset_id}/datasource/predictions/list"
        yield from self._listing(path, {"taskName": task})

    def metadata_files(self, dataset_id: str) -> Iterator[tuple[str, str]]:
        """Yield name, relative to ``.lightly/metadata/``, and read URL of each file there."""
        yield from self._listing(f"/v1/datasets/{dataset_id}/datasource/metadata/list", {})

    def _listing(self, path: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        page = self._send("GET", path, params=params)
        while True:
            yield from ((row["fileName"], row["readUrl"]) for row in page["data"])
            if not page["hasMore"]:
                return
            page = self._send("GET", path, params={**params, "cursor": page["cursor"]})

    def prediction_file_url(self, dataset_id: str, name: str) -> str:
        """Return the URL to read a file below ``.lightly/predictions/``; it need not be there."""
        path = f"/v1/datasets/{dataset_id}/datasource/predictions/file"
        return str(self._send("GET", path, params={"fileName": name}))

    def metadata_file_url(self, dataset_id: str, name: str) -> str:
        """Return the URL to read a file below ``.lightly/metadata/``; it need not be there."""
        path = f"/v1/datasets/{dataset_id}/datasource/metadata/file"
        return str(self._send("GET", path, params={"fileName": name}))

    def processed_until(self, dataset_id: str) -> int:
        path = f"/v1/datasets/{dataset_id}/datasource/processedUntilTimestamp"
        return int(self._send("GET", path)["processedUntilTimestamp"])

    def set_processed_until(self, dataset_id: str, seconds: int) -> None:
        path = f"/v1/datasets/{dataset_id}/datasource/processedUntilTimestamp"
        self._send("PUT", path, body={"processedUntilTimestamp": seconds})

    def mappings(self, dataset_id: str, field: str) -> list[str]:
        """Return one field of all samples, ``_id`` or ``fileName``, in the order of the tags' bits."""
        values: list[str] = []
        while True:
            page = self._list(
                f"/v1/datasets/{dataset_id}/mappings", field=field, pageSize=PAGE_SIZE, pageOffset=len(values)
            )
            values += [str(value) for value in page]
            if len(page) < PAGE_SIZE:
                return values

    def sample_read_url(self, dataset_id: str, sample_id: str) -> str:
        path = f"/v1/datasets/{dataset_id}/samples/{sample_id}/readurl"
        return str(self._send("GET", path, params={"type": "full"}))

    def create_sample(self, dataset_id: str, body: Mapping[str, Any]) -> str:
        return self._created(f"/v1/datasets/{dataset_id}/samples", body)

    def create_sample_with_urls(self, dataset_id: str, body: Mapping[str, Any]) -> tuple[str, WriteUrls]:
        """Create a sample and return its id and where to write its files."""
        answer = self._send("POST", f"/v1/datasets/{dataset_id}/samples/withWriteUrls", body=body)
        urls = answer["sampleWriteUrls"]
        return answer["id"], WriteUrls(urls["full"], urls["thumb"])

    def tags(self, dataset_id: str) -> list[dict[str, Any]]:
        return self._list(f"/v1/datasets/{dataset_id}/tags")

    def create_initial_tag(self, dataset_id: str, body: Mapping[str, Any]) -> str:
        return self._created(f"/v1/datasets/{dataset_id}/tags/initial", body)

    def update_tag(self, dataset_id: str, tag_id: str, body: Mapping[str, Any]) -> None:
        self._send("PUT", f"/v1/datasets/{dataset_id}/tags/{tag_id}", body=body)

    def create_tag(self, dataset_id: str, body: Mapping[str, Any]) -> str:
        return self._created(f"/v1/datasets/{dataset_id}/tags", body)

    def create_artifact(self, run_id: str, file_name: str, kind: str) -> tuple[str, str]:
        """Announce an artifact and return its id and the URL to write it to."""
        body = {"fileName": file_name, "type": kind, "storageLocation": "LIGHTLY"}
        answer = self._send("POST", f"/v1/docker/runs/{run_id}/artifacts", body=body)
        return answer["artifactId"], answer["signedWriteUrl"]

    def confirm_artifact(self, run_id: str, artifact_id: str) -> None:
        self._send("PUT", f"/v1/docker/runs/{run_id}/artifacts/{artifact_id}/confirmUpload")

    def _created(self, path: str, body: Mapping[str, Any]) -> str:
        return str(self._send("POST", path, body=body)["id"])

    def _list(self, path: str, **params: Any) -> list[Any]:
        return list(self._send("GET", path, params=params))

    def _send(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        operation = f"{method} {path}"
        try:
            answer = self._session.request(
                method,
                self._url + quote(path),
                params={**(params or {}), "token": self._token},
                json=body,
                headers={"Accept": "application/json"},
                timeout=TIMEOUT_SECONDS,
            )
        except requests.RequestException as error:
            # The exception's text contains the URL with the token; its class is sufficient.
            raise ApiError(operation, None, "", f"{self._url} failed with {type(error).__name__}") from None
        if not answer.ok:
            raise _refusal(operation, answer)
        return answer.json() if answer.content else None


def _refusal(operation: str, answer: requests.Response) -> ApiError:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiError(operation, answer.status_code, "", answer.reason)
    return ApiError(
        operation, answer.status_code, str(body.get("code", "")), str(body.get("error", answer.reason))
    )
