"""Worker runs: schedule one, wait for it, return its result."""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, conf

from lightly_provider.exceptions import (
    LightlyDatasetInUseError,
    LightlyError,
    LightlyRunCanceledError,
    LightlyRunError,
)
from lightly_provider.links import LightlyDatasetLink, LightlyRunsLink, push_dataset_link, push_runs_link
from lightly_provider.operators.arguments import (
    LONGEST_POLL_INTERVAL,
    check_choice,
    check_id,
    interval_of,
    is_static,
    labels_of,
    mapping_of,
    moment_of,
    seconds_of,
)
from lightly_provider.operators.base import LightlyBaseOperator, failing_for_good, push_members
from lightly_provider.operators.deadline import deadline_of, longest_wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.api.models.validation import RequestModel
    from lightly_provider.api.models.worker_config import WorkerConfig, WorkerOptions
    from lightly_provider.contract import Purpose
    from lightly_provider.lineage import Moved, Platform
    from lightly_provider.results.relevant_filenames import RelevantFilenames
    from lightly_provider.runs.follower import Ending, RunFollower
    from lightly_provider.runs.state import Limits

_CONFIGS = ("selection_config", "worker_config", "lightly_config")
PRIORITIES = ("LOW", "MID", "HIGH", "CRITICAL")
WORKER_PRESENCES = ("warn", "require", "ignore")
# Airflow resumes a task with this method if the wait in the triggerer failed or took too long (airflow 3.3.2,
# sdk/bases/operator.py, TRIGGER_FAIL_REPR; 2.11.2, jobs/scheduler_job_runner.py, check_trigger_timeouts).
_FAILED_WAIT = "__fail__"


