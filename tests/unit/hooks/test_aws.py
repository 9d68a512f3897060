"""What an AWS connection says about a bucket, against an S3 that follows a script."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.credentials import DelegatedAccess, InvalidAccessError, UserAccess
from lightly_provider.hooks.aws import AwsConnection, find_bucket_region, read_aws_connection
from tests.unit.api.scripted_platform import Answer, NoAnswer, ScriptedPlatform, Step, refusing_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY_ID, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "CANARYSECRETKEY/with+signs"
ROLE, EXTERNAL_ID = "arn:aws:iam::123456789012:role/Lightly", "CANARYEXTERNALID"
KEYS = {"login": KEY_ID, "password": SECRET_KEY}
OF_ROLE = {"role_arn": ROLE, "assume_role_kwargs": {"ExternalId": EXTERNAL_ID}}


@pytest.fixture
def aws_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Sets an AWS connection; its id."""

    def set_connection(extra: dict[str, Any] | None = None, **fields: Any) -> str:
        connection = {"conn_type": "aws", "extra": extra or {}, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_MY_AWS", json.dumps(connection))
        return "my_aws"

    return set_connection


def test_keys_are_user_access(aws_connection: Callable[..., str]) -> None:
    conn_id = aws_connection({"region_name": "eu-west-1"}, **KEYS)
    assert read_aws_connection(conn_id) == AwsConnection(
        conn_id="my_aws", access=UserAccess(KEY_ID, SECRET_KEY), region="eu-west-1"
    )


@pytest.mark.parametrize("keys", [{}, KEYS])
def test_a_role_with_an_external_id_is_delegated_access(aws_connection: Callable[..., str], keys: Any) -> None:
    conn_id = aws_connection(OF_ROLE, **keys)
    assert read_aws_connection(conn_id) == AwsConnection(
        conn_id="my_aws", access=DelegatedAccess(ROLE, EXTERNAL_ID), region=None
    )


@pytest.mark.parametrize(
    ("extra", "fields", "told"),
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
    aws_connection: Callable[..., str], extra: dict[str, Any], fields: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidAccessError, match=told) as refused:
        read_aws_connection(aws_connection(extra, **fields))
    assert "'my_aws'" in str(refused.value)
    assert "CANARY" not in str(refused.value)


def test_a_connection_that_was_read_shows_no_secret(aws_connection: Callable[..., str]) -> None:
    assert "CANARY" not in repr(read_aws_connection(aws_connection(OF_ROLE, **KEYS)))
    assert "CANARY" not in repr(read_aws_connection(aws_connection({}, **KEYS)))


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


def test_a_bucket_that_does_not_exist_is_told(
    s3: Callable[..., ScriptedPlatform], aws_connection: Callable[..., str]
) -> None:
    conn_id = aws_connection({"endpoint_url": s3(Answer(404)).address}, **KEYS)
    with pytest.raises(LookupError, match="Bucket 'my-bucket' does not exist") as missing:
        find_bucket_region("my-bucket", conn_id)
    assert missing.value.__suppress_context__
