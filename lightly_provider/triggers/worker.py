"""Waits for a worker run in the triggerer."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from lightly_provider.exceptions import LightlyError
from lightly_provider.foreign_text import shown_error
from lightly_provider.runs.follower import Ending, RunFollower
from lightly_provider.runs.poller import poll_of
from lightly_provider.runs.state import FAILED_POLLS_IN_A_ROW, Decision, Limits, Step, Watch
from lightly_provider.runs.task_state import ALIVE, pushed_run, state_of_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

# Enough for Airflow's response and the cancelation, which takes less than 20 s, even on a busy machine.
_LONGEST_KILL_S = 60.0


class LightlyRunTrigger(BaseTrigger):
    """
    Wait until a scheduled run has ended, and log its progress.

    All triggers of one connection and interval share one poll; see :mod:`lightly_provider.runs.poller`. (Airflow 3.3
    can share a stream of events between triggers; that would wake each of them after each poll.)

    Its arguments hold no secret. It fires one event, which holds what the task needs to end: see
    :meth:`lightly_provider.runs.follower.RunFollower.event_of`.

    :param lightly_conn_id: Airflow connection of type ``lightly``.
    :param dataset_id: Id of the dataset.
    :param scheduled_run_id: Id that scheduling returned.
    :param runs_on: Labels that the run's worker must have.
    :param poll_interval: Seconds between two polls, varied by 10 %.
    :param deadline: When to stop waiting, in seconds since the epoch, which holds in whichever process and on whichever
        machine the trigger runs; None: never.
    :param pickup_deadline: By when a worker must have taken the run, likewise; None: by ``deadline``.
    :param failed_polls_allowed: After this many failed polls in a row, the wait is given up.
    :param cancel_on_kill: Cancel the scheduled run when a user ends the task (Airflow 3.3 and newer).
    :param durable: Whether the task's next try will look for this run. False: it is canceled also if the task was
        cleared or runs again.
    :param log_cursor: Position in the run's log from which its lines are not in the task's log yet.
    :param status: The status that the task's log already shows.
    """

    def __init__(
        self,
        *,
        lightly_conn_id: str,
        dataset_id: str,
        scheduled_run_id: str,
        runs_on: Sequence[str] = (),
        poll_interval: float = 60.0,
        deadline: float | None = None,
        pickup_deadline: float | None = None,
        failed_polls_allowed: int = FAILED_POLLS_IN_A_ROW,
        cancel_on_kill: bool = True,
        durable: bool = True,
        log_cursor: int = 0,
        status: str = "",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lightly_conn_id = lightly_conn_id
        self.dataset_id = dataset_id
        self.scheduled_run_id = scheduled_run_id
        self.runs_on = list(runs_on)
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.pickup_deadline = pickup_deadline
        self.failed_polls_allowed = failed_polls_allowed
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.log_cursor = log_cursor
        self.status = status

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and its arguments as JSON types."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "lightly_conn_id": self.lightly_conn_id,
                "dataset_id": self.dataset_id,
                "scheduled_run_id": self.scheduled_run_id,
                "runs_on": self.runs_on,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "pickup_deadline": self.pickup_deadline,
                "failed_polls_allowed": self.failed_polls_allowed,
                "cancel_on_kill": self.cancel_on_kill,
                "log_cursor": self.log_cursor,
                "status": self.status,
                # Not where it is the default, so that an earlier version of the provider can load the trigger.
                **({} if self.durable else {"durable": False}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait on the poll that this process shares, and fire the one event."""
        follower = self._follower()
        # The deadline also applies while a poll hangs.
        left = None if self.deadline is None else max(0.0, self.deadline - time.time())
        try:
            async with asyncio.timeout(left) as timeout:
                ending = await poll_of(self.lightly_conn_id, self.poll_interval).follow(follower, self.runs_on)
        except TimeoutError:
            if not timeout.expired():
                raise
            ending = Ending(decision=Decision(step=Step.TIMED_OUT, status=follower.watch.status))
        except Exception as error:  # noqa: BLE001 - Airflow stores the text of an exception that leaves a trigger
            failure = LightlyError(f"The wait failed: {type(error).__name__}: {shown_error(error, longest=500)}.")
            self.log.error("%s", failure)
            ending = Ending(decision=Decision(step=Step.GIVE_UP, status=follower.watch.status), error=failure)
        yield TriggerEvent(follower.event_of(ending))  # type: ignore[no-untyped-call]

    # --- the end of the task -------------------------------------------------------------------------------------

    async def on_kill(self) -> None:
        """
        Cancel the scheduled run if a user ended the task. Airflow 3.3 and newer call this.

        Airflow 3.3.2 also calls it when the trigger moves to another triggerer, and after a clear, when the next try
        may have reattached to the run already (https://github.com/apache/airflow/pull/73454). So the task's own state
        decides: the run is canceled if that is final or the task was deleted. Without ``durable`` no further try will
        reattach, so the run is canceled unless the trigger has only moved: then the task is deferred, and waits for
        this run. ``cleanup`` is deliberately not used: Airflow calls it at every end, also when a triggerer restarts.
        """
        canceling, deadline = asyncio.ensure_future(self._cancel_if_unwanted()), time.monotonic() + _LONGEST_KILL_S
        while True:
            try:
                # Airflow 3.3.2 repeats its cancellation about every second until the trigger has ended, and would
                # interrupt a longer kill (TriggerRunner.cancel_triggers gets all triggers that have not ended yet).
                await asyncio.shield(canceling)
            except asyncio.CancelledError:
                if canceling.done() or time.monotonic() > deadline:
                    raise
            else:
                return

    async def _cancel_if_unwanted(self) -> None:
        if not self.cancel_on_kill:
            self.log.info("Scheduled run %s continues, because cancel_on_kill is False.", self.scheduled_run_id)
            return
        state = await self._state_of_task()
        if await self._is_needed(state):
            self.log.info("Scheduled run %s continues: the task is %s.", self.scheduled_run_id, state or "cleared")
            return
        from asgiref.sync import sync_to_async

        from lightly_provider.hooks.lightly import LightlyHook

        self.log.info("The task is %s: canceling scheduled run %s.", state or "cleared", self.scheduled_run_id)
        # This is rare and short, so the synchronous client in a thread is sufficient; it never raises.
        await sync_to_async(self._follower().cancel)(LightlyHook(self.lightly_conn_id))

    async def _is_needed(self, state: str | None) -> bool:
        if self.durable:
            return state is None or state in ALIVE
        return state == "deferred" and await self._awaited_run() in (None, self.scheduled_run_id)

    async def _awaited_run(self) -> str | None:
        """Return the scheduled run that the present try of the task waits for; None if that cannot be read."""
        from asgiref.sync import sync_to_async

        try:
            return None if self.task_instance is None else await sync_to_async(pushed_run)(self.task_instance)
        except Exception as error:  # noqa: BLE001 - then nothing is canceled
            self.log.warning("The id of the task's scheduled run could not be read: %s", type(error).__name__)
            return None

    async def _state_of_task(self) -> str | None:
        from asgiref.sync import sync_to_async

        if self.task_instance is None:  # unknown, so nothing is canceled
            return "deferred"
        return await sync_to_async(state_of_task)(self.task_instance)

    def _follower(self) -> RunFollower:
        limits = Limits(deadline=self.deadline, pickup_deadline=self.pickup_deadline)
        return RunFollower(
            dataset_id=self.dataset_id,
            scheduled_run_id=self.scheduled_run_id,
            log=self.log,
            watch=Watch(limits, failed_polls_allowed=self.failed_polls_allowed, status=self.status),
            log_cursor=self.log_cursor,
        )


def trigger_for(
    follower: RunFollower,
    *,
    lightly_conn_id: str,
    runs_on: Sequence[str],
    interval: float,
    limits: Limits,
    cancel_on_kill: bool,
    durable: bool = True,
) -> LightlyRunTrigger:
    """Return the trigger that continues where a follower stopped; see its arguments."""
    return LightlyRunTrigger(
        lightly_conn_id=lightly_conn_id,
        dataset_id=follower.dataset_id,
        scheduled_run_id=follower.scheduled_run_id,
        runs_on=runs_on,
        poll_interval=interval,
        deadline=limits.deadline,
        pickup_deadline=limits.pickup_deadline,
        cancel_on_kill=cancel_on_kill,
        durable=durable,
        log_cursor=follower.log_cursor,
        status=follower.watch.status,
    )


def backstop(limits: Limits, interval: float) -> timedelta | None:
    """
    Return after what time Airflow itself must end a deferred task: well after the trigger's own deadline, as only the
    trigger says how the run is doing. It is needed only if no triggerer runs the trigger any more.
    """
    if limits.deadline is None:
        return None
    return timedelta(seconds=max(0.0, limits.deadline - time.time()) + 2 * interval + 60)
