"""The command ``lightly-sandbox faults``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from lightly_sandbox.cli.commands import app
from tests.lab.sandbox import Api, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTROL = "/sandbox/faults"


@pytest.fixture
def faults(ready: dict[str, Any], api: Api, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run the command for the session's sandbox; it must succeed. Its words are returned."""
    ready_file = tmp_path / "ready.json"
    ready_file.write_text(json.dumps(ready))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["faults", *arguments, "--ready-file", str(ready_file)])
        assert result.exit_code == 0, result.output
        return result.output

    yield run
    api.ok("DELETE", CONTROL)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--drop-response", "POST */schedule", "--times", "1"], {"kind": "drop-response", "times": 1}),
        (["--reset", "POST */schedule"], {"kind": "reset"}),
        (["--truncate", "POST */schedule", "--include-worker"], {"kind": "truncate", "includeWorker": True}),
        (["--not-json", "POST */schedule"], {"kind": "not-json"}),
        (["--delay", "0.5", "POST */schedule"], {"kind": "delay", "seconds": 0.5}),
        (["--delay", "0", "POST */schedule"], {"kind": "delay", "seconds": 0.0}),
        (["--drip", "3", "POST */schedule"], {"kind": "drip", "seconds": 3.0}),
        (["--clock-skew", "-60", "POST */schedule"], {"kind": "clock-skew", "seconds": -60.0}),
        (["--status", "503", "POST */schedule"], {"kind": "status", "status": 503}),
        (
            ["--status", "429", "--code", "SLOW", "--retry-after", "7", "POST */schedule"],
            {"kind": "status", "status": 429, "code": "SLOW", "retryAfter": 7},
        ),
        (
            ["--status", "429", "--retry-after-date", "7", "POST */schedule"],
            {"kind": "status", "status": 429, "retryAfterDate": 7},
        ),
        (
            ["--reset", "POST */schedule", "--probability", "0.25", "--seed", "1"],
            {"kind": "reset", "probability": 0.25, "seed": 1},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_fault_can_be_set(
    faults: Callable[..., str], api: Api, arguments: list[str], fault: dict[str, Any]
) -> None:
    said = faults(*arguments)
    assert fault["kind"] in said
    (found,) = api.ok("GET", CONTROL)
    defaults = {"operation": "POST */schedule", "includeWorker": False, "matched": 0, "applied": 0}
    assert found == {"id": found["id"], **defaults, **fault}


def test_they_are_listed_counted_removed_and_cleared(faults: Callable[..., str], api: Api) -> None:
    assert faults() == ""
    faults("--status", "503", "GET /v1/quota", "--times", "1")
    faults("--iam-delay", "0.1")
    faults("--reset", "GET /v1/nothing")
    for _ in range(2):
        api.send("GET", "/v1/quota")
    ids = [fault["id"] for fault in api.ok("GET", CONTROL)]
    assert faults().splitlines() == [
        f"{ids[0]}  status  GET /v1/quota  times=1 status=503  applied to 1 of 2 requests",
        f"{ids[1]}  iam-delay  seconds=0.1  applied to 0 decisions",
        f"{ids[2]}  reset  GET /v1/nothing  applied to 0 of 0 requests",
    ]
    faults("--remove", ids[0])
    assert [fault["id"] for fault in api.ok("GET", CONTROL)] == ids[1:]
    faults("--clear")
    assert api.ok("GET", CONTROL) == []


def test_the_vendors_variables_say_where_the_sandbox_is(api: Api) -> None:
    where = {"LIGHTLY_SERVER_LOCATION": f"{api.url}/", "LIGHTLY_TOKEN": api.token}
    result = CliRunner().invoke(app, ["faults", "--reset", "POST */schedule"], env=where)
    assert result.exit_code == 0, result.output
    assert [fault["kind"] for fault in api.ok("GET", CONTROL)] == ["reset"]
    assert CliRunner().invoke(app, ["faults", "--clear"], env=where).exit_code == 0
    assert api.ok("GET", CONTROL) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reset"], "needs the OPERATION"),
        (["POST */schedule"], "No fault is given"),
        (["--times", "1"], "No fault is given"),
        (["--reset", "--truncate", "POST */schedule"], "--reset and --truncate"),
        (["--reset", "schedule"], "'schedule' is no operation"),
        (["--status", "429", "--retry-after", "1", "--retry-after-date", "1", "* *"], "not both"),
        (["--reset", "--retry-after", "1", "* *"], "need --status"),
        (["--clear", "--retry-after", "1"], "need --status"),
        (["--iam-delay", "1", "POST */schedule"], "takes no OPERATION"),
        (["--reset", "* *", "--clear"], "cannot be combined"),
        (["--remove", "1", "--clear"], "cannot be combined"),
        (["--remove", "999"], "There is no fault 999"),
        (["--reset", "* *", "--seed", "1"], "needs --probability"),
        (["--delay", "inf", "* *"], "finite number"),
        (["--clock-skew", "nan", "* *"], "finite number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(api: Api, arguments: list[str], words: str) -> None:
    where = {"LIGHTLY_SERVER_LOCATION": api.url, "LIGHTLY_TOKEN": api.token}
    result = CliRunner().invoke(app, ["faults", *arguments], env=where)
    assert result.exit_code == 1
    assert words in result.stderr
    assert api.token not in result.output
    assert api.ok("GET", CONTROL) == []


def test_a_sandbox_that_is_not_there_is_named_and_its_token_is_not(tmp_path: Path) -> None:
    where = {"LIGHTLY_SERVER_LOCATION": "http://127.0.0.1:9", "LIGHTLY_TOKEN": "the-token"}
    result = CliRunner().invoke(app, ["faults"], env=where)
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 does not answer" in result.stderr
    assert "the-token" not in result.output
    nothing = {"LIGHTLY_SERVER_LOCATION": "", "LIGHTLY_TOKEN": "", "XDG_STATE_HOME": str(tmp_path)}
    result = CliRunner().invoke(app, ["faults"], env=nothing)
    assert result.exit_code == 1
    assert "--ready-file" in result.stderr
    result = CliRunner().invoke(app, ["faults", "--ready-file", str(tmp_path / "none")], env=nothing)
    assert result.exit_code == 1
    assert "up --ready-file" in result.stderr


def test_what_is_no_address_is_told_and_not_shown() -> None:
    where = {"LIGHTLY_SERVER_LOCATION": "http://user:canary@127.0.0.1:9", "LIGHTLY_TOKEN": "the-token"}
    result = CliRunner().invoke(app, ["faults"], env=where)
    assert result.exit_code == 1
    assert "must have the form http://HOST:PORT" in result.stderr
    assert "canary" not in result.output


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"lightly_url": "http://127.0.0.1:9"}'])
@pytest.mark.parametrize("command", [["faults"], ["worker"], ["seed", "s3://photos/raw"]], ids=lambda c: c[0])
def test_a_file_that_up_did_not_write_is_told_as_such(
    tmp_path: Path, command: list[str], content: str
) -> None:
    ready_file = tmp_path / "ready.json"
    ready_file.write_text(content)
    result = CliRunner().invoke(app, [*command, "--ready-file", str(ready_file)])
    assert result.exit_code == 1
    assert f"{ready_file} is not what `lightly-sandbox up` writes" in result.stderr


@pytest.mark.exhaustive(sample="test_they_are_listed_counted_removed_and_cleared")
def test_faults_end_with_the_sandbox_and_its_log_tells_of_them(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = Process.start(state, "--workers", "0")
    try:
        ready = process.ready()
        options = ["--drop-response", "POST /v1/datasets", "--ready-file", str(process.ready_file)]
        subprocess.run([sys.executable, "-m", "lightly_sandbox", "faults", *options], check=True)
        with pytest.raises(OSError, match="without response"):
            Api(ready["lightly_url"], ready["token"]).send("POST", "/v1/datasets", {"name": "lost"})
    finally:
        process.stop()
    log = (state / "logs" / "platform.log").read_text()
    assert "POST /v1/datasets has the fault 1 (drop-response)" in log
    assert "ERROR" not in log, "a fault on purpose is no error of the server's"
    assert ready["token"] not in log
    process = Process.start(state, "--workers", "0")
    try:
        ready = process.ready()
        api = Api(ready["lightly_url"], ready["token"])
        assert api.ok("GET", CONTROL) == []
        assert [dataset["name"] for dataset in api.ok("GET", "/v1/datasets")] == ["lost"]
    finally:
        process.stop()
