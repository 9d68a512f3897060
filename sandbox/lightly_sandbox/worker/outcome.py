"""How a run can end before its work is done."""

from __future__ import annotations


class RunFailed(Exception):
    """The run cannot be done as it was asked for. The text is the run's message to its owner."""


class RunAborted(Exception):
    """The worker declines the run in order to protect what the dataset holds. The text says why."""


class WorkerStopped(Exception):
    """The worker was stopped while the run was in progress."""
