"""One poll for all runs of a connection that wait in this process: two listings, and the log of one run in turn.

The account's open scheduled runs and its newest runs are listed once per interval. What is in neither, because the
platform's listing left it out, or because it ended long ago, is asked for singly, so that the answer stays right.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing, contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lightly_provider.api import calls
from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.models.run import Observation
from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.exceptions import LightlyApiError, LightlyConnectionError, LightlyError, LightlyNotFoundError
from lightly_provider.hooks.connection import read_connection
from lightly_provider.runs.state import pause_after_failure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from lightly_provider.api.models.run import LogEntry, Run

log = logging.getLogger(__name__)

# How many of the newest runs are listed: at least, and at most. Those of the waiting tasks are mostly among them.
_SHORTEST_PAGE, _LONGEST_PAGE = 100, calls.PAGE_SIZE
# What the listings lack is asked for singly, but never so much that the platform would refuse it.
SINGLE_LOOKS_PER_POLL = 100
_SINGLE_LOOKS_AT_ONCE = 4
# Tasks that are deferred together, or come back together after a restart, are all in the first poll.
_GATHER_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """
    What a poll saw of one run.

    :param seen: Where it is.
    :param run: The run; None while no worker took it.
    :param log_lines: What is new in its log; nothing also where the log was not asked for.
    :param log_cursor: From where its log is to be told next.
    """

    seen: Observation
    run: Run | None = None
    log_lines: tuple[LogEntry, ...] = ()
    log_cursor: int = 0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    One poll: by scheduled run, what was seen, or what went wrong.

    A run that is in neither was not asked for this time.
    """

    looks: Mapping[str, Look] = field(default_factory=dict)
    failures: Mapping[str, LightlyError] = field(default_factory=dict)


def _new_future() -> asyncio.Future[dict[str, Any]]:
    return asyncio.get_running_loop().create_future()


@dataclass
class Waiter:
    """
    A run that is waited for.

    :param dataset_id: Its dataset.
    :param scheduled_run_id: Id that scheduling returned.
    :param runs_on: Labels that its worker must have; the listing of open runs wants to be asked for them.
    :param log_cursor: From where its log is to be told.
    :param take: Told what each poll saw of the run, or with what it failed. Returns what the wait ends with; None while
        it goes on.
    """

    dataset_id: str
    scheduled_run_id: str
    runs_on: tuple[str, ...] = ()
    log_cursor: int = 0
    take: Callable[[Look | LightlyError], dict[str, Any] | None] = field(kw_only=True)
    outcome: asyncio.Future[dict[str, Any]] = field(default_factory=_new_future, init=False)
    # Airflow finds a trigger's log by the context of its task, and the poll runs in another.
    context: Context = field(default_factory=copy_context, init=False)
    last_log_poll: int = field(default=0, init=False)
    last_single_poll: int = field(default=0, init=False)

    def tell(self, told: Look | LightlyError) -> bool:
        """Pass on what a poll saw; whether that ended the wait. What goes wrong is this waiter's affair alone."""
        if self.outcome.done():
            return False
        try:
            end = self.context.run(self.take, told)
        except Exception as error:  # noqa: BLE001 - raised where the wait is awaited
            self.outcome.set_exception(error)
            return True
        if end is not None:
            self.outcome.set_result(end)
        return end is not None


