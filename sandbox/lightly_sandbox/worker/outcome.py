"""The exceptions that end a run early."""

from __future__ import annotations


class RunFailed(Exception):
    """The run cannot be done as requested. The text is the run's message to its owner."""


class RunAborted(Exception):
    """The worker refuses the run to protect the dataset's samples. The text is the reason."""


class WorkerStopped(Exception):
    """The worker was stopped while the run was in progress."""
