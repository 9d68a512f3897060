from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.lab.sandbox import LIST, allow

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.sandbox import Customer


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def test_the_administrator_is_a_user_of_the_customers_account(customer: Customer) -> None:
    identity = customer.client("sts").get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/admin"


def test_the_emulators_own_doors_are_closed(ready: dict[str, Any], customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    for path in ("/_ministack/reset", "/_localstack/state/reset", "/_ministack/config"):
        assert requests.post(ready["aws_url"] + path, timeout=30).status_code == 404
    assert customer.keys(bucket) == ["a.jpg"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (899, "greater than or equal to 900"),
        (43201, "less than or equal to 43200"),
        (7200, "MaxSessionDuration"),
    ],
)
def test_a_session_is_as_long_as_aws_lets_it_be(customer: Customer, seconds: int, words: str) -> None:
    bucket = customer.bucket()
    arn = customer.role("an-external-id", *allow(bucket, LIST), session=3600)
    everybody = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/admin"}}
    customer.iam.update_assume_role_policy(
        RoleName=arn.rsplit("/", 1)[-1],
        PolicyDocument=str(
            {"Version": "2012-10-17", "Statement": [{**everybody, "Action": "sts:AssumeRole"}]}
        ).replace("'", '"'),
    )
    # Unchecked by the client, so that the local AWS is asked.
    sts = customer.client("sts", parameter_validation=False)
    session = {"RoleArn": arn, "RoleSessionName": "test"}
    assert "Credentials" in sts.assume_role(**session)
    assert "Credentials" in sts.assume_role(**session, DurationSeconds=3600)
    with pytest.raises(ClientError) as refused:
        sts.assume_role(**session, DurationSeconds=seconds)
    assert _code(refused) == "ValidationError"
    assert words in str(refused.value)


def test_who_may_not_assume_a_role_does_not_learn_of_its_session(customer: Customer) -> None:
    arn = customer.role("an-external-id", *allow(customer.bucket(), LIST), session=3600)
    with pytest.raises(ClientError) as refused:
        customer.client("sts").assume_role(RoleArn=arn, RoleSessionName="test", DurationSeconds=7200)
    assert _code(refused) == "AccessDenied"


# The clock of who asks


@pytest.fixture
def clock_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the clock by which boto3 signs."""

    def by(difference: timedelta) -> None:
        monkeypatch.setattr(
            "botocore.auth.get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) + difference
        )

    return by


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_may_be_a_little_off(
    customer: Customer, clock_off: Callable[[timedelta], None], minutes: int
) -> None:
    bucket = customer.bucket("a.jpg")
    clock_off(timedelta(minutes=minutes))
    assert customer.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert customer.client("sts").get_caller_identity()["Account"] == "123456789012"


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(-16, "Signature expired: .* is now earlier than"), (16, "not yet current: .* later than")],
)
def test_a_clock_that_is_off_by_more_than_15_minutes_is_refused_by_each_service_in_its_own_words(
    customer: Customer, clock_off: Callable[[timedelta], None], minutes: int, words: str
) -> None:
    bucket = customer.bucket("a.jpg")
    clock_off(timedelta(minutes=minutes))

    with pytest.raises(ClientError, match="request time and the current time is too large") as refused:
        customer.client("s3").put_object(Bucket=bucket, Key="b.jpg", Body=b"content")
    assert _code(refused) == "RequestTimeTooSkewed"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    with pytest.raises(ClientError, match=words) as refused:
        customer.client("sts").get_caller_identity()
    assert _code(refused) == "SignatureDoesNotMatch"
    clock_off(timedelta())
    assert customer.keys(bucket) == ["a.jpg"]
