"""One sandbox without a worker of its own, and one Airflow of separate services, for all system tests."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.sandbox import RunningSandbox, Sandbox, executable
from tests.system.hand_worker import HandWorker
from tests.system.poison import PoisoningProxy
from tests.system.rest import AirflowRest
from tests.system.services import Services, free_ports
from tests.system.worker_run_task import WorkerRunTask

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Platform:
    """The sandbox as something that can go away and come back, with its state, at the same address."""

    running: RunningSandbox
    sandbox: Sandbox

    def go_away(self) -> None:
        """Stop it: every connection is refused."""
        self.running.__exit__()

    def come_back(self) -> None:
        """Start it again where it stopped."""
        self.sandbox = self.running.__enter__()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The Lightly platform; the tests are its worker."""
    port, aws_port = free_ports(2)
    state = tmp_path_factory.mktemp("sandbox") / "state"
    running = RunningSandbox(state, "--port", str(port), "--aws-port", str(aws_port), "--workers", "0")
    with running as sandbox:
        yield Platform(running, sandbox)


@pytest.fixture(scope="session")
def airflow(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Airflow's services, connected to the platform."""
    home = tmp_path_factory.mktemp("airflow")
    with PoisoningProxy(platform.sandbox.lightly_url) as proxy:
        connections = {
            "AIRFLOW_CONN_LIGHTLY_DEFAULT": platform.sandbox.lightly_connection(),
            "AIRFLOW_CONN_AWS_DEFAULT": platform.sandbox.aws_connection(platform.sandbox.admin),
            "AIRFLOW_CONN_LIGHTLY_BUCKET": platform.sandbox.aws_connection(platform.sandbox.admin),
            "AIRFLOW_CONN_LIGHTLY_POISONED": platform.sandbox.lightly_connection(host=proxy.url),
        }
        with Services(home, Path(__file__).parent / "dags", connections) as services:
            yield services


@pytest.fixture(scope="session")
def session_of_rest(airflow: Services) -> AirflowRest:
    """Airflow's REST API, for all tests."""
    return AirflowRest(airflow.url)


@pytest.fixture
def rest(session_of_rest: AirflowRest) -> Iterator[AirflowRest]:
    """Airflow's REST API; what a test started there ends with it."""
    yield session_of_rest
    session_of_rest.end_what_was_started()


@pytest.fixture
def worker(platform: Platform) -> HandWorker:
    """The only worker there is."""
    return HandWorker(platform.sandbox.lightly_url, platform.sandbox.token)


@pytest.fixture
def real_worker(platform: Platform) -> Iterator[None]:
    """A worker of the sandbox, which ends with the test."""
    command = [executable(), "worker", "--ready-file", str(platform.sandbox.ready_file), "--until-stdin-closes"]
    with subprocess.Popen([*command, "--name", "real"], stdin=subprocess.PIPE) as worker:
        yield
        worker.terminate()


@pytest.fixture
def dataset_id(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new dataset with its datasource."""
    return new_dataset(platform, monkeypatch)


def new_dataset(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new dataset with a datasource that serves both purposes."""
    from lightly_provider.api.models.datasource import S3UserAccessDatasource
    from lightly_provider.contract import DatasetType
    from lightly_provider.hooks.lightly import LightlyHook

    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", platform.sandbox.lightly_connection())
    hook, admin = LightlyHook(), platform.sandbox.admin
    dataset_id = hook.get_or_create_dataset(f"system {uuid.uuid4().hex[:12]}", DatasetType.IMAGES).dataset_id
    hook.set_datasource(
        dataset_id,
        S3UserAccessDatasource(
            purpose="INPUT_OUTPUT",
            full_path="s3://bucket/raw",
            s3_region=platform.sandbox.region,
            s3_access_key_id=admin.access_key_id,
            s3_secret_access_key=admin.secret_access_key,
        ),
    )
    return dataset_id


@pytest.fixture
def deferred(rest: AirflowRest, worker: HandWorker, dataset_id: str, airflow: Services) -> WorkerRunTask:
    """A task that waits in a triggerer, its run still OPEN."""
    run = WorkerRunTask.start("deferred", dataset_id, rest, worker)
    run.wait_until_in_triggerer(airflow)
    return run
