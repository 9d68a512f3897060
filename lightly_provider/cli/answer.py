"""What a command answers, independent of how it is printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightly_provider.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Section:
    """
    A table.

    :param rows: Its rows; the first row's keys are the columns. A list is shown as ``a, b``, None as nothing.
    :param title: Title. Default: none.
    :param if_empty: Sentence to print on standard error if there are no rows. Default: none.
    """

    rows: Sequence[Mapping[str, Any]]
    title: str = ""
    if_empty: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    The result of a command.

    :param sections: What ``table`` and ``plain`` print.
    :param data: What ``json`` and ``yaml`` print: JSON types.
    :param text: What ``table`` and ``plain`` print instead of sections. Default: None.
    :param content: A file to write to standard output as it is, in pieces, whatever the format. Default: None.
    :param notes: Sentences for standard error. Default: none.
    :param exit_code: Default: OK.
    """

    sections: Sequence[Section] = ()
    data: Any = None
    text: str | None = None
    content: Iterator[bytes] | None = None
    notes: Sequence[str] = field(default=())
    exit_code: ExitCode = ExitCode.OK


def properties(members: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that show one thing: a property and its value each."""
    return [{"property": name, "value": value} for name, value in members.items()]
