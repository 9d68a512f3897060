"""What the tests of the worker do again and again: a customer's lab, and a worker of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from lightly_sandbox.seeding import photos
from tests.lab.sandbox import wait_until, with_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.lab.sandbox import Api, Customer

TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "ABORTED"}
THUMBNAILS = {"thumbSuffix": ".lightly/thumbnails/[filename]_thumb.[extension]"}
DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
RUN_SECONDS = 60.0


@dataclass(frozen=True)
class Lab:
    """What these tests do again and again as a customer, and the label of the worker that serves them."""

    api: Api
    customer: Customer
    keys: tuple[str, str]
    label: str

    def photos(self, n_photos: int, folder: str = "photos") -> str:
        """Make a bucket with photos."""
        bucket = self.customer.bucket()
        photos.seed(self.customer.s3, bucket, folder, n_photos)
        return bucket

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.customer.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def datasource(
        self, dataset_id: str, purpose: str, path: str, keys: tuple[str, str] | None = None, **more: Any
    ) -> None:
        self.api.put_datasource(dataset_id, **with_keys(path, purpose, keys or self.keys), **more)

    def schedule(
        self,
        dataset_id: str,
        *,
        strategies: tuple[dict[str, Any], ...] = (DIVERSITY,),
        docker: dict[str, Any] | None = None,
        runs_on: tuple[str, ...] | None = None,
        priority: str = "MID",
        report: bool = False,
        checked: bool = True,
        **selection: Any,
    ) -> str:
        """Schedule a run. Without its report, which takes longer than all the rest of a small run.

        ``checked``: whether the platform looks for the files that the config refers to.
        """
        config = {
            "workerType": "FULL",
            "docker": {"uploadReport": report} | (docker or {}),
            "selection": {"strategies": list(strategies), **selection},
        }
        body = {"version": "V4", "creator": "USER_PIP", "config": config}
        config_id = self.api.ok("POST", "/v1/docker/worker/config/vX", body)["id"]
        body = {"configId": config_id, "priority": priority, "runsOn": list(runs_on or (self.label,))}
        path, unchecked = f"/v1/datasets/{dataset_id}/docker/worker/schedule", str(not checked)
        return str(self.api.ok("POST", path, body, disableConfigValidation=unchecked)["id"])

    def wait(self, dataset_id: str, scheduled_id: str, states: set[str] = TERMINAL) -> dict[str, Any]:
        """Wait until the run is in one of these states."""

        def reached() -> dict[str, Any] | None:
            runs = self.api.ok("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
            run = next((run for run in runs if run["scheduledId"] == scheduled_id), None)
            return run if run is not None and run["state"] in states | TERMINAL else None

        run: dict[str, Any] = wait_until(reached, RUN_SECONDS)
        assert run["state"] in states, run
        # A dataset takes its next run only after this one was given back.
        if run["state"] in TERMINAL:
            wait_until(lambda: self.schedule_state(dataset_id, scheduled_id) == "DONE")
        return run

    def do(self, dataset_id: str, **config: Any) -> dict[str, Any]:
        return self.wait(dataset_id, self.schedule(dataset_id, **config))

    def schedule_state(self, dataset_id: str, scheduled_id: str) -> str:
        states = ["OPEN", "LOCKED", "DONE", "CANCELED"]
        found = self.api.ok("GET", f"/v1/datasets/{dataset_id}/docker/worker/schedule", states=states)
        return str(next(entry["state"] for entry in found if entry["id"] == scheduled_id))

    def processed_until(self, dataset_id: str) -> int:
        path = f"/v1/datasets/{dataset_id}/datasource/processedUntilTimestamp"
        return int(self.api.ok("GET", path)["processedUntilTimestamp"])

    def tags(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self.api.ok("GET", f"/v1/datasets/{dataset_id}/tags"))

    def filenames(self, dataset_id: str, tag: Mapping[str, Any]) -> list[str]:
        path = f"/v1/datasets/{dataset_id}/tags/{tag['id']}/export/basic/filenames"
        answer = self.api.send("GET", path)
        assert answer.ok
        return answer.text.split()

    def samples(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self.api.ok("GET", f"/v1/datasets/{dataset_id}/samples"))

    def artifact(self, run: Mapping[str, Any], kind: str) -> bytes:
        artifact = next((found for found in run["artifacts"] if found["type"] == kind), None)
        assert artifact is not None, f"the run has no {kind}; one of a report needs report=True"
        url = self.api.ok("GET", f"/v1/docker/runs/{run['id']}/artifacts/{artifact['id']}/readurl")
        answer = requests.get(url, timeout=30)
        assert answer.ok
        return answer.content

    def sizes(self, run: Mapping[str, Any]) -> dict[str, int]:
        report = json.loads(self.artifact(run, "REPORT_V2_JSON"))
        return dict(report["generalInformation"]["datasetInformation"]["datasetSizes"])

    def video_sizes(self, run: Mapping[str, Any]) -> dict[str, int]:
        report = json.loads(self.artifact(run, "REPORT_V2_JSON"))
        return dict(report["generalInformation"]["datasetInformation"]["videoLevelSizes"])

    def logs(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self.api.ok("GET", f"/v1/docker/runs/{run['id']}/logs")["logs"])


@contextmanager
def own_worker(api: Api, label: str, log: Path, name: str = "own") -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, with the token where it belongs."""
    options = ["--url", api.url, "--name", f"{name} {label}", "--label", label, "--poll-interval", "0.05"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightly_sandbox", "worker", *options],
            # What a killed worker leaves is to lie where pytest clears up.
            env={**os.environ, "LIGHTLY_TOKEN": api.token, "TMPDIR": str(log.parent)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Place:
    dataset_id: str
    bucket: str
