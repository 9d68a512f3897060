"""The commands: what they print, what they refuse, and that Airflow finds them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lightly_provider.aws.grants import Grant, access_policy
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import key_policy_statement, trust_policy
from lightly_provider.cli.commands import get_cli_commands, main
from lightly_provider.contract import Purpose

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
PHOTOS, LIGHTLY = S3Location("my-bucket", "photos/"), S3Location("my-bucket", "lightly/")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f3c9a6e-1111-4000-8000-1234567890ab"
EXTERNAL_ID = "CANARY-external-id"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the command prints as JSON."""
    main(["policy", *arguments])
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says instead."""
    with pytest.raises(SystemExit) as ended:
        main(["policy", *arguments])
    assert capsys.readouterr().out == ""
    return str(ended.value)


def test_a_role_gets_its_policy_and_the_trust_policy_with_a_new_external_id(capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, PHOTOS.uri, "--output", LIGHTLY.uri)
    second = printed(capsys, PHOTOS.uri, "--output", LIGHTLY.uri)

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
        ([PHOTOS.uri, "--output", "x"], "policy: --output='x': the scheme s3:// is missing"),
        ([PHOTOS.uri, "--region", "cn-north-1"], "policy: --region cn-north-1 lies in the partition 'aws-cn'"),
        ([PHOTOS.uri, "--document", "key-policy"], "policy: there is no key-policy for what was asked"),
        ([PHOTOS.uri, "--source-ip", "here"], "policy: --source-ip has 'here', which is no address range"),
        (
            [PHOTOS.uri, "--source-ip", "1.2.3.0/255.255.255.0"],
            "policy: --source-ip has '1.2.3.0/255.255.255.0', which",
        ),
        ([PHOTOS.uri, "--source-ip", "fe80::1%eth0"], "policy: --source-ip has 'fe80::1%eth0', which is no address"),
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["S3://my-bucket/x"], "location='S3://my-bucket/x': the scheme must be written s3://"),
        ([PHOTOS.uri, "--role-arn", "lightly"], "--role-arn='lightly': it is not an ARN"),
        ([PHOTOS.uri, "--role-arn", ""], "--role-arn='': it is empty"),
        (
            [PHOTOS.uri, "--role-arn", "arn:aws:iam::123456789012:user/x"],
            "--role-arn='arn:aws:iam::123456789012:user/x': it is the ARN of a 'user' and not of a role",
        ),
        ([PHOTOS.uri, "--kms-key-arn", "alias/x"], "--kms-key-arn='alias/x': the platform takes no alias"),
        (
            [PHOTOS.uri, "--region", "eu-west-1", "--kms-key-arn", KEY],
            f"--kms-key-arn='{KEY}': the key lies in eu-central-1 and the bucket in eu-west-1",
        ),
    ],
)
def test_what_cannot_be_right_for_the_doctor_is_answered_by_its_message_alone(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_BUCKET",
        json.dumps({"conn_type": "aws", "login": "AKIAIOSFODNN7EXAMPLE", "password": "a" * 40}),
    )
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments, "--aws-conn-id", "bucket"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


def test_every_command_leads_to_a_function() -> None:
    from importlib import import_module

    commands = get_cli_commands()[0].subcommands
    assert [command.name for command in commands] == ["doctor", "policy"]
    for command in commands:
        module, _, name = command.func.args[1].partition(":")
        assert callable(getattr(import_module(module), name))


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="this Airflow takes no commands from providers' metadata")
def test_airflow_has_the_commands(tmp_path: Path) -> None:
    import os

    airflow = Path(sys.executable).with_name("airflow")
    done = subprocess.run(
        [str(airflow), "lightly", "policy", PHOTOS.uri, "--access", "user", "--purpose", "INPUT"],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    document = access_policy([Grant(location=PHOTOS, purpose=Purpose.INPUT)])
    assert json.loads(done.stdout[done.stdout.index("{") :]) == {"policy": document}


@pytest.mark.exhaustive(sample="test_airflow_has_the_commands")
def test_the_module_runs_without_airflows_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lightly_provider", "policy", PHOTOS.uri, "--document", "policy"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["Version"] == "2012-10-17"


def test_importing_the_commands_imports_neither_airflow_nor_boto3() -> None:
    script = "import sys, lightly_provider.cli.commands; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not {"airflow", "boto3", "botocore", "pydantic", "requests"} & set(done.stdout.split())
