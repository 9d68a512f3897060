"""``python -m lightly_sandbox.worker``: one worker as a process of its own."""

from __future__ import annotations

import typer

from lightly_sandbox.cli.worker import worker

# A traceback with its variables would show the token among them.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(worker)

if __name__ == "__main__":
    app()
