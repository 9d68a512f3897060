"""A local Lightly platform, AWS and worker to develop and test against."""

from __future__ import annotations

__version__ = "0.1.0"
