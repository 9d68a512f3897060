from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.aws.credentials import (
    DelegatedAccess,
    InvalidAccessError,
    UserAccess,
    access_from_aws_connection,
    check_external_id,
    check_kms_key_arn,
    check_role_arn,
)

ROLE = "arn:aws:iam::123456789012:role/Lightly-S3-Integration"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
EXTERNAL_ID = "hush-external-id"
SECRET = "hush/secret+key".ljust(40, "0")
HELD = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": SECRET}
EMPTY: dict[str, Any] = dict.fromkeys(
    ("access_key_id", "secret_access_key", "session_token", "role_arn", "external_id")
)


def access(**held: str) -> UserAccess | DelegatedAccess:
    return access_from_aws_connection(conn_id="aws_bucket", **(EMPTY | held))


def refusal(**held: str) -> str:
    with pytest.raises(InvalidAccessError) as refused:
        access(**held)
    return str(refused.value)


def test_keys_are_user_access() -> None:
    assert access(**HELD) == UserAccess("AKIAIOSFODNN7EXAMPLE", SECRET)


@pytest.mark.parametrize(
    "beside",
    [{}, HELD, {**HELD, "session_token": "hush-token"}, {"access_key_id": "ASIAEXAMPLEEXAMPLE12"}],
    ids=["nothing", "keys", "temporary keys", "half a temporary key"],
)
def test_a_role_with_an_external_id_is_delegated_access_whatever_keys_stand_beside_it(beside: dict[str, str]) -> None:
    assert access(role_arn=ROLE, external_id=EXTERNAL_ID, **beside) == DelegatedAccess(ROLE, EXTERNAL_ID)


@pytest.mark.parametrize(
    "held",
    [
        {**HELD, "session_token": "hush-token"},
        {"session_token": "hush-token"},
        {**HELD, "access_key_id": "ASIAIOSFODNN7EXAMPLE"},
        {"access_key_id": "ASIAIOSFODNN7EXAMPLE"},
    ],
    ids=["token and keys", "token alone", "temporary keys without token", "temporary key id alone"],
)
def test_temporary_credentials_are_refused_with_the_sentence_on_the_missing_field(held: dict[str, str]) -> None:
    message = refusal(**held)
    assert "the platform has no field for a session token" in message
    assert "'aws_bucket'" in message
    assert "hush" not in message


@pytest.mark.parametrize("beside", [{}, HELD], ids=["nothing", "keys"])
def test_a_role_without_an_external_id_is_refused_with_the_place_to_put_it(beside: dict[str, str]) -> None:
    message = refusal(role_arn=ROLE, **beside)
    assert '{"assume_role_kwargs": {"ExternalId": "…"}}' in message
    assert "'aws_bucket'" in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({}, ["neither keys nor a role", "password", "assume_role_kwargs.ExternalId"]),
        ({"external_id": EXTERNAL_ID}, ["an external ID without a role_arn"]),
        ({"access_key_id": "AKIAIOSFODNN7EXAMPLE"}, ["add the secret access key (password)"]),
        ({"secret_access_key": "hush/secret+key"}, ["add the access key id (login)"]),
        ({**HELD, "secret_access_key": "hush\n"}, ["The secret access key of AWS connection", "blank"]),
        ({**HELD, "access_key_id": " AKIAIOSFODNN7EXAMPLE"}, ["The access key id of AWS connection", "blank"]),
        ({"role_arn": ROLE, "external_id": "hush"}, ["assume_role_kwargs.ExternalId of the AWS", "shorter than"]),
        ({"role_arn": ROLE, "external_id": "hush" * 400}, ["assume_role_kwargs.ExternalId", "longer than the 1224"]),
        ({"role_arn": "Lightly", "external_id": EXTERNAL_ID}, ["role_arn of the AWS connection", "not an ARN"]),
    ],
)
def test_a_connection_that_holds_too_little_is_refused_with_what_it_must_hold(
    held: dict[str, str], words: list[str]
) -> None:
    message = refusal(**held)
    assert "'aws_bucket'" in message
    assert "hush" not in message
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "key_id", ["AKIAIOSFODNN7EXAMPLE", "AKIA2345672345672345", "AKIA" + "A" * 12, "AKIA" + "7" * 124]
)
@pytest.mark.parametrize(
    "secret", ["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "0" * 40, "hush" + "+/" * 18, "hush" * 12]
)
def test_keys_of_aws_are_taken(key_id: str, secret: str) -> None:
    assert access(access_key_id=key_id, secret_access_key=secret) == UserAccess(key_id, secret)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        *(
            ({**HELD, "access_key_id": login}, "The login of AWS connection 'aws_bucket' is not an AWS access key id")
            for login in (
                "hush",
                "hush@example.com",
                "AIDAIOSFODNN7EXAMPLE",
                "akiaiosfodnn7example",
                "AKIAIOSFODNN7",
                "AKIA",
            )
        ),
        *(
            (
                {**HELD, "secret_access_key": password},
                "The password of AWS connection 'aws_bucket' is not an AWS secret",
            )
            for password in ("hush", "hush" * 9, "hush" * 9 + "é!%&", "hush-" * 8, f"{SECRET}\x00", "hush" * 40)
        ),
    ],
)
def test_another_login_and_password_are_not_for_the_platform(held: dict[str, str], words: str) -> None:
    message = refusal(**held)
    assert words in message
    assert "nothing of it is sent" in message
    assert "hush" not in message


