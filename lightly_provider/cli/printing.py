"""Print an answer: as a table, as plain columns, as JSON or as YAML."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from lightly_provider.cli.refusals import CommandError
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TextIO

    from lightly_provider.cli.answer import Answer, Section

FORMATS = ("table", "json", "yaml", "plain")
# A console that is no terminal has no width; this is one that no table has.
_NO_LIMIT = 100_000
# No line of an export is longer: a name has 1024 bytes, and a task a few more members.
_LONGEST_LINE = 100_000
_STYLES = {
    "PASS": "green",
    "COMPLETED": "green",
    "WARN": "yellow",
    "UNKNOWN": "yellow",
    "FAIL": "bold red",
    "FAILED": "bold red",
    "CRASHED": "bold red",
    "ABORTED": "bold red",
}


def format_of(value: str | None, *, default: str | None, is_terminal: bool) -> str:
    """
    Return the output format.

    :param value: What ``--output`` says; None: nothing.
    :param default: The command's own default; None: it has none.
    :param is_terminal: Whether a terminal shows the output.
    :raises CommandError: It is no format.
    """
    if value is None:
        return default or ("table" if is_terminal else "plain")
    if value in FORMATS:
        return value
    where = " The location where Lightly writes is --output-location." if value.startswith("s3:") else ""
    raise CommandError(
        f"--output is {shown(value, longest=200)!r}, which is not an output format; write one of {', '.join(FORMATS)}."
        f"{where}"
    )


def write(answer: Answer, format_name: str, out: TextIO) -> None:
    """
    Print an answer, and its notes on standard error.

    :param answer: The answer.
    :param format_name: One of :data:`FORMATS`.
    :param out: Standard output.
    """
    if answer.content is not None:
        _write_content(answer, out)
    elif format_name == "json":
        print(as_json(answer.data), file=out)
    elif format_name == "yaml":
        print(as_yaml(answer.data), file=out, end="")
    elif answer.text is not None:
        _write_text(answer.text, out)
    else:
        for number, section in enumerate(answer.sections):
            if section.rows:
                if number:
                    print(file=out)
                _write_section(section, format_name, out)
            elif section.if_empty:
                print(section.if_empty, file=sys.stderr)
    out.flush()
    for note in answer.notes:
        print(note, file=sys.stderr)


def as_json(data: Any) -> str:
    """
    Return data as JSON, in which a terminal shows every character.

    :param data: JSON types.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False)
    # Whatever is not printable is inside a string, except for line breaks.
    return "".join(char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in text)


def as_yaml(data: Any) -> str:
    """
    Return data as YAML, in which a terminal shows every character.

    :param data: JSON types.
    """
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
    if text.replace("\n", "").isprintable():
        return text
    escaped: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=False, width=120)
    return escaped


def as_plain(section: Section) -> str:
    """
    Return a section as columns, which other commands can read.

    :param section: A section with rows.
    """
    columns = list(section.rows[0])
    lines = [columns, *([_cell(row.get(column)) for column in columns] for row in section.rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return shown(value)


def _write_section(section: Section, format_name: str, out: TextIO) -> None:
    if format_name == "plain":
        if section.title:
            print(section.title, file=out)
        print(as_plain(section), file=out)
        return
    from rich.box import ASCII_DOUBLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # The form of Airflow's own tables (airflow.cli.simple_table.SimpleTable), without its markup: a cell holds names of
    # others.
    table = Table(
        box=ASCII_DOUBLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=section.title or None,
        title_style="bold green",
        title_justify="left",
    )
    columns = list(section.rows[0])
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in _cells(row, columns)))
    _console(out).print(table)


def _cells(row: Mapping[str, Any], columns: list[str]) -> list[str]:
    return [_cell(row.get(column)) for column in columns]


def _write_text(text: str, out: TextIO) -> None:
    if not out.isatty():
        print(text, file=out)
        return
    from rich.text import Text

    styled = Text(text)
    for word, style in _STYLES.items():
        styled.highlight_regex(rf"\b{word}\b", style)
    _console(out).print(styled, soft_wrap=True)


def _console(out: TextIO) -> Any:
    from rich.console import Console

    return Console(file=out, width=None if out.isatty() else _NO_LIMIT, highlight=False, emoji=False)


def _write_content(answer: Answer, out: TextIO) -> None:
    if out.isatty():
        # A name may control the terminal. A file, or another command, gets each byte.
        for line in _lines(answer.content or ()):
            print(shown(line, longest=_LONGEST_LINE), file=out)
        return
    raw = getattr(out, "buffer", None)
    for piece in answer.content or ():
        if raw is None:
            out.write(piece.decode())
        else:
            raw.write(piece)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, which may be cut anywhere."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)
    if rest:
        yield rest.decode()
