"""The start and the end of a run: whatever happens, the worker reports its end to the platform."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lightly_sandbox.worker.api import ApiError
from lightly_sandbox.worker.outcome import RunAborted, RunFailed, WorkerStopped
from lightly_sandbox.worker.pipeline import Pipeline
from lightly_sandbox.worker.transfer import TransferError

if TYPE_CHECKING:
    from lightly_sandbox.worker.job import Job

logger = logging.getLogger(__name__)


def execute(job: Job) -> None:
    """Do a run. It always ends in COMPLETED, FAILED or ABORTED with a message.

    Args:
        job: the run, in the state STARTED.

    Raises:
        WorkerStopped: the worker was stopped; the run is ABORTED.
        ApiError: the platform does not even accept the last state.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="lightly-worker-", ignore_cleanup_errors=True) as folder:
            message = Pipeline(job).run(Path(folder))
    except WorkerStopped:
        # The process is about to end, and perhaps also the platform: report only this, without retries.
        job.platform.hurry()
        message = f"The worker was stopped while the run was at {job.log.state}. Schedule the run again."
        job.platform.set_run_state(job.run_id, "ABORTED", message)
        raise
    except RunAborted as reason:
        _end(job, "ABORTED", str(reason))
    except (RunFailed, ApiError, TransferError) as reason:
        _end(job, "FAILED", str(reason))
    except Exception as error:
        logger.exception("run %s failed unexpectedly", job.run_id)
        what = f"{type(error).__name__}: {error}"
        _end(job, "FAILED", f"The worker met an error of its own at {job.log.state}: {what}")
    else:
        job.log.enter("COMPLETED", message)


def _end(job: Job, state: str, message: str) -> None:
    try:
        job.log.say(message, "ERROR")
        job.upload_logs()
    except (ApiError, TransferError) as error:
        logger.warning("the logs of run %s could not be uploaded: %s", job.run_id, error)
    job.platform.set_run_state(job.run_id, state, message)
