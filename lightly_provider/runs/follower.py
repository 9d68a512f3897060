"""Follows one scheduled run for a task: each step of the wait, its log lines, its result or error, its cancelation.

Operator and sensor call :meth:`RunFollower.step`. In the triggerer, one poll observes all runs and passes each
observation to :meth:`RunFollower.take`. Both decide and log in the same way.
"""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider import metrics
from lightly_provider.contract import ArtifactType, Purpose, RunState, ScheduledRunState
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyAuthenticationError,
    LightlyError,
    LightlyRunAbortedError,
    LightlyRunCanceledError,
    LightlyRunCrashedError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunNotTakenError,
    LightlyRunTimeoutError,
    as_json,
    explained,
    from_json,
    is_transient,
)
from lightly_provider.foreign_text import shown, storable
from lightly_provider.metrics import IN_TASK
from lightly_provider.runs.state import LONGEST_MESSAGE, Decision, Limits, Step, Watch, is_taken
from lightly_provider.stored_forms import check_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol, TypeVar

    Answer = TypeVar("Answer")

    from lightly_provider.api.models.run import LogPage, Observation, Run
    from lightly_provider.hooks.lightly import LightlyHook

    class Log(Protocol):
        """The common interface of Airflow's loggers: those of tasks and triggers have different types."""

        def info(self, event: str, *args: Any) -> None: ...
        def warning(self, event: str, *args: Any) -> None: ...
        def error(self, event: str, *args: Any) -> None: ...


_END_OF_RUN = {
    RunState.CRASHED.value: LightlyRunCrashedError,
    RunState.ABORTED.value: LightlyRunAbortedError,
}


_NEXT_STEP: dict[str, str] = {
    RunState.CRASHED.value: "The worker stopped responding: look into the log of its container, and clear the task.",
}

_LEAST_TIME_FOR_A_LOOK_S = 10.0
# The maximum number of lines to copy per look, so that they neither fill Airflow's log nor keep a triggerer busy.
_MOST_LINES_PER_LOOK = 1000
# The contract's report has seven counts.
_MOST_COUNTS = 100


@dataclass(frozen=True, kw_only=True)
class Ending:
    """
    How a wait ended.

    :param decision: Why it ended, and where the run was.
    :param run: The run; None if there is none, or its state is not known.
    :param error: The error of the last poll, if the wait was given up.
    """

    decision: Decision
    run: Run | None = None
    error: LightlyError | None = None


