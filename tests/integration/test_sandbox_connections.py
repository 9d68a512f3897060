"""What ``lightly-sandbox up`` prints for Airflow is pasted into a shell, and the hooks work with it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.sandbox import RunningSandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

LONGEST_WAIT_S, LAST_LINE = 30, "Stop it with Ctrl-C"
VARIABLES = ("AIRFLOW_CONN_LIGHTLY_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT")


@pytest.fixture(scope="module")
def started(sandbox: Sandbox) -> tuple[Sandbox, str]:
    """The running sandbox, and everything that it printed."""
    return sandbox, all_printed(sandbox.ready_file.parent)


def all_printed(state_dir: Path) -> str:
    """What a sandbox prints at its start, to the last line; its ready file comes before the words."""
    deadline = time.monotonic() + LONGEST_WAIT_S
    while LAST_LINE not in (printed := state_dir.with_suffix(".log").read_text()):
        assert time.monotonic() < deadline, printed
        time.sleep(0.05)
    return printed


@pytest.fixture
def pasted(started: tuple[Sandbox, str], monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox whose printed lines a shell has read; its variables are the test's."""
    running, printed = started
    lines = [line for line in printed.splitlines() if line.startswith("export AIRFLOW_CONN_")]
    assert len(lines) == len(VARIABLES)
    # The lines go through standard input: they hold secrets, and arguments are for everybody to see.
    script = "\n".join([*lines, *(f"printenv {name}" for name in VARIABLES)])
    shell = subprocess.run(
        ["sh"], input=script, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    for name, value in zip(VARIABLES, shell.stdout.splitlines(), strict=True):
        monkeypatch.setenv(name, value)
    return running


def test_the_pasted_lightly_connection_is_the_sandboxs(pasted: Sandbox) -> None:
    works, message = LightlyHook().test_connection()

    assert works, message
    assert pasted.lightly_url in message


def test_the_pasted_aws_connection_reads_and_writes_the_sandboxs_buckets(pasted: Sandbox) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    bucket = pasted.bucket()
    hook = S3Hook()
    hook.load_string("some bytes", "folder/file.txt", bucket)

    assert hook.list_keys(bucket) == ["folder/file.txt"]
    assert hook.read_key("folder/file.txt", bucket) == "some bytes"
    assert hook.get_conn().meta.region_name == pasted.region


def test_a_role_is_assumed_at_the_sandbox_too(pasted: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    bucket = pasted.bucket()
    account = {"AWS": "arn:aws:iam::123456789012:root"}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole"}],
    }
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    role = pasted.role("unused", {"Effect": "Allow", "Action": "s3:*", "Resource": resources}, trust=trust)
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"]["role_arn"] = role
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    S3Hook().load_string("some bytes", "file.txt", bucket)

    assert ":assumed-role/" in AwsBaseHook(client_type="sts").get_conn().get_caller_identity()["Arn"]
    assert pasted.keys_under(bucket) == ["file.txt"]


@pytest.mark.exhaustive(sample="test_the_pasted_lightly_connection_is_the_sandboxs")
def test_with_hidden_secrets_none_is_printed(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with RunningSandbox(state_dir, "--hide-secrets") as running:
        printed = all_printed(state_dir)

    assert running.aws_url in printed
    assert running.token not in printed
    assert running.aws_secret_access_key not in printed
