"""Waits for a run that another task scheduled."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue, conf

from lightly_provider.airflow_internals import has_task_state_store
from lightly_provider.exceptions import LightlyRunError, explained
from lightly_provider.links import LightlyDatasetLink, LightlyRunsLink, push_dataset_link, push_runs_link
from lightly_provider.operators.arguments import check_arguments_of_sensor, check_id, interval_of, is_static, labels_of
from lightly_provider.operators.base import CheckedArguments, DescribedLineage, failing_for_good, push_members
from lightly_provider.operators.map_index import look_up_dataset_name
from lightly_provider.runs.follower import RunFollower, result
from lightly_provider.runs.state import Limits, Step
from lightly_provider.sensors.deferred import deadline_of_sensor, failing_softly, limit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.lineage import Moved, Platform
    from lightly_provider.runs.follower import Ending, Log

# The key in the task state store.
_STATE_KEY = "lightly_run_sensor"


class LightlyRunSensor(CheckedArguments, DescribedLineage, BaseSensorOperator):
    """
    Wait for a scheduled run, e.g. after ``RunLightlyWorkerOperator(wait_for_completion=False)``, and return its result.

    The sensor never cancels the run: neither at its timeout nor when it is killed. If the run does not complete, the
    sensor fails with the errors of ``RunLightlyWorkerOperator``.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param scheduled_run_id: Id that scheduling returned, e.g. ``run_worker.output["scheduled_run_id"]``. Templated.
    :param runs_on: Labels that the run's worker must have; saves requests while the sensor is deferred. Templated.
    :param deferrable: Wait in the triggerer, without a slot of a worker. Default: Airflow's configuration
        ``[operators] default_deferrable``, which is False.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :param kwargs: Those of every Airflow sensor, e.g. ``poke_interval`` (seconds between two polls, at least 30 except
        for a platform on this machine; default: 60), ``timeout`` (default: 7 days), ``execution_timeout``, ``mode``,
        ``soft_fail`` (skip at the timeout; a run that failed still fails the sensor) and ``never_fail`` (skip at every
        error), alike in all modes. ``mode="reschedule"`` needs Airflow 3.3, which remembers failed looks between two
        looks.
    :return: As :class:`~lightly_provider.operators.worker.RunLightlyWorkerOperator`, in XComs of their own too.
    :raises LightlyRunFailedError: The run failed; likewise the other run errors.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "dataset_id", "scheduled_run_id", "runs_on")
    operator_extra_links = (LightlyDatasetLink(), LightlyRunsLink())
    custom_operator_name = "Lightly wait for run"
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        dataset_id: str,
        scheduled_run_id: str,
        runs_on: Sequence[str] | None = (),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        lightly_conn_id: str = "lightly_default",
        **kwargs: Any,
    ) -> None:
        check_arguments_of_sensor(kwargs)
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.scheduled_run_id = scheduled_run_id
        self.runs_on = runs_on
        self.deferrable = deferrable
        if self.reschedule and not deferrable and not has_task_state_store():
            raise ValueError(
                "mode is 'reschedule', and Airflow below 3.3 cannot remember failed looks and the position in the "
                "run's log between two looks; set deferrable=True instead."
            )
        self.lightly_conn_id = lightly_conn_id
        self._outcome: dict[str, Any] | None = None
        self.check_arguments()

    def execute(self, context: Context) -> Any:
        """Look at the run, and wait here or in the triggerer."""
        with failing_for_good():
            self.check_arguments()
            look_up_dataset_name(context, self.hook, self.dataset_id)
            web_url = self.hook.connection.web_url
            push_dataset_link(context, web_url, self.dataset_id)
            push_runs_link(context, web_url)
            self.poke_interval = interval_of(self.poke_interval, is_local=self.hook.connection.is_local, log=self.log)
            if not self.deferrable:
                if not self.reschedule:
                    self._follower.watch.limits = Limits(deadline=time.time() + self.timeout)
                return super().execute(context)
            with failing_softly(self):
                looked = self.poke(context)
            if not looked.is_done:
                self._defer(context)
            return looked.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the run once. A failed look does not mean that the run failed: only 10 in a row end the task."""
        memory = _Memory(context, self.log) if self.reschedule and not self.deferrable else None
        if memory is not None:
            self._follower.recall(memory.read())
        ending = self._follower.step(self.hook)
        if ending is None:
            if memory is not None:
                memory.write(self._follower.to_json())
            return PokeReturnValue(is_done=False)
        if ending.decision.step is Step.TIMED_OUT:
            raise self._timed_out(ending.decision.status)
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(context, ending))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return the result after the wait of a :class:`~lightly_provider.triggers.worker.LightlyRunTrigger`."""
        look_up_dataset_name(context, self.hook, self.dataset_id)
        ending = self._follower.resume(self.hook, event)
        if ending is None or ending.decision.step is Step.TIMED_OUT:
            raise self._timed_out(event["status"], deferred=True)
        return self._conclude(context, ending)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after the wait in the triggerer, and end like a sensor that waits itself."""
        # In this order, as a sensor that waits itself has it: an error that no retry can cure is not a soft failure.
        with failing_for_good(), failing_softly(self):
            return super().resume_execution(next_method, next_kwargs, context)

    def moved(self, platform: Platform) -> Moved | None:
        """See :meth:`DescribedLineage.moved`."""
        return platform.run(self.dataset_id, self.scheduled_run_id, self._outcome)

    def _conclude(self, context: Context, ending: Ending) -> dict[str, Any]:
        if ending.run is not None:
            context["ti"].xcom_push(key="run_id", value=ending.run.id)
        try:
            self._outcome = self._follower.conclude(self.hook, ending)
        except LightlyRunError as error:
            self._outcome = result(self.scheduled_run_id, run_id=error.run_id)
            raise
        self.platform.announce_run(self, context, self.dataset_id, self._outcome)
        return push_members(context, self._outcome)

    @cached_property
    def _follower(self) -> RunFollower:
        return RunFollower(dataset_id=self.dataset_id, scheduled_run_id=self.scheduled_run_id, log=self.log)

    def _defer(self, context: Context) -> NoReturn:
        from lightly_provider.triggers.worker import backstop, trigger_for

        limits = Limits(deadline=deadline_of_sensor(self, context["ti"]))
        self.defer(
            trigger=trigger_for(
                self._follower,
                lightly_conn_id=self.lightly_conn_id,
                runs_on=labels_of(self.runs_on, argument="runs_on"),
                interval=self.poke_interval,
                limits=limits,
                cancel_on_kill=False,
            ),
            method_name="execute_complete",
            timeout=backstop(limits, self.poke_interval),
        )

    def _timed_out(self, status: str, *, deferred: bool = False) -> BaseException:
        argument, seconds, error = limit_of(self, deferred=deferred)
        return error(
            explained(
                f"The run did not end within {seconds:g} s (last status: {status or 'unknown'}); the run continues.",
                to_do=[f"Allow more time with {argument}."],
                ids=f"Ids: dataset {self.dataset_id}, scheduled run {self.scheduled_run_id}",
            )
        )

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        for argument in ("dataset_id", "scheduled_run_id"):
            if is_static(value := getattr(self, argument)):
                check_id(value, argument=argument)
        if is_static(self.runs_on):
            labels_of(self.runs_on, argument="runs_on")


class _Memory:
    """What one try of a rescheduled sensor remembers between two looks, in Airflow's task state store."""

    def __init__(self, context: Context, log: Log) -> None:
        self._store: Any = context["task_state_store"]  # type: ignore[typeddict-item,unused-ignore]
        ti: Any = context["ti"]
        self._try_number = int(ti.try_number)
        self._log = log

    def read(self) -> Any:
        """What the last look of this try wrote; None if there is none."""
        try:
            stored = self._store.get(_STATE_KEY)
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the run can still be looked at
            self._log.warning("What earlier looks remembered could not be read: %s", type(error).__name__)
            return None
        is_own = isinstance(stored, dict) and stored.get("try_number") == self._try_number
        return stored.get("follower") if is_own else None

    def write(self, follower: dict[str, Any]) -> None:
        """Remember this for the next look."""
        try:
            self._store.set(_STATE_KEY, {"try_number": self._try_number, "follower": follower})
        except Exception as error:  # noqa: BLE001 - likewise
            self._log.warning("What this look saw could not be remembered: %s", type(error).__name__)
