"""``airflow lightly doctor`` checks a location without a dataset and without the platform."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lightly_provider.cli.commands import main
from lightly_provider.contract import Purpose
from tests.integration.access_situations import (
    EXTERNAL_ID,
    READ,
    WRITE,
    Access,
    bucket_policy,
    empty,
    encrypted,
    short_session,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox


@pytest.fixture
def access(lightly: Sandbox, request: pytest.FixtureRequest) -> Access:
    return Access(lightly, getattr(request, "param", "user"), Purpose.LIGHTLY)


def doctor(access: Access, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    return ends_with(access.uri, "--aws-conn-id", "bucket", "--allow-endpoint", *options)


def ends_with(*arguments: str) -> int:
    """The command's exit status."""
    try:
        main(["doctor", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_all_is_well_with_the_numbers_of_files_and_the_platform_is_not_asked(
    access: Access, traffic: Traffic, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(access, monkeypatch, "--purpose", "LIGHTLY", "--count") == 0
    shown = capsys.readouterr().out
    assert f"datasource LIGHTLY  {access.uri}" in shown
    assert "from this worker" in shown
    assert "Lightly says" not in shown
    for row in ("keys", "list", "read", "write", "overwrite", "delete", "count"):
        assert f"    {row:<12} PASS" in shown
    assert traffic.sent == []


def test_what_is_missing_is_named_with_its_statement(
    access: Access, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(READ, WRITE)(access)
    assert doctor(access, monkeypatch, "--purpose", "INPUT_OUTPUT", "--thumbnails") == 1
    shown = capsys.readouterr().out
    assert "    read         FAIL     no policy allows it" in shown
    assert '"Action": ["s3:GetObject"]' in " ".join(shown.split())


def test_no_file_is_a_warning_and_no_failure(
    access: Access, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(access)
    assert doctor(access, monkeypatch) == 0
    assert "    content      WARN     no images under" in capsys.readouterr().out


@pytest.mark.parametrize("access", ["role"], indirect=True)
def test_a_role_is_looked_at_with_airflows_own_identity(
    access: Access, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short_session(access)
    access.connection()
    options = ["--role-arn", access.principal, "--aws-conn-id", "aws_default", "--allow-endpoint"]
    assert ends_with(access.uri, *options) == 1
    shown = capsys.readouterr().out
    assert "    role         FAIL     its sessions may last 1 h, and Lightly asks for 12 h" in shown
    assert "aws iam update-role" in shown
    assert EXTERNAL_ID not in shown


@pytest.mark.parametrize("access", ["role"], indirect=True)
@pytest.mark.parametrize(
    ("change", "row", "fix"),
    [
        (
            encrypted(),
            "key          WARN     the first file is encrypted with arn:aws:kms:",
            '"Action": ["kms:Decrypt"]',
        ),
        (
            encrypted(granted=True),
            "key          PASS     the first file is encrypted with arn:aws:kms:",
            "the role's policies allow kms:Decrypt",
        ),
        (
            bucket_policy("s3:GetObject"),
            "bucket       WARN     the bucket's policy has a statement with Effect Deny that covers s3:GetObject",
            "- Run: aws s3api delete-bucket-policy --bucket",
        ),
    ],
    ids=["key", "key with the right", "bucket policy"],
)
def test_what_the_simulator_does_not_see_for_a_role_is_told(
    access: Access,
    change: Callable[[Access], None],
    row: str,
    fix: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(access)
    access.connection()
    assert (
        ends_with(access.uri, "--role-arn", access.principal, "--aws-conn-id", "aws_default", "--allow-endpoint") == 0
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(row.split()) in shown
    assert fix in shown


@pytest.mark.parametrize("access", ["role"], indirect=True)
def test_a_bucket_policy_that_airflow_may_not_read_is_no_silent_pass(
    access: Access, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"Effect": "Allow", "Action": ["iam:Get*", "iam:SimulatePrincipalPolicy", "s3:ListBucket"], "Resource": "*"}
    monkeypatch.setenv("AIRFLOW_CONN_OWN", lightly.aws_connection(lightly.user(own)))
    bucket_policy("s3:GetObject")(access)
    access.connection()
    options = ["--role-arn", access.principal, "--aws-conn-id", "own", "--allow-endpoint"]
    assert ends_with(access.uri, *options) == 0
    shown = capsys.readouterr().out
    assert "    bucket       WARN     Airflow's own identity may not read the bucket's policy" in shown
    assert '"Action":["s3:GetBucketPolicy"]' in shown
    assert "    read         PASS     allowed by the role's policies, as IAM simulates them" in shown


def test_a_connection_that_is_not_there_is_told_in_a_sentence(
    lightly: Sandbox, airflow_db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with("s3://bucket/raw/", "--aws-conn-id", "not_there") == 4
    reported = capsys.readouterr().err.splitlines()[-1]
    assert reported.startswith("doctor: There is no Airflow connection 'not_there'; create it")


@pytest.mark.exhaustive(sample="test_all_is_well_with_the_numbers_of_files_and_the_platform_is_not_asked")
def test_standard_output_has_the_table_alone(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    command = [sys.executable, "-m", "lightly_provider", "doctor", access.uri, "--aws-conn-id", "bucket"]
    done = subprocess.run([*command, "--allow-endpoint"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(f"datasource INPUT  {access.uri}"), done.stdout[:500]


def test_another_s3_than_awss_cannot_work(
    access: Access, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    assert ends_with(access.uri, "--aws-conn-id", "bucket") == 1
    assert "endpoint     FAIL     cannot work because" in capsys.readouterr().out


@pytest.mark.parametrize("location", ["raw/", "s3://Bucket/raw/"])
def test_what_is_no_location_is_refused(location: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(location, "--aws-conn-id", "bucket") == 2
    assert "location" in capsys.readouterr().err
