"""The lights follow the IAM policy and nothing else; a failure says what to add, and that turns the light green."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.thinning import thinned

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

EXTERNAL_ID = "external-id-of-the-tests"


def granting(bucket: str, *actions: str) -> list[dict[str, Any]]:
    """Statements that allow these actions on the whole bucket."""
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return [{"Effect": "Allow", "Action": list(actions), "Resource": resources}] if actions else []


ALL = ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
SITUATIONS = {
    "nothing granted": ((), set()),
    "list only": (("s3:ListBucket",), {"list"}),
    "read only": (("s3:GetObject",), {"read"}),
    "list and read": (("s3:ListBucket", "s3:GetObject"), {"list", "read"}),
    "no delete": (("s3:ListBucket", "s3:GetObject", "s3:PutObject"), {"list", "read", "write"}),
    "all": (ALL, {"list", "read", "write", "overwrite"}),
}


@pytest.fixture
def bucket(sandbox: Sandbox) -> str:
    """A bucket with one object."""
    name = sandbox.bucket()
    sandbox.aws("s3").put_object(Bucket=name, Key="raw/a.jpg", Body=b"content")
    return name


def configured(name: str, context: dict[str, Any], **arguments: Any) -> str:
    """A dataset with a datasource; its id."""
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=name).execute(context)
    defaults = {"purpose": "INPUT_OUTPUT", "generate_thumbnails": True, "datasource_aws_conn_id": "aws_default"}
    arguments = defaults | arguments
    ConfigureS3DatasourceOperator(task_id="configure", dataset_id=dataset_id, **arguments).execute(context)
    return str(dataset_id)


def verify(dataset_id: str, context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """The verdict, also if the task fails."""
    operator = VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id, **arguments)
    with suppress(LightlyPermissionsError):
        operator.execute(context)
    return dict(context["ti"].pushed["verdict"])


def granted(verdict: dict[str, Any]) -> set[str]:
    """The permissions whose light is green."""
    return {check["permission"] for check in verdict["checks"] if check["granted"]}


@pytest.mark.parametrize(
    ("access", "situation"),
    thinned(
        [(access, situation) for access in ("user access", "delegated access") for situation in SITUATIONS],
        keep=6,
        covering=lambda _, situation: situation,
    ),
)
def test_the_lights_follow_the_policy(
    access: str,
    situation: str,
    lightly: Sandbox,
    bucket: str,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    actions, expected = SITUATIONS[situation]
    statements = granting(bucket, *actions)
    if access == "user access":
        monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(lightly.user(*statements)))
    else:
        extra = {"assume_role_kwargs": {"ExternalId": EXTERNAL_ID}, "region_name": lightly.region}
        role = lightly.role(EXTERNAL_ID, *statements)
        monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(role_arn=role, **extra))
    before = lightly.keys_under(bucket)

    dataset_id = configured(dataset_name, context, resource_path=f"s3://{bucket}/raw/", datasource_aws_conn_id="bucket")
    verdict = verify(dataset_id, context)

    assert granted(verdict) == expected
    assert verdict["ok"] == (situation == "all")
    assert lightly.keys_under(bucket) == before, "the verification left something behind"


def wrong_secret(sandbox: Sandbox, bucket: str) -> str:
    keys = sandbox.user(*granting(bucket, *ALL))
    return sandbox.aws_connection(replace(keys, secret_access_key="w" * 40))


def unknown_key(sandbox: Sandbox, bucket: str) -> str:
    keys = sandbox.user(*granting(bucket, *ALL))
    return sandbox.aws_connection(replace(keys, access_key_id="AKIAXXXXXXXXXXXXXXXX"))


def wrong_external_id(sandbox: Sandbox, bucket: str) -> str:
    role = sandbox.role(EXTERNAL_ID, *granting(bucket, *ALL))
    return sandbox.aws_connection(role_arn=role, assume_role_kwargs={"ExternalId": "another-external-id"})


def trust_for_another_account(sandbox: Sandbox, bucket: str) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
            }
        ],
    }
    role = sandbox.role(EXTERNAL_ID, *granting(bucket, *ALL), trust=trust)
    return sandbox.aws_connection(role_arn=role, assume_role_kwargs={"ExternalId": EXTERNAL_ID})


@pytest.mark.parametrize(
    "connection", thinned([wrong_secret, unknown_key, wrong_external_id, trust_for_another_account], keep=2)
)
def test_wrong_credentials_turn_all_lights_red(
    connection: Any,
    lightly: Sandbox,
    bucket: str,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", connection(lightly, bucket))

    dataset_id = configured(
        dataset_name,
        context,
        resource_path=f"s3://{bucket}/raw/",
        datasource_aws_conn_id="bucket",
        region=lightly.region,
    )
    verdict = verify(dataset_id, context)

    assert granted(verdict) == set()
    assert not verdict["ok"]
    required = [check for check in verdict["checks"] if check["required"]]
    assert all(check["error"] for check in required)
    assert all(check["advice"] for check in required), "another IAM statement would not help"
    assert not any(check["fix"] for check in required)


def test_a_failure_names_permission_bucket_and_prefix_and_its_statement_turns_the_light_green(
    lightly: Sandbox, bucket: str, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = S3Location.parse(f"s3://{bucket}/raw/", argument="resource_path")
    keys = lightly.user(*policy_document(raw, Purpose.INPUT)["Statement"])
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(keys))
    dataset_id = configured(dataset_name, context, resource_path=raw.uri, datasource_aws_conn_id="bucket")

    operator = VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id)
    with pytest.raises(LightlyPermissionsError) as caught:
        operator.execute(context)

    message = str(caught.value)
    assert "write" in message
    assert bucket in message
    assert "raw/" in message
    assert "s3:PutObject" in message
    assert "list," not in message, "what is granted is not complained about"
    verdict = context["ti"].pushed["verdict"]
    fix = [statement for check in verdict["checks"] if check["status"] == "FAIL" for statement in check["fix"]]
    lightly.grant(keys.user_name, *fix, policy_name="fix")
    assert verify(dataset_id, context)["ok"]


def test_require_overrides_what_the_use_needs(
    lightly: Sandbox, bucket: str, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = lightly.user(*granting(bucket, "s3:ListBucket", "s3:GetObject"))
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(keys))
    dataset_id = configured(dataset_name, context, resource_path=f"s3://{bucket}/raw/", datasource_aws_conn_id="bucket")

    assert not verify(dataset_id, context)["ok"]
    assert verify(dataset_id, context, require=("list", "read"))["ok"]
    assert not verify(dataset_id, context, require=("write",))["ok"]


def test_on_failure_warns_or_skips_instead_of_failing(
    lightly: Sandbox, bucket: str, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat.sdk import AirflowSkipException

    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(lightly.user()))
    dataset_id = configured(
        dataset_name,
        context,
        resource_path=f"s3://{bucket}/raw/",
        datasource_aws_conn_id="bucket",
        region=lightly.region,
    )

    warned = VerifyDatasourcePermissionsOperator(task_id="warn", dataset_id=dataset_id, on_failure="warn")
    assert warned.execute(context)["ok"] is False
    skipped = VerifyDatasourcePermissionsOperator(task_id="skip", dataset_id=dataset_id, on_failure="skip")
    with pytest.raises(AirflowSkipException, match=bucket):
        skipped.execute(context)


def test_a_denial_is_tried_again_while_the_grant_may_be_on_its_way(
    lightly: Sandbox, bucket: str, dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = lightly.user()
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", lightly.aws_connection(keys))
    dataset_id = configured(
        dataset_name,
        context,
        resource_path=f"s3://{bucket}/raw/",
        datasource_aws_conn_id="bucket",
        region=lightly.region,
    )
    assert not verify(dataset_id, context)["ok"]
    grant = threading.Timer(1.0, lightly.grant, args=(keys.user_name, *granting(bucket, *ALL)))
    grant.start()
    try:
        assert verify(dataset_id, context, propagation_timeout=30)["ok"]
    finally:
        grant.join()
