"""At DEBUG, where boto3 and urllib3 write out what they send and receive, what looks at an access shows no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.policies import trust_policy
from lightly_provider.contract import Purpose
from lightly_provider.operators.access import DeleteLightlyAccessOperator
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.access_situations import EXTERNAL_ID, Access
from tests.integration.airflow_run import everything_stored, lines_with, without_requests_to_mask
from tests.integration.created_access import create_role, create_user, kept, places, rotate, verified
from tests.integration.sandbox import CUSTOMER_ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.dag_process import DagProcess
    from tests.integration.sandbox import Sandbox


@pytest.fixture(params=["user", pytest.param("role", marks=pytest.mark.exhaustive)])
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
    kept = [without_requests_to_mask(place) for place in places]
    return [line for secret in secrets for line in lines_with(secret, *kept)]


@pytest.mark.exhaustive(sample="test_no_operator_shows_a_secret_of_a_session")
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
            "--verbose",
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


@pytest.mark.exhaustive(sample="test_no_operator_shows_a_secret_of_a_session")
@pytest.mark.parametrize("access", ["user"], indirect=True)
def test_the_health_of_all_datasets_shows_none(
    access: Access,
    secrets: list[str],
    dataset_name: str,
    context: dict[str, Any],
    dag_process: DagProcess,
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

    printed = dag_process.run("lightly_access_health", {"datasource_aws_conn_id": "lightly_bucket"})

    assert dataset_id in printed, printed[-3000:]
    assert "botocore" in printed, "nothing was logged at DEBUG, so this proves nothing"
    written = "".join(path.read_text(errors="replace") for path in airflow_home.rglob("*.log"))
    assert shown(secrets, printed, everything_stored(database), written) == []


# --- Airflow's own identity assumes a role ------------------------------------------------------------------------


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secret keys and tokens of all sessions that AWS hands out."""
    from botocore.client import BaseClient

    seen: list[str] = []
    call = BaseClient._make_api_call

    def watched(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        answer = call(client, operation, arguments)
        if operation == "AssumeRole":
            seen.extend(answer["Credentials"][name] for name in ("SecretAccessKey", "SessionToken"))
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", watched)
    return seen


@pytest.fixture
def assuming(lightly: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """An AWS connection of Airflow's own that assumes a role of the account, with an external ID; its secret key."""
    keys = lightly.user({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    role = lightly.role(EXTERNAL_ID, anything, trust=trust_policy(EXTERNAL_ID, CUSTOMER_ACCOUNT))
    extra = {"role_arn": role, "assume_role_kwargs": {"ExternalId": EXTERNAL_ID}, "region_name": lightly.region}
    monkeypatch.setenv("AIRFLOW_CONN_ASSUMING", lightly.aws_connection(keys, **extra))
    return keys.secret_access_key


@pytest.mark.parametrize("create", [create_role, pytest.param(create_user, marks=pytest.mark.exhaustive)])
def test_no_operator_shows_a_secret_of_a_session(
    create: Any,
    lightly: Sandbox,
    assuming: str,
    sessions: list[str],
    bucket: str,
    name: str,
    dataset_name: str,
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    conn_id, kind = f"ssm://assuming/lightly/{name}", "role" if create is create_role else "user"
    own, kept_secrets = {"aws_conn_id": "assuming"}, []
    with caplog.at_level("DEBUG"):
        results = [create(name, context, access_conn_id=conn_id, **own, **places(bucket))]
        kept_secrets.append(kept(lightly, "ssm", name))
        dataset_id = verified(dataset_name, conn_id, bucket, context)
        verify = VerifyDatasourcePermissionsOperator(
            task_id="verify", dataset_id=dataset_id, datasource_aws_conn_id=conn_id, **own
        )
        results.append(verify.execute(context))
        results.append(rotate(create, name, context, access_conn_id=conn_id, dataset_ids=[dataset_id], **own))
        kept_secrets.append(kept(lightly, "ssm", name))
        delete = DeleteLightlyAccessOperator(task_id="delete", access_conn_id=conn_id, **own, **{f"{kind}_name": name})
        results.append(delete.execute(context))

    secrets = [assuming, EXTERNAL_ID, lightly.token, *sessions]
    for connection in kept_secrets:
        assert connection is not None
        secrets.append(connection.get("password") or connection["extra"]["assume_role_kwargs"]["ExternalId"])
    logged = caplog.text + "".join(capfd.readouterr())
    assert len(sessions) >= 6, "the role was not assumed, so this proves nothing"
    assert "botocore" in logged, "nothing was logged at DEBUG, so this proves nothing"
    assert shown(secrets, logged, json.dumps([results, context["ti"].pushed])) == []
