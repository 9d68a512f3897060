"""One run for all tries of a task: its prerequisites, what earlier tries scheduled, and the scheduling itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import (
    LightlyDatasetNotEmptyError,
    LightlyDatasourceError,
    LightlyError,
    LightlyNoWorkerError,
)
from lightly_provider.runs.state import Decision, Step, StoredRun, decide_on_start, fingerprint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Protocol

    class Worker(Protocol):
        """As much of a registered worker as is looked at."""

        @property
        def name(self) -> str: ...
        @property
        def state(self) -> str: ...
        @property
        def labels(self) -> Sequence[str]: ...

    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.run import Observation
    from lightly_provider.api.models.worker_config import WorkerConfig
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.runs.follower import Log

WORKER_PRESENCES = ("warn", "require", "ignore")

# States of a worker without a container that runs (lightly 1.5.26, models/docker_worker_state.py); any other counts
# as present, also one that is unknown here.
_ABSENT = frozenset({"OFFLINE", "CRASHED"})


def missing_datasource(dataset_id: str, purposes: Collection[str]) -> LightlyError | None:
    """
    What a run lacks to read its input and to keep Lightly's own files.

    :param dataset_id: Dataset.
    :param purposes: Purposes of the datasources that the dataset has.
    :return: The error; None if nothing is missing.
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
    What the worker would abort a run for: samples in the dataset that it is not told to add to.

    :param dataset_id: Dataset.
    :param n_samples: How many samples it has.
    :param use_datapool: Whether the run adds to them.
    :return: The error; None if the run fits the dataset.
    """
    if n_samples == 0 or use_datapool:
        return None
    return LightlyDatasetNotEmptyError(
        f"Dataset {dataset_id} has {n_samples} samples already, and the worker aborts a run on it that does not add to "
        'them; nothing was scheduled. Set worker_config={"use_datapool": True}, or use an empty dataset.'
    )


def missing_worker(workers: Iterable[Worker], runs_on: Collection[str]) -> LightlyError | None:
    """
    What keeps a scheduled run OPEN.

    :param workers: The registered workers.
    :param runs_on: Labels that a worker must all have; none: any worker.
    :return: The error; None if a worker is there.
    """
    fitting = [worker for worker in workers if set(runs_on) <= set(worker.labels)]
    if any(worker.state not in _ABSENT for worker in fitting):
        return None
    labels = f" with the labels {', '.join(sorted(runs_on))}" if runs_on else ""
    if not fitting:
        return LightlyNoWorkerError(
            f"No worker{labels} is registered for this token, so a run stays OPEN until one takes it; start a Lightly "
            f"Worker{labels}."
        )
    names = ", ".join(sorted(f"{worker.name} ({worker.state})" for worker in fitting))
    return LightlyNoWorkerError(
        f"No worker{labels} is running, so a run stays OPEN until one takes it; start one of {names}."
    )


# The name under which a task keeps its run; changing it would lose the runs of tasks that are under way.
STATE_KEY = "lightly_worker_run"

# Between two looks for a run that should be there: what was scheduled a moment ago may not be listed yet.
_SECOND_LOOK_AFTER_S = 2.0
# How far the clocks of Airflow and of the platform may differ.
_CLOCKS_DIFFER_BY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Submission:
    """
    What a task asks for.

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
        """A text that is equal for equal submissions, and only for them."""
        return fingerprint(self.dataset_id, self.config.to_wire(), priority=self.priority, runs_on=self.runs_on)


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """
    What is known of an earlier try's run, and what follows.

    :param decision: ``SUBMIT``, ``REATTACH`` or ``SUCCEED``.
    :param stored: The run; None if there was none.
    """

    decision: Decision
    stored: StoredRun | None


