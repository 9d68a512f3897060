"""The frame of all commands: Airflow finds them, and whatever happens in one is a sentence and an exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.command import Command, execute
from lightly_provider.cli.commands import COMMANDS, get_cli_commands, main
from lightly_provider.cli.exit_codes import MEANINGS, ExitCode, overall
from lightly_provider.cli.refusals import CommandError, refusal_of
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyConnectionMissingError,
    LightlyDestinationError,
    LightlyForbiddenError,
    LightlyNotFoundError,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
AIRFLOW_COMMAND = str(Path(sys.executable).with_name("airflow"))


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, and what it prints on both outputs."""
    try:
        main(arguments)
        code = 0
    except SystemExit as end:
        code = cast("int", end.code)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_has_the_examples_and_the_exit_codes(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, *command.name.split(), "--help")
    assert (code, err) == (0, "")
    assert command.examples
    for _, line in command.examples:
        assert line.startswith(command.name)
        assert f"python -m lightly_provider {line}" in out
    for exit_code, meaning in MEANINGS.items():
        assert f"{exit_code:>3}  {meaning}" in out
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_examples_parse(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    from lightly_provider.cli import commands

    parsed: list[Namespace] = []
    monkeypatch.setattr(commands, "execute", lambda _, arguments: parsed.append(arguments))
    for _, line in command.examples:
        main(shlex.split(re.split(r" [|>] ", line)[0]))
    assert len(parsed) == len(command.examples)


def test_airflow_gets_every_command_with_all_its_arguments() -> None:
    (group,) = get_cli_commands()
    assert group.name == "lightly"
    given = dict(flat(group.subcommands))
    assert list(given) == [command.name for command in COMMANDS]
    for command in COMMANDS:
        action = given[command.name]
        assert [argument.flags for argument in action.args] == [argument.flags for argument in command.all_arguments]
        assert f"airflow lightly {command.examples[0][1]}" in action.epilog
        assert ("-o", "--output") in [argument.flags for argument in action.args]


def flat(commands: Any) -> Iterator[tuple[str, Any]]:
    """Airflow's commands by their whole name, those of groups too."""
    for command in commands:
        if subcommands := getattr(command, "subcommands", None):
            yield from ((f"{command.name} {name}", action) for name, action in flat(subcommands))
        else:
            yield command.name, command


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="this Airflow takes no commands from providers' metadata")
def test_airflow_runs_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [AIRFLOW_COMMAND, "lightly", "policy", "s3://my-bucket/photos/", "--access", "user", "--output", "s3://x/"],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 2, done.stderr[-3000:]
    assert done.stderr.splitlines()[-1].startswith(
        "policy: --output is 's3://x/', which is not an output format; write"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive(sample="test_airflow_runs_a_command")
def test_the_module_runs_without_airflows_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lightly_provider", "policy", "s3://my-bucket/photos/", "--document", "policy"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["Version"] == "2012-10-17"


def test_importing_the_commands_imports_neither_airflow_nor_boto3() -> None:
    script = "import sys, lightly_provider.cli.commands; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not {"airflow", "boto3", "botocore", "pydantic", "requests", "rich", "yaml"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["polcy"], "python -m lightly_provider: there is no command 'polcy'; did you mean 'policy'?"),
        ([], "python -m lightly_provider: the following arguments are required: COMMAND; see"),
        (
            ["policy"],
            "python -m lightly_provider policy: the following arguments are required: s3://bucket/prefix/; see",
        ),
        (["fleet"], "python -m lightly_provider fleet: the following arguments are required: COMMAND; see"),
        (["fleet", "paln"], "python -m lightly_provider fleet: there is no command 'paln'; did you mean 'plan'?"),
        (
            ["datasets", "--limit", "none"],
            "python -m lightly_provider datasets: argument --limit: 'none' is not a number",
        ),
        (["doctor", "--outptu", "json"], "python -m lightly_provider: unrecognized arguments: --outptu; see"),
        (
            ["examples", "--output", "xml"],
            "examples: --output is 'xml', which is not an output format; write one of table",
        ),
    ],
)
def test_a_wrong_argument_is_a_sentence(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (CommandError("x"), ExitCode.USAGE),
        (CommandError("x", ExitCode.DENIED), ExitCode.DENIED),
        (ValueError("x"), ExitCode.USAGE),
        (LightlyConnectionConfigError("x"), ExitCode.USAGE),
        (LightlyConnectionMissingError("x"), ExitCode.NO_CONNECTION),
        (LightlyNotFoundError("x", operation="o"), ExitCode.USAGE),
        (LightlyForbiddenError("x", operation="o"), ExitCode.DENIED),
        (LightlyDestinationError("x"), ExitCode.DENIED),
        (LightlyConnectionError("x", operation="o", maybe_applied=False), ExitCode.UNKNOWN),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, exit_code: ExitCode) -> None:
    refusal = refusal_of(error)
    assert (refusal.sentence, refusal.exit_code, refusal.is_unexpected) == ("x", exit_code, False)


