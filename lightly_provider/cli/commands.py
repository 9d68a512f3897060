"""
The provider's commands: ``airflow lightly …`` on Airflow 3.3 and newer, which supports commands of providers, and
``python -m lightly_provider …`` on every version.

To add one, write a module with a ``COMMAND``, and list it here. Airflow imports this module at every start of its
command line.
"""

from __future__ import annotations

import argparse
import difflib
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from lightly_provider.cli import datasets, doctor, examples, export, policy, runs
from lightly_provider.cli.command import AIRFLOW, MODULE, execute
from lightly_provider.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.cli.command import Argument

COMMANDS = (
    doctor.COMMAND,
    policy.COMMAND,
    datasets.COMMAND,
    runs.COMMAND,
    export.COMMAND,
    examples.COMMAND,
)
_SUMMARY = "Give Lightly access to S3, check it, and look at what the platform has"


def get_cli_commands() -> list[Any]:
    """Return the commands as Airflow's types; Airflow finds this function through the provider info."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    return [
        GroupCommand(
            name="lightly",
            help=_SUMMARY,
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.summary,
                    description=command.full_description(),
                    epilog=command.epilog(AIRFLOW),
                    func=partial(execute, command),
                    args=[_argument_for_airflow(argument) for argument in command.all_arguments],
                )
                for command in COMMANDS
            ],
        )
    ]


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
    for command in COMMANDS:
        of_command = parsers.add_parser(
            command.name,
            help=command.summary,
            description=command.full_description(),
            epilog=command.epilog(MODULE),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        of_command.set_defaults(command=command)
        for argument in command.all_arguments:
            of_command.add_argument(*argument.flags, **argument.options)
    parsed = parser.parse_args(arguments)
    execute(parsed.command, parsed)


class _Parser(argparse.ArgumentParser):
    """A parser that answers what it cannot parse with a sentence."""

    def error(self, message: str) -> NoReturn:
        """See ``argparse.ArgumentParser``."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = difflib.get_close_matches(str(value), map(str, action.choices), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(action.choices)}"
            self.exit(ExitCode.USAGE, f"{self.prog}: there is no command {value!r}; {hint}\n")
