"""Verbs about runs: schedule exactly once, find again, observe, cancel, read what they report."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from lightly_provider.contract import ArtifactType, RunPriority, ScheduledRunState, value_of
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyConflictError,
    LightlyConnectionError,
    LightlyNotFoundError,
    LightlyResponseError,
    LightlyServerError,
    is_transient,
)
from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.api.models.run import LogPage, Observation, Run, ScheduledRun
    from lightly_provider.api.models.worker_config import WorkerConfig

# Longest time for canceling, in seconds.
LONGEST_CANCEL = 18.0


class RunVerbs(LightlyBaseHook):
    """What the hook does with scheduled runs and runs."""

    def schedule_run(
        self, dataset_id: str, config: WorkerConfig, *, priority: RunPriority | str, runs_on: Sequence[str] = ()
    ) -> str:
        """
        Schedule a run of the Lightly Worker, exactly once.

        The platform has no idempotency key. So a configuration of its own is stored first, whose id marks this very
        submission: when the answer to the scheduling is lost, the dataset's schedule is searched for that id.

        :param dataset_id: Dataset.
        :param config: The worker's configuration.
        :param priority: Scheduled runs of higher priority are taken first.
        :param runs_on: Labels that a worker must all have to take it; none: any worker.
        :return: The scheduled run's id.
        """
        config_id = self.store_worker_config(config)
        return self.schedule_stored_config(dataset_id, config_id, priority=priority, runs_on=runs_on)

    def store_worker_config(self, config: WorkerConfig) -> str:
        """Store a worker configuration, which does nothing by itself; its id."""
        from lightly_provider.api import calls
        from lightly_provider.api.models.worker_config import WorkerConfigCreateRequest

        return self.client.send(calls.create_worker_config(WorkerConfigCreateRequest(config=config)))

    def schedule_stored_config(
        self, dataset_id: str, config_id: str, *, priority: RunPriority | str, runs_on: Sequence[str] = ()
    ) -> str:
        """
        Schedule a run of a stored configuration, exactly once if the configuration serves this run alone.

        :param dataset_id: Dataset.
        :param config_id: What :meth:`store_worker_config` returned.
        :param priority: Scheduled runs of higher priority are taken first.
        :param runs_on: Labels that a worker must all have to take it; none: any worker.
        :return: The scheduled run's id.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.run import ScheduleRequest

        chosen = value_of(RunPriority, priority, argument="priority")
        request = ScheduleRequest(config_id=config_id, priority=chosen, runs_on=list(runs_on) or None)
        lost: LightlyApiError
        try:
            return self.client.send(calls.schedule_run(dataset_id, request))
        except LightlyConnectionError as error:
            if not error.maybe_applied:
                raise
            lost = error
        except (LightlyServerError, LightlyResponseError) as error:
            lost = error
        self.log.warning("It is open whether the run was scheduled, looking for it in the schedule: %s", lost)
        found = self.find_scheduled_run(dataset_id, config_id)
        if found is None:
            raise lost
        return found

    def find_scheduled_run(self, dataset_id: str, config_id: str) -> str | None:
        """
        Look for what was scheduled with a configuration: in the dataset's schedule, in all states, and in its runs.

        :param dataset_id: Dataset.
        :param config_id: The configuration.
        :return: The scheduled run's id; None if there is none.
        """
        from lightly_provider.api import calls

        for entry in self.client.send(calls.get_scheduled_runs(dataset_id)):
            if entry.config_id == config_id:
                return entry.id
        for run in self.client.send(calls.list_runs_of_dataset(dataset_id)):
            if run.config_id == config_id and run.scheduled_id:
                return run.scheduled_id
        return None

    def find_equal_run(
        self, dataset_id: str, config: WorkerConfig, *, runs_on: Sequence[str], since: float
    ) -> ScheduledRun | None:
        """
        The dataset's newest scheduled run whose configuration and labels are equal, in whatever state.

        :param dataset_id: Dataset.
        :param config: The worker's configuration.
        :param runs_on: Labels, in any order.
        :param since: Only what was scheduled since then, in seconds since the epoch by the platform's clock.
        :return: The scheduled run; None if there is none.
        """
        from lightly_provider.api import calls

        entries = [
            entry
            for entry in self.client.send(calls.get_scheduled_runs(dataset_id))
            if entry.created_at >= since * 1000 and sorted(entry.runs_on) == sorted(runs_on)
        ]
        for entry in sorted(entries, key=lambda e: e.created_at, reverse=True):
            try:
                stored = self.client.send(calls.get_worker_config(entry.config_id))
            except LightlyNotFoundError:
                continue
            if stored.is_of(config):
                return entry
        return None

    def observe_run(self, dataset_id: str, scheduled_run_id: str, *, within: float | None = None) -> Observation:
        """
        Look where a scheduled run is. One request once a worker has taken it, two before.

        :param dataset_id: Dataset.
        :param scheduled_run_id: Id that scheduling returned.
        :param within: Seconds that each request may take, repetitions included; None: as long as it takes.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.run import Observation

        try:
            run = self.client.send(calls.get_run_of_scheduled_run(scheduled_run_id), within=within)
        except LightlyNotFoundError:
            entries = self.client.send(calls.get_scheduled_runs(dataset_id), within=within)
            state = next((entry.state for entry in entries if entry.id == scheduled_run_id), None)
            return Observation(scheduled_state=state)
        return Observation(run=run)

    def get_run_logs(self, run_id: str, cursor: int = 0, *, within: float | None = None) -> LogPage:
        """The run's log lines since ``cursor``, and the next cursor; ``within`` as in :meth:`observe_run`."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_run_logs(run_id, cursor), within=within)

    def cancel_scheduled_run(self, dataset_id: str, scheduled_run_id: str) -> str | None:
        """
        Cancel a scheduled run, and look whether it is canceled. The platform can do it only while no worker took it.

        Tried for less than 20 s, as Airflow waits 60 s for a task that it kills before it kills it hard
        (``core.killed_task_cleanup_time``), and 30 s for a trigger (``triggerer.on_kill_timeout``).

        :param dataset_id: Dataset.
        :param scheduled_run_id: Id that scheduling returned.
        :return: The state that the schedule shows afterwards: ``CANCELED`` if it worked, ``LOCKED`` or ``DONE`` if a
            worker took it; None if it is not there any more.
        :raises LightlyApiError: Neither could be found out.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.client import LightlyClient

        settings = self.connection.settings
        hasty = replace(
            settings,
            connect_timeout=min(settings.connect_timeout, 2.0),
            read_timeout=min(settings.read_timeout, 3.0),
            max_attempts=1,
        )
        give_up_at = time.monotonic() + LONGEST_CANCEL - 2 * (hasty.connect_timeout + hasty.read_timeout)
        with closing(LightlyClient(hasty)) as client:
            while True:
                failure: LightlyApiError | None = None
                try:
                    client.send(calls.cancel_scheduled_run(dataset_id, scheduled_run_id))
                except LightlyApiError as error:
                    failure = error
                try:
                    # A refusal may mean that an attempt whose answer was lost did cancel it.
                    entries = client.send(calls.get_scheduled_runs(dataset_id))
                except LightlyApiError as error:
                    failure = failure or error
                else:
                    state = next((entry.state for entry in entries if entry.id == scheduled_run_id), None)
                    if state != ScheduledRunState.OPEN:
                        return state
                if (failure and not _may_be_over_soon(failure)) or time.monotonic() >= give_up_at:
                    raise failure or LightlyServerError(
                        f"Scheduled run {scheduled_run_id} stays OPEN though the platform took its cancelation.",
                        operation="cancel_scheduled_docker_run_state_by_id",
                    )
                time.sleep(0.5)

    def get_report_sizes(self, run: Run) -> dict[str, int] | None:
        """
        How many samples the run read, dropped and selected, from its report (artifact REPORT_V2_JSON).

        :param run: The completed run.
        :return: ``nInput``, ``nCorrupt``, ``nDuplicate``, ``nRemoved``, ``nSelected`` … as the report names them;
            None if the run left no such report, or one that cannot be used: the run itself is done.
        """
        from lightly_provider.api import calls

        artifact = next((a for a in run.artifacts if a.type == ArtifactType.REPORT_V2_JSON), None)
        if artifact is None:
            return None
        call = calls.get_artifact_url(run.id, artifact.id)
        try:
            content = self.client.download(call.operation, self.client.send(call))
            sizes = content["generalInformation"]["datasetInformation"]["datasetSizes"]
            return {str(name): int(value) for name, value in sizes.items()}
        except LightlyResponseError as error:
            self.log.warning("The report of run %s cannot be used: %s", run.id, error)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.log.warning("The report of run %s has no sizes where the contract has them.", run.id)
        return None


def _may_be_over_soon(failure: LightlyApiError) -> bool:
    # A conflict: a worker may be taking the run at this moment.
    return is_transient(failure) or isinstance(failure, LightlyConflictError)