class RunFollower:
    """
    Follow one scheduled run.

    :param dataset_id: Dataset.
    :param scheduled_run_id: Id that scheduling returned.
    :param log: The task's log.
    :param watch: What the wait remembers from look to look. Default: a wait without limits.
    :param log_cursor: Position in the run's log from which its lines are not in the task's log yet; 0: the start.
    """

    __slots__ = ("_log", "dataset_id", "log_cursor", "scheduled_run_id", "watch")

    def __init__(
        self,
        *,
        dataset_id: str,
        scheduled_run_id: str,
        log: Log,
        watch: Watch | None = None,
        log_cursor: int = 0,
    ) -> None:
        self.dataset_id = dataset_id
        self.scheduled_run_id = scheduled_run_id
        self.watch = watch or Watch()
        self.log_cursor = log_cursor
        self._log = log

    # --- one step of the wait ------------------------------------------------------------------------------------

    def step(self, hook: LightlyHook) -> Ending | None:
        """Look at the run once, log what is new, and decide; None while there is reason to wait."""
        from lightly_provider.runs.measuring import measure_poll

        seen: Observation | LightlyError
        try:
            seen = self._look(hook)
        except LightlyError as error:
            seen = error
        measure_poll(hook.lightly_conn_id, IN_TASK, failed=isinstance(seen, LightlyError))
        return self.take(seen)

    def take(self, seen: Observation | LightlyError) -> Ending | None:
        """
        Decide after a look, and log what is new.

        :param seen: What was seen, or the error that the look failed with.
        :return: How the wait ended; None while there is reason to wait.
        """
        now = time.time()
        if isinstance(seen, LightlyError):
            retry_after = seen.retry_after if isinstance(seen, LightlyApiError) else None
            may_pass = _may_pass(seen, worked_before=bool(self.watch.status))
            decision = self.watch.missed(now, is_transient=may_pass, retry_after=retry_after)
            if decision.step is not Step.GIVE_UP:
                self._log.warning(
                    "Poll failed (%d in a row), the run is not affected: %s", self.watch.failed_polls, seen
                )
            return None if decision.step is Step.WAIT else Ending(decision=decision, error=seen)
        decision, line = self.watch.saw(seen, now)
        if line is not None:
            subject = f"Run {seen.run.id}" if seen.run else f"Scheduled run {self.scheduled_run_id}"
            self._log.info("%s: %s", subject, line)
        return None if decision.step is Step.WAIT else Ending(decision=decision, run=seen.run)

    def read_log(self, hook: LightlyHook, run_id: str, *, within: float | None = None) -> None:
        """Copy what is new in the run's log to the task's log. An error is logged, and does not end the wait."""
        try:
            page = hook.get_run_logs(run_id, self.log_cursor, within=within)
        except LightlyError as error:
            self.take_log_error(error)
        else:
            self.take_log(page)

    def take_log(self, page: LogPage) -> None:
        """Copy the new lines of the run's log to the task's log, each at its own level."""
        for line in page.logs[:_MOST_LINES_PER_LOOK]:
            log = {"WARNING": self._log.warning, "ERROR": self._log.error, "CRITICAL": self._log.error}.get(
                line.level, self._log.info
            )
            log("[worker] %s %s %s", shown(line.level), shown(line.state), shown(line.msg))
        if (n_more := len(page.logs) - _MOST_LINES_PER_LOOK) > 0:
            self._log.warning(
                "[worker] %d more lines were not copied; the platform's page of the run has them.", n_more
            )
        # An answer without a cursor, which the contract allows, or with an earlier one must not copy the log again.
        self.log_cursor = max(page.cursor, self.log_cursor)

    def take_log_error(self, error: LightlyError) -> None:
        """Log that the run's log could not be read."""
        self._log.warning("The run's log could not be read: %s", error)

    # --- from one process to the next ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the state that the next look needs if another process makes it."""
        return {
            "scheduled_run_id": self.scheduled_run_id,
            "log_cursor": self.log_cursor,
            "watch": self.watch.to_json(),
        }

    def recall(self, memory: Any) -> None:
        """Continue with what :meth:`to_json` returned for the same run; anything else is ignored."""
        if not isinstance(memory, dict) or memory.get("scheduled_run_id") != self.scheduled_run_id:
            return
        if isinstance(cursor := memory.get("log_cursor"), int) and isinstance(watch := memory.get("watch"), dict):
            self.log_cursor = cursor
            self.watch.recall(watch)

    def event_of(self, ending: Ending) -> dict[str, Any]:
        """Return the event of a trigger: a JSON object without secrets. Running tasks depend on its members."""
        return {
            "step": ending.decision.step.value,
            "status": ending.decision.status,
            "scheduled_run_id": self.scheduled_run_id,
            "run": _as_json(ending.run) if ending.run else None,
            "log_cursor": self.log_cursor,
            "deadline": self.watch.limits.deadline,
            "error": as_json(ending.error) if ending.error else None,
        }

    def resume(self, hook: LightlyHook, event: dict[str, Any]) -> Ending | None:
        """
        Return how the wait of a trigger ended. If it timed out, look once more, because the run may have ended since.

        :param event: What :meth:`event_of` returned in this version of the provider or an earlier one.
        :return: How the wait ended; None if a worker took the run at the last moment, so that the wait must go on.
        """
        from lightly_provider.api.models.run import Run

        check_version(event, what="The end of the wait in the triggerer")
        decision = Decision(step=Step(event["step"]), status=event["status"])
        run = Run.model_validate(event["run"]) if event["run"] else None
        self.log_cursor = event["log_cursor"]
        self.watch = Watch(Limits(deadline=event["deadline"]), status=decision.status)
        if run is not None:
            self.read_log(hook, run.id)
        if decision.step not in (Step.TIMED_OUT, Step.NOT_TAKEN):
            return Ending(decision=decision, run=run, error=from_json(event["error"]) if event["error"] else None)
        try:
            seen = self._look(hook)
        except LightlyError as error:
            self._log.warning("The last look at the run failed: %s", error)
            return Ending(decision=decision)
        ending = self.take(seen)
        if ending is None and not is_taken(seen):
            return Ending(decision=decision)
        return ending

    # --- the end -------------------------------------------------------------------------------------------------

    def conclude(self, hook: LightlyHook, ending: Ending, *, within: str = "") -> dict[str, Any]:
        """
        Return the task's result after the wait, or raise.

        :param hook: The hook on the platform.
        :param ending: How it ended.
        :param within: The limit that was exceeded, e.g. ``30 s``.
        :return: See :func:`result`.
        :raises LightlyRunError: The run did not complete.
        :raises LightlyError: The wait was given up.
        """
        from lightly_provider.runs.measuring import measure_end

        step, status, run = ending.decision.step, ending.decision.status, ending.run
        measure_end(hook, self.dataset_id, self.scheduled_run_id, step, run)
        if step is Step.SUCCEED and run is not None:
            return self._success(hook, run)
        if step is Step.FAIL and run is not None:
            raise self._failure(hook, run)
        if step is Step.GIVE_UP and ending.error is not None:
            raise ending.error
        if step is Step.CANCELED:
            raise LightlyRunCanceledError(
                explained(
                    f"The scheduled run is {status}.",
                    to_do=["Clear the task to schedule a new one."],
                    where=[self._where(hook)],
                    ids=self._ids(),
                ),
                scheduled_run_id=self.scheduled_run_id,
            )
        _, outcome = self.cancel(hook)
        if step is Step.NOT_TAKEN:
            raise LightlyRunNotTakenError(
                explained(
                    f"No worker took the scheduled run within {within}.",
                    to_do=["Start a Lightly Worker with its labels, or allow more time with pickup_timeout.", outcome],
                    where=[self._where(hook)],
                    ids=self._ids(),
                ),
                scheduled_run_id=self.scheduled_run_id,
            )
        raise LightlyRunTimeoutError(
            explained(
                f"The run did not end within {within} (last status: {status or 'unknown'}).",
                to_do=["Allow more time with timeout.", outcome],
                where=[self._where(hook)],
                ids=self._ids(run),
            ),
            scheduled_run_id=self.scheduled_run_id,
            run_id=run.id if run else None,
        )

    def result_so_far(self, hook: LightlyHook) -> dict[str, Any]:
        """Return the task's result without a wait: what is known before the run has ended."""
        return result(self.scheduled_run_id, self._dataset_of_result(hook))

    def cancel(self, hook: LightlyHook) -> tuple[bool, str]:
        """
        Cancel the scheduled run if that is still possible. Never raises, and takes less than 20 s.

        :param hook: The hook on the platform.
        :return: Whether it was canceled, and a sentence that reports this or the reason, which is also logged.
        """
        canceled = False
        try:
            state = _asking(hook, lambda: hook.cancel_scheduled_run(self.dataset_id, self.scheduled_run_id))
        except Exception as error:  # noqa: BLE001 - a task that is being killed must end, whatever happens
            what = error if isinstance(error, LightlyError) else f"{type(error).__name__}."
            outcome = (
                f"Scheduled run {self.scheduled_run_id} could not be canceled: {what} If a worker took it, "
                f"{_goes_on(hook)}"
            )
        else:
            canceled = state == ScheduledRunState.CANCELED
            outcome = outcome_of_cancel(hook, self.scheduled_run_id, state)
        (self._log.info if canceled else self._log.warning)("%s", outcome)
        return canceled, outcome

    def _look(self, hook: LightlyHook) -> Observation:
        deadline = self.watch.limits.deadline
        # A slow platform must not keep a task running long after its deadline.
        within = None if deadline is None else max(deadline - time.time(), _LEAST_TIME_FOR_A_LOOK_S)
        seen = _asking(hook, lambda: hook.observe_run(self.dataset_id, self.scheduled_run_id, within=within))
        if seen.run is not None:
            self.read_log(hook, seen.run.id, within=within)
        return seen

    def _failure(self, hook: LightlyHook, run: Run) -> LightlyRunError:
        cls = _END_OF_RUN.get(run.state, LightlyRunFailedError)
        message = shown(run.message or "it left no message", longest=LONGEST_MESSAGE).rstrip(".")
        return cls(
            explained(
                f"The run ended as {shown(run.state, longest=100)}: {message}.",
                to_do=[_NEXT_STEP.get(run.state, "")],
                where=[self._where(hook), f"Its log and report: {_runs_page(hook)}"],
                ids=self._ids(run),
            ),
            scheduled_run_id=self.scheduled_run_id,
            run_id=run.id,
        )

    def _where(self, hook: LightlyHook) -> str:
        """Name the dataset for an error, if its name can be read."""
        try:
            name = hook.get_dataset(self.dataset_id, within=_LEAST_TIME_FOR_A_LOOK_S).name
        except LightlyError as error:
            self._log.warning("The dataset's name could not be read: %s", error)
            return ""
        return f"Dataset: {shown(name, longest=200)!r}"

    def _ids(self, run: Run | None = None) -> str:
        return (
            f"Ids: dataset {self.dataset_id}, scheduled run {self.scheduled_run_id}{f', run {run.id}' if run else ''}"
        )

    def _success(self, hook: LightlyHook, run: Run) -> dict[str, Any]:
        tags = _asking(hook, lambda: hook.get_run_tags(run.id, self.dataset_id))
        tag = tags[0] if tags else None
        try:
            sizes = _asking(hook, lambda: hook.get_report_sizes(run))
            report = None if sizes is None else that_fits_xcom(sizes)
        except LightlyError as error:
            # The run has completed, and its result does not need the report.
            self._log.warning("The run's report could not be read: %s", error)
            report = None
        if tag is None:
            self._log.info("Run %s created no tag: there was nothing new to select.", run.id)
        else:
            self._log.info("Run %s selected %d samples: tag '%s'.", run.id, tag.n_selected, shown(tag.name))
            metrics.count(metrics.SAMPLES_SELECTED, tag.n_selected, connection=hook.lightly_conn_id)
        return result(
            self.scheduled_run_id,
            self._dataset_of_result(hook),
            run_id=run.id,
            tag_name=storable(tag.name) if tag else None,
            n_selected=tag.n_selected if tag else 0,
            report=report,
        )

    def _dataset_of_result(self, hook: LightlyHook) -> dict[str, str | None]:
        """Return what the result holds of the dataset, so that a mapped task needs the output of one task only."""
        name, paths = None, {}
        try:
            name = storable(_asking(hook, lambda: hook.get_dataset(self.dataset_id)).name)
            datasources = _asking(hook, lambda: hook.get_datasources(self.dataset_id))
            paths = {datasource.purpose: storable(datasource.full_path) for datasource in datasources}
        except LightlyError as error:
            # The run does not depend on it.
            self._log.warning("The dataset's name or paths could not be read for the result: %s", error)
        both = paths.get(Purpose.INPUT_OUTPUT)
        return {
            "dataset_id": self.dataset_id,
            "dataset_name": name,
            "dataset_url": f"{hook.connection.web_url}/dataset/{self.dataset_id}",
            "run_url": _runs_page(hook),
            "input_path": paths.get(Purpose.INPUT, both),
            "output_path": paths.get(Purpose.LIGHTLY, both),
        }


