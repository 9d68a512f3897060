"""Worker runs: schedule one, wait for it, tell its result."""

from __future__ import annotations

import math
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import (
    LightlyConnectionError,
    LightlyError,
    LightlyRateLimitError,
    LightlyResponseError,
    LightlyRunAbortedError,
    LightlyRunCanceledError,
    LightlyRunCrashedError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunTimeoutError,
    LightlyServerError,
)
from lightly_provider.links import LightlyDatasetLink, LightlyRunsLink, push_dataset_link, push_runs_link
from lightly_provider.operators.arguments import (
    check_choice,
    check_id,
    is_static,
    labels_of,
    mapping_of,
    seconds_of,
)
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.worker_run import RunState, Step, decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.run import Run
    from lightly_provider.api.models.worker_config import WorkerConfig

PRIORITIES = ("LOW", "MID", "HIGH", "CRITICAL")

# The vendor's client polls no faster than this, "to prevent rate limiting" (lightly 1.5.26,
# api/api_workflow_compute_worker.py).
SHORTEST_POLL_INTERVAL = 30.0
FAILED_POLLS_IN_A_ROW = 10
_TRANSIENT = (LightlyConnectionError, LightlyServerError, LightlyRateLimitError, LightlyResponseError)
_END_OF_RUN = {
    RunState.CRASHED.value: LightlyRunCrashedError,
    RunState.ABORTED.value: LightlyRunAbortedError,
}


