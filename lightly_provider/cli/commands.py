"""
The commands of this provider: ``airflow lightly …`` where Airflow takes commands from providers, and everywhere
``python -m lightly_provider …``.

A command is declared once, in :data:`COMMANDS`; Airflow's own form and argparse's are made of that. Airflow imports
this module whenever it starts, so what a command does is imported when it runs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Argument:
    """
    An argument of a command.

    :param names: Its name, or its flags.
    :param options: What ``argparse.add_argument`` takes besides.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Command:
    """
    A command.

    :param name: Its name.
    :param help: What it does, in a sentence.
    :param function: The function that does it, as ``module:name``; it takes the parsed arguments, and returns the exit
        status or None.
    :param arguments: Its arguments.
    """

    name: str
    help: str
    function: str
    arguments: tuple[Argument, ...]

    def run(self, arguments: argparse.Namespace) -> None:
        """Do it; an argument that cannot be right ends with its message alone."""
        module, _, name = self.function.partition(":")
        try:
            status = getattr(import_module(module), name)(arguments)
        except ValueError as error:
            raise SystemExit(f"{self.name}: {error}") from None
        if status:
            raise SystemExit(status)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="doctor",
        help="Tell what may be done at an S3 location, and what is wrong, without a dataset and the platform.",
        function="lightly_provider.cli.doctor:run",
        arguments=(
            Argument(("location",), {"metavar": "s3://bucket/prefix/", "help": "Where the files are, or shall be."}),
            Argument(
                ("--aws-conn-id",),
                {
                    "required": True,
                    "metavar": "ID",
                    "help": "AWS connection: with an IAM user's keys, what Lightly shall use; with --role-arn, "
                    "Airflow's own.",
                },
            ),
            Argument(
                ("--role-arn",),
                {"metavar": "ARN", "help": "Role that Lightly shall assume; it is looked at, with --aws-conn-id."},
            ),
            Argument(
                ("--own-aws-conn-id",),
                {
                    "metavar": "ID",
                    "help": "AWS connection of Airflow's own, to read the policies in which something denies. Default: "
                    "--aws-conn-id.",
                },
            ),
            Argument(
                ("--purpose",),
                {"choices": ("INPUT", "LIGHTLY", "INPUT_OUTPUT"), "default": "INPUT", "help": "Default: INPUT."},
            ),
            Argument(
                ("--dataset-type",),
                {"choices": ("Images", "Videos"), "default": "Images", "help": "Default: Images."},
            ),
            Argument(("--thumbnails",), {"action": "store_true", "help": "Lightly stores thumbnails there."}),
            Argument(
                ("--region",),
                {"help": "The bucket's region. Default: S3 is asked, then the connection's own."},
            ),
            Argument(
                ("--kms-key-arn",), {"metavar": "ARN", "help": "Key with which Lightly shall encrypt what it writes."}
            ),
            Argument(
                ("--count",),
                {"action": "store_true", "help": "Count all files, however many. Default: the first page says enough."},
            ),
            Argument(
                ("--allow-endpoint",),
                {"action": "store_true", "help": "Take an S3 that is not AWS's, as the sandbox's."},
            ),
        ),
    ),
    Command(
        name="policy",
        help="Print the IAM documents that give Lightly access to S3 locations, for whoever owns IAM.",
        function="lightly_provider.cli.policy:print_documents",
        arguments=(
            Argument(("location",), {"nargs": "+", "metavar": "s3://bucket/prefix/", "help": "Where the files are."}),
            Argument(
                ("--purpose",),
                {"help": "INPUT, LIGHTLY or INPUT_OUTPUT. Default: INPUT_OUTPUT, or INPUT with --output."},
            ),
            Argument(
                ("--output",),
                {"action": "append", "metavar": "s3://bucket/prefix/", "help": "Where Lightly writes (LIGHTLY)."},
            ),
            Argument(
                ("--access",),
                {"choices": ("role", "user"), "default": "role", "help": "Who is given it. Default: role."},
            ),
            Argument(("--kms-key-arn",), {"metavar": "ARN", "help": "KMS key with which Lightly shall encrypt."}),
            Argument(
                ("--read-kms-key-arn",),
                {"action": "append", "metavar": "ARN", "help": "KMS key with which the files are encrypted."},
            ),
            Argument(
                ("--source-ip",),
                {"action": "append", "metavar": "CIDR", "help": "Only from there are objects read and written."},
            ),
            Argument(
                ("--source-vpc",),
                {"action": "append", "metavar": "VPC", "help": "Only from there are objects read and written."},
            ),
            Argument(
                ("--principal-arn",),
                {"metavar": "ARN", "help": "The role or user, for the key policy. Default: a place to fill in."},
            ),
            Argument(
                ("--region",), {"help": "A region of the buckets, which decides the ARNs. Default: any of 'aws'."}
            ),
            Argument(
                ("--external-id-env",),
                {
                    "metavar": "NAME",
                    "help": "Environment variable that holds the external ID. Default: a random one is made, and "
                    "printed in the trust policy.",
                },
            ),
            Argument(
                ("--document",),
                {
                    "choices": ("all", "policy", "trust-policy", "key-policy"),
                    "default": "all",
                    "help": "Which document to print, ready for the aws command line. Default: all, in one object.",
                },
            ),
        ),
    ),
)


def get_cli_commands() -> list[Any]:
    """The commands in Airflow's form; Airflow calls this, as the provider info names it."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    argument_of: Any = Arg  # it has no types
    commands = [
        ActionCommand(
            name=command.name,
            help=command.help,
            func=command.run,
            args=[argument_of(argument.names, **argument.options) for argument in command.arguments],
        )
        for command in COMMANDS
    ]
    return [GroupCommand(name="lightly", help="Give Lightly access to S3, and look into it", subcommands=commands)]


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The commands without Airflow's own.

    :param arguments: The command line; None: this process's.
    """
    parser = argparse.ArgumentParser(prog="python -m lightly_provider", description="Commands of the Lightly provider.")
    names = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        of_command = names.add_parser(command.name, help=command.help, description=command.help)
        of_command.set_defaults(command=command)
        for argument in command.arguments:
            of_command.add_argument(*argument.names, **argument.options)
    parsed = parser.parse_args(arguments)
    parsed.command.run(parsed)
