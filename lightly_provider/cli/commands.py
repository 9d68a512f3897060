"""
The provider's commands: ``airflow lightly …`` on Airflow 3.3 and newer, which supports commands of providers, and
``python -m lightly_provider …`` on every version.

Airflow imports this module at every start, so it imports only the standard library; a command imports its own code when
it runs.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def get_cli_commands() -> list[Any]:
    """Return the commands as Airflow's types; Airflow finds this function through the provider info."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    commands = [
        ActionCommand(name=name, help=text, func=partial(_run, name, function), args=arguments)
        for name, text, function, arguments in (
            (
                "doctor",
                "Check what is allowed at an S3 location, and find what is wrong, without a dataset or the platform.",
                "lightly_provider.cli.doctor:run",
                _arguments_of_doctor(),
            ),
            (
                "policy",
                "Print the IAM documents that give Lightly access to S3 locations, for the owner of IAM.",
                "lightly_provider.cli.policy:print_documents",
                _arguments_of_policy(),
            ),
        )
    ]
    return [GroupCommand(name="lightly", help="Give Lightly access to S3, and check it", subcommands=commands)]


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command without Airflow's command line.

    :param arguments: Command-line arguments. None (default): those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m lightly_provider", description="Commands of the Lightly provider.")
    names = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in get_cli_commands()[0].subcommands:
        of_command = names.add_parser(command.name, help=command.help, description=command.help)
        of_command.set_defaults(func=command.func)
        for argument in command.args:
            argument.add_to_parser(of_command)
    parsed = parser.parse_args(arguments)
    parsed.func(parsed)


def _run(name: str, function: str, arguments: argparse.Namespace) -> None:
    """
    Run a command; an invalid argument exits with only the message, without a traceback.

    :param name: Name of the command.
    :param function: ``module:function``, which takes the parsed arguments and returns the exit status or None.
    :param arguments: Parsed arguments.
    """
    module, _, attribute = function.partition(":")
    try:
        status = getattr(import_module(module), attribute)(arguments)
    except ValueError as error:
        raise SystemExit(f"{name}: {error}") from None
    if status:
        raise SystemExit(status)


def _argument(*flags: str, **options: Any) -> Any:
    """Return an argument for Airflow's command line, with the options of ``argparse``."""
    from airflow.cli.cli_config import Arg

    make: Any = Arg  # it has no type annotations
    return make(flags, **options)


def _arguments_of_doctor() -> list[Any]:
    return [
        _argument("location", metavar="s3://bucket/prefix/", help="Where the files are, or will be."),
        _argument(
            "--aws-conn-id",
            required=True,
            metavar="ID",
            help="AWS connection: with an IAM user's keys, which Lightly will use; with --role-arn, Airflow's own.",
        ),
        _argument(
            "--role-arn", metavar="ARN", help="Role that Lightly will assume. It is inspected with --aws-conn-id."
        ),
        _argument(
            "--own-aws-conn-id",
            metavar="ID",
            help="AWS connection of Airflow's own, which reads the policies to find the one that denies. Default: "
            "--aws-conn-id.",
        ),
        _argument("--purpose", choices=("INPUT", "LIGHTLY", "INPUT_OUTPUT"), default="INPUT", help="Default: INPUT."),
        _argument("--dataset-type", choices=("Images", "Videos"), default="Images", help="Default: Images."),
        _argument("--thumbnails", action="store_true", help="Lightly stores thumbnails there."),
        _argument("--region", help="Region of the bucket. Default: S3 is asked, then that of the connection."),
        _argument("--kms-key-arn", metavar="ARN", help="KMS key with which Lightly will encrypt what it writes."),
        _argument("--count", action="store_true", help="Count all files. Default: only the first page of the listing."),
        _argument("--allow-endpoint", action="store_true", help="Accept an S3 other than AWS's, e.g. the sandbox's."),
    ]


def _arguments_of_policy() -> list[Any]:
    return [
        _argument("location", nargs="+", metavar="s3://bucket/prefix/", help="Where the files are."),
        _argument("--purpose", help="INPUT, LIGHTLY or INPUT_OUTPUT. Default: INPUT_OUTPUT, or INPUT with --output."),
        _argument("--output", action="append", metavar="s3://bucket/prefix/", help="Where Lightly writes (LIGHTLY)."),
        _argument(
            "--access", choices=("role", "user"), default="role", help="Whose access the policy is for. Default: role."
        ),
        _argument("--kms-key-arn", metavar="ARN", help="KMS key with which Lightly will encrypt what it writes."),
        _argument(
            "--read-kms-key-arn", action="append", metavar="ARN", help="KMS key with which the files are encrypted."
        ),
        _argument(
            "--source-ip", action="append", metavar="CIDR", help="Allow reading and writing objects only from here."
        ),
        _argument(
            "--source-vpc", action="append", metavar="VPC", help="Allow reading and writing objects only from here."
        ),
        _argument(
            "--principal-arn",
            metavar="ARN",
            help="ARN of the role or user, for the key policy. Default: a placeholder.",
        ),
        _argument("--region", help="Region of the buckets, which decides the partition of the ARNs. Default: 'aws'."),
        _argument(
            "--external-id-env",
            metavar="NAME",
            help="Environment variable that holds the external ID. Default: a random one, printed in the trust policy.",
        ),
        _argument(
            "--document",
            choices=("all", "policy", "trust-policy", "key-policy"),
            default="all",
            help="Document to print, as the AWS command line takes it. Default: all, in one object.",
        ),
    ]
