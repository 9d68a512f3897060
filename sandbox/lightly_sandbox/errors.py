"""What goes wrong in a way that its user can mend."""

from __future__ import annotations


class SandboxError(Exception):
    """One clear sentence for the terminal; the command ends with exit code 1."""
