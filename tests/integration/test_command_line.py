"""Each command in each output format: on a sandbox with a dataset, a run that selected, and one that waits."""

from __future__ import annotations

import json
import os
import signal
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lightly_provider.cli.commands import main
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.conftest import TaskInstance
from tests.integration.worker_runs import NOBODY, SELECTION, onboarded, worker_task
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

# Airflow looks for a connection that is nowhere else in its database.
pytestmark = pytest.mark.usefixtures("airflow_db")

COMMANDS = ("doctor", "doctor location", "policy", "datasets", "dataset", "runs", "run", "export")
FORMATS = ("table", "plain", "json", "yaml")


@dataclass(frozen=True)
class Account:
    """What the sandbox has."""

    sandbox: Sandbox
    bucket: str
    name: str
    dataset_id: str
    scheduled_run_id: str
    run_id: str
    tag: str
    waiting: str

    @property
    def input(self) -> str:
        return f"s3://{self.bucket}/raw/"


@pytest.fixture(scope="module")
def account(sandbox: Sandbox, photos: str) -> Iterator[Account]:
    name = f"birds {uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", sandbox.lightly_connection())
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", sandbox.aws_connection(sandbox.admin))
        context: dict[str, Any] = {"ti": TaskInstance()}
        output = f"s3://{sandbox.bucket()}/lightly/"
        dataset_id = onboarded(name, f"s3://{photos}/raw/", output, context)
        done = worker_task(dataset_id).execute(context)
        waiting = LightlyHook().schedule_run(dataset_id, {"selection": SELECTION}, priority="LOW", runs_on=[NOBODY])
        yield Account(
            sandbox=sandbox,
            bucket=photos,
            name=name,
            dataset_id=dataset_id,
            scheduled_run_id=done["scheduled_run_id"],
            run_id=done["run_id"],
            tag=done["tag_name"],
            waiting=waiting,
        )


