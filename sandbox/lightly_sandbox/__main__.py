"""``python -m lightly_sandbox`` is ``lightly-sandbox``."""

from __future__ import annotations

from lightly_sandbox.cli.entry_point import main

main()
