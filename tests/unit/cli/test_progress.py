"""The progress bar: on standard error if that is a terminal, and gone at the end."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from lightly_provider.cli.progress import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

ERASED = "\x1b[2K"


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def as_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an ordinary terminal."""
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("as_terminal")
def test_a_terminal_shows_how_much_is_done_and_clears_it_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", errors := Terminal())

    assert list(counted("abc", description="Reading [red]datasets[/red]", total=3)) == ["a", "b", "c"]

    assert "Reading [red]datasets[/red]" in errors.getvalue()
    assert "3/3" in errors.getvalue()
    assert errors.getvalue().endswith(ERASED)


@pytest.mark.usefixtures("as_terminal")
def test_what_is_no_terminal_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())

    assert list(counted(iter("ab"), description="Reading datasets", total=2)) == ["a", "b"]

    assert errors.getvalue() == ""


@pytest.mark.usefixtures("as_terminal")
def test_the_bar_is_erased_before_an_error_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", errors := Terminal())

    def items() -> Iterator[str]:
        yield "a"
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        list(counted(items(), description="Reading datasets", total=2))
    assert errors.getvalue().endswith(ERASED)
