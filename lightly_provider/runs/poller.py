"""One poll for all runs of a connection that this process waits for: two listings per interval, and one log.

Each poll lists the account's open scheduled runs and its newest runs. It looks up a run individually if neither listing
has it, because the platform omitted it or because it ended long ago.
"""

from __future__ import annotations

import asyncio
import random
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lightly_provider.api import calls
from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.models.run import Observation
from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyAuthenticationError,
    LightlyConnectionError,
    LightlyError,
    LightlyNotFoundError,
    LightlyResponseError,
)
from lightly_provider.foreign_text import shown_error
from lightly_provider.hooks.connection import read_connection
from lightly_provider.metrics import IN_TRIGGERER
from lightly_provider.runs.measuring import measure_poll, measure_waiting
from lightly_provider.runs.state import pause_after_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import ParamSpec, TypeVar

    from lightly_provider.api.client import ClientSettings
    from lightly_provider.runs.follower import Ending, RunFollower

    Arguments = ParamSpec("Arguments")
    Result = TypeVar("Result")

# The minimum and maximum number of newest runs to list. Most of the runs that tasks wait for are among them.
_SHORTEST_PAGE, _LONGEST_PAGE = 100, calls.PAGE_SIZE
# The maximum number of runs to look up individually, so that the platform does not reject the requests.
SINGLE_LOOKS_PER_POLL = 100
_SINGLE_LOOKS_AT_ONCE = 4
# Wait this long, so that tasks that are deferred or restarted together all take part in the first poll.
_GATHER_S = 1.0
_LONGEST_LOG_READ_S = 10.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """
    A run that a trigger waits for.

    :param follower: Decides and logs.
    :param runs_on: Labels that the run's worker must have; the listing of open runs requires them.
    """

    follower: RunFollower
    runs_on: tuple[str, ...]
    ending: asyncio.Future[Ending] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    # Airflow finds a trigger's log by its task's context, and the poll runs in another context.
    context: Context = field(default_factory=copy_context)
    last_log_poll: int = 0
    last_single_poll: int = 0

    @property
    def scheduled_run_id(self) -> str:
        return self.follower.scheduled_run_id

    def take(self, seen: Observation | LightlyError) -> None:
        """Pass on what a poll saw, which may end the wait. An error here affects only this waiter."""
        end = self.run(self.follower.take, seen)
        if end is not None and not self.ending.done():
            self.ending.set_result(end)

    def run(self, act: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
        """Call a method of the follower in its task's context; None if it failed, or if the wait is over."""
        if self.ending.done():
            return None
        try:
            return self.context.run(act, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised where the ending is awaited
            self.ending.set_exception(error)
            return None


class SharedPoll:
    """
    The poll for all runs of one connection and interval; see :func:`poll_of`. It runs while a trigger waits for a run.

    :param lightly_conn_id: Airflow connection.
    :param interval: Seconds between two polls, varied by 10 %.
    """

    def __init__(self, lightly_conn_id: str, interval: float) -> None:
        self._conn_id = lightly_conn_id
        self._interval = interval
        self._waiters: dict[int, _Waiter] = {}
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    async def follow(self, follower: RunFollower, runs_on: Sequence[str] = ()) -> Ending:
        """
        Wait until a run's follower ends the wait.

        A poll wakes only triggers whose wait has ended: waking thousands after each poll would cost more than the poll.

        :param follower: Decides and logs after each poll.
        :param runs_on: Labels that the run's worker must have.
        """
        waiter = _Waiter(follower, tuple(runs_on))
        self._waiters[id(waiter)] = waiter
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll_for_ever(), name=f"lightly-poll-{self._conn_id}")
        try:
            return await waiter.ending
        finally:
            del self._waiters[id(waiter)]
            if not self._waiters:
                measure_waiting(self._conn_id, ())
                task, self._task = self._task, None
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _poll_for_ever(self) -> None:
        """
        Poll, and pass to each waiter the observation of its run or the failure: each waiter has its own budget for
        failures. One client, and so one connection pool, serves all polls.
        """
        await asyncio.sleep(min(_GATHER_S, self._interval))
        failures = 0
        while True:
            try:
                settings = await self._settings()
                async with AsyncLightlyClient(settings) as client:
                    while True:
                        looks, error = await self._poll(client)
                        if _is_token_refused(looks) and await self._settings() != settings:
                            # The API token was rotated: retry at once with the new one.
                            break
                        measure_poll(self._conn_id, IN_TRIGGERER, failed=error is not None)
                        self._hand_out(looks)
                        await self._read_one_log(client, looks)
                        failures = failures + 1 if error else 0
                        await asyncio.sleep(self._pause(failures, error))
                continue
            except Exception as error:  # noqa: BLE001 - see _unexpected
                # The connection cannot be read or used.
                unusable = error if isinstance(error, LightlyError) else _unexpected(error)
            failures += 1
            measure_poll(self._conn_id, IN_TRIGGERER, failed=True)
            self._hand_out(dict.fromkeys((w.scheduled_run_id for w in self._waiters.values()), unusable))
            await asyncio.sleep(self._pause(failures, unusable))

    async def _settings(self) -> ClientSettings:
        try:
            connection = await read_connection(self._conn_id)
        except LightlyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever Airflow's secrets backends raise
            # Airflow's secrets backend may be temporarily unavailable.
            raise LightlyConnectionError(
                f"The Airflow connection {self._conn_id!r} could not be read: {type(error).__name__}.",
                operation="read_connection",
                maybe_applied=False,
            ) from None
        # The next poll is the retry, so that a poll takes no longer than its interval.
        return replace(connection.settings, max_attempts=1)

    def _hand_out(self, looks: Mapping[str, Observation | LightlyError]) -> None:
        for waiter in list(self._waiters.values()):
            seen = looks.get(waiter.scheduled_run_id)
            if seen is not None:
                waiter.take(seen)
        still_waiting = [waiter for waiter in self._waiters.values() if not waiter.ending.done()]
        measure_waiting(self._conn_id, (looks.get(waiter.scheduled_run_id) for waiter in still_waiting))

    def _pause(self, failures: int, error: LightlyError | None) -> float:
        # Jitter for many connections and triggerers; no secret depends on it.
        jitter = random.uniform(0.9, 1.1)  # noqa: S311
        if not failures:
            return self._interval * jitter
        retry_after = error.retry_after if isinstance(error, LightlyApiError) else None
        return pause_after_failure(failures, self._interval, retry_after) * jitter

    async def _poll(
        self, client: AsyncLightlyClient
    ) -> tuple[dict[str, Observation | LightlyError], LightlyError | None]:
        """Poll once; return the observation of each run, and the error if the whole poll failed."""
        self._number += 1
        waiters = list(self._waiters.values())
        looks: dict[str, Observation | LightlyError] = {}
        error: LightlyError | None = None
        try:
            # For a single run, two individual requests cost less than two listings.
            if len(waiters) > 1:
                looks.update(await self._listed(client, waiters))
            missing = sorted(
                (w for w in waiters if w.scheduled_run_id not in looks), key=lambda waiter: waiter.last_single_poll
            )[:SINGLE_LOOKS_PER_POLL]
            error = await self._look_up(client, missing, looks)
        except LightlyError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - see _unexpected
            error = _unexpected(failure)
        if error is not None:
            for waiter in waiters:
                looks.setdefault(waiter.scheduled_run_id, error)
        return looks, error

    async def _listed(self, client: AsyncLightlyClient, waiters: list[_Waiter]) -> dict[str, Observation]:
        wanted = {waiter.scheduled_run_id for waiter in waiters}
        labels = sorted({label for waiter in waiters for label in waiter.runs_on})
        # List the open runs first: then a run that a worker takes in between is in both listings, not in neither.
        scheduled = await client.send(calls.list_open_runs(labels))
        page_size = min(_LONGEST_PAGE, max(_SHORTEST_PAGE, 2 * len(waiters)))
        runs = await client.send(calls.list_runs(page_size=page_size))
        looks = {
            entry.id: Observation(scheduled_state=entry.state)
            for entry in scheduled
            if entry.id in wanted and entry.state == ScheduledRunState.OPEN
        }
        looks |= {run.scheduled_id: Observation(run=run) for run in runs if run.scheduled_id in wanted}
        return looks

    async def _look_up(
        self,
        client: AsyncLightlyClient,
        waiters: list[_Waiter],
        looks: dict[str, Observation | LightlyError],
    ) -> LightlyError | None:
        few = asyncio.Semaphore(_SINGLE_LOOKS_AT_ONCE)

        async def look(waiter: _Waiter) -> LightlyError | None:
            async with few:
                waiter.last_single_poll = self._number
                try:
                    looks[waiter.scheduled_run_id] = await _look_up(client, waiter.follower)
                except LightlyError as error:
                    looks[waiter.scheduled_run_id] = error
                    return error
                return None

        n_listed = len(looks)
        errors = [error for error in await asyncio.gather(*map(look, waiters)) if error]
        # Poll less often only if all look-ups failed, not if a single run's dataset no longer exists.
        return errors[0] if errors and len(errors) == len(waiters) and not n_listed else None

    async def _read_one_log(self, client: AsyncLightlyClient, looks: Mapping[str, Observation | LightlyError]) -> None:
        """
        Read the new lines of one run's log, each time of another run. The rest of a log is read when its run has ended.
        So nothing is lost, and the number of requests does not grow with the number of runs.
        """
        working = [
            (waiter, seen.run)
            for waiter in self._waiters.values()
            if isinstance(seen := looks.get(waiter.scheduled_run_id), Observation)
            and seen.run is not None
            and not _is_over(seen.run.state)
        ]
        if not working:
            return
        waiter, run = min(working, key=lambda pair: pair[0].last_log_poll)
        waiter.last_log_poll = self._number
        try:
            # A slow log must not delay the next poll of all other runs.
            call = calls.get_run_logs(run.id, waiter.follower.log_cursor)
            page = await client.send(call, within=_LONGEST_LOG_READ_S)
        except LightlyError as error:
            waiter.run(waiter.follower.take_log_error, error)
        except Exception as error:  # noqa: BLE001 - see _unexpected
            waiter.run(waiter.follower.take_log_error, _unexpected(error))
        else:
            waiter.run(waiter.follower.take_log, page)


def _unexpected(error: Exception) -> LightlyError:
    """Return an error that each waiter can count: one poll serves many tasks, and must always continue."""
    return LightlyResponseError(
        f"The poll failed in an unexpected way: {type(error).__name__}: {shown_error(error, longest=300)}.",
        operation="poll",
    )


def _is_token_refused(looks: Mapping[str, Observation | LightlyError]) -> bool:
    return any(isinstance(seen, LightlyAuthenticationError) for seen in looks.values())


def _is_over(state: str) -> bool:
    known = RunState.parse(state)
    return known is not None and known.is_terminal


async def _look_up(client: AsyncLightlyClient, follower: RunFollower) -> Observation:
    try:
        run = await client.send(calls.get_run_of_scheduled_run(follower.scheduled_run_id))
    except LightlyNotFoundError:
        entries = await client.send(calls.get_scheduled_runs(follower.dataset_id))
        state = next((entry.state for entry in entries if entry.id == follower.scheduled_run_id), None)
        return Observation(scheduled_state=state)
    return Observation(run=run)


# The polls of an event loop must not outlive it, because connections belong to their loop.
_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, float], SharedPoll]] = WeakKeyDictionary()


def poll_of(lightly_conn_id: str, interval: float) -> SharedPoll:
    """Return the running event loop's poll for this connection and interval."""
    of_loop = _polls.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault((lightly_conn_id, interval), SharedPoll(lightly_conn_id, interval))
