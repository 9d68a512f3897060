"""Errors that the user can fix."""

from __future__ import annotations


class SandboxError(Exception):
    """One clear sentence for the terminal; the command ends with exit code 1."""
