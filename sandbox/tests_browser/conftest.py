"""A running sandbox with a finished run on real photos, and Chromium."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

N_PHOTOS, N_SELECTED = 40, 10
START_SECONDS, RUN_SECONDS = 90.0, 180.0

# Only what the tests ask for goes over the network, and only to this machine.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def wait_until(condition: Callable[[], Any], seconds: float) -> Any:
    """Wait for a truthy answer and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.1)
    return answer


@dataclass
class Sandbox:
    """A sandbox in a process of its own, and requests to its API."""

    executable: str
    ready_file: Path
    ready: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.ready["lightly_url"])

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; anything but 2xx fails the test."""
        with requests.Session() as session:
            session.trust_env = False
            query = {"token": self.ready["token"]}
            answer = session.request(method, self.url + path, params=query, json=body, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def command(self, *words: str) -> None:
        subprocess.run(
            [self.executable, *words, "--ready-file", str(self.ready_file)], check=True, timeout=120
        )


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox with one worker for the whole session. It is installed in another environment."""
    executable = os.environ.get("LIGHTLY_SANDBOX")
    if not executable:
        pytest.exit("Set LIGHTLY_SANDBOX to the executable lightly-sandbox of its own environment.", 2)
    folder = tmp_path_factory.mktemp("sandbox")
    ready_file, output = folder / "ready.json", folder / "output"
    command = [executable, "up", "--state-dir", str(folder / "state"), "--ready-file", str(ready_file)]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)

    def is_ready() -> bool:
        assert process.poll() is None, output.read_text()
        return ready_file.exists()

    try:
        wait_until(is_ready, START_SECONDS)
        yield Sandbox(executable, ready_file, json.loads(ready_file.read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@dataclass
class Onboarded:
    """A dataset of real photos and its run."""

    dataset_id: str
    scheduled_id: str


@pytest.fixture(scope="session")
def scheduled(sandbox: Sandbox) -> Onboarded:
    """A run that the worker is about to begin, or has begun."""
    bucket = "s3://photos"
    sandbox.command("seed", f"{bucket}/raw", "--photos", str(N_PHOTOS))
    dataset_id = sandbox.api("POST", "/v1/datasets", {"name": "photos", "type": "Images"})["id"]
    datasource = {
        "type": "S3",
        "s3Region": sandbox.ready["region"],
        "s3AccessKeyId": sandbox.ready["aws_access_key_id"],
        "s3SecretAccessKey": sandbox.ready["aws_secret_access_key"],
        "thumbSuffix": ".lightly/thumbnails/[filename]_thumb.[extension]",
    }
    for purpose, path in (("INPUT", f"{bucket}/raw"), ("LIGHTLY", f"{bucket}/lightly")):
        body = {**datasource, "purpose": purpose, "fullPath": path}
        sandbox.api("PUT", f"/v1/datasets/{dataset_id}/datasource", body)
    diversity = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
    selection = {"nSamples": N_SELECTED, "strategies": [diversity]}
    config = {"workerType": "FULL", "docker": {}, "selection": selection}
    body = {"version": "V4", "creator": "USER_PIP", "config": config}
    config_id = sandbox.api("POST", "/v1/docker/worker/config/vX", body)["id"]
    body = {"configId": config_id, "priority": "MID", "runsOn": []}
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    return Onboarded(dataset_id, sandbox.api("POST", path, body)["id"])


def run_of(sandbox: Sandbox, onboarded: Onboarded) -> dict[str, Any] | None:
    """The run as soon as the worker has begun it."""
    runs = sandbox.api("GET", f"/v1/docker/runs/query/datasetId/{onboarded.dataset_id}")
    return runs[0] if runs else None


@dataclass
class Finished:
    """The addresses of the pages of a run that has completed."""

    dataset: str
    tag: str
    run: str


@pytest.fixture(scope="session")
def finished(sandbox: Sandbox, scheduled: Onboarded) -> Finished:
    def ended() -> dict[str, Any] | None:
        run = run_of(sandbox, scheduled)
        return run if run and run["state"] in ("COMPLETED", "FAILED", "CRASHED", "ABORTED") else None

    run = wait_until(ended, RUN_SECONDS)
    assert run["state"] == "COMPLETED", run
    (tag,) = sandbox.api("GET", f"/v1/datasets/{scheduled.dataset_id}/tags")
    dataset = f"/web/dataset/{scheduled.dataset_id}"
    return Finished(dataset, f"{dataset}/tag/{tag['id']}", f"/web/compute/runs/{run['id']}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.exit("Chromium is not installed.", 2)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, which scripts/setup-browser put beside this environment."""
    return (Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js").read_text()
