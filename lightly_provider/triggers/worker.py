"""Waits in the triggerer for a worker run."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger

from lightly_provider.exceptions import LightlyError, as_json, is_transient
from lightly_provider.runs.poller import Waiter, poll_of
from lightly_provider.runs.state import FAILED_POLLS_IN_A_ROW, Decision, Limits, Step, Watch
from lightly_provider.runs.task_state import ALIVE, state_of_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence

    from airflow.triggers.base import TriggerEvent

    from lightly_provider.api.models.run import Run
    from lightly_provider.runs.follower import RunFollower
    from lightly_provider.runs.poller import Look

# Airflow's answer and the cancel, which takes less than 20 s; with some time to spare on a busy machine.
_LONGEST_KILL_S = 60.0


class LightlyRunTrigger(BaseEventTrigger):
    """
    Wait until a scheduled run is over, and tell the task's log what it does meanwhile.

    All triggers of one connection and interval share one poll (see :mod:`lightly_provider.runs.poller`): through
    Airflow's shared streams on 3.3 and newer, and through a poll of our own before.

    Its arguments hold no secret. The one event that it fires has what the task needs to end: ``step`` (as in
    :class:`~lightly_provider.runs.state.Step`), ``status``, ``scheduled_run_id``, ``run``, ``log_cursor``, ``deadline``
    and ``error``.

    :param lightly_conn_id: Airflow connection of type ``lightly``.
    :param dataset_id: Dataset.
    :param scheduled_run_id: Id that scheduling returned.
    :param runs_on: Labels that the run's worker must have.
    :param poll_interval: Seconds between two polls, varied by 10 %.
    :param deadline: When to stop waiting, in seconds since the epoch, which holds in whichever process and on whichever
        machine the trigger is; None: never.
    :param pickup_deadline: Until when a worker must have taken the run, likewise; None: until ``deadline``.
    :param failed_polls_allowed: With that many failed polls in a row, the wait is given up.
    :param cancel_on_kill: Cancel the scheduled run when a user ends the task (Airflow 3.3 and newer).
    :param log_cursor: From where the run's log is to be told.
    """

    # What waits for a task may go to the task's own triggerers; what watches for assets may not.
    supports_triggerer_queue = True

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
        log_cursor: int = 0,
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
        self.log_cursor = log_cursor

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, all of them JSON."""
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
            },
        )

    # --- the wait ------------------------------------------------------------------------------------------------

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Wait, on a poll that is shared within this process."""
        async with (
            aclosing(poll_of(self.lightly_conn_id, self.poll_interval).subscribe()) as endings,
            aclosing(self.filter_shared_stream(endings)) as events,
        ):
            async for event in events:
                yield event

    def shared_stream_key(self) -> Hashable:
        """Triggers with equal keys share one poll."""
        return ("lightly", self.lightly_conn_id, self.poll_interval)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[None, None]:
        """The poll for all triggers of one key."""
        async with aclosing(poll_of(kwargs["lightly_conn_id"], kwargs["poll_interval"]).endings()) as endings:
            async for _ in endings:
                yield

    async def filter_shared_stream(self, shared_stream: AsyncIterator[None]) -> AsyncGenerator[TriggerEvent, None]:
        """This run's one event. The poll tells what it saw, and the stream tells when a wait is over."""
        from airflow.triggers.base import TriggerEvent

        watch = Watch(
            Limits(deadline=self.deadline, pickup_deadline=self.pickup_deadline),
            failed_polls_allowed=self.failed_polls_allowed,
        )
        waiter = Waiter(
            self.dataset_id,
            self.scheduled_run_id,
            tuple(self.runs_on),
            self.log_cursor,
            take=lambda told: self._take(told, watch),
        )
        with poll_of(self.lightly_conn_id, self.poll_interval).including(waiter):
            yield TriggerEvent(await self._wait(shared_stream, waiter, watch))  # type: ignore[no-untyped-call]

    async def _wait(self, shared_stream: AsyncIterator[None], waiter: Waiter, watch: Watch) -> dict[str, Any]:
        # The time is up also while no poll ends.
        left = None if self.deadline is None else max(0.0, self.deadline - time.time())
        try:
            async with asyncio.timeout(left) as timeout:
                while not waiter.outcome.done():
                    await anext(shared_stream)
                return waiter.outcome.result()
        except TimeoutError:
            if not timeout.expired():
                raise
            return self._event(Decision(step=Step.TIMED_OUT, status=watch.status))

    def _take(self, told: Look | LightlyError, watch: Watch) -> dict[str, Any] | None:
        """The event that follows from what a poll told; None while there is to be waited."""
        now = time.time()
        if isinstance(told, LightlyError):
            missed = watch.missed(now, is_transient=is_transient(told))
            if missed.step is Step.WAIT:
                self.log.warning("Poll failed (%d in a row), the run goes on: %s", watch.failed_polls, told)
                return None
            return self._event(missed, error=told)
        self._tell(told)
        decision, is_news = watch.saw(told.seen, now)
        if is_news:
            subject = f"Run {told.run.id}" if told.run else f"Scheduled run {self.scheduled_run_id}"
            self.log.info("%s: %s", subject, decision.status)
        return None if decision.step is Step.WAIT else self._event(decision, run=told.run)

    def _tell(self, look: Look) -> None:
        for line in look.log_lines:
            self.log.info("[worker] %s %s %s", line.level, line.state, line.msg)
        self.log_cursor = look.log_cursor

    def _event(
        self, decision: Decision, *, run: Run | None = None, error: LightlyError | None = None
    ) -> dict[str, Any]:
        return {
            "step": decision.step.value,
            "status": decision.status,
            "scheduled_run_id": self.scheduled_run_id,
            "run": run.model_dump(mode="json") if run else None,
            "log_cursor": self.log_cursor,
            "deadline": self.deadline,
            "error": as_json(error) if error else None,
        }

    # --- the end of the task -------------------------------------------------------------------------------------

    async def on_kill(self) -> None:
        """
        Cancel the scheduled run if a user ended the task. Airflow 3.3 and newer call this.

        Airflow 3.3.2 calls it also when the trigger moves to another triggerer, and after a clear, when the next try
        may have reattached to the run already (https://github.com/apache/airflow/pull/73454). So the task's own state
        decides: only where that is final, nobody wants the run any more. ``cleanup`` is left alone on purpose: it runs
        at every end, also at a triggerer's restart.
        """
        letting_go, deadline = asyncio.ensure_future(self._let_go()), time.monotonic() + _LONGEST_KILL_S
        while True:
            try:
                # Airflow 3.3.2 repeats its cancellation about every second until the trigger is gone, and so would cut
                # off a kill that takes longer (TriggerRunner.cancel_triggers gets all that are not gone yet).
                await asyncio.shield(letting_go)
            except asyncio.CancelledError:
                if letting_go.done() or time.monotonic() > deadline:
                    raise
            else:
                return

    async def _let_go(self) -> None:
        if not self.cancel_on_kill:
            self.log.info("Scheduled run %s goes on, as cancel_on_kill is False.", self.scheduled_run_id)
            return
        state = await self._state_of_task()
        if state is None or state in ALIVE:
            self.log.info("Scheduled run %s goes on: the task is %s.", self.scheduled_run_id, state or "cleared")
            return
        from asgiref.sync import sync_to_async

        from lightly_provider.hooks.lightly import LightlyHook
        from lightly_provider.runs.follower import RunFollower

        follower = RunFollower(
            LightlyHook(self.lightly_conn_id),
            dataset_id=self.dataset_id,
            scheduled_run_id=self.scheduled_run_id,
            log=self.log,
        )
        self.log.info("The task is %s: canceling scheduled run %s.", state, self.scheduled_run_id)
        # Rare and short, so the synchronous way in a thread is good enough; it never raises.
        await sync_to_async(follower.cancel)()

    async def _state_of_task(self) -> str | None:
        from asgiref.sync import sync_to_async

        return None if self.task_instance is None else await sync_to_async(state_of_task)(self.task_instance)


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
