"""What a task knows of the run that its earlier tries scheduled."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightly_provider.worker_run import Decision, StoredRun, decide_on_start, fingerprint

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.worker_config import WorkerConfig
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.worker_run import Observation

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
