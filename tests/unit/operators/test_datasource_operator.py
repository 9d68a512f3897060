"""What is set, against a platform and an S3 that follow a script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.credentials import InvalidAccessError
from lightly_provider.aws.regions import InvalidRegionError
from lightly_provider.exceptions import LightlyDatasourceError
from lightly_provider.operators.datasource import DEFAULT_THUMBNAIL_SUFFIX, ConfigureS3DatasourceOperator
from tests.contract.schema import assert_fits_contract
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform
from tests.unit.operators.example_operators import DATASET, EXTERNAL_ID, ROLE

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_ID, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "CANARYSECRETKEY/with+signs".ljust(40, "0")
KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NOTHING, SET = Answer(200, []), Answer(200)


@pytest.fixture(autouse=True)
def _aws_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    role = {"role_arn": ROLE, "assume_role_kwargs": {"ExternalId": EXTERNAL_ID}, "region_name": "us-west-2"}
    connections = {
        "BUCKET": {"login": KEY_ID, "password": SECRET_KEY},
        "OF_ROLE": {"extra": role},
        "TEMPORARY": {"login": KEY_ID, "password": SECRET_KEY, "extra": {"aws_session_token": "CANARYSESSION"}},
    }
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "aws", **fields}))


def configure(context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    defaults = {"dataset_id": DATASET, "resource_path": "s3://my-bucket/photos", "region": "eu-central-1"}
    defaults |= {} if "role_arn" in arguments else {"datasource_aws_conn_id": "bucket"}
    operator = ConfigureS3DatasourceOperator(task_id="a_task", **defaults | arguments)
    result: dict[str, Any] = operator.execute(context)  # type: ignore[arg-type]
    shown = json.dumps(result) + json.dumps(context["ti"].xcoms)
    assert "CANARY" not in shown
    assert context["ti"].xcoms == {"lightly_dataset_url": f"https://app.lightly.ai/dataset/{DATASET}"}
    return result


def bodies(platform: ScriptedPlatform) -> list[Any]:
    for received in platform.received:
        assert_fits_contract(received.method, received.url, received.body)
    return [received.json for received in platform.received if received.method == "PUT"]


def test_keys_and_one_path_are_one_datasource_for_both(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(NOTHING, SET)
    result = configure(context)
    (body,) = bodies(started)
    assert body == {
        "type": "S3",
        "purpose": "INPUT_OUTPUT",
        "fullPath": "s3://my-bucket/photos/",
        "s3Region": "eu-central-1",
        "s3AccessKeyId": KEY_ID,
        "s3SecretAccessKey": SECRET_KEY,
    }
    public = {name: value for name, value in body.items() if name != "s3SecretAccessKey"}
    assert result == {"dataset_id": DATASET, "changed": ["INPUT_OUTPUT"], "datasources": {"INPUT_OUTPUT": public}}


@pytest.mark.parametrize(
    "access",
    [{"datasource_aws_conn_id": "of_role"}, {"role_arn": ROLE, "external_id": EXTERNAL_ID}],
    ids=["of a connection", "of the arguments"],
)
def test_a_role_is_delegated_access(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], access: dict[str, str]
) -> None:
    started = platform(NOTHING, SET)
    result = configure(context, purpose="INPUT", **access)
    (body,) = bodies(started)
    assert body == {
        "type": "S3DelegatedAccess",
        "purpose": "INPUT",
        "fullPath": "s3://my-bucket/photos/",
        "s3Region": "eu-central-1",
        "s3ARN": ROLE,
        "s3ExternalId": EXTERNAL_ID,
    }
    assert "s3ExternalId" not in result["datasources"]["INPUT"]


def test_an_output_path_is_a_second_datasource_with_its_own_access_thumbnails_and_key(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(NOTHING, SET, NOTHING, SET)
    result = configure(
        context,
        output_resource_path="s3://other-bucket/out",
        output_aws_conn_id="of_role",
        generate_thumbnails=True,
        kms_key_arn=KMS_KEY,
    )
    read, written = bodies(started)
    assert read == {
        "type": "S3",
        "purpose": "INPUT",
        "fullPath": "s3://my-bucket/photos/",
        "s3Region": "eu-central-1",
        "s3AccessKeyId": KEY_ID,
        "s3SecretAccessKey": SECRET_KEY,
    }
    assert written == {
        "type": "S3DelegatedAccess",
        "purpose": "LIGHTLY",
        "fullPath": "s3://other-bucket/out/",
        "s3Region": "eu-central-1",
        "s3ARN": ROLE,
        "s3ExternalId": EXTERNAL_ID,
        "thumbSuffix": DEFAULT_THUMBNAIL_SUFFIX,
        "s3ServerSideEncryptionKMSKey": KMS_KEY,
    }
    assert result["changed"] == ["INPUT", "LIGHTLY"]


def test_without_a_connection_of_its_own_the_output_is_reached_like_the_input(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(NOTHING, SET, NOTHING, SET)
    configure(context, output_resource_path="s3://other-bucket/out", datasource_aws_conn_id="of_role")
    assert {body["s3ARN"] for body in bodies(started)} == {ROLE}


def test_a_suffix_of_ones_own_turns_thumbnails_on(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(NOTHING, SET)
    configure(context, thumbnail_suffix="thumbs/[filename].[extension]")
    assert bodies(started)[0]["thumbSuffix"] == "thumbs/[filename].[extension]"


def test_the_second_run_changes_nothing(platform: Callable[..., ScriptedPlatform], context: dict[str, Any]) -> None:
    first = platform(NOTHING, SET)
    configure(context)
    second = platform(Answer(200, [bodies(first)[0] | {"id": "0" * 24}]))
    result = configure(context)
    assert bodies(second) == []
    assert result["changed"] == []
    assert list(result["datasources"]) == ["INPUT_OUTPUT"]


def test_a_datasource_that_counts_before_the_one_that_is_set_is_warned_of(
    platform: Callable[..., ScriptedPlatform],
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def logged() -> str:
        """What was logged since: Airflow 3 prints it, Airflow 2 logs it."""
        text = caplog.text + capsys.readouterr().out
        caplog.clear()
        return text

    present = {"type": "S3", "purpose": "INPUT", "fullPath": "s3://old-bucket/a/", "s3Region": "eu-central-1"}
    platform(Answer(200, [present]), SET)
    configure(context)
    warning = f"Dataset {DATASET} still has a datasource INPUT, s3://old-bucket/a/, which counts before INPUT_OUTPUT"
    assert warning in logged()
    no_runs = Answer(200, [])
    platform(Answer(200, [present]), no_runs, SET, SET)
    configure(context, purpose="INPUT")
    assert "counts before" not in logged()
    platform(Answer(200, [{**present, "fullPath": "s3://my-bucket/photos"}]), SET)
    configure(context)
    assert "counts before" not in logged()


def test_the_region_is_what_s3_tells(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = platform(NOTHING, SET)
    with ScriptedPlatform([Answer(403, headers={"x-amz-bucket-region": "eu-north-1"})]) as s3:
        extra = {"endpoint_url": s3.address, "region_name": "us-west-2"}
        connection = {"conn_type": "aws", "login": KEY_ID, "password": SECRET_KEY, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
        configure(context, region=None, datasource_aws_conn_id="my_s3")
    assert bodies(started)[0]["s3Region"] == "eu-north-1"


def test_what_s3_does_not_tell_is_what_the_connection_says(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = platform(NOTHING, SET)
    with ScriptedPlatform([Answer(403)]) as s3:
        extra = {"endpoint_url": s3.address, "region_name": "us-west-2"}
        connection = {"conn_type": "aws", "login": KEY_ID, "password": SECRET_KEY, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
        configure(context, region=None, datasource_aws_conn_id="my_s3")
    assert bodies(started)[0]["s3Region"] == "us-west-2"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(403), "The region of bucket 'my-bucket' (resource_path) could not be"),
        (Answer(403, headers={"x-amz-bucket-region": "mars-1"}), "region='mars-1' is not an AWS region"),
        (Answer(404), "Bucket 'my-bucket' does not exist"),
    ],
)
def test_without_a_region_nothing_is_set(
    platform: Callable[..., ScriptedPlatform],
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    expected: str,
) -> None:
    started = platform(NOTHING, SET)
    with ScriptedPlatform([answer]) as s3:
        connection = {
            "conn_type": "aws",
            "login": KEY_ID,
            "password": SECRET_KEY,
            "extra": {"endpoint_url": s3.address},
        }
        monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
        with pytest.raises((ValueError, LookupError)) as refused:
            configure(context, region=None, datasource_aws_conn_id="my_s3")
    assert expected in str(refused.value)
    assert started.received == []


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (
            {"datasource_aws_conn_id": "temporary"},
            InvalidAccessError,
            r"holds a session token, but the\s+platform has no",
        ),
        (
            {"output_resource_path": "s3://out-bucket/", "output_aws_conn_id": "temporary"},
            InvalidAccessError,
            "AWS connection 'temporary' holds a session token",
        ),
        ({"kms_key_arn": KMS_KEY, "region": "eu-west-1"}, InvalidAccessError, "key lies in eu-central-1 and the"),
    ],
)
def test_a_fault_in_one_of_the_connections_sets_nothing_at_all(
    platform: Callable[..., ScriptedPlatform],
    context: dict[str, Any],
    arguments: dict[str, Any],
    error: type[Exception],
    expected: str,
) -> None:
    started = platform(NOTHING, SET)
    with pytest.raises(error, match=expected) as refused:
        configure(context, **arguments)
    assert "CANARY" not in str(refused.value)
    assert started.received == []


def test_a_template_that_renders_to_a_short_external_id_sets_nothing(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(NOTHING, SET)
    with pytest.raises(InvalidAccessError, match="external_id is shorter than the 10 characters"):
        configure(context | {"params": {"x": "CANARY"}}, role_arn=ROLE, external_id="{{ params.x }}")
    assert started.received == []


def test_what_the_platform_refuses_is_told_without_the_secret(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    refusal = {"code": "DATASET_DATASOURCE_CREDENTIALS_ERROR", "error": f"cannot use {SECRET_KEY}"}
    platform(NOTHING, Answer(400, refusal))
    with pytest.raises(LightlyDatasourceError, match=r"cannot use \*\*\*"):
        configure(context)


def test_a_region_is_checked_against_the_installed_sdk_only_when_our_list_lacks_it() -> None:
    with pytest.raises(InvalidRegionError):
        ConfigureS3DatasourceOperator(
            task_id="t", dataset_id=DATASET, resource_path="s3://my-bucket/", region="aws-global"
        )
