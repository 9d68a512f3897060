"""A local Lightly platform, AWS and worker to develop and test against."""

from __future__ import annotations

__version__ = "0.1.0"

WORKER_AGENT = "lightly-sandbox-worker/"
"""How a worker's User-Agent begins: by it the platform spares its own workers the faults."""
SIGN_OF_LIFE_SECONDS = 5.0
"""How often a worker says that it lives, where what it does leaves it the time."""
