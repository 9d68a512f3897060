"""``airflow lightly policy``: what it prints, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightly_provider.aws.grants import Grant, access_policy
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import key_policy_statement, trust_policy
from lightly_provider.cli.commands import main
from lightly_provider.contract import Purpose

PHOTOS, LIGHTLY = S3Location("my-bucket", "photos/"), S3Location("my-bucket", "lightly/")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f3c9a6e-1111-4000-8000-1234567890ab"
EXTERNAL_ID = "CANARY-external-id"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the command prints as JSON."""
    main(["policy", *arguments])
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says instead."""
    with pytest.raises(SystemExit, match="2"):
        main(["policy", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_role_gets_its_policy_and_the_trust_policy_with_a_new_external_id(capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, PHOTOS.uri, "--output-location", LIGHTLY.uri)
    second = printed(capsys, PHOTOS.uri, "--output-location", LIGHTLY.uri)

    grants = [Grant(location=PHOTOS, purpose=Purpose.INPUT), Grant(location=LIGHTLY, purpose=Purpose.LIGHTLY)]
    assert set(first) == {"policy", "trust_policy", "max_session_duration"}
    assert first["policy"] == access_policy(grants)
    assert first["max_session_duration"] == 43200
    ids = [d["trust_policy"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"] for d in (first, second)]
    assert ids[0] != ids[1]
    assert first["trust_policy"] == trust_policy(ids[0])


def test_the_external_id_comes_from_an_environment_variable_and_no_argument(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_EXTERNAL_ID", EXTERNAL_ID)
    arguments = [PHOTOS.uri, "--external-id-env", "MY_EXTERNAL_ID", "--document", "trust-policy"]
    assert printed(capsys, *arguments) == trust_policy(EXTERNAL_ID)
    monkeypatch.setenv("MY_EXTERNAL_ID", "CANARY!")
    message = refused(capsys, *arguments)
    assert "variable MY_EXTERNAL_ID is shorter than the 10 characters" in message
    assert "CANARY" not in message


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_user_gets_a_policy_alone(purpose: Purpose, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [PHOTOS.uri, "--access", "user", "--purpose", purpose]
    document = access_policy([Grant(location=PHOTOS, purpose=purpose)])
    assert printed(capsys, *arguments) == {"policy": document}
    assert printed(capsys, *arguments, "--document", "policy") == document


def test_the_key_policy_names_the_principal_or_the_place_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [PHOTOS.uri, "--kms-key-arn", KEY, "--document", "key-policy"]
    assert printed(capsys, *arguments)[KEY]["Principal"] == {"AWS": "arn:aws:iam::<account>:role/<name>"}
    role = "arn:aws:iam::123456789012:role/lightly"
    statement = key_policy_statement(role, ["list", "read", "write", "overwrite"])  # type: ignore[list-item]
    assert printed(capsys, *arguments, "--principal-arn", role) == {KEY: statement}


def test_a_network_and_a_region_are_in_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps(
        printed(
            capsys,
            *(PHOTOS.uri, "--access", "user", "--region", "cn-north-1"),
            *("--source-ip", "203.0.113.0/24", "--source-vpc", "vpc-0123456789abcdef0"),
        )
    )
    assert "arn:aws-cn:s3:::my-bucket" in text
    assert '"aws:SourceIp": ["203.0.113.0/24"]' in text
    assert '"aws:SourceVpc": ["vpc-0123456789abcdef0"]' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my-bucket"], "policy: location='my-bucket': the scheme s3:// is missing"),
        (
            [PHOTOS.uri, "--purpose", "input"],
            "policy: --purpose is 'input'; write one of INPUT, LIGHTLY, INPUT_OUTPUT.",
        ),
        ([PHOTOS.uri, "--output-location", "x"], "policy: --output-location='x': the scheme s3:// is missing"),
        (
            [PHOTOS.uri, "--output", LIGHTLY.uri],
            "policy: --output is 's3://my-bucket/lightly/', which is not an output format; write one of table, json, "
            "yaml, plain. The location where Lightly writes is --output-location.",
        ),
        ([PHOTOS.uri, "--access", "roles"], "policy: --access is 'roles', which is none of its choices; did you mean"),
        ([PHOTOS.uri, "--region", "cn-north-1"], "policy: --region cn-north-1 lies in the partition 'aws-cn'"),
        ([PHOTOS.uri, "--document", "key-policy"], "policy: there is no key-policy for what was asked"),
        ([PHOTOS.uri, "--source-ip", "here"], "policy: --source-ip has 'here', which is not an address range"),
        (
            [PHOTOS.uri, "--source-ip", "1.2.3.0/255.255.255.0"],
            "policy: --source-ip has '1.2.3.0/255.255.255.0', which",
        ),
        (
            [PHOTOS.uri, "--source-ip", "fe80::1%eth0"],
            "policy: --source-ip has 'fe80::1%eth0', which is not an address range",
        ),
        ([PHOTOS.uri, "--external-id-env", "NOT_SET"], "policy: --external-id-env is 'NOT_SET', and there is no such"),
        (
            [PHOTOS.uri, "--kms-key-arn", KEY, "--principal-arn", "*"],
            "policy: --principal-arn is '*', and the key policy",
        ),
        (
            [PHOTOS.uri, "--kms-key-arn", KEY, "--principal-arn", "arn:aws:iam::916419735646:root"],
            "policy: --principal-arn is 'arn:aws:iam::916419735646:root', and the key policy is for one role or user",
        ),
        (
            [*(f"s3://bucket-number-{n}/a/prefix/of/some/length/" for n in range(60)), "--access", "user"],
            "policy: location makes a policy of",
        ),
    ],
)
def test_what_cannot_be_right_is_answered_by_its_message_alone(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *arguments).startswith(message)


def test_yaml_holds_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    arguments = [PHOTOS.uri, "--access", "user"]
    main(["policy", *arguments, "--output", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out) == printed(capsys, *arguments)


@pytest.mark.parametrize("output", ["table", "plain"])
def test_a_table_lists_the_statements_and_no_external_id(
    output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_EXTERNAL_ID", EXTERNAL_ID)
    main(["policy", PHOTOS.uri, "--external-id-env", "MY_EXTERNAL_ID", "--kms-key-arn", KEY, "--output", output])
    captured = capsys.readouterr()
    for shown in ("s3:ListBucket", "arn:aws:s3:::my-bucket/photos/*", "sts:AssumeRole", f"key_policy of {KEY}"):
        assert shown in captured.out
    assert EXTERNAL_ID not in captured.out + captured.err
