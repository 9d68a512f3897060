"""One run for a chain of tries: that of an earlier try is found again, or a new one is scheduled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.prerequisites import missing_datasource, missing_worker, not_empty
from lightly_provider.worker_run import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.hooks.run_follower import Log
    from lightly_provider.operators.run_memory import RunMemory, Submission


@dataclass(frozen=True, kw_only=True)
class RunSubmitter:
    """
    Submits a run, unless it was.

    :param hook: The hook on the platform.
    :param submission: What the task asks for.
    :param memory: What is known of the run of earlier tries.
    :param worker_presence: What to do if no worker could take the run: ``warn``, ``require`` it, or ``ignore``.
    :param log: The task's log.
    :param scheduled: Told the id of a run that was scheduled, at once.
    """

    hook: LightlyHook
    submission: Submission
    memory: RunMemory
    worker_presence: str
    log: Log
    scheduled: Callable[[str], None]

    def find_or_schedule(self) -> str:
        """
        Find the run of an earlier try, or schedule a new one.

        :return: The scheduled run's id.
        :raises LightlyError: A prerequisite is missing; nothing was scheduled.
        """
        recalled = self.memory.recall()
        stored = recalled.stored
        if stored is not None and stored.scheduled_run_id is not None and recalled.decision.step is not Step.SUBMIT:
            self.log.info(
                "Reattached to scheduled run %s of an earlier try: %s",
                stored.scheduled_run_id,
                recalled.decision.status,
            )
            self.memory.keep(stored.config_id, stored.scheduled_run_id)
            return stored.scheduled_run_id
        if stored is not None:
            self.log.info(
                "Scheduling a new run, as scheduled run %s of an earlier try is over or not this one: %s",
                stored.scheduled_run_id or "(unknown)",
                recalled.decision.status,
            )
        return self._submit()

    def _submit(self) -> str:
        """
        Schedule a new run. Its configuration's id is kept first: wherever the task is cut off, the next try finds by it
        what was scheduled.
        """
        from lightly_provider.api.models.run import RunPriority

        submission = self.submission
        self._check_prerequisites(submission)
        config_id = self.hook.store_worker_config(submission.config)
        self.memory.keep(config_id)
        scheduled_run_id = self.hook.schedule_stored_config(
            submission.dataset_id,
            config_id,
            priority=RunPriority(submission.priority),
            runs_on=submission.runs_on,
        )
        # Before anything else can go wrong, so that a kill finds it.
        self.scheduled(scheduled_run_id)
        self.memory.keep(config_id, scheduled_run_id)
        return scheduled_run_id

    def _check_prerequisites(self, submission: Submission) -> None:
        dataset = self.hook.get_dataset(submission.dataset_id)
        options = submission.config.docker
        use_datapool = bool(options and options.use_datapool)
        if (error := not_empty(dataset.id, dataset.n_samples, use_datapool=use_datapool)) is not None:
            raise error
        purposes = {datasource.purpose for datasource in self.hook.get_datasources(dataset.id)}
        if (error := missing_datasource(dataset.id, purposes)) is not None:
            raise error
        if self.worker_presence == "ignore":
            return
        if (error := missing_worker(self.hook.get_workers(), submission.runs_on)) is not None:
            if self.worker_presence == "require":
                raise error
            self.log.warning("%s", error)
