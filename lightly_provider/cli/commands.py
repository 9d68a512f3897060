"""
The provider's commands: ``airflow lightly …`` on Airflow 3.3 and newer, which supports commands of providers, and
``python -m lightly_provider …`` on every version.

To add one, write a module with a ``COMMAND``, and list it here. Airflow imports this module at every start of its
command line.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from lightly_provider.cli import datasets, doctor, examples, export, fleet, notifications, policy, runs
from lightly_provider.cli.command import AIRFLOW, MODULE, execute
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.cli.command import Argument, Command

COMMANDS = (
    doctor.COMMAND,
    policy.COMMAND,
    notifications.COMMAND,
    datasets.COMMAND,
    runs.COMMAND,
    export.COMMAND,
    fleet.PLAN,
    fleet.SETUP,
    fleet.SCHEMA,
    examples.COMMAND,
)
_SUMMARY = "Give Lightly access to S3, check it, and look at what the platform has"
# Commands whose names have two words, by the first.
_GROUPS = {"fleet": "Onboard many datasets from one file"}


def get_cli_commands() -> list[Any]:
    """Return the commands as Airflow's types; Airflow finds this function through the provider info."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    def action(name: str, command: Command) -> ActionCommand:
        return ActionCommand(
            name=name,
            help=command.summary,
            description=command.full_description(),
            epilog=command.epilog(AIRFLOW),
            func=partial(execute, command),
            args=[_argument_for_airflow(argument) for argument in command.all_arguments],
        )

    subcommands = [
        GroupCommand(name=name, help=_GROUPS[name], subcommands=[action(*each) for each in commands.items()])
        if name in _GROUPS
        else action(name, commands[""])
        for name, commands in _by_first_word().items()
    ]
    return [GroupCommand(name="lightly", help=_SUMMARY, subcommands=subcommands)]


def _by_first_word() -> dict[str, dict[str, Command]]:
    """Return the commands by the first word of their name, and by the second; empty: there is none."""
    words: dict[str, dict[str, Command]] = {}
    for command in COMMANDS:
        first, _, second = command.name.partition(" ")
        words.setdefault(first, {})[second] = command
    return words


def _argument_for_airflow(argument: Argument) -> Any:
    from airflow.cli.cli_config import Arg

    make: Any = Arg  # it has no type annotations
    return make(argument.flags, **argument.options)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command without Airflow's command line.

    :param arguments: Command-line arguments. None (default): those of the process.
    :raises SystemExit: The exit code is not 0.
    """
    parser = _Parser(prog=MODULE, description=f"{_SUMMARY}.", formatter_class=argparse.RawDescriptionHelpFormatter)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, commands in _by_first_word().items():
        if name in _GROUPS:
            group = parsers.add_parser(name, help=_GROUPS[name], description=f"{_GROUPS[name]}.")
            of_group = group.add_subparsers(required=True, metavar="COMMAND")
            for word, command in commands.items():
                _add(of_group, word, command)
        else:
            _add(parsers, name, commands[""])
    parsed = parser.parse_args(arguments)
    execute(parsed.command, parsed)


def _add(parsers: Any, name: str, command: Command) -> None:
    of_command = parsers.add_parser(
        name,
        help=command.summary,
        description=command.full_description(),
        epilog=command.epilog(MODULE),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    of_command.set_defaults(command=command)
    for argument in command.all_arguments:
        of_command.add_argument(*argument.flags, **argument.options)


class _Parser(argparse.ArgumentParser):
    """A parser that answers what it cannot parse with a sentence."""

    def error(self, message: str) -> NoReturn:
        """See ``argparse.ArgumentParser``."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = did_you_mean(value, names, otherwise=f"there are {', '.join(names)}")
            self.exit(ExitCode.USAGE, f"{self.prog}: there is no command {value!r}; {hint}\n")
