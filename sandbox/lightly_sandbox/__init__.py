"""A local Lightly platform, AWS and worker to develop and test against."""

from __future__ import annotations

__version__ = "0.1.0"

WORKER_AGENT = "lightly-sandbox-worker/"
"""How a worker's User-Agent begins: by it the platform spares its own workers the faults."""
