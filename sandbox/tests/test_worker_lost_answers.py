"""The worker behind a network that loses answers: the request has been done, but nobody hears of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests

from lightly_sandbox import photos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DEADLINE_SECONDS = 60.0


class Network(ThreadingHTTPServer):
    """Passes requests on to the platform, and loses the answer to the first one that matches ``loses``."""

    daemon_threads = True

    def __init__(self, target: str, loses: Callable[[str, str, Any], bool]) -> None:
        super().__init__(("127.0.0.1", 0), Passage)
        self.target = target
        self.loses = loses
        self.lost: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Passage(BaseHTTPRequestHandler):
    server: Network
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        answer = requests.request(
            self.command, self.server.target + self.path, data=content, headers=headers, timeout=30
        )
        path = self.path.partition("?")[0]
        with self.server.lock:
            body = json.loads(content) if content else None
            if not self.server.lost and self.server.loses(self.command, path, body):
                self.server.lost.append(f"{self.command} {path}")
                self.close_connection = True
                return
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_PUT = do_POST = _pass

    def log_message(self, *_: Any) -> None:
        """Say nothing: the requests' lines hold the token."""


@pytest.fixture
def scheduled(sandbox: Mapping[str, Any]) -> tuple[str, str, str]:
    """Five photos, a run over them for one label alone, and that label."""
    bucket, label = f"lost-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    s3 = boto3.client(
        "s3",
        endpoint_url=sandbox["aws_url"],
        region_name=sandbox["region"],
        aws_access_key_id=sandbox["aws_access_key_id"],
        aws_secret_access_key=sandbox["aws_secret_access_key"],
    )
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": sandbox["region"]})
    photos.seed(s3, bucket, "", 5)
    dataset_id = call(sandbox, "POST", "/v1/datasets", {"name": f"lost {label}", "type": "Images"})["id"]
    datasource = {
        "purpose": "INPUT_OUTPUT",
        "type": "S3",
        "fullPath": f"s3://{bucket}/",
        "s3Region": sandbox["region"],
        "s3AccessKeyId": sandbox["aws_access_key_id"],
        "s3SecretAccessKey": sandbox["aws_secret_access_key"],
    }
    call(sandbox, "PUT", f"/v1/datasets/{dataset_id}/datasource", datasource)
    strategy = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
    config = {"workerType": "FULL", "selection": {"nSamples": 2, "strategies": [strategy]}}
    body = {"version": "V4", "creator": "USER_PIP", "config": config}
    config_id = call(sandbox, "POST", "/v1/docker/worker/config/vX", body)["id"]
    body = {"configId": config_id, "priority": "MID", "runsOn": [label]}
    schedule = call(sandbox, "POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)
    return dataset_id, schedule["id"], label


def call(sandbox: Mapping[str, Any], method: str, path: str, body: Any = None, **query: Any) -> Any:
    answer = requests.request(
        method,
        sandbox["lightly_url"] + path,
        params={**query, "token": sandbox["token"]},
        json=body,
        timeout=30,
    )
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


@pytest.fixture
def network(sandbox: Mapping[str, Any]) -> Iterator[Callable[[Callable[[str, str, Any], bool]], Network]]:
    started: list[Network] = []

    def start(loses: Callable[[str, str, Any], bool]) -> Network:
        server = Network(sandbox["lightly_url"], loses)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


LOST: dict[str, Callable[[str, str, Any], bool]] = {
    "the lock": lambda method, path, body: (
        method == "PUT" and "schedule" in path and body["state"] == "LOCKED"
    ),
    "the new run": lambda method, path, _: (method, path) == ("POST", "/v1/docker/runs"),
    "a state": lambda method, path, body: "/runs/" in path and body and "EMBEDDING" in str(body),
    "the last state": lambda method, path, body: "/runs/" in path and body and "COMPLETED" in str(body),
    "the giving back": lambda method, path, body: (
        method == "PUT" and "schedule" in path and body["state"] == "DONE"
    ),
    "the sign of life": lambda method, path, body: body == {"state": "BUSY"},
}


@pytest.mark.parametrize("what", LOST)
def test_a_run_is_done_once_although_an_answer_was_lost(
    what: str,
    sandbox: Mapping[str, Any],
    scheduled: tuple[str, str, str],
    network: Callable[[Callable[[str, str, Any], bool]], Network],
    tmp_path: Path,
) -> None:
    dataset_id, scheduled_id, label = scheduled
    between = network(LOST[what])
    options = ["--url", between.url, "--name", f"lost {label}", "--label", label, "--poll-interval", "0.05"]
    with (tmp_path / "log").open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "lightly_sandbox.worker", *options],
            env={**os.environ, "LIGHTLY_TOKEN": sandbox["token"]},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
        while scheduled_id not in {entry["id"] for entry in call(sandbox, "GET", path, states=["DONE"])}:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert worker.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
    finally:
        worker.terminate()
        worker.wait(20)
    assert between.lost, "nothing was lost, so nothing was tried"
    (run,) = call(sandbox, "GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
    assert run["state"] == "COMPLETED", run["message"]
    assert sandbox["token"] not in (tmp_path / "log").read_text()
