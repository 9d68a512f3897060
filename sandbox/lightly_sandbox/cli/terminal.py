"""The command's output, and its end after an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console

if TYPE_CHECKING:
    from lightly_sandbox.errors import SandboxError

_out = Console(highlight=False, emoji=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def say(line: str) -> None:
    """Print ``line`` as it is."""
    _out.print(line, markup=False)


def fail(problem: SandboxError) -> typer.Exit:
    """Print an error; raise the returned exception to end the command with exit code 1."""
    _err.print(str(problem), style="red", markup=False)
    return typer.Exit(1)
