"""The plugin in a pytest of its own, as a user has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from lightly_sandbox.process.installation import PARTS
from tests.lab.sandbox import wait_until

PLUGIN = "lightly_sandbox.pytest_plugin"
COMMAND = Path(sys.executable).with_name("lightly-sandbox")
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
# What another pytest around this one has set, xdist for one, and which sandbox it uses, is not for this one.
ALONE = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LIGHTLY_"))
} | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

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

ISOLATED_MORE = """
def test_a_third(lightly_sandbox):
    use(lightly_sandbox)

def test_a_fourth(lightly_sandbox):
    use(lightly_sandbox)
"""

KILLED = """
import threading
from pathlib import Path

import pytest

@pytest.mark.parametrize("nth", [1, 2])
def test(lightly_sandbox, nth):
    lightly_sandbox.start_worker()
    (worker,) = lightly_sandbox._workers
    told = Path(f".worker-{nth}")
    told.write_text(f"{worker.pid} {lightly_sandbox.lightly_url}")
    told.rename(f"worker-{nth}")
    threading.Event().wait()
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


def _pytest(
    folder: Path, test: str, *options: str, python: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``test``; in the environment ``python``, by default this one."""
    (folder / "test_it.py").write_text(test)
    executable = sys.executable if python is None else str(python / "bin" / "python")
    command = [executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "test_it.py"],
        cwd=folder,
        env={**ALONE, **environment},
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


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A user's pytest with tests that need a sandbox, by another command and with an option; its folder."""
    folder = tmp_path_factory.mktemp("session")
    named = folder / "another-command"
    named.write_text(f'#!/bin/sh\nprintf "%s " "$@" >> {folder / "reported"}\nexec {COMMAND} "$@"\n')
    named.chmod(0o700)
    (folder / "pytest.ini").write_text("[pytest]\nlightly_sandbox_options = --verify-scope worst\n")
    variables = {"LIGHTLY_SANDBOX": str(named), "LIGHTLY_WORKER_ID": "0" * 24}
    return _pytest(folder, ISOLATED + WORKING, "-rA", **variables), folder


@pytest.mark.exhaustive(sample="test_lightly_reaches_a_bucket_of_a_new_account")
def test_tests_share_a_sandbox_and_see_nothing_of_each_other(
    session: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, folder = session
    assert "PASSED test_it.py::test_one" in done.stdout, done.stdout
    assert "PASSED test_it.py::test_another" in done.stdout, done.stdout
    assert _sandboxes(folder) == []


@pytest.mark.exhaustive(sample="test_lightly_reaches_a_bucket_of_a_new_account")
def test_an_account_has_photos_a_worker_and_airflows_connections(
    session: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, _ = session
    assert "PASSED test_it.py::test_a_run" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.exhaustive(sample="test_lightly_reaches_a_bucket_of_a_new_account")
def test_the_sandbox_is_the_one_that_the_variable_names_with_the_options_of_the_configuration(
    session: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, folder = session
    (started,) = (folder / "reported").read_text().split("up ")[1:]
    assert "--verify-scope worst" in started


def test_without_the_command_the_error_says_how_to_have_it(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "def test(lightly_sandbox): pass", LIGHTLY_SANDBOX=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "uv tool install ./sandbox" in done.stdout


@pytest.mark.exhaustive(sample="test_lightly_reaches_a_bucket_of_a_new_account")
def test_a_sandbox_that_does_not_start_is_shown_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nlightly_sandbox_options = --verify-scope none\n")
    done = _pytest(tmp_path, "def test(lightly_sandbox): pass")
    assert done.returncode == 1
    assert "The sandbox did not start" in done.stdout
    assert "verify-scope" in done.stdout


@pytest.mark.exhaustive(sample="test_lightly_reaches_a_bucket_of_a_new_account")
@pytest.mark.parametrize(
    "xdist",
    [
        pytest.param((), id="alone"),
        pytest.param(("-p", "xdist.plugin", "-n", "2"), id="xdist", marks=pytest.mark.exhaustive),
    ],
)
def test_all_ends_with_a_pytest_that_is_killed(tmp_path: Path, xdist: tuple[str, ...]) -> None:
    (tmp_path / "test_it.py").write_text(KILLED)
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, *xdist, f"--basetemp={tmp_path / 'tmp'}"]
    with (tmp_path / "said").open("wb") as output:
        running = subprocess.Popen(
            [*command, "test_it.py"], cwd=tmp_path, env=ALONE, stdout=output, stderr=subprocess.STDOUT
        )
    n = 2 if xdist else 1
    try:
        wait_until(lambda: len(list(tmp_path.glob("worker-*"))) == n or running.poll() is not None, 90)
        reported = [path.read_text().split() for path in tmp_path.glob("worker-*")]
        assert len(reported) == n, (tmp_path / "said").read_text()
    finally:
        running.kill()
        running.wait()
    pids = [int(pid) for pid, _ in reported]
    assert len({url for _, url in reported}) == n, "each of xdist's workers has a sandbox of its own"
    wait_until(lambda: _sandboxes(tmp_path) == [])
    wait_until(lambda: not any(map(_runs, pids)))


@pytest.mark.exhaustive(sample="test_lightly_reaches_a_bucket_of_a_new_account")
def test_tests_in_several_processes_are_as_much_apart(tmp_path: Path) -> None:
    done = _pytest(tmp_path, ISOLATED + ISOLATED_MORE, "-p", "xdist.plugin", "-n", "2")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
    states = sorted(
        path.parent.parent.parent.name for path in tmp_path.glob("tmp/*/lightly-sandbox/state/up.log")
    )
    assert states == ["popen-gw0", "popen-gw1"]
    assert _sandboxes(tmp_path) == []


@pytest.fixture
def only_the_plugin(tmp_path: Path) -> Path:
    """An environment with pytest and the plugin, and nothing else that the sandbox needs."""
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for module in (
        "pytest",
        "_pytest",
        "py",
        "pluggy",
        "iniconfig",
        "packaging",
        "pygments",
        "lightly_sandbox",
    ):
        found = find_spec(module)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        real = origin.parent if origin.name == "__init__.py" else origin
        (packages / real.name).symlink_to(real)
    stub = home / "bin" / "lightly-sandbox"
    stub.write_text(f"#!{home}/bin/python\nfrom lightly_sandbox.cli.entry_point import main\nmain()\n")
    stub.chmod(0o755)
    return home


@pytest.mark.exhaustive(sample="test_with_the_plugin_alone_and_no_command_the_error_says_how_to_have_it")
def test_beside_an_environment_with_the_plugin_alone_the_command_of_the_path_is_used(
    tmp_path: Path, only_the_plugin: Path
) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    # As with an activated environment, whose command is there, and no use.
    path = f"{only_the_plugin / 'bin'}:{COMMAND.parent}:{os.environ['PATH']}"
    done = _pytest(
        folder, "def test(lightly_sandbox): assert lightly_sandbox.bucket", python=only_the_plugin, PATH=path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_with_the_plugin_alone_and_no_command_the_error_says_how_to_have_it(
    tmp_path: Path, only_the_plugin: Path
) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    path = f"{only_the_plugin / 'bin'}:/usr/bin:/bin"
    done = _pytest(folder, "def test(lightly_sandbox): pass", python=only_the_plugin, PATH=path)
    assert done.returncode == 1
    assert "uv tool install ./sandbox" in done.stdout
    command = subprocess.run(
        [str(only_the_plugin / "bin" / "lightly-sandbox"), "up"],
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert command.returncode == 1
    assert "for its pytest plugin only" in command.stderr
    assert "ministack" in command.stderr
    assert "Traceback" not in command.stderr


def test_what_the_distribution_needs_is_what_is_looked_for() -> None:
    needed = {re.split(r"[<>=]", needs)[0] for needs in PROJECT["dependencies"]}
    modules = {"pillow": "PIL", "scikit-image": "skimage", "lightly-mundig": "lightly_mundig"}
    modules["typing-extensions"] = "typing_extensions"
    assert {modules.get(name, name) for name in needed} == {*PARTS}


def test_a_pytest_that_does_not_use_it_pays_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "def pytest_sessionfinish(): Path('imported').write_text('\\n'.join(sys.modules))\n"
    )
    done = _pytest(tmp_path, "def test(lightly_sandbox): pass", "--collect-only")
    assert done.returncode == 0, done.stdout
    imported = (tmp_path / "imported").read_text().splitlines()
    assert [name for name in imported if name.startswith("lightly_sandbox")] == ["lightly_sandbox", PLUGIN]
    parts = {*PARTS, "botocore", "click"}
    assert {name.partition(".")[0] for name in imported} & parts == set()


def test_importing_the_plugin_imports_nothing_but_itself() -> None:
    # Pytest itself is there whenever the plugin is.
    script = (
        f"import pytest, sys; before = {{*sys.modules}}; import {PLUGIN}; "
        "print(*sorted({*sys.modules} - before))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["lightly_sandbox", PLUGIN]


def test_the_plugin_is_found_by_pytest_when_the_distribution_is_installed() -> None:
    # The module's own name: asked for by -p too, it is still one plugin.
    assert PROJECT["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


@pytest.mark.parametrize("kind", ["user", "role"])
def test_lightly_reaches_a_bucket_of_a_new_account(ready: dict[str, object], kind: str) -> None:
    from tests.lab.sandbox import DELETE, LIST, READ, WRITE, Api, Customer, allow, with_keys, with_role

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
