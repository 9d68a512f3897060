"""What the operator and the sensor have in common when they wait for a run, or let a trigger wait."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from lightly_provider.operators.arguments import seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.hooks.run_follower import Log, RunFollower
    from lightly_provider.triggers.worker import LightlyRunTrigger
    from lightly_provider.worker_run import Limits

# The vendor's client polls no faster than this, "to prevent rate limiting" (lightly 1.5.26,
# api/api_workflow_compute_worker.py).
SHORTEST_POLL_INTERVAL = 30.0


def interval_of(poll_interval: float | str, *, is_local: bool, log: Log) -> float:
    """
    Seconds between two looks at a run: what the DAG's author wants, but no less than a far platform likes.

    :param poll_interval: What was asked for.
    :param is_local: Whether the platform runs on this machine.
    :param log: Where to say that it is more than was asked for.
    """
    interval = seconds_of(poll_interval, argument="poll_interval")
    if interval < SHORTEST_POLL_INTERVAL and not is_local:
        log.warning(
            "poll_interval is %g s; the platform limits the rate of requests, so %g s are used.",
            interval,
            SHORTEST_POLL_INTERVAL,
        )
        return SHORTEST_POLL_INTERVAL
    return interval


def trigger_for(
    follower: RunFollower,
    *,
    lightly_conn_id: str,
    dataset_id: str,
    runs_on: Sequence[str],
    interval: float,
    limits: Limits,
    cancel_on_kill: bool,
) -> LightlyRunTrigger:
    """The trigger that goes on where a follower looked last; see its arguments."""
    from lightly_provider.triggers.worker import LightlyRunTrigger

    return LightlyRunTrigger(
        lightly_conn_id=lightly_conn_id,
        dataset_id=dataset_id,
        scheduled_run_id=follower.scheduled_run_id,
        runs_on=runs_on,
        poll_interval=interval,
        deadline=limits.deadline,
        pickup_deadline=limits.pickup_deadline,
        cancel_on_kill=cancel_on_kill,
        log_cursor=follower.log_cursor,
    )


def backstop(limits: Limits, interval: float) -> timedelta | None:
    """
    When Airflow itself shall end a deferred task: well after the trigger's own deadline.

    Airflow's timeout fails the task without a word to anybody, and so without cancel. It is there only for triggerers
    that are gone.
    """
    if limits.deadline is None:
        return None
    return timedelta(seconds=max(0.0, limits.deadline - time.time()) + 2 * interval + 60)
