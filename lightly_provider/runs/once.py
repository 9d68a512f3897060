"""One run for all tries of a task: find the run of an earlier try, or check the prerequisites and schedule a new one.

The platform has no idempotency key. So each run gets its own worker configuration, whose id is stored before the run is
scheduled: wherever a task is interrupted, its next try finds the run that was scheduled with that configuration.

With Airflow 3.3 and newer the id is in the task state store, which belongs to one task (and map index) of one DAG run.
In older versions nothing outlives a try; there a later try looks for a run with an equal configuration on the dataset.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightly_provider import metrics
from lightly_provider.exceptions import (
    LightlyDatasetNotEmptyError,
    LightlyDatasourceError,
    LightlyError,
    LightlyNoWorkerError,
)
from lightly_provider.runs.state import Step, StoredRun, decide_on_start, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Protocol

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.run import Observation
    from lightly_provider.api.models.worker_config import WorkerConfig
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.runs.follower import Log

    class Worker(Protocol):
        """The required attributes of a registered worker."""

        @property
        def name(self) -> str: ...
        @property
        def state(self) -> str: ...
        @property
        def labels(self) -> Sequence[str]: ...


# The key in the task state store. Changing it would lose the runs of tasks in flight.
STATE_KEY = "lightly_worker_run"

# A run that was scheduled a moment ago may not be listed yet, so look twice.
_SECOND_LOOK_AFTER_S = 2.0
# The maximum difference between the clocks of Airflow and the platform.
_CLOCKS_DIFFER_BY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """
    What a task requests.

    :param dataset_id: Dataset.
    :param config: The worker's configuration.
    :param priority: Priority.
    :param runs_on: Labels that the worker must have.
    """

    dataset_id: str
    config: WorkerConfig
    priority: str
    runs_on: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest that is equal for equal requests only."""
        return fingerprint(self.dataset_id, self.config.to_wire(), priority=self.priority, runs_on=self.runs_on)


def run_of_earlier_try(context: Context) -> str | None:
    """
    Return the id of the scheduled run that an earlier try of this task stored, without a request to the platform.

    :param context: The task's context.
    :return: None if there is none, or if Airflow is older than 3.3.
    :raises LightlyStoredFormError: A newer version of the provider stored it.
    """
    store: Any = context.get("task_state_store")
    stored = None if store is None else StoredRun.parse(store.get(STATE_KEY))
    return None if stored is None else stored.scheduled_run_id


