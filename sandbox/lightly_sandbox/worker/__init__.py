"""A worker that takes scheduled runs from the platform's API and processes the real images."""

from __future__ import annotations

from lightly_sandbox.worker.service import run

__all__ = ["run"]
