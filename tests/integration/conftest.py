"""One sandbox and one Airflow database for all integration tests; each test has its own buckets, users and datasets."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.schema import assert_fits_contract
from tests.integration.dag_process import DagProcess
from tests.integration.sandbox import RunningSandbox, Sandbox
from tests.integration.task_tries import TaskTries
from tests.integration.verified_datasource import TaskLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox that returns secrets in clear text."""
    with RunningSandbox(tmp_path_factory.mktemp("sandbox") / "state") as running:
        yield running


@pytest.fixture(scope="session")
def masking_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox that masks secrets; it is undocumented whether the real platform does."""
    with RunningSandbox(tmp_path_factory.mktemp("masking") / "state", "--mask-secrets") as running:
        yield running


@pytest.fixture(scope="session")
def photos(sandbox: Sandbox) -> str:
    """A bucket with 40 real photos under raw/."""
    bucket = sandbox.bucket()
    sandbox.seed(f"s3://{bucket}/raw/", 40)
    return bucket


@dataclass
class Traffic:
    """The requests that the provider sent to the platform, as (method, path)."""

    sent: list[tuple[str, str]] = field(default_factory=list)

    def writes(self) -> list[tuple[str, str]]:
        """The requests that may change something."""
        return [(method, path) for method, path in self.sent if method != "GET"]


@pytest.fixture(autouse=True)
def traffic(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Record every request to the platform, and check it against the vendor's contract."""
    import requests

    seen = Traffic()
    send = requests.Session.send

    def watched(session: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        url = str(request.url)
        if "/v1/" in url and url.startswith("http://127.0.0.1"):
            body = request.body.encode() if isinstance(request.body, str) else request.body
            assert_fits_contract(str(request.method), url, body)
            seen.sent.append((str(request.method), url.split("?")[0].split("/v1", 1)[1]))
        return send(session, request, **kwargs)

    monkeypatch.setattr(requests.Session, "send", watched)
    return seen


@pytest.fixture
def aws_actions(monkeypatch: pytest.MonkeyPatch) -> defaultdict[str, set[str]]:
    """The IAM actions that were used in AWS, e.g. ``iam:GetRole``, by access key id."""
    from botocore.client import BaseClient

    used: defaultdict[str, set[str]] = defaultdict(set)
    call = BaseClient._make_api_call

    def watched(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        credentials = client._request_signer._credentials
        if credentials is not None:
            service = client.meta.service_model.signing_name
            actions = used[credentials.access_key]
            actions.add(f"{service}:{operation}")
            if operation.startswith("Create") and "Tags" in arguments:  # creating with tags is also tagging
                actions.add(f"{service}:Tag{operation.removeprefix('Create') if service == 'iam' else 'Resource'}")
        return call(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", watched)
    return used


@pytest.fixture
def lightly(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, and the Airflow connections ``lightly_default`` and ``aws_default`` (the administrator) to it."""
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", sandbox.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", sandbox.aws_connection(sandbox.admin))
    return sandbox


@pytest.fixture(scope="module")
def no_other_datasets(sandbox: Sandbox) -> None:
    """An account without the datasets of other modules' tests: for what looks at all datasets."""
    import requests

    datasets = f"{sandbox.lightly_url}/v1/datasets"
    with requests.Session() as session:
        session.params = {"token": sandbox.token}
        for dataset in session.get(datasets, params={"pageSize": 10_000}).json():
            session.delete(f"{datasets}/{dataset['id']}", params={"force": "true"}).raise_for_status()


@pytest.fixture
def in_the_sandboxs_region(lightly: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets Manager and SSM are regional; Airflow's own identity uses the sandbox's region."""
    connection = lightly.aws_connection(lightly.admin, region_name=lightly.region)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)


@pytest.fixture
def name() -> str:
    """A name for a role or user that no other test uses."""
    return f"lightly-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket(lightly: Sandbox) -> str:
    """A bucket with a file under raw/."""
    bucket = lightly.bucket()
    lightly.aws("s3").put_object(Bucket=bucket, Key="raw/a.jpg", Body=b"content")
    return bucket


@pytest.fixture
def dataset_name() -> str:
    """A name that no other test uses."""
    return f"test {uuid.uuid4().hex[:12]}"


class TaskInstance:
    """A replacement for Airflow's task instance in manually executed operators: it stores XComs."""

    task_id = "task"
    try_number = 1
    map_index = -1

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Store the value."""
        self.pushed[key] = value

    def xcom_pull(
        self,
        *,
        task_ids: str,
        key: str = "return_value",
        include_prior_dates: bool = False,
        map_indexes: int | None = None,
    ) -> Any:
        """Return the last pushed value, as if an earlier run had pushed it."""
        return self.pushed.get(key)


@pytest.fixture
def context() -> dict[str, Any]:
    """The context of a manually executed task."""
    return {"ti": TaskInstance()}


@pytest.fixture
def database(airflow_db: Path) -> Path:
    """Airflow's database, for tests that run whole DAGs."""
    return airflow_db


@pytest.fixture(scope="session")
def tries(airflow_db: Path) -> Iterator[TaskTries]:
    """The process that runs the tries of a task."""
    with TaskTries() as started:
        yield started


@pytest.fixture(scope="session")
def dag_process(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagProcess]:
    """The process that runs example DAGs at DEBUG, for tests that search all that they print."""
    with DagProcess(tmp_path_factory.mktemp("dag-runs")) as started:
        yield started


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> TaskLog:
    """What the operators write into the task's log."""
    return TaskLog(caplog, capsys)
