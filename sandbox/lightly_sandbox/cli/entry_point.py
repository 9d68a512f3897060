"""The entry point of the command ``lightly-sandbox``."""

from __future__ import annotations

import sys

from lightly_sandbox.process.installation import missing_parts

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended (POSIX shells: 128 and the signal's number)."""


def main() -> None:
    """Run the command, or report that only the pytest plugin is installed."""
    if missing := missing_parts():
        sys.exit(
            f"This lightly-sandbox, in {sys.prefix}, is installed for its pytest plugin only, without "
            f"{', '.join(missing)}. Install the command into an environment of its own: `uv tool install "
            "./sandbox` in a checkout."
        )
    try:
        from lightly_sandbox.cli.commands import app

        app()
    except KeyboardInterrupt:
        # An interrupt during imports; later the commands handle it themselves.
        sys.exit(INTERRUPTED)