def _may_pass(error: LightlyError, *, worked_before: bool) -> bool:
    """
    Whether a later look may succeed. A token that worked before may be in rotation, and a refusal without the
    platform's own error code may come from a proxy or a firewall.
    """
    if isinstance(error, LightlyAuthenticationError):
        return worked_before
    if is_transient(error):
        return True
    return isinstance(error, LightlyApiError) and re.fullmatch("[A-Z0-9_]+", error.code or "") is None


def _asking(hook: LightlyHook, ask: Callable[[], Answer]) -> Answer:
    """Send a request; if the platform refuses the API token, read the Airflow connection again and retry once."""
    try:
        return ask()
    except LightlyAuthenticationError:
        if not hook.reconnect():
            raise
    return ask()


def _as_json(run: Run) -> dict[str, Any]:
    """Return the part of a run that a task needs to end, small enough for Airflow's database."""
    return {
        "id": run.id,
        "state": shown(run.state, longest=100),
        "message": run.message and shown(run.message, longest=LONGEST_MESSAGE),
        "artifacts": [
            artifact.model_dump(mode="json")
            for artifact in run.artifacts
            if artifact.type == ArtifactType.REPORT_V2_JSON
        ][:1],
    }


def that_fits_xcom(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the report's counts that Airflow can pass between its processes, where numbers have 64 bits."""
    fitting = ((shown(name, longest=100), count) for name, count in counts.items() if abs(count) < 2**63)
    return dict(itertools.islice(fitting, _MOST_COUNTS))


def outcome_of_cancel(hook: LightlyHook, scheduled_run_id: str, state: str | None) -> str:
    """Return a sentence on a run that was to be canceled, by its state afterwards; None: not in the schedule."""
    run, see = f"Scheduled run {scheduled_run_id}", f"See {_runs_page(hook)}"
    if state is None:
        return f"{run} is no longer in the schedule. {see}"
    if state == ScheduledRunState.CANCELED:
        return f"{run} was canceled before a worker took it."
    if state == ScheduledRunState.DONE:
        return f"{run} was not canceled: a worker has finished it. {see}"
    return f"{run} could not be canceled: a worker took it ({shown(state, longest=100)}), and {_goes_on(hook)}"


def _goes_on(hook: LightlyHook) -> str:
    return f"it continues: the platform documents no way to stop it. See {_runs_page(hook)}"


def _runs_page(hook: LightlyHook) -> str:
    try:
        return f"{hook.connection.web_url}/compute/runs"
    except Exception:  # noqa: BLE001 - the connection may be what is broken
        return "the platform's page of runs"


def result(
    scheduled_run_id: str,
    dataset: Mapping[str, str | None] | None = None,
    *,
    run_id: str | None = None,
    tag_name: str | None = None,
    n_selected: int | None = None,
    report: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Return the result of the operator and the sensor, in both modes."""
    return {
        "scheduled_run_id": scheduled_run_id,
        "run_id": run_id,
        "tag_name": tag_name,
        "n_selected": n_selected,
        "report": report,
        **(dataset or {}),
    }