class RunLightlyWorkerOperator(LightlyBaseOperator):
    """
    Run the Lightly Worker on a dataset: store its configuration, schedule the run, wait for it, return its result.

    The configurations are checked against the platform's contract (version V4), and the dataset, its datasources and
    the workers are checked, before anything is scheduled. While the task waits, its log shows each change of state and
    the run's own log lines. A failed poll does not mean that the run failed: 10 failed polls in a row end the task.

    With ``durable``, the default, there is one run for a chain of tries, whatever is lost or killed in between. A retry
    reattaches to the run of the earlier tries while it is active, and returns its result if it has completed; after any
    other end it schedules a new one. A clear starts over, unless the run is still active: then it reattaches. On
    Airflow 3.3 and newer the task state store holds the run's id. Below, a run with an equal configuration on the same
    dataset, scheduled since the DAG run's start, is taken for the run of the earlier tries.

    On kill and on timeout, a run that no worker has taken yet is canceled. A run that a worker has taken continues, as
    the platform documents no way to stop it; the log and the exception say so. While the task is deferred, Airflow
    below 3.3 does not notify the trigger of a kill, so the run continues there.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param selection_config: What to select: ``n_samples`` or ``proportion_samples``, and ``strategies``, by the names
        of the vendor's documentation; a mapping, or JSON. None: no selection. Templated.
    :param worker_config: The worker's options, e.g. ``{"use_datapool": True}``; a mapping, or JSON. Default: none.
        Templated.
    :param lightly_config: Options of the embedding model's training; a mapping, or JSON. Default: none. Templated.
    :param only_new: Which files the run reads. True: only files that were added to the bucket, or changed, since the
        last run, whose selected files join the dataset's earlier samples (``use_datapool``). False: all files again
        (``datasource.process_all``). None (default): as ``worker_config`` says. Templated.
    :param reset_processed_until: Moment in the past: for the platform, files that were last modified after it are new
        again. A datetime with a time zone, its ISO 8601 text, a date (UTC), or seconds since the epoch; 0: all files
        are new. Set immediately before the run is scheduled, only if it differs, and not by a retry that finds the
        run of an earlier try. Refused while another run on the dataset is active, as its end would move it again.
        Default: None, left as it is. Templated.
    :param relevant_filenames: Files to which the run is restricted: a list of paths relative to the dataset's input,
        of patterns (``2026-11-27/*``) or of ``s3://`` addresses; or the address of a file with one of these per line,
        or of a JSON Lines manifest with ``source-ref``, as ``ExportLightlyTagOperator`` writes it. Duplicates are
        dropped; whether the files exist is not checked. Written below ``.lightly/relevant_filenames/`` of the LIGHTLY
        datasource, under a name that depends on the content only. Default: None, all files. Templated.
    :param aws_conn_id: AWS connection of Airflow's own identity, which reads and writes relevant filenames; it is
        never passed to Lightly. None: boto3's default credentials. Default: ``aws_default``. Templated.
    :param runs_on: Labels, all of which a worker must have to take the run. Default: none, any worker. Templated.
    :param priority: ``LOW``, ``MID`` (default), ``HIGH`` or ``CRITICAL``. Templated.
    :param wait_for_completion: Wait until the run has ended (default), or return once it is scheduled.
    :param deferrable: Wait in the triggerer, without a slot of a worker. Default: Airflow's configuration
        ``[operators] default_deferrable``, which is False.
    :param poll_interval: Seconds between two polls, at least 30 except for a platform on this machine, and varied by
        10 % so that many tasks do not poll at the same time. Default: 60. Templated.
    :param timeout: Longest wait of one try, in seconds or as a timedelta; None: no limit except the task's
        ``execution_timeout``. While the task is deferred, that counts from the start of the wait on Airflow 3; on
        Airflow 2 it counts from the start of the task, and the wait ends a minute earlier (half of a limit below two
        minutes), so that the run can still be canceled. Default: 24 hours.
    :param pickup_timeout: Longest wait for a worker to take the run, in seconds or as a timedelta. Default: None, as
        long as ``timeout``.
    :param cancel_on_kill: Cancel the scheduled run when the task is killed and no further try will need it. Default:
        True.
    :param worker_presence: What to do if no running worker has the labels: ``warn`` (default), ``require`` one and
        schedule nothing, or ``ignore``.
    :param durable: Find the run of earlier tries. False: each try schedules a run of its own. Default: True.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"scheduled_run_id", "run_id", "tag_name", "n_selected", "report", "dataset_id", "dataset_name",
        "dataset_url", "run_url", "input_path", "output_path"}``, and each of them as an XCom of its own, so that
        ``run.output["tag_name"]`` is what another task takes. ``tag_name`` is the newest tag that the run created and
        ``n_selected`` the number of its samples; None and 0 if it created none. ``report`` holds the run's counts
        (``nInput``, ``nCorrupt``, ``nSelected`` …), or None. The paths are those of the datasources. Without waiting,
        ``run_id``, ``tag_name``, ``n_selected`` and ``report`` are None. ``scheduled_run_id`` is pushed as soon as it
        is known; on Airflow 3.3 and newer that of an earlier try, too. ``run_id`` is pushed also if the run fails.
    :raises ValueError: An argument is not valid.
    :raises LightlyDatasetNotEmptyError: The worker would abort the run. Likewise LightlyDatasourceError, and
        LightlyNoWorkerError. Nothing was scheduled.
    :raises LightlyRunFailedError: The run failed; with the run's message. Likewise LightlyRunCrashedError,
        LightlyRunAbortedError, LightlyRunCanceledError, LightlyRunTimeoutError and LightlyRunNotTakenError.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "selection_config",
        "worker_config",
        "lightly_config",
        "only_new",
        "reset_processed_until",
        "relevant_filenames",
        "aws_conn_id",
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
    custom_operator_name = "Lightly run worker"
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        dataset_id: str,
        selection_config: Mapping[str, Any] | str | None = None,
        worker_config: Mapping[str, Any] | str | None = None,
        lightly_config: Mapping[str, Any] | str | None = None,
        only_new: bool | None = None,
        reset_processed_until: str | float | datetime | None = None,
        relevant_filenames: Sequence[str] | str | None = None,
        aws_conn_id: str | None = "aws_default",
        runs_on: Sequence[str] | None = (),
        priority: str = "MID",
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta | str = 60.0,
        timeout: float | timedelta | None = timedelta(hours=24),
        pickup_timeout: float | timedelta | None = None,
        cancel_on_kill: bool = True,
        worker_presence: str = "warn",
        durable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.selection_config = selection_config
        self.worker_config = worker_config
        self.lightly_config = lightly_config
        self.only_new = only_new
        self.reset_processed_until = reset_processed_until
        self.relevant_filenames = relevant_filenames
        self.aws_conn_id = aws_conn_id
        self.runs_on = runs_on
        self.priority = priority
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.pickup_timeout = pickup_timeout
        self.cancel_on_kill = cancel_on_kill
        self.worker_presence = worker_presence
        self.durable = durable
        # Before Airflow renders them: numbers of a template come as text.
        self._rendered_configs = {name for name in _CONFIGS if not is_static(getattr(self, name))}
        self.scheduled_run_id: str | None = None
        self._outcome: dict[str, Any] | None = None
        self._killed = False
        self._time_is_up = False
        self._ti: Any = None
        self._kill_error: LightlyRunError | None = None
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if is_static(self.priority):
            check_choice(self.priority, PRIORITIES, argument="priority")
        if is_static(self.runs_on):
            labels_of(self.runs_on, argument="runs_on")
        if is_static(self.poll_interval):
            seconds_of(self.poll_interval, argument="poll_interval", longest=LONGEST_POLL_INTERVAL)
        if self.timeout is not None:
            seconds_of(self.timeout, argument="timeout")
        if self.pickup_timeout is not None:
            pickup = seconds_of(self.pickup_timeout, argument="pickup_timeout")
            if self.timeout is not None and pickup > seconds_of(self.timeout, argument="timeout"):
                raise ValueError(
                    f"pickup_timeout is {self.pickup_timeout!r}, longer than timeout, which is {self.timeout!r}; "
                    "give a shorter one, or leave it out."
                )
        check_choice(self.worker_presence, WORKER_PRESENCES, argument="worker_presence")
        if self.reset_processed_until is not None and is_static(self.reset_processed_until):
            moment_of(self.reset_processed_until, argument="reset_processed_until")
        if self.relevant_filenames is not None and is_static(self.relevant_filenames):
            self._check_relevant_filenames()
        if all(is_static(getattr(self, name)) for name in _CONFIGS):
            self._config()

    def perform(self, context: Context) -> dict[str, Any]:
        """Find or schedule the run, and wait for it."""
        self._ti = context["ti"]
        return self._run(context)

    def pre_execute(self, context: Context) -> None:
        """
        Remember the run of a task that Airflow 2 resumes. If its ``execution_timeout`` is over by then, Airflow 2 calls
        only :meth:`on_kill` (airflow 2.11.2, models/taskinstance.py, ``_execute_task``).
        """
        super().pre_execute(context)
        if getattr(context["ti"], "next_method", None):
            self._recall(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Continue after the wait in the triggerer. If Airflow ended the wait itself, then first cancel the run, unless
        the next try will reattach to it.
        """
        if next_method == _FAILED_WAIT:
            self._recall(context)
            # "Trigger timeout", and "Trigger/execution timeout" on Airflow 2; else "Trigger failure".
            self._time_is_up = "timeout" in str((next_kwargs or {}).get("error")).lower()
            if self.scheduled_run_id and self._time_is_up:
                self._follower(self.scheduled_run_id).cancel(self.hook)
            elif self.scheduled_run_id:
                self._after_kill(self.scheduled_run_id)
        return super().resume_execution(next_method, next_kwargs, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Return the result after the trigger's wait. Airflow calls this on a new operator.

        :param context: The task's context.
        :param event: See :meth:`lightly_provider.runs.follower.RunFollower.event_of`.
        :return: The same as when the task waits itself.
        """
        from lightly_provider.runs.state import Limits

        with failing_for_good():
            self._ti = context["ti"]
            self.scheduled_run_id = event["scheduled_run_id"]
            self.name_map_index(context)
            follower = self._follower(event["scheduled_run_id"])
            ending = follower.resume(self.hook, event)
            if ending is None:
                self._defer(follower, Limits(deadline=event["deadline"]))
            return self._conclude(context, follower, ending)

    def on_kill(self) -> None:
        """
        Cancel the scheduled run if that is still possible and no further try will need it, and log what happened.
        Never raises.

        Airflow 3 calls this from a signal handler, and then lets ``execute`` continue; so ``execute`` ends itself at
        its next step, also when the kill comes before the run's id is known.
        """
        # After execution_timeout, Airflow calls this while it handles the exception.
        self._time_is_up = isinstance(sys.exception(), AirflowTaskTimeout)
        if self.scheduled_run_id:
            self._kill_error = self._after_kill(self.scheduled_run_id)
        self._killed = True

    def moved(self, platform: Platform) -> Moved | None:
        """See :meth:`DescribedLineage.moved`."""
        return platform.run(self.dataset_id, self.scheduled_run_id, self._outcome)

    # --- which files the run reads -------------------------------------------------------------------------------

    def _check_relevant_filenames(self) -> None:
        from lightly_provider.results.relevant_filenames import check_entries
        from lightly_provider.results.sources import Source

        given = self.relevant_filenames
        if isinstance(given, str):
            Source.parse(given, aws_conn_id=self.aws_conn_id, argument="relevant_filenames")
        elif given is not None:
            check_entries(given, argument="relevant_filenames")

    def _worker_options(self, given: WorkerOptions | None, relevant_filenames_file: str | None) -> WorkerOptions:
        """Add to the worker's options what ``only_new`` and ``relevant_filenames`` mean."""
        from lightly_provider.api.models.worker_config import DatasourceOptions, WorkerOptions

        options = given or WorkerOptions()
        changes: dict[str, Any] = {}
        if isinstance(self.only_new, bool):
            datasource = options.datasource or DatasourceOptions()
            process_all = not self.only_new
            if datasource.process_all not in (None, process_all) or (self.only_new and options.use_datapool is False):
                raise ValueError(
                    f"only_new is {self.only_new}, and worker_config says the opposite by datasource.process_all or "
                    "use_datapool; leave them out of worker_config, or leave out only_new."
                )
            changes["datasource"] = datasource.model_copy(update={"process_all": process_all})
            if self.only_new:
                # Without it, the worker aborts a run on a dataset that has samples.
                changes["use_datapool"] = True
        if self.relevant_filenames is not None and options.relevant_filenames_file:
            raise ValueError(
                "relevant_filenames is given, and worker_config names a relevant_filenames_file too; leave one out."
            )
        if relevant_filenames_file is not None:
            changes["relevant_filenames_file"] = relevant_filenames_file
        return options.model_copy(update=changes) if changes else options

    def _relevant_filenames(self) -> RelevantFilenames | None:
        """Read the relevant filenames; None: the run is not restricted."""
        if self.relevant_filenames is None:
            return None
        from lightly_provider.contract import Purpose
        from lightly_provider.results.relevant_filenames import RelevantFilenames, location_of

        relevant = RelevantFilenames.read(
            self.relevant_filenames,
            input_location=location_of(self._datasource(Purpose.INPUT)),
            aws_conn_id=self.aws_conn_id,
            argument="relevant_filenames",
        )
        self.log.info(
            "The run is restricted to %d relevant filenames or patterns; %d duplicates were dropped",
            len(relevant.lines),
            relevant.n_duplicates,
        )
        return relevant

    def _prepare(self, relevant: RelevantFilenames | None) -> None:
        """Before a run is scheduled: write the relevant filenames, and reset the time of the last processed files."""
        from lightly_provider.contract import Purpose

        self._stop_if_killed_early()
        if relevant is not None:
            uri = relevant.write(self._datasource(Purpose.LIGHTLY), aws_conn_id=self.aws_conn_id)
            self.log.info("Wrote the relevant filenames to %s", uri)
        if self.reset_processed_until is not None:
            self._reset_processed_until(moment_of(self.reset_processed_until, argument="reset_processed_until"))
        self._stop_if_killed_early()

    def _reset_processed_until(self, seconds: int) -> None:
        from lightly_provider.contract import ScheduledRunState

        # States of a scheduled run whose run has not ended yet.
        states = (ScheduledRunState.OPEN, ScheduledRunState.LOCKED)
        active = [run for run in self.hook.get_scheduled_runs(self.dataset_id) if run.state in states]
        if active:
            raise LightlyDatasetInUseError(
                f"Scheduled run {active[0].id} on dataset {self.dataset_id} is active ({active[0].state}), and its end "
                "would move the time until which files are processed again; nothing was reset or scheduled. Wait for "
                "it, e.g. with LightlyRunSensor or max_active_runs=1, and run this task again."
            )
        before = self.hook.set_processed_until(self.dataset_id, seconds)
        self.log.info(
            "Files last modified after %s count as new%s",
            _moment(seconds),
            " already" if before is None else f"; before, it was {_moment(before)}",
        )

    def _datasource(self, purpose: Purpose) -> Datasource:
        from lightly_provider.runs.once import missing_datasource

        found = {datasource.purpose: datasource for datasource in self.hook.get_datasources(self.dataset_id)}
        if (error := missing_datasource(self.dataset_id, found)) is not None:
            raise error
        return found.get(purpose) or found["INPUT_OUTPUT"]

    # --- one private method per step -----------------------------------------------------------------------------

    def _run(self, context: Context) -> dict[str, Any]:
        self._push_earlier_run(context)
        web_url = self.hook.connection.web_url
        push_dataset_link(context, web_url, self.dataset_id)
        runs_url = push_runs_link(context, web_url)
        self.scheduled_run_id = self._scheduled_run(context)
        # At once, so that the run of a task that died can be found.
        context["ti"].xcom_push(key="scheduled_run_id", value=self.scheduled_run_id)
        self.log.info("Scheduled run %s of dataset %s: %s", self.scheduled_run_id, self.dataset_id, runs_url)
        self._stop_if_killed(self.scheduled_run_id)
        if not self.wait_for_completion:
            return self._announced(context, self._follower(self.scheduled_run_id).result_so_far(self.hook))
        limits = self._limits()
        follower = self._follower(self.scheduled_run_id, limits)
        ending = self._wait(follower)
        if ending is None:
            self._defer(follower, limits)
        return self._conclude(context, follower, ending)

    def _push_earlier_run(self, context: Context) -> None:
        """
        Airflow clears a task's XComs before each try. Push the run of an earlier try again before anything can fail, so
        that a teardown finds it.
        """
        from lightly_provider.runs.once import run_of_earlier_try

        if self.durable and (earlier := run_of_earlier_try(context)) is not None:
            # Not scheduled_run_id: a kill is about the run that this try finds or schedules.
            context["ti"].xcom_push(key="scheduled_run_id", value=earlier)

    def _config(self, relevant_filenames_file: str | None = None) -> WorkerConfig:
        from lightly_provider.api.models.validation import parse_argument
        from lightly_provider.api.models.worker_config import (
            LightlyOptions,
            SelectionConfig,
            WorkerConfig,
            WorkerOptions,
        )

        def read(model: type[RequestModel], argument: str, default: Mapping[str, Any] | None) -> RequestModel | None:
            given = mapping_of(getattr(self, argument), argument=argument)
            value = default if given is None else given
            rendered = argument in self._rendered_configs
            return None if value is None else parse_argument(model, value, argument=argument, rendered=rendered)

        return WorkerConfig(
            selection=read(SelectionConfig, "selection_config", None),
            docker=self._worker_options(read(WorkerOptions, "worker_config", {}), relevant_filenames_file),
            lightly=read(LightlyOptions, "lightly_config", {}),
        )

    def _scheduled_run(self, context: Context) -> str:
        """The id of the scheduled run: that of an earlier try, or a new one."""
        from lightly_provider.runs.once import RunOnce, RunRequest

        relevant = self._relevant_filenames()
        request = RunRequest(
            dataset_id=self.dataset_id,
            config=self._config(relevant.file_name if relevant else None),
            priority=self.priority,
            runs_on=tuple(labels_of(self.runs_on, argument="runs_on")),
        )
        return RunOnce(
            context,
            self.hook,
            request,
            is_durable=self.durable,
            worker_presence=self.worker_presence,
            log=self.log,
            on_scheduled=self._remember_for_kill,
            before_scheduling=partial(self._prepare, relevant),
        ).find_or_schedule()

    def _recall(self, context: Context) -> None:
        """After a deferral, before anything else: which run this is about."""
        self._ti = context["ti"]
        try:
            found = self._ti.xcom_pull(
                task_ids=self._ti.task_id, key="scheduled_run_id", map_indexes=self._ti.map_index
            )
        except Exception as error:  # noqa: BLE001 - this must not hide how the wait ended
            self.log.warning("The id of the scheduled run could not be read: %s", type(error).__name__)
        else:
            self.scheduled_run_id = found if isinstance(found, str) else None

    def _remember_for_kill(self, scheduled_run_id: str) -> None:
        self.scheduled_run_id = scheduled_run_id

    def _follower(self, scheduled_run_id: str, limits: Limits | None = None) -> RunFollower:
        from lightly_provider.runs.follower import RunFollower
        from lightly_provider.runs.state import Limits, Watch

        return RunFollower(
            dataset_id=self.dataset_id,
            scheduled_run_id=scheduled_run_id,
            log=self.log,
            watch=Watch(limits or Limits()),
        )

    def _limits(self) -> Limits:
        from lightly_provider.runs.state import Limits

        now, timeout = time.time(), self._timeout()
        if self.deferrable:
            deadline = deadline_of(self, self._ti, timeout=timeout, now=now)
        else:  # Airflow enforces the execution timeout
            deadline = None if timeout is None else now + timeout
        pickup = None if self.pickup_timeout is None else seconds_of(self.pickup_timeout, argument="pickup_timeout")
        return Limits(deadline=deadline, pickup_deadline=None if pickup is None else now + pickup)

    def _timeout(self) -> float | None:
        return None if self.timeout is None else seconds_of(self.timeout, argument="timeout")

    def _wait(self, follower: RunFollower) -> Ending | None:
        """Poll until the wait ends. A task that defers polls once; None: the trigger is to wait."""
        interval = self._interval()
        while (ending := follower.step(self.hook)) is None and not self.deferrable:
            # Jitter for many tasks that started together; no secret depends on it.
            pause = interval * random.uniform(0.9, 1.1)  # noqa: S311
            self._pause(follower.watch.pause(pause, time.time()))
            self._stop_if_killed(follower.scheduled_run_id)
        return ending

    def _defer(self, follower: RunFollower, limits: Limits) -> NoReturn:
        from lightly_provider.triggers.worker import backstop, trigger_for

        interval = self._interval()
        self.defer(
            trigger=trigger_for(
                follower,
                lightly_conn_id=self.lightly_conn_id,
                runs_on=labels_of(self.runs_on, argument="runs_on"),
                interval=interval,
                limits=limits,
                cancel_on_kill=self.cancel_on_kill,
                durable=self.durable,
            ),
            method_name="execute_complete",
            timeout=backstop(limits, interval),
        )

    def _conclude(self, context: Context, follower: RunFollower, ending: Ending) -> dict[str, Any]:
        from lightly_provider.runs.follower import result
        from lightly_provider.runs.state import Step

        if ending.run is not None:
            # Also of a run that failed, whose log can be downloaded by this id.
            context["ti"].xcom_push(key="run_id", value=ending.run.id)
        longest = longest_wait(self, self._timeout()) if self.deferrable else self._timeout()
        limit = self.pickup_timeout if ending.decision.step is Step.NOT_TAKEN else longest
        within = "" if limit is None else f"{seconds_of(limit, argument='timeout'):g} s"
        try:
            outcome = follower.conclude(self.hook, ending, within=within)
        except LightlyRunError as error:
            self._outcome = result(follower.scheduled_run_id, run_id=error.run_id)
            raise
        return self._announced(context, outcome)

    def _announced(self, context: Context, outcome: dict[str, Any]) -> dict[str, Any]:
        self._outcome = outcome
        self.platform.announce_run(self, context, self.dataset_id, outcome)
        return push_members(context, outcome)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._killed and (left := until - time.monotonic()) > 0:
            # A signal does not end a sleep (PEP 475).
            time.sleep(min(left, 1.0))

    def _stop_if_killed_early(self) -> None:
        if self._killed:
            raise LightlyError("The task was killed; nothing was scheduled.")

    def _stop_if_killed(self, scheduled_run_id: str) -> None:
        if self._killed:
            raise self._kill_error or self._after_kill(scheduled_run_id)

    def _after_kill(self, scheduled_run_id: str) -> LightlyRunError:
        """Cancel the run unless it is still needed; the error with which the killed task ends."""
        from lightly_provider.runs.task_state import reason_for_next_try

        if not self.cancel_on_kill:
            outcome = f"Scheduled run {scheduled_run_id} continues, because cancel_on_kill is False."
            return LightlyRunError(f"The task was killed. {outcome}", scheduled_run_id=scheduled_run_id)
        # After a timeout the run is not needed any more, and without `durable` no further try looks for it.
        reason = "" if self._time_is_up or not self.durable else reason_for_next_try(self._ti)
        if reason:
            outcome = f"Scheduled run {scheduled_run_id} continues, and the next try will reattach to it: {reason}."
            self.log.info(outcome)
            return LightlyRunError(f"The task was killed. {outcome}", scheduled_run_id=scheduled_run_id)
        canceled, outcome = self._follower(scheduled_run_id).cancel(self.hook)
        end = LightlyRunCanceledError if canceled else LightlyRunError
        return end(f"The task was killed. {outcome}", scheduled_run_id=scheduled_run_id)

    def _interval(self) -> float:
        return interval_of(self.poll_interval, is_local=self.hook.connection.is_local, log=self.log)


def _moment(seconds: int) -> str:
    """Return a time as text for a log line."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC" if seconds else "the beginning"
    except (ValueError, OverflowError, OSError):  # the platform's present value may be any number
        return str(seconds)