@pytest.mark.parametrize(
    ("codes", "exit_code"),
    [
        ([], ExitCode.OK),
        ([ExitCode.OK, ExitCode.OK], ExitCode.OK),
        ([ExitCode.DENIED, ExitCode.DENIED], ExitCode.DENIED),
        ([ExitCode.OK, ExitCode.DENIED], ExitCode.PARTLY),
        ([ExitCode.UNKNOWN, ExitCode.DENIED], ExitCode.PARTLY),
        ([ExitCode.OK, ExitCode.UNKNOWN], ExitCode.UNKNOWN),
    ],
)
def test_several_results_have_one_exit_code(codes: list[ExitCode], exit_code: ExitCode) -> None:
    assert overall(codes) is exit_code


def test_the_guide_has_every_command_and_every_exit_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "command_line.md").read_text()
    for command in COMMANDS:
        assert f"\n## {command.name}\n" in page
        assert f"airflow lightly {command.name}" in page
    for exit_code, meaning in MEANINGS.items():
        assert f"| {exit_code} | {meaning} |" in page


def executed(run: Any, capsys: pytest.CaptureFixture[str], **arguments: Any) -> tuple[int, str, str]:
    """The exit code of a command that does what is given, and what it prints on both outputs."""
    from argparse import Namespace

    command = Command(name="try", summary="", arguments=(), examples=(), run=run)
    code = 0
    try:
        execute(command, Namespace(**{"output": None, "verbose": False, **arguments}))
    except SystemExit as end:
        code = cast("int", end.code)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_an_unexpected_error_has_no_traceback_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.providers.common.compat.sdk import mask_secret

    # Airflow also masks what other tests of the process gave as a secret, which may be a part of a readable word.
    secret = uuid.uuid4().hex

    def run(_: Namespace) -> Answer:
        mask_secret(secret)
        raise RuntimeError(f"broken by {secret}\x1b[31m")

    code, out, err = executed(run, capsys)
    assert (code, out) == (3, "")
    assert err.startswith("try: unexpected RuntimeError: broken by ***\\x1b[31m; run the command again with --verbose")
    assert "Traceback" not in err


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: Namespace) -> Answer:
        signal.raise_signal(signal.SIGINT)
        return Answer()

    assert executed(run, capsys) == (130, "", "try: interrupted.\n")


def test_what_others_print_is_not_in_the_output() -> None:
    script = (
        "import argparse\n"
        "from lightly_provider.cli.answer import Answer, Section\n"
        "from lightly_provider.cli.command import Command, execute\n"
        "def run(arguments):\n"
        "    print('noise')\n"
        "    return Answer(sections=[Section(rows=[{'name': 'birds'}] * 20_000)], notes=['a note'])\n"
        "command = Command(name='try', summary='', arguments=(), examples=(), run=run)\n"
        "execute(command, argparse.Namespace(output=None, verbose=False))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["name", *["birds"] * 20_000]
    assert done.stderr.splitlines() == ["noise", "a note"]
    # The reader goes away.
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "name\n"
        process.stdout.close()
        assert process.stderr.read() == "noise\n"
        assert process.wait(60) == ExitCode.BROKEN_PIPE


def test_the_note_of_an_empty_section_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    empty = Answer(sections=[Section(rows=[], if_empty="Nothing yet.")], data=[])
    assert executed(lambda _: empty, capsys) == (0, "", "Nothing yet.\n")
    assert executed(lambda _: empty, capsys, output="json") == (0, "[]\n", "")