class RunOnce:
    """
    One run for all tries of a task.

    :param context: The task's context.
    :param hook: The hook on the platform.
    :param request: What the task requests.
    :param is_durable: False: do not look for the run of earlier tries, and store nothing for later ones.
    :param worker_presence: What to do if no worker could take the run: ``warn``, ``require`` it, or ``ignore``.
    :param log: The task's log.
    :param on_scheduled: Called with the id of a run as soon as it is scheduled.
    :param before_scheduling: Called when a new run is about to be scheduled, after the prerequisites were checked; not
        when the run of an earlier try is found. A further try after a kill may call it again, as long as nothing is
        scheduled. Default: nothing.
    """

    def __init__(
        self,
        context: Context,
        hook: LightlyHook,
        request: RunRequest,
        *,
        is_durable: bool,
        worker_presence: str,
        log: Log,
        on_scheduled: Callable[[str], None],
        before_scheduling: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._hook = hook
        self._request = request
        self._is_durable = is_durable
        self._worker_presence = worker_presence
        self._log = log
        self._on_scheduled = on_scheduled
        self._before_scheduling = before_scheduling
        self._store: Any = context.get("task_state_store") if is_durable else None
        ti: Any = context["ti"]
        # A clear gives the task more tries (Airflow: ti.max_tries = ti.try_number + task.retries), a retry does not.
        # So this number is the same for all tries of a chain, and differs between chains.
        self._chain = int(getattr(ti, "max_tries", 0) or 0)
        self._try_number = int(getattr(ti, "try_number", 1) or 1)

    def find_or_schedule(self) -> str:
        """
        Find the run of an earlier try, or schedule a new one.

        :return: The scheduled run's id.
        :raises LightlyError: A prerequisite is missing; nothing was scheduled.
        """
        stored, seen = self._stored_run(), None
        if stored is not None and stored.fingerprint == self._request.fingerprint:
            stored, seen = self._look_for(stored)
        decision = decide_on_start(stored, wanted=self._request.fingerprint, chain=self._chain, seen=seen)
        if stored is not None and stored.scheduled_run_id is not None and decision.step is not Step.SUBMIT:
            self._log.info(
                "Reattached to scheduled run %s of an earlier try: %s", stored.scheduled_run_id, decision.status
            )
            self._keep(stored.config_id, stored.scheduled_run_id)
            return stored.scheduled_run_id
        if stored is not None:
            self._log.info(
                "Not reattaching to scheduled run %s of an earlier try, scheduling a new one: %s",
                stored.scheduled_run_id or "(unknown id)",
                decision.status,
            )
        return self._schedule()

    # --- the run of an earlier try -------------------------------------------------------------------------------

    def _stored_run(self) -> StoredRun | None:
        if not self._is_durable:
            return None
        return self._equal_run() if self._store is None else StoredRun.parse(self._store.get(STATE_KEY))

    def _equal_run(self) -> StoredRun | None:
        """Without a task state store: the newest run with an equal configuration that an earlier try may have
        scheduled."""
        if self._try_number <= 1:
            return None
        dag_run: Any = self._context["dag_run"]
        retries = int(getattr(self._context["ti"].task, "retries", 0) or 0)
        is_first_after_clear = self._chain > retries and self._try_number <= self._chain - retries + 1
        started = [dag_run.start_date]
        if is_first_after_clear:
            # A clear may have reset the DAG run's start to a time after the active run was scheduled.
            started += [getattr(dag_run, name, None) for name in ("run_after", "data_interval_end")]
        entry = self._hook.find_equal_run(
            self._request.dataset_id,
            self._request.config,
            runs_on=self._request.runs_on,
            since=min(moment.timestamp() for moment in started if moment) - _CLOCKS_DIFFER_BY_S,
        )
        if entry is None:
            return None
        return StoredRun(
            config_id=entry.config_id,
            fingerprint=self._request.fingerprint,
            chain=self._chain - 1 if is_first_after_clear else self._chain,
            scheduled_run_id=entry.id,
        )

    def _look_for(self, stored: StoredRun) -> tuple[StoredRun, Observation | None]:
        """Return the stored run with its id, and its observed state."""
        found, seen = self._look_once_for(stored)
        if seen is None or seen.is_nothing:
            time.sleep(0.1 if self._hook.connection.is_local else _SECOND_LOOK_AFTER_S)
            found, seen = self._look_once_for(stored)
        return found, seen

    def _look_once_for(self, stored: StoredRun) -> tuple[StoredRun, Observation | None]:
        dataset_id, scheduled_run_id = self._request.dataset_id, stored.scheduled_run_id
        if scheduled_run_id is None:
            scheduled_run_id = self._hook.find_scheduled_run(dataset_id, stored.config_id)
        if scheduled_run_id is None:
            return stored, None
        seen = self._hook.observe_run(dataset_id, scheduled_run_id)
        return replace(stored, scheduled_run_id=scheduled_run_id), seen

    # --- a new run -----------------------------------------------------------------------------------------------

    def _schedule(self) -> str:
        from lightly_provider.contract import RunPriority

        self._check_prerequisites()
        config_id = self._hook.store_worker_config(self._request.config)
        self._keep(config_id)
        self._before_scheduling()
        scheduled_run_id = self._hook.schedule_stored_config(
            self._request.dataset_id,
            config_id,
            priority=RunPriority(self._request.priority),
            runs_on=self._request.runs_on,
        )
        # Call this before anything else can fail, so that a kill can cancel the run.
        self._on_scheduled(scheduled_run_id)
        metrics.count(metrics.RUNS_SCHEDULED, connection=self._hook.lightly_conn_id)
        self._keep(config_id, scheduled_run_id)
        return scheduled_run_id

    def _keep(self, config_id: str, scheduled_run_id: str | None = None) -> None:
        """Store the run for the next try."""
        if self._store is None:
            return
        run = StoredRun(
            config_id=config_id,
            fingerprint=self._request.fingerprint,
            chain=self._chain,
            scheduled_run_id=scheduled_run_id,
        )
        self._store.set(STATE_KEY, run.to_json())

    def _check_prerequisites(self) -> None:
        dataset = self._hook.get_dataset(self._request.dataset_id)
        options = self._request.config.docker
        use_datapool = bool(options and options.use_datapool)
        if (error := not_empty(dataset.id, dataset.n_samples, use_datapool=use_datapool)) is not None:
            raise error
        purposes = {datasource.purpose for datasource in self._hook.get_datasources(dataset.id)}
        if (error := missing_datasource(dataset.id, purposes)) is not None:
            raise error
        if self._worker_presence == "ignore":
            return
        if (error := missing_worker(self._hook.get_workers(), self._request.runs_on)) is not None:
            if self._worker_presence == "require":
                raise error
            self._log.warning("%s", error)


# --- prerequisites -----------------------------------------------------------------------------------------------

# States of a worker without a running container (lightly 1.5.26, models/docker_worker_state.py). A worker in any other
# state, even an unknown one, counts as present.
_ABSENT = frozenset({"OFFLINE", "CRASHED"})


def missing_datasource(dataset_id: str, purposes: Collection[str]) -> LightlyError | None:
    """
    Check that the dataset has datasources for a run's input and for Lightly's own files.

    :param dataset_id: Dataset.
    :param purposes: Purposes of the dataset's datasources.
    :return: The error; None if there is none.
    """
    if "INPUT_OUTPUT" in purposes:
        return None
    missing = [purpose for purpose in ("INPUT", "LIGHTLY") if purpose not in purposes]
    if not missing:
        return None
    return LightlyDatasourceError(
        f"Dataset {dataset_id} has no datasource for {' and '.join(missing)}, so a run could not read its input or "
        "keep its files; nothing was scheduled. Set it with ConfigureS3DatasourceOperator before this task.",
        operation="get_datasources_by_dataset_id",
    )


def not_empty(dataset_id: str, n_samples: int, *, use_datapool: bool) -> LightlyError | None:
    """
    Check that the dataset is empty, or that the run adds to its samples; otherwise the worker would abort the run.

    :param dataset_id: Dataset.
    :param n_samples: The dataset's number of samples.
    :param use_datapool: Whether the run adds to them.
    :return: The error; None if there is none.
    """
    if n_samples == 0 or use_datapool:
        return None
    return LightlyDatasetNotEmptyError(
        f"Dataset {dataset_id} has {n_samples} samples already, and the worker would abort a run that does not add to "
        'them; nothing was scheduled. Set worker_config={"use_datapool": True}, or use an empty dataset.'
    )


def missing_worker(workers: Iterable[Worker], runs_on: Collection[str]) -> LightlyError | None:
    """
    Check that a worker could take the run; otherwise it would stay OPEN.

    :param workers: The registered workers.
    :param runs_on: Labels, all of which a worker must have; empty: any worker.
    :return: The error; None if there is none.
    """
    fitting = [worker for worker in workers if set(runs_on) <= set(worker.labels)]
    if any(worker.state not in _ABSENT for worker in fitting):
        return None
    labels = f" with the labels {', '.join(sorted(runs_on))}" if runs_on else ""
    if not fitting:
        return LightlyNoWorkerError(
            f"No worker{labels} is registered for this token, so the run stays OPEN until one takes it; start a "
            f"Lightly Worker{labels}."
        )
    names = ", ".join(sorted(f"{worker.name} ({worker.state})" for worker in fitting))
    return LightlyNoWorkerError(
        f"No worker{labels} is running, so the run stays OPEN until one takes it; start one of {names}."
    )
