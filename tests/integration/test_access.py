"""Accesses that the operators create: they work at once, hold no more than they must, and go without a trace."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.operators.access import (
    DeleteLightlyAccessOperator,
)
from tests.integration.conftest import TaskInstance
from tests.integration.created_access import create_role, create_user, kept, keys_of, places, verified
from tests.integration.sandbox import CUSTOMER_ACCOUNT, LIGHTLY_ACCOUNT, Keys, executable
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("in_the_sandboxs_region")

STORES = ["secretsmanager", "ssm"]


@pytest.mark.parametrize(
    ("create", "store"),
    thinned(
        [(create, store) for create in (create_role, create_user) for store in STORES],
        keep=2,
        covering=lambda create, store: create,
        seed=1,
    ),
)
def test_an_access_is_created_works_and_goes_without_a_trace(
    create: Any,
    store: str,
    lightly: Sandbox,
    bucket: str,
    name: str,
    dataset_name: str,
    context: dict[str, Any],
) -> None:
    conn_id = f"{store}://aws_default/lightly/{name}"

    outcome = create(name, context, access_conn_id=conn_id, **places(bucket))

    assert outcome["conn_id"] == conn_id
    assert context["ti"].pushed["conn_id"] == conn_id
    assert outcome["arn"].endswith(f"/{name}")
    assert context["ti"].pushed["arn"] == outcome["arn"]
    assert kept(lightly, store, name) is not None
    verified(dataset_name, conn_id, bucket, context)

    again = create(name, context, access_conn_id=conn_id, **places(bucket))

    assert (again["changed"], again["changed_at"]) == ([], None)
    context["ti"].try_number = 2
    retried = create(name, context, access_conn_id=conn_id, **places(bucket))
    assert retried["changed"] == []
    assert retried["changed_at"], "an earlier try may have made a change, which the verification waits for"
    kind = "role" if create is create_role else "user"
    delete = {f"{kind}_name": name, "access_conn_id": conn_id}
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == [kind, "kept access"]
    iam = lightly.aws("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        getattr(iam, f"get_{kind}")(**{f"{kind.capitalize()}Name": name})
    assert kept(lightly, store, name) is None
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == []


# --- what is there already ----------------------------------------------------------------------------------------


def test_a_role_is_as_lightly_needs_it_and_what_drifts_is_set_back(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    iam = lightly.aws("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    boundary = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=document)["Policy"]["Arn"]
    arguments: dict[str, Any] = {
        "access_conn_id": f"ssm://aws_default/lightly/{name}",
        "path": "/lightly/",
        "tags": {"team": "vision"},
        "permissions_boundary": boundary,
        **places(bucket),
    }

    outcome = create_role(name, context, **arguments)

    role = iam.get_role(RoleName=name)["Role"]
    assert outcome["arn"] == role["Arn"] == f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/lightly/{name}"
    assert role["MaxSessionDuration"] == 43200
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    assert tags_of(role) == {"team": "vision", "managed-by": "airflow-provider-lightly"}
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{LIGHTLY_ACCOUNT}:root"}
    external_id = statement["Condition"]["StringEquals"]["sts:ExternalId"]
    assert len(external_id) >= 32
    connection = kept(lightly, "ssm", name)
    assert connection is not None
    assert connection["conn_type"] == "aws"
    assert connection["extra"]["role_arn"] == role["Arn"]
    assert connection["extra"]["assume_role_kwargs"] == {"ExternalId": external_id}
    assert connection["extra"]["region_name"] == lightly.region

    iam.update_role(RoleName=name, MaxSessionDuration=3600)
    iam.put_role_policy(RoleName=name, PolicyName="lightly-access", PolicyDocument=document)
    iam.delete_role_permissions_boundary(RoleName=name)
    iam.untag_role(RoleName=name, TagKeys=["team"])
    iam.tag_role(RoleName=name, Tags=[{"Key": "theirs", "Value": "kept"}])
    again = create_role(name, context, **arguments)

    assert set(again["changed"]) == {"tags", "permissions boundary", "maximum session duration", "policy"}
    role = iam.get_role(RoleName=name)["Role"]
    assert role["MaxSessionDuration"] == 43200
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    assert tags_of(role)["theirs"] == "kept", "tags of others are left alone"
    assert role["AssumeRolePolicyDocument"]["Statement"] == [statement], "the external ID stays"
    policy = iam.get_role_policy(RoleName=name, PolicyName="lightly-access")["PolicyDocument"]
    assert '"*"' not in json.dumps(policy)
    assert create_role(name, context, **arguments)["changed"] == []

    without = create_role(name, context, **{**arguments, "permissions_boundary": None})
    assert without["changed"] == []
    assert f"has the permissions boundary {boundary}, which is left as it is" in caplog.text
    assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary


def tags_of(reported: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in reported["Tags"]}


@pytest.mark.parametrize("create", thinned([create_role, create_user], keep=1))
def test_what_somebody_else_made_is_left_alone_unless_told(
    create: Any, lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]
) -> None:
    iam, kind = lightly.aws("iam"), "role" if create is create_role else "user"
    if kind == "role":
        theirs = {"Version": "2012-10-17", "Statement": []}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(theirs))
    else:
        iam.create_user(UserName=name)
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    delete = {f"{kind}_name": name, "access_conn_id": arguments["access_conn_id"]}

    with pytest.raises(LightlyAccessError, match=rf"(?s)The\s+{kind}\s+'{name}'\s+exists\s+.*\s+without\s+the\s+tag"):
        create(name, context, **arguments)
    with pytest.raises(LightlyAccessError, match=r"without\s+the tag"):
        DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context)
    assert kept(lightly, "ssm", name) is None

    taken = create(name, context, allow_unmanaged=True, **arguments)
    assert {"tags", "policy", "kept access"} <= set(taken["changed"])
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == [kind, "kept access"]


def test_a_secret_of_somebody_else_is_neither_read_nor_replaced_nor_removed(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]
) -> None:
    lightly.aws("ssm").put_parameter(Name=f"/lightly/{name}", Value="CANARY, and no JSON", Type="SecureString")
    other = f"{name}-2"
    create_user(other, context, access_conn_id=f"ssm://aws_default/lightly/{other}", **places(bucket))

    with pytest.raises(
        LightlyAccessError, match=r"holds\s+something\s+else\s+than\s+an\s+Airflow\s+connection"
    ) as refused:
        create_user(name, context, access_conn_id=f"ssm://aws_default/lightly/{name}", **places(bucket))
    assert "CANARY" not in str(refused.value)
    with pytest.raises(
        LightlyAccessError, match=rf"holds\s+the\s+access\s+of\s+arn:aws:iam::{CUSTOMER_ACCOUNT}:user/{other},"
    ):
        create_user(name, context, access_conn_id=f"ssm://aws_default/lightly/{other}", **places(bucket))
    with pytest.raises(LightlyAccessError, match="which is left alone"):
        DeleteLightlyAccessOperator(
            task_id="delete", user_name=name, access_conn_id=f"ssm://aws_default/lightly/{other}"
        ).execute(context)
    iam = lightly.aws("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_user(UserName=name)
    assert kept(lightly, "ssm", other) is not None


def test_a_role_that_others_hung_something_on_is_not_deleted_and_says_so(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create_role(name, context, access_conn_id=conn_id, **places(bucket))
    iam = lightly.aws("iam")
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="theirs", PolicyDocument=json.dumps(deny))
    delete = DeleteLightlyAccessOperator(task_id="delete", role_name=name, access_conn_id=conn_id)

    with pytest.raises(LightlyAccessError, match=r"has\s+something\s+that\s+this\s+provider\s+did\s+not\s+make"):
        delete.execute(context)

    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["theirs"]
    assert kept(lightly, "ssm", name) is not None, "the next try finds what is left to do"
    iam.delete_role_policy(RoleName=name, PolicyName="theirs")
    assert delete.execute(context) == ["role", "kept access"]


def test_nothing_is_created_for_a_bucket_that_does_not_exist(
    lightly: Sandbox, name: str, context: dict[str, Any]
) -> None:
    with pytest.raises(LookupError, match="does not exist"):
        create_role(name, context, access_conn_id=f"ssm://aws_default/lightly/{name}", **places(f"no-{name}"))

    iam = lightly.aws("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=name)


def test_a_denial_to_airflows_own_identity_names_it_and_the_operation(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POOR", lightly.aws_connection(lightly.user()))

    with pytest.raises(
        LightlyAccessError,
        match=r"^(?s:AWS\s+refused\s+GetRole\s+to\s+.*\(AWS\s+connection\s+'poor'\):\s+AccessDenied)",
    ):
        create_role(name, context, access_conn_id=f"ssm://poor/lightly/{name}", aws_conn_id="poor", **places(bucket))


# --- keys that are lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", thinned([AirflowTaskTimeout, KeyboardInterrupt], keep=1))
def test_a_task_that_ends_before_its_new_key_is_kept_leaves_no_key_behind(
    end: type[BaseException],
    lightly: Sandbox,
    bucket: str,
    name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from botocore.client import BaseClient

    call = BaseClient._make_api_call

    def ended_at_the_store(client: Any, operation: str, arguments: Any) -> Any:
        if operation == "PutParameter":
            raise end("the task ends here")
        return call(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", ended_at_the_store)
    with pytest.raises(end, match="the task ends here"):
        create_user(name, context, access_conn_id=f"ssm://aws_default/lightly/{name}", **places(bucket))

    assert keys_of(lightly, name) == []


@pytest.mark.exhaustive(sample="test_an_access_is_created_works_and_goes_without_a_trace")
def test_a_key_whose_secret_is_lost_is_replaced_by_one_that_works(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    arguments = {"access_conn_id": f"ssm://aws_default/lightly/{name}", **places(bucket)}
    create_user(name, context, **arguments)
    (first,) = keys_of(lightly, name)
    lightly.aws("ssm").delete_parameter(Name=f"/lightly/{name}")

    again = create_user(name, context, **arguments)

    assert again["changed"] == ["access key", "kept access"]
    connection = kept(lightly, "ssm", name)
    assert connection is not None
    assert connection["login"] != first
    assert set(keys_of(lightly, name)) == {first, connection["login"]}
    verified(dataset_name, arguments["access_conn_id"], bucket, context)


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_iam(lightly: Sandbox) -> Iterator[None]:
    """An IAM whose changes take 3 seconds."""
    faults(lightly, "--iam-delay", "3")
    yield
    faults(lightly, "--iam-delay", "0")


def faults(sandbox: Sandbox, *options: str) -> None:
    """Tell the sandbox what to do wrongly."""
    command = [executable(), "faults", *options, "--ready-file", str(sandbox.ready_file)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.exhaustive(sample="test_an_access_is_created_works_and_goes_without_a_trace")
@pytest.mark.usefixtures("slow_iam")
def test_a_new_user_is_waited_for_until_its_keys_have_effect(
    lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    with pytest.raises(
        LightlyAccessError,
        match=r"(?s)After\s+\d+\s+s,\s+list\s+in\s+s3://.*\s+is\s+denied\s+.*raise\s+propagation_timeout",
    ):
        create_user(name, context, access_conn_id=conn_id, propagation_timeout=0, **places(bucket))

    create_user(f"{name}-2", context, access_conn_id=f"{conn_id}-2", **places(bucket))

    connection = kept(lightly, "ssm", f"{name}-2")
    assert connection is not None
    s3 = lightly.aws_as(Keys(access_key_id=connection["login"], secret_access_key=connection["password"]), "s3")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="raw/")["KeyCount"] == 1, "without waiting any longer"


@pytest.mark.exhaustive(sample="test_an_access_is_created_works_and_goes_without_a_trace")
@pytest.mark.usefixtures("slow_iam")
def test_a_new_role_works_for_the_platform_within_the_patience_of_the_verification(
    lightly: Sandbox, bucket: str, name: str, dataset_name: str, context: dict[str, Any]
) -> None:
    conn_id = f"ssm://aws_default/lightly/{name}"
    create_role(name, context, access_conn_id=conn_id, **places(bucket))

    verified(dataset_name, conn_id, bucket, context, patience=30)


def test_an_explicit_deny_is_not_waited_for(lightly: Sandbox, bucket: str, name: str, context: dict[str, Any]) -> None:
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
        "Condition": {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/{name}"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    lightly.aws("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    started = time.monotonic()

    reason = r"(?s)The\s+user's\s+keys\s+cannot\s+list\s+.*explicit\s+deny.*Waiting\s+does\s+not\s+help"
    with pytest.raises(LightlyAccessError, match=reason):
        create_user(name, context, access_conn_id=f"ssm://aws_default/lightly/{name}", **places(bucket))

    assert time.monotonic() - started < 30, "of 60"


# --- at the same time ---------------------------------------------------------------------------------------------


def take_tasks() -> None:
    """Let operators run in this thread: Airflow 2 sets up its guard in the main thread only."""
    try:
        from airflow.models.baseoperator import ExecutorSafeguard
    except ImportError:
        return
    ExecutorSafeguard._sentinel.callers = {}


@pytest.mark.parametrize("n_turns", [2, pytest.param(10, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("create", "store"),
    thinned(
        [(create, store) for create in (create_role, create_user) for store in STORES],
        keep=1,
    ),
)
@pytest.mark.exhaustive(sample="test_an_access_is_created_works_and_goes_without_a_trace")
def test_of_tasks_that_create_the_same_at_once_one_wins_and_the_others_adopt_it(
    create: Any, store: str, n_turns: int, lightly: Sandbox, bucket: str, name: str
) -> None:
    for turn in range(n_turns):
        conn_id, mine = f"{store}://aws_default/lightly/{name}-{turn}", f"{name}-{turn}"
        together = threading.Barrier(2)

        def task(mine: str = mine, conn_id: str = conn_id, together: threading.Barrier = together) -> dict[str, Any]:
            together.wait(timeout=30)
            return dict(create(mine, {"ti": TaskInstance()}, access_conn_id=conn_id, **places(bucket)))

        with ThreadPoolExecutor(2, initializer=take_tasks) as pool:
            outcomes = [future.result() for future in [pool.submit(task) for _ in range(2)]]

        assert outcomes[0]["arn"] == outcomes[1]["arn"]
        connection = kept(lightly, store, mine)
        assert connection is not None
        if create is create_user:
            assert keys_of(lightly, mine) == [connection["login"]], "no key is left of which nobody has the secret"
        else:
            role = lightly.aws("iam").get_role(RoleName=mine)["Role"]
            trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]
            assert connection["extra"]["assume_role_kwargs"]["ExternalId"] == trusted
        assert create(mine, {"ti": TaskInstance()}, access_conn_id=conn_id, **places(bucket))["changed"] == []


@pytest.mark.exhaustive(sample="test_an_access_is_created_works_and_goes_without_a_trace")
@pytest.mark.parametrize("n_turns", [2, pytest.param(6, marks=pytest.mark.exhaustive)])
def test_where_the_trust_was_lost_two_tasks_at_once_agree_on_one_external_id(
    n_turns: int, lightly: Sandbox, bucket: str, name: str
) -> None:
    conn_id, iam = f"ssm://aws_default/lightly/{name}", lightly.aws("iam")
    create_role(name, {"ti": TaskInstance()}, access_conn_id=conn_id, **places(bucket))
    for _ in range(n_turns):
        lost = {"Version": "2012-10-17", "Statement": []}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(lost))
        lightly.aws("ssm").delete_parameter(Name=f"/lightly/{name}")
        together = threading.Barrier(2)

        def task(together: threading.Barrier = together) -> None:
            together.wait(timeout=30)
            create_role(name, {"ti": TaskInstance()}, access_conn_id=conn_id, **places(bucket))

        with ThreadPoolExecutor(2, initializer=take_tasks) as pool:
            for future in [pool.submit(task) for _ in range(2)]:
                future.result()

        role = iam.get_role(RoleName=name)["Role"]
        trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]
        connection = kept(lightly, "ssm", name)
        assert connection is not None
        assert connection["extra"]["assume_role_kwargs"]["ExternalId"] == trusted
