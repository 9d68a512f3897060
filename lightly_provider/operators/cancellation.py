"""Cancel a scheduled run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.exceptions import LightlyRunError, explained
from lightly_provider.links import LightlyDatasetLink, LightlyRunsLink, push_dataset_link, push_runs_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.runs.follower import outcome_of_cancel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

_LONGEST_LOOK_S = 10.0
# How a template says that there may be no run.
_OR_NOTHING = re.compile(r"""\bor\s*(?:''|"")""")


class CancelLightlyRunOperator(LightlyBaseOperator):
    """
    Cancel a scheduled run, and check that it is canceled.

    The platform can cancel a run only while no worker has taken it. A run that a worker has taken continues: the
    platform documents no way to stop it. If the run is already canceled or has ended, the task succeeds, so a retry or
    a clear changes nothing. If the platform cannot say what became of the run, the task fails, and its retries apply.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param scheduled_run_id: Id that scheduling returned, e.g. ``run_worker.output["scheduled_run_id"]``. A template
        that ends with ``or ''`` may render to an empty text: then no run is known, and the task succeeds with a
        warning. Without it, an empty text is refused. Templated.
    :param if_taken: What to do if a worker has taken it and it continues: ``warn`` (default), or ``fail``.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: Whether it is canceled; False if a worker has taken it, it has ended, or none is known.
    :raises ValueError: An argument is not valid.
    :raises LightlyApiError: The platform did not answer, refused, or does not know the dataset.
    :raises LightlyRunError: The platform does not know the run; or a worker has taken it, and ``if_taken`` is ``fail``.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "dataset_id", "scheduled_run_id")
    operator_extra_links = (LightlyDatasetLink(), LightlyRunsLink())
    custom_operator_name = "Lightly cancel run"
    ui_color = "#d6ecff"

    def __init__(self, *, dataset_id: str, scheduled_run_id: str, if_taken: str = "warn", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.scheduled_run_id = scheduled_run_id
        self.if_taken = if_taken
        # Before Airflow renders it.
        self._may_be_nothing = isinstance(scheduled_run_id, str) and bool(_OR_NOTHING.search(scheduled_run_id))
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        check_choice(self.if_taken, ("warn", "fail"), argument="if_taken")
        if self._is_nothing:
            return
        for argument in ("dataset_id", "scheduled_run_id"):
            if is_static(value := getattr(self, argument)):
                check_id(value, argument=argument)

    @property
    def _is_nothing(self) -> bool:
        return self._may_be_nothing and self.scheduled_run_id == ""

    def perform(self, context: Context) -> bool:
        """Cancel the run."""
        if self._is_nothing:
            self.log.warning("No scheduled run is known; an earlier try may have scheduled one.")
            return False
        web_url = self.hook.connection.web_url
        push_dataset_link(context, web_url, self.dataset_id)
        push_runs_link(context, web_url)
        state = self.hook.cancel_scheduled_run(self.dataset_id, self.scheduled_run_id)
        if state is None:
            state = self._state_of_unscheduled()
        outcome = outcome_of_cancel(self.hook, self.scheduled_run_id, state)
        is_over = state in (ScheduledRunState.CANCELED, ScheduledRunState.DONE)
        if not is_over and self.if_taken == "fail":
            raise LightlyRunError(outcome, scheduled_run_id=self.scheduled_run_id)
        (self.log.info if is_over else self.log.warning)("%s", outcome)
        return state == ScheduledRunState.CANCELED

    def _state_of_unscheduled(self) -> str:
        """Return DONE, or the state in which a run that is not in the schedule continues."""
        seen = self.hook.observe_run(self.dataset_id, self.scheduled_run_id, within=_LONGEST_LOOK_S)
        if seen.run is None:
            raise LightlyRunError(
                explained(
                    "The scheduled run is neither in the schedule nor among the runs.",
                    to_do=["Check both ids; whether it continues is not known."],
                    ids=f"Ids: dataset {self.dataset_id}, scheduled run {self.scheduled_run_id}",
                ),
                scheduled_run_id=self.scheduled_run_id,
            )
        known = RunState.parse(seen.run.state)
        return ScheduledRunState.DONE if known and known.is_terminal else seen.run.state
