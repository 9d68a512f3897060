"""Hook methods for runs: schedule exactly once, find, observe, cancel, read reports."""

from __future__ import annotations

import itertools
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
from lightly_provider.hooks.lineage import dataset_asset, report_lineage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lightly_provider.api.calls import Call
    from lightly_provider.api.client import Download
    from lightly_provider.api.models.run import LogPage, Observation, Run, ScheduledRun
    from lightly_provider.api.models.worker_config import WorkerConfig

# Maximum time for canceling, in seconds.
LONGEST_CANCEL = 18.0


class RunVerbs(LightlyBaseHook):
    """The hook's methods for scheduled runs and runs."""

    def schedule_run(
        self,
        dataset_id: str,
        config: WorkerConfig | Mapping[str, Any],
        *,
        priority: RunPriority | str,
        runs_on: Sequence[str] = (),
    ) -> str:
        """
        Schedule a run of the Lightly Worker, exactly once.

        The platform has no idempotency key. Therefore the configuration is stored first, and its id identifies this
        submission: if the response to the scheduling request is lost, the dataset's schedule is searched for that id.

        :param dataset_id: Id of the dataset.
        :param config: Worker configuration, see :meth:`store_worker_config`.
        :param priority: Priority; workers take scheduled runs of higher priority first.
        :param runs_on: Labels, all of which a worker must have to take the run. Default: none, any worker.
        :return: Id of the scheduled run.
        """
        config_id = self.store_worker_config(config)
        scheduled_run_id = self.schedule_stored_config(dataset_id, config_id, priority=priority, runs_on=runs_on)
        report_lineage(self, read=dataset_asset(self, dataset_id))
        return scheduled_run_id

    def store_worker_config(self, config: WorkerConfig | Mapping[str, Any]) -> str:
        """
        Store a worker configuration, which starts no run by itself, and return its id.

        :param config: Configuration, e.g. ``{"selection": {"n_samples": 10, "strategies": […]}, "docker": {…}}``.
        :raises ValueError: The configuration does not fit the contract.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.worker_config import WorkerConfigCreateRequest

        return self.client.send(
            calls.create_worker_config(WorkerConfigCreateRequest.model_validate({"config": config}))
        )

    def schedule_stored_config(
        self, dataset_id: str, config_id: str, *, priority: RunPriority | str, runs_on: Sequence[str] = ()
    ) -> str:
        """
        Schedule a run of a stored configuration, exactly once if only this run uses the configuration.

        :param dataset_id: Id of the dataset.
        :param config_id: Id that :meth:`store_worker_config` returned.
        :param priority: Priority; workers take scheduled runs of higher priority first.
        :param runs_on: Labels, all of which a worker must have to take the run. Default: none, any worker.
        :return: Id of the scheduled run.
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
        Find the scheduled run of a configuration, in the dataset's schedule (all states) and in its runs.

        :param dataset_id: Id of the dataset.
        :param config_id: Id of the configuration.
        :return: Id of the scheduled run; None if there is none.
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
        Find the dataset's newest scheduled run with an equal configuration and equal labels, in any state.

        :param dataset_id: Id of the dataset.
        :param config: Worker configuration.
        :param runs_on: Labels, in any order.
        :param since: Earliest time of scheduling, in seconds since the epoch by the platform's clock.
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
        Return the current state of a scheduled run. Sends two requests, or one after a worker has taken the run.

        :param dataset_id: Id of the dataset.
        :param scheduled_run_id: Id of the scheduled run.
        :param within: Maximum time of each request, retries included, in seconds. None (default): no limit.
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

    def get_run(self, run_id: str) -> Run:
        """
        Return a run by its own id, e.g. the ``run_id`` that ``RunLightlyWorkerOperator`` returns.

        :param run_id: Id of the run, which is not that of its scheduled run.
        :raises LightlyNotFoundError: There is no such run.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_run(run_id))

    def get_runs(self, dataset_id: str) -> Iterator[Run]:
        """
        Yield the runs on a dataset, page by page, in the platform's order.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        yield from self._run_pages(lambda offset: calls.list_runs_of_dataset(dataset_id, page_offset=offset))

    def get_all_runs(self) -> Iterator[Run]:
        """Yield the account's runs on all datasets, page by page, in the platform's order."""
        from lightly_provider.api import calls

        yield from self._run_pages(lambda offset: calls.list_runs(page_size=calls.PAGE_SIZE, page_offset=offset))

    def _run_pages(self, call_at: Callable[[int], Call[list[Run]]]) -> Iterator[Run]:
        from lightly_provider.api import calls

        seen: set[str] = set()
        for offset in itertools.count(0, calls.PAGE_SIZE):
            call = call_at(offset)
            page = self.client.send(call)
            new = [run for run in page if run.id not in seen]
            yield from new
            seen.update(run.id for run in new)
            if len(page) < calls.PAGE_SIZE:
                return
            if not new:
                raise LightlyResponseError(
                    f"The platform repeats the same page of {call.operation} from {offset} on, so the list of runs "
                    "cannot be completed.",
                    operation=call.operation,
                )

    def get_scheduled_runs(self, dataset_id: str) -> list[ScheduledRun]:
        """
        Return the dataset's schedule: all entries, in all states.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_scheduled_runs(dataset_id))

    def get_run_logs(self, run_id: str, cursor: int = 0, *, within: float | None = None) -> LogPage:
        """
        Return the run's log lines from a position on, and the next position.

        :param run_id: Id of the run.
        :param cursor: Position in the log, as the previous call returned it. Default: 0, the beginning.
        :param within: Maximum time of the request, retries included, in seconds. None (default): no limit.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_run_logs(run_id, cursor), within=within)

    def cancel_scheduled_run(self, dataset_id: str, scheduled_run_id: str) -> str | None:
        """
        Cancel a scheduled run, and check the result. The platform can cancel it only before a worker takes it.

        Retried for less than 20 s, because Airflow waits 60 s before it sends SIGKILL to a killed task
        (``core.killed_task_cleanup_time``), and 30 s for a trigger (``triggerer.on_kill_timeout``).

        :param dataset_id: Id of the dataset.
        :param scheduled_run_id: Id of the scheduled run.
        :return: The state in the schedule afterwards: ``CANCELED`` on success, ``LOCKED`` or ``DONE`` if a worker took
            it; None if it no longer exists.
        :raises LightlyApiError: The state could not be determined, or the run is still ``OPEN``.
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
                    # A refusal may mean that an earlier attempt, whose response was lost, canceled the run.
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

    @contextmanager
    def open_artifact(self, run_id: str, artifact_id: str) -> Iterator[Download]:
        """
        Open a file that a run created, to read it piece by piece.

        :param run_id: Id of the run.
        :param artifact_id: Id of one of the run's ``artifacts``, see :meth:`get_run`.
        :return: A context manager of the open download: its ``size``, and its ``pieces()``.
        :raises LightlyNotFoundError: The run has no such artifact, or its file was not uploaded.
        :raises LightlyResponseError: The storage answered with an error.
        """
        from lightly_provider.api import calls

        call = calls.get_artifact_url(run_id, artifact_id)
        with self.client.open(call.operation, self.client.send(call)) as download:
            yield download

    def get_report_sizes(self, run: Run) -> dict[str, int] | None:
        """
        Return how many samples the run read, dropped and selected, from its report (artifact REPORT_V2_JSON).

        :param run: The completed run.
        :return: ``nInput``, ``nCorrupt``, ``nDuplicate``, ``nRemoved``, ``nSelected`` … as named in the report; None if
            there is no usable report, which does not affect the completed run.
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
    # On a conflict, a worker may be taking the run right now.
    return is_transient(failure) or isinstance(failure, LightlyConflictError)
