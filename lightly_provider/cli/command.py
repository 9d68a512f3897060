"""
What every command has in common: its declaration, and how it runs.

A command is a module with a ``COMMAND``. Airflow imports it at every start of its command line, so at module level it
imports only the standard library and this package's small modules.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.cli.exit_codes import MEANINGS, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from lightly_provider.cli.answer import Answer

AIRFLOW, MODULE = "airflow lightly", "python -m lightly_provider"


class Argument:
    """
    An argument of a command.

    :param flags: Its name, or its flags.
    :param options: Options of ``argparse``'s ``add_argument``. A choice is not among them: ``argparse`` would answer a
        wrong one with the whole help text, and the command answers it with a sentence (:func:`choose`).
    """

    def __init__(self, *flags: str, **options: Any) -> None:
        self.flags = flags
        self.options = options


LIGHTLY_CONN_ID = Argument(
    "--lightly-conn-id", metavar="ID", default="lightly_default", help="Lightly connection. Default: lightly_default."
)
# As Airflow's own commands have it, but plain is the default where no terminal shows the table.
OUTPUT = Argument(
    "-o",
    "--output",
    metavar="(table, json, yaml, plain)",
    help="Output format. Default: table on a terminal, otherwise plain.",
)
VERBOSE = Argument(
    "-v", "--verbose", action="store_true", help="Log what is done, and show the traceback of an unexpected error."
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """
    The declaration of a command.

    :param name: Its name after ``airflow lightly``.
    :param summary: One sentence.
    :param arguments: Its own arguments; the output format and ``--verbose`` are added.
    :param examples: For ``--help``: a comment, and the command line from the command's name on.
    :param run: Takes the parsed arguments, and returns the answer. It imports what it needs when it is called.
    :param output: The option for the output format. Default: :data:`OUTPUT`.
    :param default_format: The output format by default. Default: None, which means as :data:`OUTPUT` says.
    :param description: More for ``--help``, after the summary. Default: nothing.
    """

    name: str
    summary: str
    arguments: Sequence[Argument]
    examples: Sequence[tuple[str, str]]
    run: Callable[[argparse.Namespace], Answer]
    output: Argument = OUTPUT
    default_format: str | None = None
    description: str = ""

    @property
    def all_arguments(self) -> list[Argument]:
        """All arguments, with those of every command."""
        return [*self.arguments, self.output, VERBOSE]

    def full_description(self) -> str:
        """Return the text above the arguments in ``--help``."""
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary

    def epilog(self, program: str) -> str:
        """
        Return the text below the arguments in ``--help``: examples and exit codes.

        :param program: How commands are called, e.g. ``airflow lightly``.
        """
        lines = ["examples:"]
        for comment, line in self.examples:
            lines += [f"  # {comment}", f"  {program} {line}"]
        lines += ["", "exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())]
        return "\n".join(lines)


def execute(command: Command, arguments: argparse.Namespace) -> None:
    """
    Run a command, print its answer, and end the process.

    Whatever goes wrong is one sentence on standard error, and an exit code.

    :param command: The command.
    :param arguments: The parsed arguments.
    :raises SystemExit: Always, except if the exit code is 0.
    """
    if code := _executed(command, arguments):
        raise SystemExit(int(code))


def _executed(command: Command, arguments: argparse.Namespace) -> ExitCode:
    from lightly_provider.cli.printing import format_of, write
    from lightly_provider.cli.refusals import refusal_of

    try:
        with _own_standard_output() as out, _quiet_log(verbose=arguments.verbose):
            format_name = format_of(arguments.output, default=command.default_format, is_terminal=out.isatty())
            answer = command.run(arguments)
            write(answer, format_name, out)
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except KeyboardInterrupt:
        print(f"{command.name}: interrupted.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:
        refusal = refusal_of(error)
        if arguments.verbose and refusal.is_unexpected:
            logging.getLogger(__name__).exception("The command failed.")
        print(f"{command.name}: {refusal.sentence}", file=sys.stderr)
        return refusal.exit_code
    return answer.exit_code


@contextmanager
def _own_standard_output() -> Iterator[TextIO]:
    """
    Yield the standard output for the answer alone: what anything else prints there goes to standard error.

    Airflow logs on standard output, and others in this process may print.
    """
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # it is not a file
        yield sys.stdout
        return
    kept = os.dup(descriptor)
    os.dup2(2, descriptor)
    out = os.fdopen(kept, "w", encoding=sys.stdout.encoding, errors="backslashreplace")
    try:
        yield out
        out.flush()
    finally:
        sys.stdout.flush()
        os.dup2(out.fileno(), descriptor)
        try:
            out.close()
        except BrokenPipeError:
            # Python would report it once more when it ends and flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextmanager
def _quiet_log(*, verbose: bool) -> Iterator[None]:
    """Leave out the log's INFO lines, unless they were asked for: with ``--verbose``, or in Airflow's configuration."""
    if verbose or logging.root.isEnabledFor(logging.DEBUG):
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    # Airflow 3 logs with structlog, which has levels of its own. A list, because Airflow's loggers keep the one that
    # they were made with.
    structlog = sys.modules.get("structlog")
    processors: list[Any] = structlog.get_config()["processors"] if structlog else []

    def drop_info(_: Any, method: str, event: Any) -> Any:
        if structlog and method in ("debug", "info"):
            raise structlog.DropEvent
        return event

    processors.insert(0, drop_info)
    try:
        yield
    finally:
        logging.disable(before)
        if drop_info in processors:
            processors.remove(drop_info)
