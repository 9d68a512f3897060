"""What an AWS connection says about a bucket, against an S3 that follows a script."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.credentials import DelegatedAccess, InvalidAccessError, UserAccess
from lightly_provider.exceptions import (
    LightlyAccessError,
    LightlyConnectionConfigError,
    LightlyConnectionMissingError,
)
from lightly_provider.hooks.aws import (
    QUICK,
    AwsConnection,
    AwsConnections,
    Identity,
    connection_fields,
    refusals_explained,
)
from lightly_provider.hooks.aws import find_bucket_region as region_of_bucket
from lightly_provider.masking import masked
from tests.unit.api.scripted_platform import Answer, NoAnswer, ScriptedPlatform, Step, refusing_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY_ID, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "CANARYSECRETKEY/with+signs/of+40characters"[:40]
ROLE, EXTERNAL_ID = "arn:aws:iam::123456789012:role/Lightly", "CANARYEXTERNALID"
KEYS = {"login": KEY_ID, "password": SECRET_KEY}
OF_ROLE = {"role_arn": ROLE, "assume_role_kwargs": {"ExternalId": EXTERNAL_ID}}
AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
airflow_passes_any_extra_on = pytest.mark.skipif(
    (3, 0) <= AIRFLOW < (3, 2), reason="Airflow 3.0 and 3.1 say of such a connection that it is not defined"
)


@pytest.fixture
def aws_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Sets an AWS connection; its id."""

    def set_connection(extra: Any = None, **fields: Any) -> str:
        connection = {"conn_type": "aws", "extra": extra or {}, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_MY_AWS", json.dumps(connection))
        return "my_aws"

    return set_connection


def find_bucket_region(bucket: str, conn_id: str) -> str | None:
    """A bucket's region, with a connection that was not read yet."""
    return region_of_bucket(bucket, AwsConnection(conn_id))


def test_keys_are_user_access(aws_connection: Callable[..., str]) -> None:
    connection = AwsConnection(aws_connection({"region_name": "eu-west-1"}, **KEYS))
    assert connection.access == UserAccess(KEY_ID, SECRET_KEY)
    assert connection.region == "eu-west-1"
    assert connection.has_keys


@pytest.mark.parametrize("keys", [{}, KEYS])
def test_a_role_with_an_external_id_is_delegated_access(aws_connection: Callable[..., str], keys: Any) -> None:
    connection = AwsConnection(aws_connection(OF_ROLE, **keys))
    assert connection.access == DelegatedAccess(ROLE, EXTERNAL_ID)
    assert connection.region is None
    assert connection.has_keys == bool(keys)


@pytest.mark.parametrize(
    ("extra", "fields", "wording"),
    [
        ({"aws_session_token": "CANARYTOKEN"}, KEYS, "holds a session token"),
        ({}, {"login": "ASIAIOSFODNN7EXAMPLE", "password": SECRET_KEY}, "holds a temporary key"),
        ({}, {}, "neither keys nor a role"),
        ({"role_arn": ROLE}, {}, "has a role_arn without an external ID"),
        ({"role_arn": ROLE, "assume_role_kwargs": {"ExternalId": "CANARY"}}, {}, "is shorter than the 10 characters"),
        (OF_ROLE | {"role_arn": "arn:aws-cn:iam::123456789012:role/x"}, {}, "partition 'aws-cn'"),
    ],
)
def test_what_lightly_cannot_use_is_refused(
    aws_connection: Callable[..., str], extra: dict[str, Any], fields: dict[str, str], wording: str
) -> None:
    with pytest.raises(InvalidAccessError, match=wording) as refused:
        AwsConnection(aws_connection(extra, **fields)).access  # noqa: B018
    assert "'my_aws'" in str(refused.value)
    assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize("extra", [OF_ROLE, {}])
def test_a_connection_that_was_read_shows_no_secret(aws_connection: Callable[..., str], extra: dict[str, Any]) -> None:
    connection = AwsConnection(aws_connection(extra, **KEYS))
    assert "CANARY" not in repr(connection) + repr(connection.access)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the connections that Airflow looked up, once for each look."""
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    seen: list[str] = []
    look_up = EnvironmentVariablesBackend.get_conn_value

    def watched(backend: EnvironmentVariablesBackend, conn_id: str, *rest: Any, **named: Any) -> str | None:
        seen.append(conn_id)
        return look_up(backend, conn_id, *rest, **named)

    monkeypatch.setattr(EnvironmentVariablesBackend, "get_conn_value", watched)
    return seen


@pytest.mark.parametrize("extra", [OF_ROLE, {}])
def test_whatever_is_asked_of_a_connection_it_is_read_once(
    aws_connection: Callable[..., str], reads: list[str], extra: dict[str, Any]
) -> None:
    connections = AwsConnections()
    conn_id = aws_connection(extra, **KEYS)
    assert reads == [], "it is read when it is needed"
    for _ in range(2):
        connection = connections[conn_id]
        assert connection.access
        assert connection.endpoint_extra == {}
        clients = [connection.client(service, identity=Identity.KEYS) for service in ("s3", "sts", "iam")]
        assert connection.client("s3", identity=Identity.KEYS) is clients[0]
    assert reads == ["my_aws"]


# --- the connection's own settings --------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", Identity)
def test_every_client_has_the_connections_own_settings(
    aws_connection: Callable[..., str], identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, config = tmp_path / "ca.pem", tmp_path / "config"
    bundle.write_text("")
    config.write_text("[profile photos]\nregion = eu-north-1\nendpoint_url = http://127.0.0.1:3\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    extra = {
        "profile_name": "photos",
        "service_config": {"s3": {"endpoint_url": "http://127.0.0.1:2"}},
        "verify": str(bundle),
        "config_kwargs": {"connect_timeout": 3, "proxies": {"https": "http://127.0.0.1:9"}},
    }
    connection = AwsConnection(aws_connection(extra, **KEYS))

    s3 = connection.client("s3", identity=identity, config={"connect_timeout": 5, "read_timeout": 15})

    assert s3.meta.endpoint_url == "http://127.0.0.1:2"
    assert s3.meta.region_name == "eu-north-1"
    assert s3.meta.config.connect_timeout == 3, "the connection's own setting counts"
    assert s3.meta.config.read_timeout == 15, "where it has none, the given one does"
    assert s3.meta.config.proxies == {"https": "http://127.0.0.1:9"}
    assert s3._endpoint.http_session._verify == str(bundle)
    assert connection.client("sts", identity=identity).meta.endpoint_url == "http://127.0.0.1:3", "of the profile"


def test_a_role_is_assumed_by_airflows_own_identity_only(
    aws_connection: Callable[..., str], s3: Callable[..., ScriptedPlatform]
) -> None:
    answer = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>CANARYSESSIONKEY</SecretAccessKey>
        <SessionToken>CANARYSESSIONTOKEN</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
        </Credentials></AssumeRoleResult></AssumeRoleResponse>"""
    sts = s3(Answer(200, body=answer.encode()))
    connection = AwsConnection(
        aws_connection({**OF_ROLE, "service_config": {"sts": {"endpoint_url": sts.address}}}, **KEYS)
    )

    held = {one: connection.client("s3", identity=one)._request_signer._credentials for one in Identity}

    assert held[Identity.OWN].access_key == "ASIAIOSFODNN7EXAMPLE"
    assert held[Identity.KEYS].access_key == KEY_ID
    assert len(sts.received) == 1
    assert b"ExternalId=CANARYEXTERNALID" in sts.received[0].body


@pytest.mark.parametrize("identity", [Identity.OWN, Identity.KEYS])
def test_at_debug_no_secret_of_a_session_is_logged(
    aws_connection: Callable[..., str],
    s3: Callable[..., ScriptedPlatform],
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>CANARYSESSIONKEY</SecretAccessKey>
        <SessionToken>CANARYSESSIONTOKEN</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
        </Credentials></AssumeRoleResult></AssumeRoleResponse>"""
    sts, bucket = s3(Answer(200, body=answer.encode())), s3(says("eu-north-1"))
    endpoints = {"sts": {"endpoint_url": sts.address}, "s3": {"endpoint_url": bucket.address}}
    with caplog.at_level("DEBUG"):
        extra = {**OF_ROLE, "service_config": endpoints}
        connection = AwsConnection(aws_connection(extra, **KEYS))
        connection.client("s3", identity=identity).head_bucket(Bucket="my-bucket")

    assert [record for record in caplog.records if record.name.startswith("botocore")], "this proves nothing"
    assert "CANARY" not in caplog.text.replace("assume_role_kwargs", "")


# --- what cannot be right -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            {"extra": ["CANARY"]},
            "The extra of AWS connection 'my_aws' is a list; it must be a JSON object",
            marks=airflow_passes_any_extra_on,
        ),
        pytest.param(
            {"extra": "CANARY, no JSON"},
            "is text that is not JSON; it must be a JSON object",
            marks=airflow_passes_any_extra_on,
        ),
        ({"extra": {**OF_ROLE, "assume_role_kwargs": ["CANARY"]}}, "assume_role_kwargs in the extra of .* is a list"),
        ({"extra": {**OF_ROLE, "assume_role_kwargs": "CANARY"}}, "assume_role_kwargs .* is text that is not JSON"),
        ({"extra": {"service_config": "[]"}}, "service_config in the extra of .* is a list"),
        ({"extra": {"service_config": {"s3": "CANARY"}}}, "service_config.s3 .* is text that is not JSON"),
        ({"extra": {**OF_ROLE, "assume_role_kwargs": {"ExternalId": 12345678901}}}, "ExternalId .* is a int and not a"),
        ({"extra": {**OF_ROLE, "assume_role_kwargs": '{"ExternalId": 1e12}'}}, "ExternalId .* is a float and not a"),
        ({"extra": {"role_arn": 7}}, "role_arn in the extra of .* is a int"),
        ({"extra": {"profile_name": "gone"}}, r"The config profile \(gone\) could not be found"),
        ({"extra": {"region_name": "eu-central1"}}, "region_name in the extra .*is not an AWS region; did you mean"),
        ({"extra": {"region_name": "a nonsense\nregion"}}, "is not an AWS region"),
        ({"extra": {"endpoint_url": "CANARY"}}, "endpoint_url in the extra of .* is not the address of a server"),
        ({"extra": {"endpoint_url": "http://127.0.0.1:port"}}, "is not the address of a server"),
        (
            {"extra": {"service_config": {"s3": {"endpoint_url": "s3.local"}}}},
            "service_config.s3.endpoint_url .* is no",
        ),
        ({"extra": {"config_kwargs": {"nonsense": 1}}}, "unexpected key"),
        (
            {"extra": {"config_kwargs": {"proxies": "http://u:CANARY@p"}}},
            "config_kwargs.proxies .* is text that is not",
        ),
        ({"extra": {"endpoint_url": "http://a\x1bb"}}, "is not the address of a server"),
        ({"extra": {"endpoint_url": "http://minio:CANARY@my_minio:9000"}}, r"http://\*\*\*@my_minio:9000; correct"),
        (
            {"extra": {"service_config": {"s3": {"endpoint_url": "http://minio:CANARY@my_minio"}}}},
            r"http://\*\*\*@my_minio; correct",
        ),
        (
            {"extra": {"config_kwargs": {"proxies": {"https": "http://u:CANARY@p:99999"}}}},
            r"config_kwargs.proxies.https in the extra of .* is not the address of a server",
        ),
        ({"extra": {"config_kwargs": {"proxies": {"https": "u:CANARY@p\u2100"}}}}, "is not the address of a server"),
        ({"extra": {"config_kwargs": {"connect_timeout": "a\nb"}}}, r"Timeout value connect was a\\nb"),
        ({"extra": {"service_config": "[" * 100_000}}, "service_config in the extra of .* is text that is not JSON"),
        ({"extra": {"config_kwargs": {"retries": 7}}}, "cannot be used"),
        ({"extra": {"verify": "/no/such/bundle.pem"}}, "there is no such file on this machine"),
        ({"extra": {**OF_ROLE, "assume_role_method": "by_magic"}}, "by_magic"),
        ({"extra": {**OF_ROLE, "assume_role_method": "assume_role_with_saml"}}, "assume_role_with_saml"),
        ({"conn_type": "postgres"}, "is of the type 'postgres'; name one of the type 'aws'"),
        ({"conn_type": "generic", "extra": OF_ROLE}, "is of the type 'generic'"),
    ],
)
def test_a_setting_that_cannot_be_right_is_one_sentence(
    aws_connection: Callable[..., str], change: dict[str, Any], expected: str
) -> None:
    connection = AwsConnection(aws_connection(**{**KEYS, **change}))

    with pytest.raises(LightlyConnectionConfigError, match=expected) as refused:
        connection.client("s3")

    assert "'my_aws'" in str(refused.value)
    assert "CANARY" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("field", ["login", "password"])
def test_a_login_or_password_that_is_no_text_is_one_sentence(field: str) -> None:
    fields = {"conn_type": "aws", **KEYS, field: 12345}
    with pytest.raises(LightlyConnectionConfigError, match=f"The {field} of AWS connection 'x' is not text; write it"):
        AwsConnection("x", fields=fields).client("s3")


def test_a_secret_of_nested_json_is_no_connection() -> None:
    with pytest.raises(LightlyAccessError, match="holds something else than an Airflow connection"):
        connection_fields("[" * 100_000, "ssm://my_aws/x")


def test_null_in_the_extra_means_that_it_is_left_out(aws_connection: Callable[..., str]) -> None:
    extra = {"assume_role_kwargs": {"ExternalId": None}, "config_kwargs": {"connect_timeout": None}}
    connection = AwsConnection(aws_connection(extra, **KEYS))
    assert connection.client("s3").meta.config.connect_timeout == 60
    assert connection.access == UserAccess(KEY_ID, SECRET_KEY)


@pytest.mark.parametrize("code", ["AccessDenied", "Odd\x1b[2J"])
def test_what_aws_answers_is_shown_escaped(code: str) -> None:
    from botocore.exceptions import ClientError

    answer = ClientError({"Error": {"Code": code, "Message": "no\n::group::x"}}, "CreateRole")
    with pytest.raises(LightlyAccessError) as refused, refusals_explained(AwsConnection(None)):
        raise answer
    assert str(refused.value).isprintable()
    assert "::group::" not in str(refused.value)


@pytest.mark.parametrize("conn_id", ["", "  ", 7, ["my_aws"], False])
def test_what_is_no_id_is_refused(conn_id: Any) -> None:
    with pytest.raises(LightlyConnectionConfigError, match="The id of an AWS connection is "):
        AwsConnection(conn_id)


def test_a_connection_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(LightlyConnectionConfigError, match="There is no Airflow connection 'None'; create it"):
        AwsConnection("None").client("s3")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            '{"conn_type": "aws" "password": "CANARY"}',
            r"is not valid JSON \(Expecting ',' delimiter, line 1, column 21\)",
        ),
        ("\n{'conn_type': 'aws', 'password': 'CANARY'}", "is not valid JSON .*line 2, column 2"),
        ('{"conn_type": "aws", "passwort": "CANARY"}', "a field has a name that Airflow does not know"),
        ('{"conn_type": "aws", "password": "CANARY", "port": "CANARY"}', "the port is not a number"),
    ],
)
def test_a_variable_that_airflow_cannot_read_is_not_said_to_be_missing(
    value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MY_AWS", value)
    with pytest.raises(
        LightlyConnectionMissingError, match="cannot read the connection 'my_aws' from AIRFLOW_CONN_MY_AWS: "
    ) as refused:
        AwsConnection("my_aws").client("s3")
    assert re.search(expected, str(refused.value))
    assert "CANARY" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.skipif(not (3, 0) <= AIRFLOW < (3, 2), reason="other versions of Airflow read such a connection")
@pytest.mark.parametrize("extra", [["CANARY"], "CANARY, no JSON"])
def test_where_airflow_refuses_an_extra_that_is_no_object_its_variable_is_named(
    aws_connection: Callable[..., str], extra: Any
) -> None:
    with pytest.raises(LightlyConnectionMissingError, match=r"AIRFLOW_CONN_MY_AWS: .* the extra is not a JSON object"):
        AwsConnection(aws_connection(extra, **KEYS)).client("s3")


def test_objects_in_the_extra_may_be_json_texts(aws_connection: Callable[..., str]) -> None:
    """As Airflow's form and many secrets backends store them."""
    extra = {
        "role_arn": ROLE,
        "assume_role_kwargs": json.dumps({"ExternalId": "0123456789"}),
        "service_config": json.dumps({"s3": {"endpoint_url": "http://127.0.0.1:2"}}),
        "config_kwargs": '{"connect_timeout": 3}',
        "verify": "false",
    }
    connection = AwsConnection(aws_connection(extra, **KEYS))
    assert connection.access == DelegatedAccess(ROLE, "0123456789"), "digits stay as they are written"
    s3 = connection.client("s3", identity=Identity.KEYS)
    assert (s3.meta.endpoint_url, s3.meta.config.connect_timeout) == ("http://127.0.0.1:2", 3)
    assert s3._endpoint.http_session._verify is False


# --- region -------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3() -> Iterator[Callable[..., ScriptedPlatform]]:
    with ExitStack() as stack:
        yield lambda *steps: stack.enter_context(ScriptedPlatform(steps))


def says(region: str, status: int = 200) -> Answer:
    return Answer(status, headers={"x-amz-bucket-region": region})


@pytest.mark.parametrize("status", [200, 403, 301, 400])
def test_s3_tells_a_region_with_a_denial_too(
    s3: Callable[..., ScriptedPlatform], aws_connection: Callable[..., str], status: int
) -> None:
    bucket = s3(says("eu-north-1", status))
    conn_id = aws_connection({"endpoint_url": bucket.address}, **KEYS)
    assert find_bucket_region("my-bucket", conn_id) == "eu-north-1"
    assert bucket.received[0].method == "HEAD"
    assert f"Credential={KEY_ID}/" in bucket.received[0].headers["Authorization"]


def test_without_keys_s3_is_asked_unsigned_and_the_role_is_left_alone(
    s3: Callable[..., ScriptedPlatform], aws_connection: Callable[..., str]
) -> None:
    bucket = s3(says("eu-north-1", 403))
    conn_id = aws_connection({"endpoint_url": bucket.address, **OF_ROLE})
    assert find_bucket_region("my-bucket", conn_id) == "eu-north-1"
    (received,) = bucket.received
    assert "Authorization" not in received.headers
    assert received.path == "/my-bucket"


@pytest.mark.parametrize("step", [Answer(200), Answer(403), NoAnswer()])
def test_what_s3_does_not_tell_is_none(
    s3: Callable[..., ScriptedPlatform], aws_connection: Callable[..., str], step: Step
) -> None:
    conn_id = aws_connection({"endpoint_url": s3(step).address}, **KEYS)
    assert find_bucket_region("my-bucket", conn_id) is None


def test_an_s3_that_is_not_there_tells_nothing(aws_connection: Callable[..., str]) -> None:
    assert find_bucket_region("my-bucket", aws_connection({"endpoint_url": refusing_address()}, **KEYS)) is None


@pytest.mark.parametrize("of_service", [False, True])
@pytest.mark.parametrize("is_proxy", [False, True])
def test_a_password_in_an_address_reaches_no_log_and_no_message_if_nothing_answers_there(
    aws_connection: Callable[..., str], caplog: pytest.LogCaptureFixture, is_proxy: bool, of_service: bool
) -> None:
    address = refusing_address().replace("//", "//minio:IN-AN-ADDRESS-CANARY@")
    endpoint = {"endpoint_url": "http://127.0.0.1:1" if is_proxy else address}
    extra: dict[str, Any] = {"service_config": {"s3": endpoint}} if of_service else dict(endpoint)
    if is_proxy:
        extra["config_kwargs"] = {"proxies": {"http": address}}
    connection = AwsConnection(aws_connection(extra, **KEYS))
    assert region_of_bucket("my-bucket", connection) is None
    with pytest.raises(LightlyAccessError, match="AWS could not be asked") as refused, refusals_explained(connection):
        connection.client("s3", config=QUICK).list_objects_v2(Bucket="my-bucket", Prefix="a/")
    said = f"{refused.value}\n{caplog.text}\n{connection.endpoint_url('s3')}"
    assert said.count("//***@") == 2
    assert "CANARY" not in said
    assert "prefix" not in said
    assert masked("the password is IN-AN-ADDRESS-CANARY") == "the password is ***"


def test_a_bucket_that_does_not_exist_is_told(
    s3: Callable[..., ScriptedPlatform], aws_connection: Callable[..., str]
) -> None:
    conn_id = aws_connection({"endpoint_url": s3(Answer(404)).address}, **KEYS)
    with pytest.raises(LookupError, match="Bucket 'my-bucket' does not exist") as missing:
        find_bucket_region("my-bucket", conn_id)
    assert missing.value.__suppress_context__


def test_our_own_clients_are_created_without_a_line_and_the_users_are_not_silenced(
    aws_connection: Callable[..., str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    said: list[tuple[str, str]] = []

    class Log:
        def info(self, message: str, *_: Any) -> None:
            said.append(("info", message))

        def debug(self, message: str, *_: Any) -> None:
            said.append(("debug", message))

    monkeypatch.setattr(AwsConnectionWrapper, "log", Log())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with caplog.at_level("INFO", logger="botocore.credentials"):
        AwsConnection(aws_connection(**KEYS)).client("iam")
        AwsConnection(None).client("s3", identity=Identity.KEYS)
        assert "Found credentials" not in caplog.text
        assert {level for level, line in said if "credentials retrieved" in line} == {"debug"}

        boto3.session.Session().client("s3", region_name="eu-central-1")
        AwsConnectionWrapper.from_connection_metadata(conn_id="theirs", login=KEY_ID, password=SECRET_KEY)

    assert "Found credentials in environment variables" in caplog.text
    assert ("info", "%s credentials retrieved from login and password.") in said
