"""The DAG that creates a role and onboards with it, through Airflow itself; and where an access may be kept."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    DeleteLightlyAccessOperator,
)
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.airflow_run import (
    everything_stored,
    example_dags,
    lines_with,
    run_dag,
    run_own_dag,
    without_requests_to_mask,
)
from tests.integration.created_access import create_user, kept, places, rotate, verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.dag_process import DagProcess
    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("in_the_sandboxs_region")

DAG_ID = "lightly_delegated_access"
AIRFLOW_3 = int(version("apache-airflow").split(".")[0]) >= 3
API_START_DEADLINE_S = 120


@pytest.fixture
def conf(bucket: str, dataset_name: str) -> dict[str, Any]:
    """The DAG's parameters for one onboarding."""
    return {
        "dataset_name": dataset_name,
        "input_path": f"s3://{bucket}/raw/",
        "lightly_path": f"s3://{bucket}/lightly/",
    }


@pytest.fixture
def role_name(dataset_name: str) -> str:
    """The name of the role that the DAG creates."""
    return f"Lightly-{dataset_name.replace(' ', '.')}"


@pytest.mark.exhaustive(sample="test_the_secret_key_shows_nowhere_but_where_it_is_kept")
def test_a_role_is_created_works_at_once_and_is_taken_away(
    lightly: Sandbox, conf: dict[str, Any], role_name: str, database: Path
) -> None:
    first = run_dag(DAG_ID, conf, database)

    assert first.state == "success", first.tasks
    role = first.xcoms["create_role", "return_value"]
    assert role["conn_id"] == f"secretsmanager://aws_default/lightly/{role_name}"
    assert role["arn"].endswith(f":role/{role_name}")
    assert first.tasks["delete_role"] == "skipped"
    assert first.xcoms["configure", "return_value"]["changed"] == ["INPUT", "LIGHTLY"]
    assert first.xcoms["verify_permissions", "return_value"]["ok"]

    second = run_dag(DAG_ID, conf, database)

    assert second.state == "success", second.tasks
    assert second.xcoms["create_role", "return_value"]["changed"] == []
    assert second.xcoms["configure", "return_value"]["changed"] == []

    last = run_dag(DAG_ID, conf | {"tear_down": True}, database)

    assert last.state == "success", last.tasks
    assert last.xcoms["delete_role", "return_value"] == ["role", "kept access"]
    assert last.tasks["create_role"] == "skipped"
    assert kept(lightly, "secretsmanager", role_name) is None
    assert not [r for r in lightly.aws("iam").list_roles()["Roles"] if r["RoleName"] == role_name]


@pytest.mark.exhaustive(sample="test_the_secret_key_shows_nowhere_but_where_it_is_kept")
def test_the_external_id_shows_in_no_log_xcom_rendered_field_or_serialized_dag(
    lightly: Sandbox, conf: dict[str, Any], role_name: str, dag_process: DagProcess, database: Path, airflow_home: Path
) -> None:
    printed = dag_process.run(DAG_ID, conf)

    assert "DAG run success" in printed, printed[-3000:]
    printed = without_requests_to_mask(printed)
    connection = kept(lightly, "secretsmanager", role_name)
    assert connection is not None
    external_id = connection["extra"]["assume_role_kwargs"]["ExternalId"]
    stored = everything_stored(database)
    written = "".join(path.read_text(errors="replace") for path in airflow_home.rglob("*.log"))
    assert role_name in printed
    assert role_name in stored
    assert lines_with(external_id, printed, stored, written) == []


