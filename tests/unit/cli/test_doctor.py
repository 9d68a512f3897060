"""``airflow lightly doctor``: what it refuses before it asks anything."""

from __future__ import annotations

import json

import pytest

from lightly_provider.cli.commands import main

KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f3c9a6e-1111-4000-8000-1234567890ab"
PHOTOS = "s3://my-bucket/photos/"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", *arguments])
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["S3://my-bucket/x"], "location='S3://my-bucket/x': the scheme must be written s3://"),
        ([PHOTOS, "raw/"], "location='raw/': the scheme s3:// is missing"),
        ([PHOTOS, "--role-arn", "lightly"], "--role-arn='lightly': it is not an ARN"),
        ([PHOTOS, "--role-arn", ""], "--role-arn='': it is empty"),
        (
            [PHOTOS, "--role-arn", "arn:aws:iam::123456789012:user/x"],
            "--role-arn='arn:aws:iam::123456789012:user/x': it is the ARN of a 'user' and not of a role",
        ),
        ([PHOTOS, "--kms-key-arn", "alias/x"], "--kms-key-arn='alias/x': the platform takes no alias"),
        (
            [PHOTOS, "--region", "eu-west-1", "--kms-key-arn", KEY],
            f"--kms-key-arn='{KEY}': the key lies in eu-central-1 and the bucket in eu-west-1",
        ),
        (
            [PHOTOS, "--purpose", "OUTPUT"],
            "--purpose is 'OUTPUT', which is none of its choices; did you mean 'INPUT_OUTPUT'?",
        ),
        ([PHOTOS, "--dataset-type", "pictures"], "--dataset-type is 'pictures', which is none of its choices; write"),
    ],
)
def test_what_cannot_be_right_is_answered_by_its_message_alone(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_BUCKET",
        json.dumps({"conn_type": "aws", "login": "AKIAIOSFODNN7EXAMPLE", "password": "a" * 40}),
    )
    shown = refused(capsys, *arguments, "--aws-conn-id", "bucket").splitlines()
    assert shown[-1].startswith(f"doctor: {message}")


def test_a_location_without_a_connection_says_which_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, PHOTOS).startswith("doctor: --aws-conn-id is missing: the location is tried with an AWS")
    assert "usage" not in refused(capsys, "raw/")


@pytest.mark.parametrize(
    "arguments",
    [["--aws-conn-id", "x"], ["--purpose", "LIGHTLY"], ["--count"], ["--kms-key-arn", KEY]],
    ids=lambda arguments: arguments[0],
)
def test_an_option_for_locations_needs_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *arguments).startswith(f"doctor: {arguments[0]} is for a location, and there is none; add")


QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([PHOTOS, "--queue", "uploads"], "--queue is 'uploads'; give the queue's URL"),
        ([PHOTOS, "--queue", "arn:aws:sqs:a:1:b"], "--queue is 'arn:aws:sqs:a:1:b', which is the queue's ARN; give"),
        ([PHOTOS, "--queue", QUEUE], "--aws-conn-id is missing: queue and bucket are looked at with an AWS connection"),
        ([PHOTOS, "--queue", QUEUE, "--purpose", "LIGHTLY"], "--purpose is about what Lightly may do at the locations"),
        (["--queue", QUEUE], "--queue is for a location, and there is none"),
    ],
)
def test_a_wrong_argument_about_a_queue_is_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *arguments).splitlines()[-1].startswith(f"doctor: {message}")
