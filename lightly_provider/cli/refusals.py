"""What went wrong becomes a sentence and an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.foreign_text import shown
from lightly_provider.masking import masked
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class CommandError(Exception):
    """
    A command cannot do what it was asked to.

    :param sentence: What, where, why, and what to do.
    :param exit_code: Default: USAGE.
    """

    def __init__(self, sentence: str, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Refusal:
    """
    How a command ends after an error.

    :param sentence: For standard error.
    :param exit_code: Exit code.
    :param is_unexpected: Whether the error is none of those that a command knows, i.e. a defect.
    """

    sentence: str
    exit_code: ExitCode
    is_unexpected: bool = False


def refusal_of(error: Exception) -> Refusal:
    """
    Return the sentence and the exit code for an error.

    :param error: The error.
    """
    from lightly_provider import exceptions

    sentence = _lines_shown(error)
    if isinstance(error, CommandError):
        return Refusal(sentence, error.exit_code)
    if isinstance(error, exceptions.LightlyConnectionMissingError):
        return Refusal(sentence, ExitCode.NO_CONNECTION)
    if exceptions.is_transient(error):
        return Refusal(sentence, ExitCode.UNKNOWN)
    if isinstance(error, _WRONG_ARGUMENTS + tuple(getattr(exceptions, name) for name in _WRONG_NAMES)):
        return Refusal(sentence, ExitCode.USAGE)
    if isinstance(error, exceptions.LightlyError):
        return Refusal(sentence, ExitCode.DENIED)
    kind = type(error).__name__
    return Refusal(
        f"unexpected {kind}: {sentence}; run the command again with --verbose, and report what it shows.",
        ExitCode.UNKNOWN,
        is_unexpected=True,
    )


_WRONG_ARGUMENTS = (ValueError,)
_WRONG_NAMES = (
    "LightlyBadRequestError",
    "LightlyConnectionConfigError",
    "LightlyDatasetConflictError",
    "LightlyExtraMissingError",
    "LightlyNotFoundError",
)


def _lines_shown(error: Exception) -> str:
    """Return the error's text for a terminal. A message of several lines keeps them; Airflow masks known secrets."""
    return "\n".join(shown(line, longest=10_000) for line in masked(str(error)).splitlines()) or type(error).__name__


def choose(value: str, choices: Sequence[str], *, argument: str) -> str:
    """
    Return the choice that is meant, whatever its case.

    :param value: What was written.
    :param choices: What can be chosen.
    :param argument: The argument, for the message.
    :raises CommandError: It is none of them.
    """
    by_fold = {choice.casefold(): choice for choice in choices}
    if (chosen := by_fold.get(value.casefold())) is not None:
        return chosen
    hint = did_you_mean(value, choices, otherwise=f"write one of {', '.join(choices)}.")
    raise CommandError(f"{argument} is {shown(value, longest=200)!r}, which is none of its choices; {hint}")
