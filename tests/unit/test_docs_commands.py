"""Commands in the guide: each is taken by the program that it calls, run by a test, or listed here with a reason."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.cli.commands import get_cli_commands
from tests.unit.documents import DOCUMENTS, REPOSITORY, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [path for path in DOCUMENTS if path.is_relative_to(REPOSITORY / "docs")]
# What a block is written in; "py" is read, and not run, because this environment lacks what it imports.
LANGUAGES = {"python", "py", "json", "yaml", "bash", "text"}
# How a command begins, and why no test runs it as it stands.
CHECKED_ELSEWHERE = {
    "export AIRFLOW_CONN_": "test_docs.py has the provider read each connection",
    "make ": "test_docs.py compares each with the Makefile; CI runs the targets",
    "airflow lightly ": "below",
    "python -m lightly_provider ": "below",
}
NOT_RUN = {
    'export AIRFLOW_CONN_LIGHTLY_BUCKET="$': "another name for a connection that the sandbox prints",
    "python3 -m venv": "takes a package from an index",
    "lightly-sandbox/bin/lightly-sandbox": "the sandbox's own tests run its commands",
    ".venv-sandbox/bin/lightly-sandbox": "the sandbox's own tests run its commands",
    "airflow standalone": "Airflow's own command",
    "airflow backfill create ": "Airflow's own command",
    "mkdir ": "no command of this project",
    "pip install": "takes a package from an index; the package's own tests install the built wheel",
    "AIRFLOW__CORE__": "a setting of Airflow, and Airflow's own command",
    "aws ": "needs an AWS account",
    "export AWS_": "for the AWS command line",
    "kubectl ": "needs a cluster",
    "TOKEN=": "needs a running Airflow, as do the requests that take the token",
    "curl ": "needs a running Airflow",
}


def commands() -> Iterator[tuple[str, str]]:
    """Each command in a block of the language bash, with its place."""
    for path in PAGES:
        for block in blocks(path, "bash"):
            for number, command in enumerate(_split(block.text)):
                yield f"{block.place}+{number}", command


def _split(text: str) -> list[str]:
    """A command ends with its line, unless a quotation or a backslash goes on."""
    found: list[str] = []
    begun = ""
    for line in text.splitlines():
        begun += line
        if begun.endswith("\\") or begun.count("'") % 2:
            begun += "\n"
            continue
        if begun.strip() and not begun.startswith("#"):
            found.append(begun)
        begun = ""
    assert not begun, f"{begun!r} has no end"
    return found


def test_each_block_says_what_it_is_written_in() -> None:
    assert {
        block.place: block.language for path in PAGES for block in blocks(path) if block.language not in LANGUAGES
    } == {}


def test_each_command_is_checked_or_has_a_reason_why_not() -> None:
    found = list(commands())
    known = (*CHECKED_ELSEWHERE, *NOT_RUN)

    assert [(place, command) for place, command in found if not command.startswith(known)] == []
    assert [begin for begin in NOT_RUN if not any(command.startswith(begin) for _, command in found)] == []


def parser_of(command: Any, names: Any) -> None:
    """Add Airflow's description of a command, or of a group of them, to an argparse parser."""
    parser = names.add_parser(command.name)
    if subcommands := getattr(command, "subcommands", None):
        below = parser.add_subparsers(required=True)
        for subcommand in subcommands:
            parser_of(subcommand, below)
        return
    for argument in command.args:
        argument.add_to_parser(parser)


OURS = [
    pytest.param(shlex.split(re.sub(r"^(airflow|python -m lightly_provider) ?| +[>|] .*$", "", command)), id=place)
    for place, command in commands()
    if command.startswith(("airflow lightly ", "python -m lightly_provider "))
]


@pytest.mark.parametrize("words", OURS)
def test_the_provider_takes_its_documented_commands(words: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    names = parser.add_subparsers(required=True)
    for command in get_cli_commands():
        parser_of(command, names)

    words = words if words[0] == "lightly" else ["lightly", *words]
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match=r"^0$"):
            parser.parse_args(words)
        return
    assert parser.parse_args(words)


@pytest.mark.parametrize(
    "block", [block for path in PAGES for block in blocks(path, "py")], ids=lambda block: block.place
)
def test_python_that_nothing_runs_is_python(block: Block) -> None:
    ast.parse(block.text)
