"""The context of one run, for all its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_sandbox.worker.api import Platform
    from lightly_sandbox.worker.runlog import RunLog
    from lightly_sandbox.worker.transfer import Transfer


@dataclass(frozen=True)
class Job:
    """A run on the platform, and what is needed to do it.

    Call ``tick`` several times a second; it raises WorkerStopped if the worker must stop.
    ``started`` is in Unix seconds.
    """

    platform: Platform
    transfer: Transfer
    run_id: str
    dataset_id: str
    config_id: str
    worker_version: str
    tick: Callable[[], None]
    log: RunLog
    started: float = field(default_factory=time.time)

    def upload(self, kind: str, file_name: str, content: bytes) -> None:
        """Upload a file as the run's artifact of this type."""
        artifact_id, url = self.platform.create_artifact(self.run_id, file_name, kind)
        self.transfer.write(url, content)
        self.platform.confirm_artifact(self.run_id, artifact_id)

    def upload_logs(self) -> None:
        """Upload all log lines and the memory log so far as artifacts."""
        self.log.flush()
        self.upload("LOG", "log.txt", self.log.as_text().encode())
        self.upload("MEMLOG", "memlog.txt", self.log.memory.as_text().encode())
