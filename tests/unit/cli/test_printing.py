"""Each output format shows all values, and no character that controls a terminal."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.printing import FORMATS, as_json, as_plain, as_yaml, format_of, write
from lightly_provider.cli.refusals import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

# A name of somebody else: an escape sequence, markup of rich, a reversal of the reading order, a lone surrogate.
HOSTILE = "für [red]birds[/red]\x1b[2J\u202e\ud800"
DATA: list[dict[str, Any]] = [
    {"name": HOSTILE, "samples": 3, "shared": True, "tags": ["a", "b"], "last": None},
    {"name": "cats", "samples": 12, "shared": False, "tags": [], "last": "COMPLETED"},
]


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def printed(format_name: str, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    write(Answer(sections=[Section(rows=DATA, title="datasets")], data=DATA), format_name, out)
    return out.getvalue()


@pytest.mark.parametrize("format_name", FORMATS)
def test_no_format_prints_what_controls_a_terminal(format_name: str) -> None:
    text = printed(format_name)
    assert text.replace("\n", "").isprintable()
    for value in ("[red]birds[/red]", "cats", "12"):
        assert value in text


def test_json_and_yaml_hold_the_values_as_they_are() -> None:
    assert json.loads(as_json(DATA)) == DATA
    assert '"für' in as_json(DATA)
    assert yaml.safe_load(as_yaml(DATA[1:])) == DATA[1:]
    ordinary = [{"name": "für", "at": "2026-01-02T03:04:05Z"}]
    assert yaml.safe_load(as_yaml(ordinary)) == ordinary
    assert "für" in as_yaml(ordinary)


def test_plain_is_columns_with_a_heading() -> None:
    rows = [{"name": "birds", "tags": ["a", "b"], "on": True}, {"name": "x", "tags": None, "on": False}]
    assert as_plain(Section(rows=rows)).splitlines() == [
        "name   tags  on",
        "birds  a, b  yes",
        "x            no",
    ]


def test_a_table_is_airflows_and_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    piped = printed("table")
    assert "\x1b" not in piped
    assert " | COMPLETED" in piped
    assert "=+=" in piped
    assert "\x1b[32mCOMPLETED" in printed("table", Terminal())


def test_a_text_is_printed_as_it_is_and_a_file_byte_by_byte(tmp_path: Any) -> None:
    out = io.StringIO()
    write(Answer(text="read  PASS  [bold]\n\ndone"), "plain", out)
    assert out.getvalue() == "read  PASS  [bold]\n\ndone\n"

    def pieces() -> Iterator[bytes]:
        yield b"a\n"
        yield "\u00fc\u2028\n".encode()

    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        write(Answer(content=pieces()), "json", file)
    assert (tmp_path / "out").read_bytes() == b"a\n\xc3\xbc\xe2\x80\xa8\n"


def test_a_file_on_a_terminal_cannot_control_it() -> None:
    hostile = "für\x1b[2J\u202e.jpg\n"
    for content in (
        [f"a.jpg\n{hostile}".encode()],
        [bytes([each]) for each in f"a.jpg\n{hostile}".encode()],
        [b"a.jpg"],
    ):
        terminal = Terminal()
        write(Answer(content=iter(content)), "plain", terminal)
        assert terminal.getvalue() == ("a.jpg\n" if content == [b"a.jpg"] else "a.jpg\nfür\\x1b[2J\\u202e.jpg\n")


@pytest.mark.parametrize(
    ("value", "default", "is_terminal", "expected"),
    [
        (None, None, True, "table"),
        (None, None, False, "plain"),
        (None, "json", True, "json"),
        ("yaml", "json", True, "yaml"),
    ],
)
def test_the_format_is_what_was_asked_for_or_the_default(
    value: str | None, default: str | None, is_terminal: bool, expected: str
) -> None:
    assert format_of(value, default=default, is_terminal=is_terminal) == expected


def test_a_location_as_the_format_names_the_option_for_locations() -> None:
    with pytest.raises(CommandError, match=r"--output is 's3://b/x/', .* is --output-location\."):
        format_of("s3://b/x/", default=None, is_terminal=False)