class SharedPoll:
    """
    The poll for all runs of one connection and interval; made by :func:`poll_of`.

    :param lightly_conn_id: Airflow connection.
    :param interval: Seconds between two polls, varied by 10 %.
    """

    def __init__(self, lightly_conn_id: str, interval: float) -> None:
        self._conn_id = lightly_conn_id
        self._interval = interval
        self._waiters: dict[int, Waiter] = {}
        self._number = 0
        self._queues: set[asyncio.Queue[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def including(self, waiter: Waiter) -> Iterator[None]:
        """While this lasts, the poll asks for the waiter's run."""
        self._waiters[id(waiter)] = waiter
        try:
            yield
        finally:
            del self._waiters[id(waiter)]

    async def endings(self) -> AsyncGenerator[None, None]:
        """
        Poll for ever, tell each waiter what was seen of its run, and yield after each poll that ended a wait.

        Most polls end none, and then none of thousands of triggers is woken, which costs more than the poll itself. A
        failure is told, too: it concerns all who wait, and each decides by its own budget. One client, and so one pool
        of connections, serves all polls.
        """
        await asyncio.sleep(min(_GATHER_S, self._interval))
        failures = 0
        while True:
            try:
                connection = await read_connection(self._conn_id)
                # The next poll is the next attempt, so that a poll takes no longer than its interval.
                async with AsyncLightlyClient(replace(connection.settings, max_attempts=1)) as client:
                    while True:
                        snapshot, error = await self._poll(client)
                        failures = failures + 1 if error else 0
                        if self._tell(snapshot):
                            yield
                        await asyncio.sleep(self._pause(failures, error))
            except LightlyError as error:
                unusable = error
            except Exception as error:  # noqa: BLE001 - whatever Airflow's secrets backends raise
                # Where Airflow keeps its connections may be out of reach for a while, too.
                unusable = LightlyConnectionError(
                    f"The Airflow connection {self._conn_id!r} could not be read: {type(error).__name__}.",
                    operation="read_connection",
                    maybe_applied=False,
                )
            failures += 1
            if self._tell(Snapshot(failures={w.scheduled_run_id: unusable for w in self._waiters.values()})):
                yield
            await asyncio.sleep(self._pause(failures, unusable))

    def _tell(self, snapshot: Snapshot) -> bool:
        """Tell each waiter its part; whether a wait is over."""
        is_any_over = False
        for waiter in list(self._waiters.values()):
            key = waiter.scheduled_run_id
            told = snapshot.looks.get(key) or snapshot.failures.get(key)
            is_any_over |= told is not None and waiter.tell(told)
        return is_any_over

    async def subscribe(self) -> AsyncGenerator[None, None]:
        """The endings, from one poll for all who subscribe. For where Airflow shares no streams: before 3.3."""
        # That there was an ending is all that one who is late needs to know.
        queue: asyncio.Queue[None] = asyncio.Queue(maxsize=1)
        self._queues.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._broadcast(), name=f"lightly-poll-{self._conn_id}")
        try:
            while True:
                await queue.get()
                yield
        finally:
            self._queues.discard(queue)
            if not self._queues:
                task, self._task = self._task, None
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _broadcast(self) -> None:
        async with aclosing(self.endings()) as endings:
            async for _ in endings:
                for queue in self._queues:
                    if not queue.full():
                        queue.put_nowait(None)

    def _pause(self, failures: int, error: LightlyError | None) -> float:
        # Jitter for many connections and triggerers; no secret depends on it.
        jitter = random.uniform(0.9, 1.1)  # noqa: S311
        if not failures:
            return self._interval * jitter
        retry_after = error.retry_after if isinstance(error, LightlyApiError) else None
        return pause_after_failure(failures, self._interval, retry_after) * jitter

    async def _poll(self, client: AsyncLightlyClient) -> tuple[Snapshot, LightlyError | None]:
        """One snapshot, and what the poll as a whole failed with."""
        self._number += 1
        waiters = list(self._waiters.values())
        looks: dict[str, Look] = {}
        failures: dict[str, LightlyError] = {}
        error: LightlyError | None = None
        try:
            # For a single one, its own two requests are less than two listings.
            found = await self._listed(client, waiters) if len(waiters) > 1 else {}
            looks.update(found)
            missing = sorted(
                (w for w in waiters if w.scheduled_run_id not in looks), key=lambda waiter: waiter.last_single_poll
            )[:SINGLE_LOOKS_PER_POLL]
            error = await self._look_singly(client, missing, looks, failures)
            await self._read_one_log(client, waiters, looks)
        except LightlyError as failure:
            error = failure
            failures = {w.scheduled_run_id: failure for w in waiters if w.scheduled_run_id not in looks}
        return Snapshot(looks=looks, failures=failures), error

    async def _listed(self, client: AsyncLightlyClient, waiters: list[Waiter]) -> dict[str, Look]:
        wanted = {waiter.scheduled_run_id: waiter for waiter in waiters}
        labels = sorted({label for waiter in waiters for label in waiter.runs_on})
        # The open ones first: one that a worker takes in between is then in both, and not in neither.
        scheduled = await client.send(calls.list_open_runs(labels))
        page_size = min(_LONGEST_PAGE, max(_SHORTEST_PAGE, 2 * len(waiters)))
        runs = await client.send(calls.list_runs(page_size=page_size))
        looks = {
            entry.id: Look(seen=Observation(scheduled_state=entry.state), log_cursor=wanted[entry.id].log_cursor)
            for entry in scheduled
            if entry.id in wanted and entry.state == ScheduledRunState.OPEN
        }
        for run in runs:
            if run.scheduled_id is not None and run.scheduled_id in wanted:
                looks[run.scheduled_id] = _look_at(run, wanted[run.scheduled_id])
        return looks

    async def _look_singly(
        self,
        client: AsyncLightlyClient,
        waiters: list[Waiter],
        looks: dict[str, Look],
        failures: dict[str, LightlyError],
    ) -> LightlyError | None:
        few = asyncio.Semaphore(_SINGLE_LOOKS_AT_ONCE)

        async def look(waiter: Waiter) -> LightlyError | None:
            async with few:
                waiter.last_single_poll = self._number
                try:
                    looks[waiter.scheduled_run_id] = await _look_singly(client, waiter)
                except LightlyError as error:
                    failures[waiter.scheduled_run_id] = error
                    return error
                return None

        errors = [error for error in await asyncio.gather(*map(look, waiters)) if error]
        # One run whose dataset is gone is its own affair; where all fail, the platform is slowed down for.
        return errors[0] if errors and len(errors) == len(waiters) and not looks else None

    async def _read_one_log(self, client: AsyncLightlyClient, waiters: list[Waiter], looks: dict[str, Look]) -> None:
        """
        Read what is new in the log of one run, each time of the one whose turn it is. The rest of a log is told when
        its run has ended, so nothing is lost, and the number of requests does not grow with that of the runs.
        """
        running = [
            (waiter, look.run)
            for waiter in waiters
            if (look := looks.get(waiter.scheduled_run_id)) and look.run and not _is_over(look.run.state)
        ]
        if not running:
            return
        waiter, run = min(running, key=lambda pair: pair[0].last_log_poll)
        waiter.last_log_poll = self._number
        try:
            page = await client.send(calls.get_run_logs(run.id, waiter.log_cursor))
        except LightlyError as error:
            # The log is only told: the run goes on, and its state says how it ended.
            log.warning("The log of run %s could not be read: %s", run.id, error)
            return
        waiter.log_cursor = page.cursor or waiter.log_cursor
        look = looks[waiter.scheduled_run_id]
        looks[waiter.scheduled_run_id] = replace(look, log_lines=tuple(page.logs), log_cursor=waiter.log_cursor)


def _is_over(state: str) -> bool:
    known = RunState.parse(state)
    return known is not None and known.is_terminal


def _look_at(run: Run, waiter: Waiter) -> Look:
    seen = Observation(run_id=run.id, run_state=run.state, run_message=run.message)
    return Look(seen=seen, run=run, log_cursor=waiter.log_cursor)


async def _look_singly(client: AsyncLightlyClient, waiter: Waiter) -> Look:
    try:
        run = await client.send(calls.get_run_of_scheduled_run(waiter.scheduled_run_id))
    except LightlyNotFoundError:
        entries = await client.send(calls.get_scheduled_runs(waiter.dataset_id))
        state = next((entry.state for entry in entries if entry.id == waiter.scheduled_run_id), None)
        return Look(seen=Observation(scheduled_state=state), log_cursor=waiter.log_cursor)
    return _look_at(run, waiter)


# An event loop's polls must not outlive it, as connections belong to their loop.
_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, float], SharedPoll]] = WeakKeyDictionary()


def poll_of(lightly_conn_id: str, interval: float) -> SharedPoll:
    """The running event loop's poll of this connection and interval."""
    of_loop = _polls.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault((lightly_conn_id, interval), SharedPoll(lightly_conn_id, interval))
