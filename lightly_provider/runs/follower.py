"""Follows one scheduled run for a task: looks at it, tells its log, its result and its failure, and cancels it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.exceptions import (
    LightlyError,
    LightlyRunAbortedError,
    LightlyRunCanceledError,
    LightlyRunCrashedError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunNotTakenError,
    LightlyRunTimeoutError,
    from_json,
)
from lightly_provider.runs.state import Decision, Step, decide

if TYPE_CHECKING:
    from typing import Protocol

    from lightly_provider.api.models.run import Observation, Run
    from lightly_provider.hooks.lightly import LightlyHook

    class Log(Protocol):
        """What Airflow's loggers have in common: those of tasks and of triggers are of different kinds."""

        def info(self, event: str, *args: Any) -> None: ...
        def warning(self, event: str, *args: Any) -> None: ...


_END_OF_RUN = {
    RunState.CRASHED.value: LightlyRunCrashedError,
    RunState.ABORTED.value: LightlyRunAbortedError,
}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """
    How a wait ended.

    :param decision: Why it ended, and what was last seen.
    :param run: The run; None if there is none, or its state is not known.
    :param error: What the last poll failed with, where the wait was given up.
    """

    decision: Decision
    run: Run | None = None
    error: LightlyError | None = None


class RunFollower:
    """
    Follow one scheduled run.

    :param hook: The hook on the platform.
    :param dataset_id: Dataset.
    :param scheduled_run_id: Id that scheduling returned.
    :param log: The task's log.
    :param log_cursor: From where the run's log is to be told; 0: from the start.
    """

    def __init__(
        self,
        hook: LightlyHook,
        *,
        dataset_id: str,
        scheduled_run_id: str,
        log: Log,
        log_cursor: int = 0,
    ) -> None:
        self._hook = hook
        self._dataset_id = dataset_id
        self.scheduled_run_id = scheduled_run_id
        self._log = log
        self.log_cursor = log_cursor

    # --- looking -------------------------------------------------------------------------------------------------

    def look(self) -> tuple[Observation, Run | None]:
        """Look where the run is, and tell what is new in its log."""
        seen, run = self._hook.observe_run(self._dataset_id, self.scheduled_run_id)
        if run is not None:
            self.tell_log(run.id)
        return seen, run

    def tell_log(self, run_id: str) -> None:
        """Tell what is new in the run's log. That it cannot be read is no reason to leave the run."""
        try:
            page = self._hook.get_run_logs(run_id, self.log_cursor)
        except LightlyError as error:
            self._log.warning("The run's log could not be read: %s", error)
            return
        for line in page.logs:
            self._log.info("[worker] %s %s %s", line.level, line.state, line.msg)
        # The contract lets an answer leave the cursor out, which must not tell the whole log again.
        self.log_cursor = page.cursor or self.log_cursor

    def tell_status(self, decision: Decision, run: Run | None) -> None:
        """Tell where the run is."""
        subject = f"Run {run.id}" if run else f"Scheduled run {self.scheduled_run_id}"
        self._log.info("%s: %s", subject, decision.status)

    # --- the end -------------------------------------------------------------------------------------------------

    def ending_of(self, event: dict[str, Any]) -> Ending:
        """
        How the wait of a trigger ended, from its event. Where the time was up, the run is looked at once more, as it
        may have ended since; ``WAIT`` is the ending then if a worker took it in the last moment.
        """
        from lightly_provider.api.models.run import Run

        decision = Decision(step=Step(event["step"]), status=event["status"])
        run = Run.model_validate(event["run"]) if event["run"] else None
        if run is not None:
            self.tell_log(run.id)
        if decision.step in (Step.TIMED_OUT, Step.NOT_TAKEN):
            seen, run = self.look()
            last = decide(seen)
            taken = seen.run_state is not None or seen.scheduled_state not in (None, ScheduledRunState.OPEN)
            if last.step is not Step.WAIT or (decision.step is Step.NOT_TAKEN and taken):
                decision = last
        error = from_json(event["error"]) if event["error"] else None
        return Ending(decision=decision, run=run, error=error)

    def conclude(self, ending: Ending, *, within: str = "") -> dict[str, Any]:
        """
        What a task returns when its wait ended, or raises.

        :param ending: How it ended.
        :param within: The limit that was exceeded, e.g. ``30 s``.
        :return: See :func:`result`.
        :raises LightlyRunError: The run did not complete.
        :raises LightlyError: The wait was given up.
        """
        step, status, run = ending.decision.step, ending.decision.status, ending.run
        if step is Step.SUCCEED and run is not None:
            return self._success(run)
        if step is Step.FAIL and run is not None:
            raise self._failure(run)
        if step is Step.GIVE_UP and ending.error is not None:
            raise ending.error
        if step is Step.CANCELED:
            raise LightlyRunCanceledError(
                f"Scheduled run {self.scheduled_run_id} of dataset {self._dataset_id} is {status}; "
                "clear the task to schedule a new one.",
                scheduled_run_id=self.scheduled_run_id,
            )
        _, said = self.cancel()
        if step is Step.NOT_TAKEN:
            raise LightlyRunNotTakenError(
                f"No worker took scheduled run {self.scheduled_run_id} of dataset {self._dataset_id} in {within}; "
                f"start a Lightly Worker with its labels, or give it more time with pickup_timeout. {said}",
                scheduled_run_id=self.scheduled_run_id,
            )
        raise LightlyRunTimeoutError(
            f"Scheduled run {self.scheduled_run_id} of dataset {self._dataset_id} was not over within {within} "
            f"(last seen: {status or 'nothing'}). {said}",
            scheduled_run_id=self.scheduled_run_id,
            run_id=run.id if run else None,
        )

    def cancel(self) -> tuple[bool, str]:
        """
        Cancel the scheduled run if that is still possible. Never raises, and takes less than 20 s.

        :return: Whether it was canceled, and a sentence that says so or why not, which the log has too.
        """
        canceled, said = False, ""
        runs = f"See {self._runs_page()}"
        goes_on = f"it goes on: the platform documents no way to stop it. {runs}"
        try:
            state = self._hook.cancel_scheduled_run(self._dataset_id, self.scheduled_run_id)
        except Exception as error:  # noqa: BLE001 - a task that is being killed must end, whatever happens
            what = error if isinstance(error, LightlyError) else f"{type(error).__name__}."
            said = f"Scheduled run {self.scheduled_run_id} could not be canceled: {what} If a worker took it, {goes_on}"
        else:
            if state == ScheduledRunState.CANCELED:
                canceled = True
                said = f"Scheduled run {self.scheduled_run_id} was canceled before a worker took it."
            elif state is None:
                said = f"Scheduled run {self.scheduled_run_id} is not in the schedule any more. {runs}"
            elif state == ScheduledRunState.DONE:
                said = f"Scheduled run {self.scheduled_run_id} was not canceled: a worker took it, and is done. {runs}"
            else:
                said = (
                    f"Scheduled run {self.scheduled_run_id} could not be canceled: a worker took it ({state}), and "
                    f"{goes_on}"
                )
        (self._log.info if canceled else self._log.warning)(said)
        return canceled, said

    def _runs_page(self) -> str:
        try:
            return f"{self._hook.connection.web_url}/compute/runs"
        except Exception:  # noqa: BLE001 - the connection may be what is broken
            return "the platform's page of runs"

    def _failure(self, run: Run) -> LightlyRunError:
        cls = _END_OF_RUN.get(run.state, LightlyRunFailedError)
        return cls(
            f"Run {run.id} of dataset {self._dataset_id} ended as {run.state}: "
            f"{(run.message or 'it left no message').rstrip('.')}. "
            f"Its log and report: {self._runs_page()}",
            scheduled_run_id=self.scheduled_run_id,
            run_id=run.id,
        )

    def _success(self, run: Run) -> dict[str, Any]:
        tags = self._hook.get_run_tags(run.id, self._dataset_id)
        tag = tags[0] if tags else None
        try:
            report = self._hook.get_report_sizes(run)
        except LightlyError as error:
            # The run is done and paid for; its report is only told, not needed.
            self._log.warning("The run's report could not be read: %s", error)
            report = None
        if tag is None:
            self._log.info("Run %s made no tag: there was nothing new to select.", run.id)
        else:
            self._log.info("Run %s selected %d samples: tag %r.", run.id, tag.n_selected, tag.name)
        return result(
            self.scheduled_run_id,
            run_id=run.id,
            tag_name=tag.name if tag else None,
            n_selected=tag.n_selected if tag else 0,
            report=report,
        )


def result(
    scheduled_run_id: str,
    *,
    run_id: str | None = None,
    tag_name: str | None = None,
    n_selected: int | None = None,
    report: dict[str, int] | None = None,
) -> dict[str, Any]:
    """What the operator and the sensor return, in whichever mode they wait."""
    return {
        "scheduled_run_id": scheduled_run_id,
        "run_id": run_id,
        "tag_name": tag_name,
        "n_selected": n_selected,
        "report": report,
    }
