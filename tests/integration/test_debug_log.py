"""At DEBUG, where boto3 and urllib3 write out what they send and receive, what looks at an access shows no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.contract import Purpose
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from tests.integration.access_situations import EXTERNAL_ID, Access
from tests.integration.airflow_run import everything_stored, lines_with, run_dag_in_a_process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox


@pytest.fixture(params=["user", "role"])
def access(masking_sandbox: Sandbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Access:
    """An access that works, in the connection ``lightly_bucket``, in an account of few datasets."""
    made = Access(masking_sandbox, request.param, Purpose.LIGHTLY)
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", masking_sandbox.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", masking_sandbox.aws_connection(masking_sandbox.admin))
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", made.connection())
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "DEBUG")
    return made


@pytest.fixture
def secrets(access: Access) -> list[str]:
    """What must show nowhere."""
    key = json.loads(os.environ["AIRFLOW_CONN_LIGHTLY_BUCKET"]).get("password")
    sandbox = access.sandbox
    return [sandbox.token, EXTERNAL_ID, sandbox.aws_secret_access_key, *([key] if key else [])]


def shown(secrets: list[str], *places: str) -> list[str]:
    """The lines that hold a secret, without what Airflow 3's supervisor prints of each message at DEBUG."""
    kept = ["\n".join(line for line in place.splitlines() if "loc=supervisor.py" not in line) for place in places]
    return [line for secret in secrets for line in lines_with(secret, *kept)]


def test_the_doctor_shows_none(access: Access, secrets: list[str], airflow_db: Path) -> None:
    own = ["--aws-conn-id", "lightly_bucket"]
    if access.by == "role":
        own = ["--aws-conn-id", "aws_default", "--role-arn", access.principal]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lightly_provider",
            "doctor",
            access.uri,
            "--allow-endpoint",
            "--purpose",
            "LIGHTLY",
            *own,
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-3000:]
    assert "from this worker" in printed
    assert "botocore" in printed, "nothing was logged at DEBUG, so this proves nothing"
    assert shown(secrets, printed) == []


@pytest.mark.parametrize("access", ["user"], indirect=True)
def test_the_health_of_all_datasets_shows_none(
    access: Access,
    secrets: list[str],
    dataset_name: str,
    context: dict[str, Any],
    database: Path,
    airflow_home: Path,
) -> None:
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=access.uri,
        purpose="LIGHTLY",
        datasource_aws_conn_id="lightly_bucket",
    ).execute(context)

    printed = run_dag_in_a_process("lightly_access_health", {"datasource_aws_conn_id": "lightly_bucket"})

    assert dataset_id in printed, printed[-3000:]
    assert "botocore" in printed, "nothing was logged at DEBUG, so this proves nothing"
    written = "".join(path.read_text(errors="replace") for path in airflow_home.rglob("*.log"))
    assert shown(secrets, printed, everything_stored(database), written) == []