class RunLightlyWorkerOperator(LightlyBaseOperator):
    """
    Run the Lightly Worker on a dataset: store its configuration, schedule the run, wait for it, tell its result.

    The configurations are checked against the platform's contract (version V4) before anything is sent. The run is
    scheduled exactly once per try, also when the platform's answer is lost. A retry of the task schedules a new run.
    While it waits, the log shows each change of state and the run's own log lines; a poll that fails is not a run
    that failed (10 failed polls in a row end the task).

    On kill and on timeout a run that no worker took yet is canceled; one that a worker took goes on, as the platform
    documents no way to stop it, and the log says so.

    :param dataset_id: Dataset. Templated.
    :param selection_config: What to select: ``n_samples`` or ``proportion_samples``, and ``strategies``, by the names
        of the vendor's documentation; a mapping, or JSON. None: no selection. Templated.
    :param worker_config: The worker's options, e.g. ``{"use_datapool": True}``; a mapping, or JSON. Default: none.
        Templated.
    :param lightly_config: Options of the embedding model's training; a mapping, or JSON. Default: none. Templated.
    :param runs_on: Labels that a worker must all have to take the run. None or none: any worker. Templated.
    :param priority: ``LOW``, ``MID`` (default), ``HIGH`` or ``CRITICAL``. Templated.
    :param wait_for_completion: Wait until the run is over (default), or return once it is scheduled.
    :param poll_interval: Seconds between two looks at the run, at least 30 except on a platform on this machine, and
        varied by 10 % so that many tasks do not ask at once. Default: 60. Templated.
    :param timeout: Longest wait, in seconds or as a timedelta; None: without limit but the task's
        ``execution_timeout``. Default: 24 hours.
    :param cancel_on_kill: Cancel the scheduled run when the task is killed. Default: True.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``.
    :return: ``{"scheduled_run_id", "run_id", "tag_name", "n_selected", "report"}``. ``tag_name`` is the newest tag
        that the
        run made and ``n_selected`` the number of its samples; None and 0 if it made none. ``report`` is what the run
        counted (``nInput``, ``nCorrupt``, ``nSelected`` …), or None. Without waiting all but the first are None.
        ``scheduled_run_id`` is also pushed under that key as soon as it is known.
    :raises ValueError: An argument cannot be right.
    :raises LightlyRunFailedError: The run failed; with its own message. Likewise LightlyRunCrashedError,
        LightlyRunAbortedError, LightlyRunCanceledError and LightlyRunTimeoutError.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "selection_config",
        "worker_config",
        "lightly_config",
        "runs_on",
        "priority",
        "poll_interval",
    )
    template_fields_renderers = {
        "selection_config": "json",
        "worker_config": "json",
        "lightly_config": "json",
    }
    operator_extra_links = (LightlyDatasetLink(), LightlyRunsLink())
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        dataset_id: str,
        selection_config: Mapping[str, Any] | str | None = None,
        worker_config: Mapping[str, Any] | str | None = None,
        lightly_config: Mapping[str, Any] | str | None = None,
        runs_on: Sequence[str] | None = (),
        priority: str = "MID",
        wait_for_completion: bool = True,
        poll_interval: float | str = 60.0,
        timeout: float | timedelta | None = timedelta(hours=24),
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.selection_config = selection_config
        self.worker_config = worker_config
        self.lightly_config = lightly_config
        self.runs_on = runs_on
        self.priority = priority
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.cancel_on_kill = cancel_on_kill
        self.scheduled_run_id: str | None = None
        self._killed = False
        self._farewell: LightlyRunError | None = None
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`LightlyBaseOperator.check_arguments`."""
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if is_static(self.priority):
            check_choice(self.priority, PRIORITIES, argument="priority")
        if is_static(self.runs_on):
            labels_of(self.runs_on, argument="runs_on")
        if is_static(self.poll_interval):
            seconds_of(self.poll_interval, argument="poll_interval")
        if self.timeout is not None:
            seconds_of(self.timeout, argument="timeout")
        if all(is_static(c) for c in (self.selection_config, self.worker_config, self.lightly_config)):
            self._config()

    def perform(self, context: Context) -> dict[str, Any]:
        """Schedule the run, and wait for it."""
        from lightly_provider.api.models.run import RunPriority

        web_url = self.hook.connection.web_url
        push_dataset_link(context, web_url, self.dataset_id)
        runs_url = push_runs_link(context, web_url)
        self.scheduled_run_id = self.hook.schedule_run(
            self.dataset_id,
            self._config(),
            priority=RunPriority(self.priority),
            runs_on=labels_of(self.runs_on, argument="runs_on"),
        )
        # At once, so that whoever looks at a task that died knows which run it left.
        context["ti"].xcom_push(key="scheduled_run_id", value=self.scheduled_run_id)
        self.log.info("Scheduled run %s of dataset %s: %s", self.scheduled_run_id, self.dataset_id, runs_url)
        self._stop_if_killed(self.scheduled_run_id)
        if not self.wait_for_completion:
            return _result(self.scheduled_run_id)
        return self._tell(self._wait(self.scheduled_run_id))

    def on_kill(self) -> None:
        """
        Cancel the scheduled run if that is still possible, and say what became of it. Never raises.

        Airflow 3 calls this from a signal handler, and then lets ``execute`` go on; so ``execute`` ends itself at its
        next step, also when the kill comes before the run's id is known.
        """
        if self.scheduled_run_id:
            self._farewell = self._let_go(self.scheduled_run_id)
        self._killed = True

    # --- one private method per step -----------------------------------------------------------------------------

    def _config(self) -> WorkerConfig:
        from lightly_provider.api.models.validation import parse_argument
        from lightly_provider.api.models.worker_config import (
            LightlyOptions,
            SelectionConfig,
            WorkerConfig,
            WorkerOptions,
        )

        selection, worker, lightly = (
            mapping_of(getattr(self, argument), argument=argument)
            for argument in ("selection_config", "worker_config", "lightly_config")
        )
        return WorkerConfig(
            selection=None
            if selection is None
            else parse_argument(SelectionConfig, selection, argument="selection_config"),
            docker=parse_argument(WorkerOptions, worker or {}, argument="worker_config"),
            lightly=parse_argument(LightlyOptions, lightly or {}, argument="lightly_config"),
        )

    def _wait(self, scheduled_run_id: str) -> Run:
        interval = self._interval()
        limit = math.inf if self.timeout is None else seconds_of(self.timeout, argument="timeout")
        deadline = time.monotonic() + limit
        cursor = failed_polls = absences = 0
        last_status = ""
        while True:
            try:
                seen, run = self.hook.observe_run(self.dataset_id, scheduled_run_id)
                if run is not None:
                    cursor = self._forward_log(run.id, cursor)
                failed_polls = 0
            except _TRANSIENT as error:
                failed_polls += 1
                if failed_polls >= FAILED_POLLS_IN_A_ROW:
                    raise
                self.log.warning("Poll failed (%d in a row), the run goes on: %s", failed_polls, error)
            else:
                absent = run is None and seen.scheduled_state is None
                absences = absences + 1 if absent else 0
                decision = decide(seen, absences=absences)
                if decision.status != last_status:
                    subject = f"Run {run.id}" if run else f"Scheduled run {scheduled_run_id}"
                    self.log.info("%s: %s", subject, decision.status)
                    last_status = decision.status
                if decision.step is Step.SUCCEED and run is not None:
                    return run
                if decision.step is Step.FAIL and run is not None:
                    raise self._failure(scheduled_run_id, run)
                if decision.step is Step.CANCELED:
                    raise LightlyRunCanceledError(
                        f"Scheduled run {scheduled_run_id} of dataset {self.dataset_id} is {decision.status}; "
                        "clear the task to schedule a new one.",
                        scheduled_run_id=scheduled_run_id,
                    )
            left = deadline - time.monotonic()
            if left <= 0:
                _, said = self._cancel(scheduled_run_id)
                raise LightlyRunTimeoutError(
                    f"Scheduled run {scheduled_run_id} of dataset {self.dataset_id} was not over within {limit:g} s "
                    f"(last seen: {last_status or 'nothing'}). {said}",
                    scheduled_run_id=scheduled_run_id,
                )
            # Jitter for many tasks that started together; no secret depends on it.
            self._pause(min(left, interval * random.uniform(0.9, 1.1)))  # noqa: S311
            self._stop_if_killed(scheduled_run_id)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._killed and (left := until - time.monotonic()) > 0:
            # A signal does not end a sleep (PEP 475).
            time.sleep(min(left, 1.0))

    def _stop_if_killed(self, scheduled_run_id: str) -> None:
        if self._killed:
            raise self._farewell or self._let_go(scheduled_run_id)

    def _let_go(self, scheduled_run_id: str) -> LightlyRunError:
        """What a task that is killed ends with."""
        if not self.cancel_on_kill:
            said = f"Scheduled run {scheduled_run_id} goes on, as cancel_on_kill is False."
            return LightlyRunError(f"The task was killed. {said}", scheduled_run_id=scheduled_run_id)
        canceled, said = self._cancel(scheduled_run_id)
        end = LightlyRunCanceledError if canceled else LightlyRunError
        return end(f"The task was killed. {said}", scheduled_run_id=scheduled_run_id)

    def _interval(self) -> float:
        interval = seconds_of(self.poll_interval, argument="poll_interval")
        if interval < SHORTEST_POLL_INTERVAL and not self.hook.connection.is_local:
            self.log.warning(
                "poll_interval is %g s; the platform limits the rate of requests, so %g s are used.",
                interval,
                SHORTEST_POLL_INTERVAL,
            )
            return SHORTEST_POLL_INTERVAL
        return interval

    def _forward_log(self, run_id: str, cursor: int) -> int:
        try:
            page = self.hook.get_run_logs(run_id, cursor)
        except LightlyError as error:
            # The log is only told: the run goes on, and its state says how it ended.
            self.log.warning("The run's log could not be read: %s", error)
            return cursor
        for line in page.logs:
            self.log.info("[worker] %s %s %s", line.level, line.state, line.msg)
        # The contract lets an answer leave the cursor out, which must not tell the whole log again.
        return page.cursor or cursor

    def _failure(self, scheduled_run_id: str, run: Run) -> LightlyRunError:
        cls = _END_OF_RUN.get(run.state, LightlyRunFailedError)
        return cls(
            f"Run {run.id} of dataset {self.dataset_id} ended as {run.state}: "
            f"{(run.message or 'it left no message').rstrip('.')}. "
            f"Its log and report: {self.hook.connection.web_url}/compute/runs",
            scheduled_run_id=scheduled_run_id,
            run_id=run.id,
        )

    def _cancel(self, scheduled_run_id: str) -> tuple[bool, str]:
        """Whether the run was canceled, and a sentence that says so or why not, which the log has too."""
        try:
            self.hook.cancel_scheduled_run(self.dataset_id, scheduled_run_id)
        except LightlyError as error:
            said = (
                f"Scheduled run {scheduled_run_id} could not be canceled: {error} If a worker took it, "
                f"it goes on: the platform documents no way to stop it. See {self.hook.connection.web_url}/compute/runs"
            )
            self.log.warning(said)
            return False, said
        said = f"Scheduled run {scheduled_run_id} was canceled before a worker took it."
        self.log.info(said)
        return True, said

    def _tell(self, run: Run) -> dict[str, Any]:
        tags = self.hook.get_run_tags(run.id, self.dataset_id)
        tag = tags[0] if tags else None
        try:
            report = self.hook.get_report_sizes(run)
        except LightlyError as error:
            # The run is done and paid for; its report is only told, not needed.
            self.log.warning("The run's report could not be read: %s", error)
            report = None
        if tag is None:
            self.log.info("Run %s made no tag: there was nothing new to select.", run.id)
        else:
            self.log.info("Run %s selected %d samples: tag %r.", run.id, tag.n_selected, tag.name)
        return _result(
            self.scheduled_run_id,
            run_id=run.id,
            tag_name=tag.name if tag else None,
            n_selected=tag.n_selected if tag else 0,
            report=report,
        )


def _result(
    scheduled_run_id: str | None,
    *,
    run_id: str | None = None,
    tag_name: str | None = None,
    n_selected: int | None = None,
    report: dict[str, int] | None = None,
) -> dict[str, Any]:
    return {
        "scheduled_run_id": scheduled_run_id,
        "run_id": run_id,
        "tag_name": tag_name,
        "n_selected": n_selected,
        "report": report,
    }