def test_keys_beside_a_lonely_external_id_are_user_access() -> None:
    assert access(external_id=EXTERNAL_ID, **HELD) == UserAccess(**HELD)


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (UserAccess("AKIAIOSFODNN7EXAMPLE", SECRET), "user access with the key AKIA…MPLE"),
        (UserAccess("short-key", "hush/secret+key"), "user access with a key"),
        (DelegatedAccess(ROLE, EXTERNAL_ID), f"delegated access through the role {ROLE}"),
    ],
)
def test_no_secret_shows_in_what_is_logged(value: UserAccess | DelegatedAccess, described: str) -> None:
    assert value.describe() == described
    assert "hush" not in f"{value!r} {value} {value.describe()}"


@pytest.mark.parametrize(
    "arn",
    [
        ROLE,
        "arn:aws:iam::123456789012:role/r",
        "arn:aws:iam::123456789012:role/team/vision/Lightly_S3+=,.@-1",
        "arn:aws:iam::123456789012:role/service-role/Lightly",
    ],
)
def test_the_arn_of_a_role_is_taken_as_it_is(arn: str) -> None:
    assert check_role_arn(arn, argument="role_arn") == arn


@pytest.mark.parametrize(
    ("arn", "cause"),
    [
        ("arn:aws-cn:iam::123456789012:role/r", "partition 'aws-cn'"),
        ("arn:aws-us-gov:iam::123456789012:role/r", "partition 'aws-us-gov'"),
        ("arn:aws:iam::123456789012:user/lightly", "the ARN of a 'user' and not of a role"),
        ("arn:aws:iam::123456789012:policy/lightly", "the ARN of a 'policy' and not of a role"),
        ("arn:aws:iam::123456789012:instance-profile/lightly", "'instance-profile'"),
        ("arn:aws:iam::123456789012:root", "the ARN of a 'root' and not of a role"),
        (
            "arn:aws:sts::123456789012:assumed-role/Lightly/session",
            "write arn:aws:iam::123456789012:role/Lightly, with the role's path",
        ),
        ("arn:aws:s3:::acme", "an ARN of 's3'"),
        ("arn:aws:iam:eu-west-1:123456789012:role/r", "IAM has no regions"),
        ("arn:aws:iam::1234-5678-9012:role/r", "12 digits"),
        ("arn:aws:iam::12345678901:role/r", "12 digits"),
        ("arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/r", "12 digits"),
        ("arn:aws:iam::123456789012:role/", "name is missing"),
        ("arn:aws:iam::123456789012:role/a b", "does not allow"),
        ("arn:aws:iam::123456789012:role/a*", "does not allow"),
        ("arn:aws:iam::123456789012", "not complete"),
        ("Lightly-S3-Integration", "not an ARN"),
        ("role/Lightly", "not an ARN"),
        (f"{ROLE}\n", "blank"),
        (f" {ROLE}", "blank"),
        ("", "empty"),
    ],
)
def test_what_is_not_a_role_that_the_platform_can_assume_is_refused_by_name(arn: str, cause: str) -> None:
    with pytest.raises(InvalidAccessError) as refused:
        check_role_arn(arn, argument="role_arn")
    assert str(refused.value).startswith(f"role_arn={arn!r}: ")
    assert cause in str(refused.value)


