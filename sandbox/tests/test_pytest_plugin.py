"""The plugin in a pytest of its own, as a user has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_sandbox import wait_until

PLUGIN = "lightly_sandbox.pytest_plugin"
COMMAND = Path(sys.executable).with_name("lightly-sandbox")

ISOLATED = """
import boto3, os, requests

BEFORE = []

def s3(account):
    return boto3.client(
        "s3",
        endpoint_url=account.aws_url,
        region_name=account.region,
        aws_access_key_id=account.aws_access_key_id,
        aws_secret_access_key=account.aws_secret_access_key,
    )

def use(account):
    names = [bucket["Name"] for bucket in s3(account).list_buckets()["Buckets"]]
    assert names == [account.bucket]
    datasets = f"{account.lightly_url}/v1/datasets"
    token = {"token": account.token}
    assert requests.get(datasets, params=token).json() == []
    assert requests.post(datasets, params=token, json={"name": "always the same"}).status_code == 201
    s3(account).put_object(Bucket=account.bucket, Key="a.txt", Body=b"mine")
    for other in BEFORE:
        assert other.lightly_url == account.lightly_url, "one sandbox per session"
        assert other.token != account.token
        try:
            s3(account).get_object(Bucket=other.bucket, Key="a.txt")
        except Exception as refused:
            assert "AccessDenied" in str(refused) or "NoSuchBucket" in str(refused)
        else:
            raise AssertionError("another test's bucket was read")
    assert account.faults.list() == []
    account.faults.drop_response("GET /v1/quota")
    BEFORE.append(account)

def test_one(lightly_sandbox):
    use(lightly_sandbox)

def test_another(lightly_sandbox):
    use(lightly_sandbox)
"""

WORKING = """
import json, requests

def test_a_run(lightly_sandbox):
    account = lightly_sandbox
    uri = account.seed_photos("raw", photos=12)
    assert uri == f"s3://{account.bucket}/raw/"
    worker = account.start_worker("gpu")
    token = {"token": account.token}
    (shown,) = requests.get(f"{account.lightly_url}/v1/docker/worker", params=token).json()
    assert (shown["id"], shown["labels"]) == (worker, ["gpu"])
    connections = {name: json.loads(value) for name, value in account.airflow_connections().items()}
    assert connections["AIRFLOW_CONN_LIGHTLY_DEFAULT"]["password"] == account.token
    assert connections["AIRFLOW_CONN_AWS_DEFAULT"]["login"] == account.aws_access_key_id
    assert account.token not in repr(account)
    assert account.aws_secret_access_key not in repr(account)
    role_uses_its_own_account = account.aws_account_id
    assert len(role_uses_its_own_account) == 12
"""


def _pytest(folder: Path, test: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _sandboxes(folder: Path) -> list[int]:
    """The sandboxes that have their state below the folder."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = command.read_text().split("\0")
        except OSError:
            continue
        if any(argument.startswith(str(folder)) for argument in arguments) and "up" in arguments:
            found.append(int(command.parent.name))
    return found


def test_tests_share_a_sandbox_and_see_nothing_of_each_other(tmp_path: Path) -> None:
    done = _pytest(tmp_path, ISOLATED)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert _sandboxes(tmp_path) == []


def test_an_account_has_photos_a_worker_and_airflows_connections(tmp_path: Path) -> None:
    done = _pytest(tmp_path, WORKING)
    assert done.returncode == 0, done.stdout


def test_the_sandbox_is_the_one_that_the_variable_names_with_the_options_of_the_configuration(
    tmp_path: Path,
) -> None:
    named = tmp_path / "another-command"
    told = tmp_path / "told"
    named.write_text(f'#!/bin/sh\nprintf "%s " "$@" >> {told}\nexec {COMMAND} "$@"\n')
    named.chmod(0o700)
    (tmp_path / "pytest.ini").write_text("[pytest]\nlightly_sandbox_options = --verify-scope worst\n")
    done = _pytest(
        tmp_path, "def test(lightly_sandbox): assert lightly_sandbox.bucket", LIGHTLY_SANDBOX=str(named)
    )
    assert done.returncode == 0, done.stdout
    assert told.read_text().startswith("up ")
    assert "--verify-scope worst" in told.read_text()


def test_without_the_command_the_error_says_how_to_have_it(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "def test(lightly_sandbox): pass", LIGHTLY_SANDBOX=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "uv tool install lightly-sandbox" in done.stdout


def test_a_sandbox_that_does_not_start_is_shown_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nlightly_sandbox_options = --verify-scope none\n")
    done = _pytest(tmp_path, "def test(lightly_sandbox): pass")
    assert done.returncode == 1
    assert "The sandbox did not start" in done.stdout
    assert "verify-scope" in done.stdout


def test_the_sandbox_ends_with_a_pytest_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os, signal\ndef test(lightly_sandbox): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, f"--basetemp={tmp_path / 'tmp'}", "test_it.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    killed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    assert (tmp_path / "tmp" / "lightly-sandbox" / "state" / "up.log").exists()
    wait_until(lambda: _sandboxes(tmp_path) == [])


def test_a_pytest_that_does_not_use_it_pays_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "HEAVY = ('fastapi', 'boto3', 'botocore', 'numpy', 'requests', 'pydantic', 'typer', 'sqlalchemy')\n"
        "def test(): assert not [name for name in HEAVY if name in sys.modules]\n"
    )
    done = _pytest(tmp_path, (tmp_path / "test_it.py").read_text())
    assert done.returncode == 0, done.stdout
    # The best of some, as others have this machine too. Pytest itself is there whenever the plugin is.
    timed = (
        "import pytest, time; began = time.perf_counter(); import lightly_sandbox.pytest_plugin; "
        "print((time.perf_counter() - began) * 1000)"
    )
    took = [
        float(
            subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True).stdout
        )
        for _ in range(5)
    ]
    assert min(took) < 20


def test_the_plugin_is_found_by_pytest_when_the_distribution_is_installed() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    # The module's own name: asked for by -p too, it is still one plugin.
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


@pytest.mark.parametrize("kind", ["user", "role"])
def test_lightly_reaches_a_bucket_of_a_new_account(ready: dict[str, object], kind: str) -> None:
    from running_sandbox import DELETE, LIST, READ, WRITE, Api, Customer, allow, with_keys, with_role

    made = Api(str(ready["lightly_url"]), str(ready["token"])).ok("POST", "/sandbox/accounts")
    keys = {
        "aws_access_key_id": made["awsAccessKeyId"],
        "aws_secret_access_key": made["awsSecretAccessKey"],
    }
    customer = Customer({**ready, **keys})
    api = Api(str(ready["lightly_url"]), made["token"])
    bucket, dataset_id = made["bucket"], api.new_dataset()
    customer.s3.put_object(Bucket=bucket, Key="in/a.jpg", Body=b"bytes")
    allowed = allow(bucket, LIST, READ, WRITE, DELETE)
    if kind == "user":
        source = with_keys(f"s3://{bucket}/in", "INPUT_OUTPUT", customer.user(*allowed))
    else:
        role = customer.role("an-external-id", *allowed)
        assert f"::{made['awsAccountId']}:" in role
        source = with_role(f"s3://{bucket}/in", "INPUT_OUTPUT", role, "an-external-id")
    api.put_datasource(dataset_id, **source)
    lights = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")
    assert [lights[f"can{light}"] for light in ("List", "Read", "Write", "Overwrite")] == [True] * 4