class Shell:
    """Runs commands in this process, and looks at both outputs for secrets."""

    def __init__(self, capsys: pytest.CaptureFixture[str], secrets: list[str]) -> None:
        self.capsys = capsys
        self.secrets = secrets

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit code, and what is printed on both outputs."""
        code: Any = 0
        self.capsys.readouterr()
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
        out, err = self.capsys.readouterr()
        assert not [secret for secret in self.secrets if secret in out + err]
        return code, out, err

    def data(self, *arguments: str) -> Any:
        """Return what a command prints as JSON."""
        code, out, err = self(*arguments, "--output", "json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(lightly: Sandbox, capsys: pytest.CaptureFixture[str]) -> Shell:
    connection = json.loads(lightly.lightly_connection())
    return Shell(capsys, [connection["password"], lightly.admin.secret_access_key])


@pytest.mark.parametrize(
    ("command", "output"),
    thinned(
        [(command, output) for command in COMMANDS for output in FORMATS],
        keep=len(COMMANDS),
        covering=lambda command, _: command,
    ),
)
def test_each_command_answers_in_each_format(
    command: str, output: str, account: Account, shell: Shell, tmp_path: Path
) -> None:
    lines = {
        "doctor": ["doctor"],
        "doctor location": ["doctor", account.input, "--aws-conn-id", "aws_default", "--allow-endpoint"],
        "policy": ["policy", account.input, "--access", "user"],
        "datasets": ["datasets"],
        "dataset": ["datasets", account.name],
        "runs": ["runs", "--dataset", account.name],
        "run": ["runs", account.run_id],
        "export": ["export", account.name, "--tag", account.tag, "--destination", str(tmp_path / "names.txt")],
    }
    marks = {"datasets": account.name, "dataset": account.dataset_id, "runs": account.run_id, "run": account.run_id}

    code, out, err = shell(*lines[command], "--output", output)

    assert code == 0, err
    assert marks.get(command, "") in out
    if output == "json":
        assert json.loads(out)
    elif output == "yaml":
        assert yaml.safe_load(out)
    else:
        assert len(out.splitlines()) > 1
        assert "\x1b" not in out


def test_the_connection_is_tested_with_its_user_quota_workers_and_datasets(account: Account, shell: Shell) -> None:
    data = shell.data("doctor")
    assert data["ok"]
    assert data["user_id"]
    assert [check["check"] for check in data["checks"]] == ["connection", "token", "quota", "datasets", "workers"]
    assert {worker["state"] for worker in data["workers"]} <= {"IDLE", "BUSY", "OFFLINE", "CRASHED"}
    assert data["datasets"]["Images"] >= 1


def test_a_refused_token_an_absent_platform_and_no_connection_end_differently(
    lightly: Sandbox, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(lightly.lightly_connection())
    for changes, exit_code in (
        ({"password": "CANARY-wrong-token"}, ExitCode.DENIED),
        ({"host": "http://127.0.0.1:9", "port": None}, ExitCode.UNKNOWN),
        ({"password": ""}, ExitCode.USAGE),
    ):
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({**connection, **changes}))
        code, out, err = shell("doctor", "--lightly-conn-id", "other")
        assert code == exit_code, out + err
        assert "CANARY" not in out + err
        assert "Traceback" not in err
    code, out, err = shell("datasets", "--lightly-conn-id", "not_there")
    assert (code, out) == (ExitCode.NO_CONNECTION, "")
    assert err.startswith("datasets: There is no Airflow connection 'not_there'; create it with the type Lightly")


@pytest.mark.exhaustive(sample="test_the_connection_is_tested_with_its_user_quota_workers_and_datasets")
def test_of_several_locations_each_is_told_and_part_of_them_failing_is_5(account: Account, shell: Shell) -> None:
    options = ["--aws-conn-id", "aws_default", "--allow-endpoint", "--output", "json"]
    gone = f"s3://gone-{uuid.uuid4().hex[:12]}/raw/"
    code, out, err = shell("doctor", account.input, gone, *options)
    assert code == ExitCode.PARTLY
    first, second = json.loads(out)
    assert (first["location"], first["ok"], first["error"]) == (account.input, True, None)
    assert (second["location"], second["ok"]) == (gone, False)
    assert "does not exist" in second["error"]
    assert err.startswith(f"{gone}: Bucket ")
    assert shell("doctor", gone, *options)[0] == ExitCode.DENIED


def test_a_dataset_has_its_access_its_lights_its_runs_and_tags(account: Account, shell: Shell) -> None:
    (listed,) = [each for each in shell.data("datasets") if each["id"] == account.dataset_id]
    assert listed["name"] == account.name
    assert listed["created"].startswith("20")
    assert [each["purpose"] for each in listed["datasources"]] == ["INPUT", "LIGHTLY"]
    assert (listed["last_run"]["id"], listed["last_run"]["state"]) == (account.run_id, "COMPLETED")

    shown = shell.data("datasets", account.dataset_id)
    assert shown == shell.data("datasets", account.name)
    assert shown["datasources"][0]["location"] == account.input
    assert {each["permission"]: each["granted"] for each in shown["lights"]} == dict.fromkeys(
        ("list", "read", "write", "overwrite"), True
    )
    assert shown["waiting_runs"] == [account.waiting]
    assert account.tag in [each["name"] for each in shown["tags"]]
    assert shown["page"].endswith(account.dataset_id)


def test_a_list_is_as_long_as_its_limit_and_says_so(account: Account, shell: Shell, dataset_name: str) -> None:
    LightlyHook().get_or_create_dataset(dataset_name, "Images")
    code, out, err = shell("datasets", "--limit", "1")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert dataset_name in out
    assert "datasets, the newest; --limit " in err


def test_runs_are_found_by_dataset_state_and_both_ids(account: Account, shell: Shell, traffic: Traffic) -> None:
    def ids(*options: str) -> list[tuple[str | None, str, str]]:
        return [(each["id"], each["scheduled_run_id"], each["state"]) for each in shell.data("runs", *options)]

    done = (account.run_id, account.scheduled_run_id, "COMPLETED")
    waiting = (None, account.waiting, "OPEN")
    assert sorted(ids("--dataset", account.name), key=str) == sorted([done, waiting], key=str)
    assert ids("--dataset", account.name, "--state", "open") == [waiting]
    assert done in ids("--state", "COMPLETED", "--limit", "1000")
    shown = shell.data("runs", account.run_id)
    assert shown == shell.data("runs", account.scheduled_run_id)
    assert (shown["dataset"], shown["tags"][0]["name"]) == (account.name, account.tag)
    assert shown["ended"] >= shown["created"]
    assert shown["dataset_page"].endswith(account.dataset_id)
    assert traffic.writes() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["datasets", "NAME-of"], "datasets: There is no dataset with the name or id 'NAME-of'; did you mean 'NAME'?"),
        (["export", "NAME"], "export: --tag is missing: name a tag of dataset 'NAME'; it has 'TAG', "),
        (["export", "NAME", "--tag", "TAGx"], "export: Dataset ID has no tag 'TAGx'; did you mean 'TAG'"),
        (["export", "NAME", "--tag", "TAG", "--format", "labelbx"], "export: --format is 'labelbx', which is none of"),
        (
            ["export", "NAME", "--tag", "TAG", "--format", "parquet"],
            "export: --format parquet is not text; write it to",
        ),
        (["runs", "--dataset", "NAME", "--state", "COMPLETE"], "runs: --state is 'COMPLETE', which is none of its cho"),
        (["runs", "ffffffffffffffffffffffff"], "runs: There is no run and no scheduled run with the id 'fffff"),
        (["runs", "birds"], "runs: 'birds' is not the id of a run, which has 24 digits and letters a to f"),
    ],
)
def test_an_unknown_name_is_a_sentence_with_the_nearest(
    arguments: list[str], message: str, account: Account, shell: Shell
) -> None:
    def filled(text: str) -> str:
        return text.replace("NAME", account.name).replace("TAG", account.tag).replace("ID", account.dataset_id)

    code, out, err = shell(*map(filled, arguments))
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith(filled(message))


def test_an_export_is_the_operators(account: Account, shell: Shell, tmp_path: Path) -> None:
    names = LightlyHook().get_filenames(account.dataset_id, account.tag)
    assert names
    export = ["export", account.dataset_id, "--tag", account.tag]
    _, out, _ = shell(*export)
    assert out.splitlines() == names

    to_disk = shell.data(*export, "--format", "manifest", "--destination", str(tmp_path / "selected.jsonl"))
    to_bucket = f"s3://{account.sandbox.bucket()}/selected.jsonl"
    in_bucket = shell.data(*export, "--format", "manifest", "--destination", to_bucket)
    assert to_disk["count"] == in_bucket["count"] == len(names)
    assert to_disk["sha256"] == in_bucket["sha256"]
    assert os.listdir(tmp_path) == ["selected.jsonl"]


def test_an_export_that_may_not_be_written_is_denied(
    account: Account, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    powerless = account.sandbox.user({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"})
    monkeypatch.setenv("AIRFLOW_CONN_POWERLESS", account.sandbox.aws_connection(powerless))
    destination = f"s3://{account.bucket}/selected.txt"
    export = ["export", account.name, "--tag", account.tag, "--destination", destination, "--aws-conn-id"]
    code, out, err = shell(*export, "powerless")
    assert (code, out) == (ExitCode.DENIED, "")
    assert err.startswith(f"export: {destination} cannot be used as a destination: S3 refused")
    code, _, err = shell(*export, "not_there")
    assert code == ExitCode.NO_CONNECTION, err


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_an_export_leaves_the_file_that_was_there(
    account: Account, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = tmp_path / "selected.txt"
    destination.write_text("of an earlier run")
    pages = LightlyHook.filename_pages

    def interrupted(*arguments: Any) -> Iterator[Any]:
        yield from pages(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LightlyHook, "filename_pages", interrupted)
    code, out, err = shell("export", account.name, "--tag", account.tag, "--destination", str(destination))
    assert (code, out, err) == (ExitCode.INTERRUPTED, "", "export: interrupted.\n")
    assert os.listdir(tmp_path) == [destination.name]
    assert destination.read_text() == "of an earlier run"