class RunMemory:
    """
    The memory of one task over its tries.

    From Airflow 3.3 on it is the task state store, which belongs to one task (and map index) of one DAG run. Below,
    nothing outlives a try; there a later try looks for a run with an equal configuration on the dataset.

    :param context: The task's context.
    :param hook: The hook on the platform.
    :param submission: What the task asks for now.
    :param is_durable: False: remember nothing.
    """

    def __init__(self, context: Context, hook: LightlyHook, submission: Submission, *, is_durable: bool) -> None:
        self._context = context
        self._hook = hook
        self._submission = submission
        self._is_durable = is_durable
        self._store: Any = context.get("task_state_store") if is_durable else None
        ti: Any = context["ti"]
        # A clear gives the task more tries (Airflow: ti.max_tries = ti.try_number + task.retries), a retry does not.
        # So this number is the same for all tries of a chain, and another one in the next chain.
        self._chain = int(getattr(ti, "max_tries", 0) or 0)
        self._try_number = int(getattr(ti, "try_number", 1) or 1)

    def recall(self) -> Recalled:
        """Look for the run of the earlier tries, and decide what this try does."""
        stored, seen = self._known()
        decision = decide_on_start(stored, wanted=self._submission.fingerprint, chain=self._chain, seen=seen)
        return Recalled(decision=decision, stored=stored)

    def keep(self, config_id: str, scheduled_run_id: str | None = None) -> None:
        """Keep the run for the next try. To be called before the run is scheduled, too, with the configuration."""
        if self._store is None:
            return
        run = StoredRun(
            config_id=config_id,
            fingerprint=self._submission.fingerprint,
            chain=self._chain,
            scheduled_run_id=scheduled_run_id,
        )
        self._store.set(STATE_KEY, run.to_json())

    def _known(self) -> tuple[StoredRun | None, Observation | None]:
        if not self._is_durable:
            return None, None
        stored = self._equal_run() if self._store is None else StoredRun.parse(self._store.get(STATE_KEY))
        if stored is None or stored.fingerprint != self._submission.fingerprint:
            return stored, None
        found, seen = self._look(stored)
        if seen is None or seen.is_nothing:
            time.sleep(min(_SECOND_LOOK_AFTER_S, 0.1 if self._hook.connection.is_local else _SECOND_LOOK_AFTER_S))
            found, seen = self._look(stored)
        return found, seen

    def _look(self, stored: StoredRun) -> tuple[StoredRun, Observation | None]:
        dataset_id, scheduled_run_id = self._submission.dataset_id, stored.scheduled_run_id
        if scheduled_run_id is None:
            scheduled_run_id = self._hook.find_scheduled_run(dataset_id, stored.config_id)
        if scheduled_run_id is None:
            return stored, None
        seen, _ = self._hook.observe_run(dataset_id, scheduled_run_id)
        return replace(stored, scheduled_run_id=scheduled_run_id), seen

    def _equal_run(self) -> StoredRun | None:
        """The newest run of an equal configuration that an earlier try can have scheduled."""
        if self._try_number <= 1:
            return None
        dag_run: Any = self._context["dag_run"]
        retries = int(getattr(self._context["ti"].task, "retries", 0) or 0)
        is_first_after_clear = self._chain > retries and self._try_number <= self._chain - retries + 1
        started = [dag_run.start_date]
        if is_first_after_clear:
            # A clear may have set the DAG run's start to its own time, and the run that goes on began before.
            started += [getattr(dag_run, name, None) for name in ("run_after", "data_interval_end")]
        entry = self._hook.find_equal_run(
            self._submission.dataset_id,
            self._submission.config,
            runs_on=self._submission.runs_on,
            since=min(moment.timestamp() for moment in started if moment) - _CLOCKS_DIFFER_BY_S,
        )
        if entry is None:
            return None
        return StoredRun(
            config_id=entry.config_id,
            fingerprint=self._submission.fingerprint,
            chain=self._chain - 1 if is_first_after_clear else self._chain,
            scheduled_run_id=entry.id,
        )


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
        from lightly_provider.contract import RunPriority

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