@pytest.mark.parametrize("value", ["abcdefghij", "A1_+=,.@:/-", "x" * 1224])
def test_an_external_id_within_the_contract_is_taken(value: str) -> None:
    assert check_external_id(value, argument="external_id") == value


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("", "shorter than the 10 characters"),
        ("hushhushx", "shorter than the 10 characters"),
        ("hush hush hush", "other than letters"),
        ("hushhushhush\n", "other than letters"),
        ("hushhushhüsh", "other than letters"),
        ("hushhushhush#", "other than letters"),
    ],
)
def test_an_external_id_outside_the_contract_is_refused_without_being_repeated(value: str, cause: str) -> None:
    with pytest.raises(InvalidAccessError) as refused:
        check_external_id(value, argument="external_id")
    assert cause in str(refused.value)
    assert str(refused.value).startswith("external_id ")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("region", [None, "eu-central-1"])
@pytest.mark.parametrize("arn", [KEY, "arn:aws:kms:eu-central-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"])
def test_the_arn_of_a_key_in_the_buckets_region_is_taken(arn: str, region: str | None) -> None:
    assert check_kms_key_arn(arn, argument="kms_key_arn", bucket_region=region) == arn


@pytest.mark.parametrize(
    ("arn", "cause"),
    [
        ("arn:aws:kms:eu-central-1:123456789012:alias/photos", "takes no alias"),
        ("alias/photos", "takes no alias"),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "a key's id alone"),
        ("key/1234abcd-12ab-34cd-56ef-1234567890ab", "a key's id alone"),
        ("mrk-1234abcd12ab34cd56ef1234567890ab", "a key's id alone"),
        ("arn:aws-cn:kms:cn-north-1:123456789012:key/1", "partition 'aws-cn'"),
        ("arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1", "partition 'aws-us-gov'"),
        ("arn:aws:iam::123456789012:role/r", "an ARN of 'iam'"),
        ("arn:aws:kms::123456789012:key/1", "not the ARN of a KMS key"),
        ("arn:aws:kms:eu-central-1:12345:key/1", "not the ARN of a KMS key"),
        ("arn:aws:kms:eu-central-1:123456789012:key/", "not the ARN of a KMS key"),
        ("arn:aws:kms:eu-central-1", "not complete"),
        ("true", "not an ARN"),
        ("", "empty"),
        (f"{KEY} ", "blank"),
    ],
)
def test_what_is_not_a_key_that_the_platform_takes_is_refused_by_name(arn: str, cause: str) -> None:
    with pytest.raises(InvalidAccessError) as refused:
        check_kms_key_arn(arn, argument="kms_key_arn")
    assert str(refused.value).startswith(f"kms_key_arn={arn!r}: ")
    assert cause in str(refused.value)


def test_a_key_in_another_region_than_the_bucket_is_refused() -> None:
    with pytest.raises(InvalidAccessError, match="lies in eu-central-1 and the bucket in us-east-1"):
        check_kms_key_arn(KEY, argument="kms_key_arn", bucket_region="us-east-1")
