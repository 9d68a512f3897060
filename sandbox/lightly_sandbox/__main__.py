"""``python -m lightly_sandbox`` is ``lightly-sandbox``."""

from __future__ import annotations

from lightly_sandbox.command import main

main()
