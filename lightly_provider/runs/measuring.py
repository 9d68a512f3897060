"""
Metrics about runs: how a task's wait ended, how long the run waited for a worker and worked, and what a triggerer
waits for.

The platform's own times are used, so no clock of Airflow's takes part. They are read at the end of a wait, by two
requests that are sent only while Airflow sends metrics.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from lightly_provider import metrics
from lightly_provider.api.models.run import Observation
from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.exceptions import LightlyError
from lightly_provider.runs.state import Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.api.models.run import Run
    from lightly_provider.hooks.lightly import LightlyHook

log = logging.getLogger(__name__)

_OUTCOMES = {
    Step.SUCCEED: "completed",
    Step.CANCELED: "canceled",
    Step.NOT_TAKEN: "not_taken",
    Step.TIMED_OUT: "timed_out",
    Step.GIVE_UP: "given_up",
}
# What a triggerer's runs are counted by: no worker has taken it; a worker works on it; the last poll did not see it.
OPEN, WORKING, UNSEEN = "open", "working", "unseen"
# A metric is not worth a longer wait.
_LONGEST_LOOK_S = 10.0


def measure_end(hook: LightlyHook, dataset_id: str, scheduled_run_id: str, step: Step, run: Run | None) -> None:
    """
    Report how a wait ended, and the times of its run. Never raises because of the platform.

    :param hook: The hook on the platform.
    :param dataset_id: Dataset.
    :param scheduled_run_id: Id that scheduling returned.
    :param step: How the wait ended.
    :param run: The run; None: there is none, or its state is not known.
    """
    if not metrics.are_on():
        return
    connection, outcome = hook.lightly_conn_id, _outcome(step, run)
    metrics.count(metrics.RUNS_ENDED, connection=connection, outcome=outcome)
    if run is None or step not in (Step.SUCCEED, Step.FAIL):
        return
    from lightly_provider.api import calls

    try:
        now = hook.client.send(calls.get_run(run.id), within=_LONGEST_LOOK_S)
        entries = hook.client.send(calls.get_scheduled_runs(dataset_id), within=_LONGEST_LOOK_S)
    except LightlyError as error:
        log.debug("The times of run %s could not be read: %s", run.id, error)
        return
    if 0 < now.created_at <= now.last_modified_at:
        duration = (now.last_modified_at - now.created_at) / 1000
        metrics.record_duration(metrics.RUN_DURATION, duration, connection=connection, outcome=outcome)
    scheduled_at = next((entry.created_at for entry in entries if entry.id == scheduled_run_id), 0)
    if 0 < scheduled_at <= now.created_at:
        waited = (now.created_at - scheduled_at) / 1000
        metrics.record_duration(metrics.PICKUP_TIME, waited, connection=connection)


def _outcome(step: Step, run: Run | None) -> str:
    if step in _OUTCOMES:
        return _OUTCOMES[step]
    state = RunState.parse(run.state) if run else None
    return str(state).lower() if state is not None else "other"


def measure_poll(connection: str, where: str, *, failed: bool) -> None:
    """Count a poll; see :data:`lightly_provider.metrics.POLLS`."""
    metrics.count(metrics.POLLS, connection=connection, where=where)
    if failed:
        metrics.count(metrics.POLLS_FAILED, connection=connection, where=where)


def measure_waiting(connection: str, seen: Iterable[Observation | LightlyError | None]) -> None:
    """
    Report how many runs this triggerer waits for.

    :param connection: Id of the Airflow connection.
    :param seen: What the last poll saw of each; None: nothing.
    """
    if not metrics.are_on():
        return
    import socket

    numbers = Counter(_state(one) for one in seen)
    for state in (OPEN, WORKING, UNSEEN):
        metrics.set_gauge(
            metrics.RUNS_WAITING, numbers[state], connection=connection, state=state, hostname=socket.gethostname()
        )


def _state(seen: Observation | LightlyError | None) -> str:
    if not isinstance(seen, Observation) or seen.is_nothing:
        return UNSEEN
    return OPEN if seen.run is None and seen.scheduled_state == ScheduledRunState.OPEN else WORKING
