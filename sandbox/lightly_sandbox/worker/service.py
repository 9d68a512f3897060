"""The worker as a service: it registers, sends heartbeats, and does one scheduled run after another."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from lightly_sandbox import SIGN_OF_LIFE_SECONDS, __version__
from lightly_sandbox.worker.api import ApiError, Platform
from lightly_sandbox.worker.job import Job
from lightly_sandbox.worker.lifecycle import execute
from lightly_sandbox.worker.outcome import WorkerStopped
from lightly_sandbox.worker.runlog import RunLog
from lightly_sandbox.worker.transfer import Transfer

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

VERSION = f"lightly-sandbox-{__version__}"
_TERMINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "ABORTED"})


def run(
    url: str,
    token: str,
    *,
    name: str,
    labels: Sequence[str],
    poll_interval: float,
    stop: threading.Event,
    worker_id: str | None = None,
) -> None:
    """Work until stopped by ``stop`` or by the worker config of a completed run.

    Args:
        url: the platform's address.
        token: an API token; the worker takes the runs that this user scheduled.
        name: the worker's name. Registering the same name again continues as the same worker.
        labels: a scheduled run is taken if everything in its ``runsOn`` is among these.
        poll_interval: seconds between two looks at the schedule while there is nothing to do.
        stop: set it to stop. A run in progress is ABORTED within about a second. It is also set by a run
            whose worker config says ``shutdown_when_job_finished``, once that has ended.
        worker_id: an existing worker: work as that one, with its registered labels; then ``name`` and
            ``labels`` are not used. None: register.

    Raises:
        ApiError: the platform refuses the worker, for example because of the token.
    """
    platform = Platform(url, token)

    def identify() -> tuple[str, Sequence[str]]:
        if worker_id is not None:
            return worker_id, platform.labels_of_worker(worker_id)
        return platform.register_worker(name, labels, VERSION), labels

    identity = _when_the_platform_answers(identify, poll_interval, stop)
    if identity is not None:
        own_id, own_labels = identity
        # Registering again ends the predecessor's run; using an existing id does not.
        settled = worker_id is None
        _Worker(platform, own_id, frozenset(own_labels), stop, settled=settled).serve(poll_interval)


def _when_the_platform_answers(
    ask: Callable[[], tuple[str, Sequence[str]]], poll_interval: float, stop: threading.Event
) -> tuple[str, Sequence[str]] | None:
    while not stop.is_set():
        try:
            return ask()
        except ApiError as error:
            if error.status is not None and error.status < 500:
                raise
            logger.warning("waiting for the platform: %s", error)
            stop.wait(poll_interval)
    return None


class _Worker:
    def __init__(
        self,
        platform: Platform,
        worker_id: str,
        labels: frozenset[str],
        stop: threading.Event,
        *,
        settled: bool,
    ) -> None:
        self._platform = platform
        self._transfer = Transfer()
        self._worker_id = worker_id
        self._labels = labels
        self._stop = stop
        self._state = "IDLE"
        self._settled = settled
        self._inherits = not settled
        # The scheduled runs that this process has locked, or may have because the response was lost; and
        # those of them whose run it has created, or may have. What else is locked under this id belongs to
        # another process that uses it, too.
        self._taken: set[str] = set()
        self._begun: set[str] = set()
        self._last_heartbeat = 0.0

    def serve(self, poll_interval: float) -> None:
        logger.info("worker %s takes runs with the labels %s", self._worker_id, sorted(self._labels))
        try:
            while not self._stop.is_set():
                if not self._step():
                    self._stop.wait(poll_interval)
        except WorkerStopped:
            logger.info("stopped during a run")
        self._platform.hurry()
        try:
            self._enter("OFFLINE")
        except ApiError as error:
            logger.warning("%s", error)

    def _step(self) -> bool:
        """Do one run if there is one. False if there is nothing to do, or the platform does not respond."""
        try:
            if not self._settled:
                self._settle()
            if self._state == "IDLE":
                self._heartbeat()
            else:
                self._enter("IDLE")
            return self._take_one()
        except ApiError as error:
            logger.warning("%s", error)
            self._settled = False
            return False

    def _settle(self) -> None:
        """Settle runs that this worker took but does not process, because a request or response was lost.

        At the start, also those of a predecessor with the same id.
        """
        locked = self._locked()
        if self._inherits:
            inherited = {scheduled["id"] for scheduled in locked}
            self._taken |= inherited
            self._begun |= inherited
            self._inherits = False
        for scheduled in locked:
            if scheduled["id"] not in self._taken:
                continue
            found = self._platform.run_of(scheduled["id"])
            if found is None:
                self._do(scheduled)
                continue
            if scheduled["id"] in self._begun:
                if found["state"] not in _TERMINAL:
                    message = f"The worker lost the platform while the run was at {found['state']}."
                    self._platform.set_run_state(found["id"], "CRASHED", message)
                self._set_schedule_state(scheduled, "DONE")
        self._taken.clear()
        self._begun.clear()
        self._settled = True

    def _take_one(self) -> bool:
        # The platform's order is by urgency and then by age.
        for scheduled in self._platform.open_schedule(sorted(self._labels)):
            if self._labels.issuperset(scheduled["runsOn"]) and self._lock(scheduled):
                self._do(scheduled)
                return True
        return False

    def _lock(self, scheduled: dict[str, Any]) -> bool:
        self._taken.add(scheduled["id"])
        try:
            self._set_schedule_state(scheduled, "LOCKED")
        except ApiError as error:
            if error.status is None or error.status >= 500:
                raise
            # Another worker was faster or the run was canceled; or the platform refused a retry of our own
            # request, whose response was lost. In the latter case there is no run yet.
            is_locked = scheduled["id"] in {entry["id"] for entry in self._locked()}
            if is_locked and self._platform.run_of(scheduled["id"]) is None:
                return True
            self._forget(scheduled)
            return False
        return True

    def _forget(self, scheduled: dict[str, Any]) -> None:
        self._taken.discard(scheduled["id"])
        self._begun.discard(scheduled["id"])

    def _do(self, scheduled: dict[str, Any]) -> None:
        self._enter("BUSY")
        run_id = self._create_run(scheduled)
        log = RunLog(self._platform, run_id)

        def tick() -> None:
            log.memory.note(log.state)
            self._tick()

        job = Job(
            self._platform,
            self._transfer,
            run_id=run_id,
            dataset_id=scheduled["datasetId"],
            config_id=scheduled["configId"],
            worker_version=VERSION,
            tick=tick,
            log=log,
        )
        try:
            execute(job)
        finally:
            self._set_schedule_state(scheduled, "DONE")
        self._forget(scheduled)
        if self._is_last(scheduled["configId"]):
            logger.info("run %s was the last one: its config says shutdown_when_job_finished", run_id)
            self._stop.set()

    def _is_last(self, config_id: str) -> bool:
        # Do this however the run ended: an invalid config must not keep the worker running.
        config = self._platform.config(config_id)["config"]
        return bool((config.get("docker") or {}).get("shutdownWhenJobFinished"))

    def _create_run(self, scheduled: dict[str, Any]) -> str:
        self._begun.add(scheduled["id"])
        try:
            return self._platform.create_run(scheduled, VERSION)
        except ApiError as error:
            if error.status is not None and error.status < 500:
                # Another worker with the same id has begun the run, or it is not taken any more.
                self._forget(scheduled)
                raise
            # The run may exist although the response was lost.
            found = self._platform.run_of(scheduled["id"])
            if found is None:
                raise
            return str(found["id"])

    def _tick(self) -> None:
        if self._stop.is_set():
            raise WorkerStopped
        self._heartbeat()

    def _heartbeat(self) -> None:
        if time.monotonic() - self._last_heartbeat >= SIGN_OF_LIFE_SECONDS:
            self._enter(self._state)

    def _enter(self, state: str) -> None:
        self._state = state
        self._last_heartbeat = time.monotonic()
        self._platform.set_worker_state(self._worker_id, state)

    def _locked(self) -> list[dict[str, Any]]:
        return self._platform.worker_schedule(self._worker_id, "LOCKED")

    def _set_schedule_state(self, scheduled: dict[str, Any], state: str) -> None:
        self._platform.set_schedule_state(scheduled["datasetId"], self._worker_id, scheduled["id"], state)