def test_the_secret_key_shows_nowhere_but_where_it_is_kept(
    lightly: Sandbox,
    bucket: str,
    name: str,
    dataset_name: str,
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    with caplog.at_level(logging.DEBUG):
        outcome = create_user(name, context, **arguments)
        verified(dataset_name, arguments["access_conn_id"], bucket, context)
        again = rotate(create_user, name, context, access_conn_id=arguments["access_conn_id"])

    connection = kept(lightly, "ssm", name)
    assert connection is not None
    secret = connection["password"]
    assert len(secret) >= 40
    logged = caplog.text + "".join(capfd.readouterr())
    assert connection["login"] in logged or name in logged, "nothing was logged, so this proves nothing"
    assert lines_with(secret, logged, json.dumps([outcome, again]), json.dumps(context["ti"].pushed)) == []


@pytest.mark.exhaustive(sample="test_the_secret_key_shows_nowhere_but_where_it_is_kept")
@pytest.mark.parametrize("work_fails", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_a_user_that_is_a_setup_is_deleted_by_its_teardown_also_when_the_work_fails(
    work_fails: bool, lightly: Sandbox, bucket: str, name: str, database: Path
) -> None:
    with DAG(f"rented_{name}", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        access = {"user_name": name, "access_conn_id": f"ssm://aws_default/lightly/{name}"}
        create = CreateLightlyAccessUserOperator(task_id="create", **access, **places(bucket))
        delete = DeleteLightlyAccessOperator(task_id="delete", **access)

        @task
        def work(conn_id: str) -> str:
            """Use the access."""
            if work_fails:
                raise RuntimeError("the work failed")
            return conn_id

        work(create.output["conn_id"]) >> delete.as_teardown(setups=create)

    outcome = run_own_dag(dag, database)

    assert outcome.tasks == {"create": "success", "work": "failed" if work_fails else "success", "delete": "success"}
    assert outcome.xcoms["delete", "return_value"] == ["user", "kept access"]
    assert outcome.state == ("failed" if work_fails else "success")
    assert not [user for user in lightly.aws("iam").list_users()["Users"] if user["UserName"] == name]
    assert kept(lightly, "ssm", name) is None


@pytest.fixture(scope="session")
def airflow_api(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Airflow's own API on this database, as an Airflow connection of a user who may edit connections."""
    folder = tmp_path_factory.mktemp("airflow-api")
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({"editor": "the-editors-password"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "editor:op",
        # As in this process, which has read its configuration before `airflow db migrate` wrote one with a key.
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    command = [str(Path(sys.executable).with_name("airflow")), "api-server", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--workers", "1"], env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_for_port(server, port, folder / "log")
            yield json.dumps(
                {"conn_type": "http", "host": f"http://127.0.0.1:{port}", "login": "editor"}
                | {"password": "the-editors-password"}
            )
        finally:
            os.killpg(server.pid, 15)
            server.wait(timeout=60)


def wait_for_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + API_START_DEADLINE_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Airflow's API did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def kept_in_airflow(database: Path, conn_id: str) -> bool:
    """Whether Airflow's database has the connection."""
    import sqlite3

    with sqlite3.connect(database) as connection:
        return bool(connection.execute("SELECT 1 FROM connection WHERE conn_id = ?", (conn_id,)).fetchone())


def kept_in_a_connection(name: str, bucket: str, dataset_name: str) -> tuple[DAG, DAG]:
    """A DAG that onboards with a role whose access is kept in an Airflow connection, and one that deletes it."""
    access = {"role_name": name, "access_conn_id": f"made_{name}"}
    if AIRFLOW_3:
        access["airflow_api_conn_id"] = "airflow_api"
    with DAG(f"onboard_{name}", schedule=None, start_date=datetime(2026, 1, 1)) as onboard:
        create = CreateLightlyAccessRoleOperator(task_id="create_role", **access, **places(bucket))
        dataset = CreateLightlyDatasetOperator(task_id="create_dataset", dataset_name=dataset_name)
        configure = ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset.output,
            datasource_aws_conn_id=create.output["conn_id"],
            **places(bucket),
        )
        verify = VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset.output)
        create >> configure >> verify
    with DAG(f"delete_{name}", schedule=None, start_date=datetime(2026, 1, 1)) as delete:
        DeleteLightlyAccessOperator(task_id="delete_role", **access)
    return onboard, delete


@pytest.mark.exhaustive(sample="test_a_connection_that_airflow_finds_elsewhere_is_not_mistaken_for_what_was_written")
def test_the_access_may_be_kept_in_an_airflow_connection(
    request: pytest.FixtureRequest,
    lightly: Sandbox,
    bucket: str,
    dataset_name: str,
    name: str,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if AIRFLOW_3:
        monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", request.getfixturevalue("airflow_api"))
    onboard, delete = kept_in_a_connection(name, bucket, dataset_name)

    first = run_own_dag(onboard, database)

    assert first.state == "success", first.tasks
    assert first.xcoms["create_role", "return_value"]["conn_id"] == f"made_{name}"
    assert first.xcoms["verify", "return_value"]["ok"]
    assert kept_in_airflow(database, f"made_{name}")
    lightly.aws("iam").update_role(RoleName=name, MaxSessionDuration=3600)
    second = run_own_dag(onboard, database)
    assert second.xcoms["create_role", "return_value"]["changed"] == ["maximum session duration"]

    last = run_own_dag(delete, database)

    assert last.xcoms["delete_role", "return_value"] == ["role", "kept access"]
    assert not kept_in_airflow(database, f"made_{name}")
    role = lightly.aws("iam").list_roles()["Roles"]
    assert name not in [each["RoleName"] for each in role]


def test_whoever_starts_the_dag_cannot_choose_what_is_handed_over() -> None:
    chosen = {
        (dag_id, name): dict(dag.params.get_param(name).schema)
        for dag_id, dag in example_dags().items()
        for name in dag.params
        if "conn" in name
    }
    assert ("lightly_s3_onboarding", "aws_conn_id") in chosen
    assert [where for where, schema in chosen.items() if not schema.get("enum")] == []


@pytest.mark.skipif(not AIRFLOW_3, reason="a task of Airflow 2 writes connections itself")
def test_on_airflow_3_a_connection_without_the_api_is_refused_before_anything_is_created(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]
) -> None:
    operator = CreateLightlyAccessRoleOperator(
        task_id="create", role_name=name, access_conn_id=f"made_{name}", **places(bucket)
    )
    with pytest.raises(
        ValueError,
        match=r"a\s+task\s+of\s+Airflow\s+3\s+cannot\s+write\s+connections;\s+give\s+airflow_api_conn_id,\s+or",
    ):
        operator.execute(context)
    assert not [r for r in lightly.aws("iam").list_roles()["Roles"] if r["RoleName"] == name]


@pytest.mark.exhaustive(sample="test_on_airflow_3_a_connection_without_the_api_is_refused_before_anything_is_created")
@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2's own database is written")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "CANARY-wrong"}, r"(?s)refused the login with status 401;\s.*'airflow_api'"),
        ({"host": "http://127.0.0.1:9"}, r"\(connection 'airflow_api'\)\s+gave no usable answer: "),
    ],
)
def test_an_api_that_refuses_leaves_no_key_behind_and_says_what_to_check(
    change: dict[str, Any],
    expected: str,
    airflow_api: str,
    lightly: Sandbox,
    bucket: str,
    name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps(json.loads(airflow_api) | change))

    with pytest.raises(LightlyAccessError, match=expected) as refused:
        create_user(name, context, access_conn_id=f"made_{name}", airflow_api_conn_id="airflow_api", **places(bucket))

    assert "CANARY" not in str(refused.value)
    assert lightly.aws("iam").list_access_keys(UserName=name)["AccessKeyMetadata"] == []


def test_a_connection_that_airflow_finds_elsewhere_is_not_mistaken_for_what_was_written(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment variable of that name comes before every other place."""
    monkeypatch.setenv("AIRFLOW_CONN_SHADOWED", lightly.aws_connection(lightly.user()))

    with pytest.raises(LightlyAccessError, match=r"'shadowed'\s+holds\s+what\s+somebody\s+else\s+put\s+there"):
        create_user(name, context, access_conn_id="shadowed", airflow_api_conn_id="airflow_api", **places(bucket))


def test_a_configured_secrets_backend_of_airflow_reads_what_is_kept(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend

    conn_id = f"secretsmanager://aws_default/airflow/connections/{name}"
    outcome = create_user(name, context, access_conn_id=conn_id, **places(bucket))
    backend = SecretsManagerBackend(
        connections_prefix="airflow/connections",
        endpoint_url=lightly.aws_url,
        region_name=lightly.region,
        aws_access_key_id=lightly.aws_access_key_id,
        aws_secret_access_key=lightly.aws_secret_access_key,
    )

    found = backend.get_connection(name)

    assert found is not None
    assert found.conn_type == "aws"
    assert found.extra_dejson["lightly_access"]["principal"] == outcome["arn"]
    assert found.login in [
        k["AccessKeyId"] for k in lightly.aws("iam").list_access_keys(UserName=name)["AccessKeyMetadata"]
    ]
    verified(dataset_name, conn_id, bucket, context)
