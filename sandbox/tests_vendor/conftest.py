"""A running sandbox, and the vendor's own client connected to it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from lightly.api import ApiWorkflowClient
from lightly.openapi_generated.swagger_client.models import DatasetType

from tests_vendor.onboarding import Customer, Onboarded, onboard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START_SECONDS = 90.0
N_PHOTOS, N_SELECTED = 12, 5
# The client takes these for its requests, and the sandbox is on this machine.
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy")


@pytest.fixture(scope="session")
def executable() -> str:
    """The sandbox is installed elsewhere: it and the vendor's client do not fit into one environment."""
    found = os.environ.get("LIGHTLY_SANDBOX")
    if not found:
        pytest.exit("Set LIGHTLY_SANDBOX to the executable lightly-sandbox of its own environment.", 2)
    return found


@pytest.fixture(scope="session")
def ready_file(executable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One sandbox with one worker for the whole session."""
    folder = tmp_path_factory.mktemp("sandbox")
    written = folder / "ready.json"
    command = [executable, "up", "--state-dir", str(folder / "state"), "--ready-file", str(written)]
    environment = {name: value for name, value in os.environ.items() if name not in _PROXIES}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not written.exists():
            assert process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline, (folder / "output").read_text()
            time.sleep(0.05)
        yield written
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="session", autouse=True)
def ready(ready_file: Path) -> Iterator[dict[str, Any]]:
    """What the sandbox says of itself; the client's environment is set, so that it meets no other server."""
    said: dict[str, Any] = json.loads(ready_file.read_text())
    with pytest.MonkeyPatch.context() as environment:
        for name in _PROXIES:
            environment.delenv(name, raising=False)
        environment.setenv("LIGHTLY_SERVER_LOCATION", said["lightly_url"] + "/")
        environment.setenv("LIGHTLY_TOKEN", said["token"])
        yield said


@pytest.fixture(scope="session")
def customer(ready: dict[str, Any]) -> Customer:
    return Customer(ready)


@pytest.fixture
def client(ready: dict[str, Any]) -> ApiWorkflowClient:
    """The client as its documentation makes it: with nothing but a token."""
    return ApiWorkflowClient(token=ready["token"])


@pytest.fixture
def dataset(ready: dict[str, Any]) -> ApiWorkflowClient:
    """A client of its own, with a new dataset as its current one."""
    client = ApiWorkflowClient(token=ready["token"])
    client.create_dataset(f"vendor {secrets.token_hex(6)}")
    return client


@pytest.fixture(scope="session")
def seed(executable: str, ready_file: Path) -> Callable[..., None]:
    """Puts photos or videos below a path."""

    def put(path: str, *what: str) -> None:
        command = [executable, "seed", path, *what, "--ready-file", str(ready_file)]
        subprocess.run(command, check=True, capture_output=True)

    return put


@pytest.fixture(scope="session")
def onboarded(ready: dict[str, Any], customer: Customer, seed: Callable[..., None]) -> Onboarded:
    """A dataset of real photos, of which a worker has selected some."""
    bucket = customer.bucket()
    seed(f"s3://{bucket}/raw", "--photos", str(N_PHOTOS))
    tolerance = {"corruption_threshold": 0.5}
    return onboard(
        ready["token"], customer, bucket, DatasetType.IMAGES, N_SELECTED, corruptness_check=tolerance
    )
