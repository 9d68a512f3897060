"""Triggers that start DAGs: when uploads have arrived, and when runs have ended."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from lightly_provider.events.bell import Bell
from lightly_provider.exceptions import LightlyApiError, LightlyError
from lightly_provider.foreign_text import shown, shown_error
from lightly_provider.runs.state import pause_after_failure

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2 has no asset watchers; there, a sensor uses the trigger
    BaseEventTrigger = BaseTrigger  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from lightly_provider.api.async_client import AsyncLightlyClient
    from lightly_provider.events.queue import Queue
    from lightly_provider.runs.ended import Cursor, Look

_LONGEST_S = 24 * 3600
# The vendor's client polls no faster than this, "to prevent rate limiting" (lightly 1.5.26,
# api/api_workflow_compute_worker.py). A platform on this machine is polled as often as it is asked for.
_SHORTEST_REMOTE_POLL_S = 30.0
_MOST_DATASETS = 50
_AFTER_ALL = 10**11  # seconds since the epoch, in the year 5138


class _WatchingTrigger(BaseEventTrigger):
    """
    A trigger that looks again and again, and fires each time that something is to be done.

    An error is logged, and looked again after a longer pause: Airflow does not start a watcher that ended until the
    DAG's file is parsed again.
    """

    # What is looked at, for messages.
    _subject: str
    poll_interval: float
    # Only of a sensor: when it gives up, in seconds since the epoch.
    deadline: float | None = None

    @abstractmethod
    async def _look(self) -> dict[str, Any] | None:
        """Look once; return the payload of an event, or None."""

    async def _forget(self) -> None:
        """Forget the connection after an error: it is read again, because its keys may have been replaced."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again, and fire each time that something is to be done."""
        n_failures = 0
        try:
            while True:
                payload, retry_after = None, None
                try:
                    payload = await self._look()
                    n_failures = 0
                except Exception as error:  # noqa: BLE001 - see the class
                    n_failures += 1
                    text = str(error) if isinstance(error, LightlyError) else shown_error(error, longest=500)
                    self.log.error("%s cannot be looked at: %s: %s", self._subject, type(error).__name__, text)
                    retry_after = error.retry_after if isinstance(error, LightlyApiError) else None
                    await self._forget()
                if payload is not None:
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
                if self.deadline is not None and time.time() >= self.deadline:
                    yield TriggerEvent({"timed_out": True})  # type: ignore[no-untyped-call]
                    return
                pause = self.poll_interval
                if n_failures:
                    pause = pause_after_failure(n_failures, self.poll_interval, retry_after)
                if self.deadline is not None:
                    pause = min(pause, max(0.0, self.deadline - time.time()))
                await asyncio.sleep(pause)
        finally:
            await self._forget()


class LightlyUploadTrigger(_WatchingTrigger):
    """
    Fire when uploads wait in a queue of SQS and no more have arrived for a while.

    For an ``AssetWatcher`` (Airflow 3), whose asset starts the DAG that drains the queue. The trigger only counts the
    messages and never receives one, so it cannot lose any: its event says "look". While messages are left, it fires
    again after the cool-down, so a DAG that was paused catches up by itself.

    Its arguments hold no secret. AWS's errors are logged and do not end it.

    :param queue_url: URL of the queue that the bucket's event notifications are sent to.
    :param aws_conn_id: AWS connection that counts the messages. It needs ``sqs:GetQueueAttributes``. None: boto3's
        default credentials. Default: ``aws_default``.
    :param quiet_period: Seconds for which the number of messages must not have changed. Default: 30.
    :param longest_wait: Seconds after which it fires although more arrive. Default: 600.
    :param poll_interval: Seconds between two looks. Default: 10.
    :param cool_down: Seconds after which it fires again if messages are left. Default: 900.
    :param deadline: When to give up, in seconds since the epoch, with an event that says so. Only for a sensor; None
        (default): never.
    """

    _subject = "The queue"

    def __init__(
        self,
        *,
        queue_url: str,
        aws_conn_id: str | None = "aws_default",
        quiet_period: float = 30.0,
        longest_wait: float = 600.0,
        poll_interval: float = 10.0,
        cool_down: float = 900.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from lightly_provider.events.queue import check_queue_url

        check_queue_url(queue_url, argument="queue_url")
        if aws_conn_id is not None:
            _check_conn_id(aws_conn_id, argument="aws_conn_id")
        _check_seconds(
            quiet_period=quiet_period, longest_wait=longest_wait, poll_interval=poll_interval, cool_down=cool_down
        )
        if deadline is not None and not (_is_number(deadline) and 0 <= deadline < _AFTER_ALL):
            raise ValueError(f"deadline is {_quoted(deadline)}; give seconds since the epoch, or None.")
        self.queue_url = queue_url
        self.aws_conn_id = aws_conn_id
        self.quiet_period = quiet_period
        self.longest_wait = longest_wait
        self.poll_interval = poll_interval
        self.cool_down = cool_down
        self.deadline = deadline
        self._queue: Queue | None = None
        self._bell = Bell(quiet_period, longest_wait, cool_down)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and its arguments as JSON types, which are the identity of a watcher's trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "queue_url": self.queue_url,
                "aws_conn_id": self.aws_conn_id,
                "quiet_period": self.quiet_period,
                "longest_wait": self.longest_wait,
                "poll_interval": self.poll_interval,
                "cool_down": self.cool_down,
                **({} if self.deadline is None else {"deadline": self.deadline}),
            },
        )

    async def _look(self) -> dict[str, Any] | None:
        from asgiref.sync import sync_to_async

        from lightly_provider.events.queue import Queue

        self._queue = self._queue or Queue(self.queue_url, aws_conn_id=self.aws_conn_id)
        # In a thread, by boto3. The Amazon provider's asynchronous hook (SqsHook.get_async_conn) needs aiobotocore,
        # which that provider installs only as an extra and which demands its own versions of botocore; and it makes
        # its client without what hooks/aws.py sets for each of ours: the endpoint's region, masked keys, and loggers
        # that hold no secrets at DEBUG. One request of milliseconds per interval does not need it.
        # Not by asyncio.to_thread: the queue reads its Airflow connection, and the triggerers of Airflow 3.0 and 3.1
        # ask for it by async_to_sync, which finds their loop only from a thread of sync_to_async (3.1.8,
        # jobs/triggerer_job_runner.py, TriggerCommsDecoder.send). From any other it breaks the whole triggerer.
        count = await sync_to_async(self._queue.count, thread_sensitive=False)()
        if not self._bell.rings(count, time.monotonic()):
            return None
        self.log.info("Messages that wait in %s: %s.", shown(self.queue_url, longest=300), f"{count:,}")
        return {"queue_url": self.queue_url, "count": count}

    async def _forget(self) -> None:
        self._queue = None


class LightlyRunEventTrigger(_WatchingTrigger):
    """
    Fire when runs of the worker have ended, also those that somebody started in the web app.

    For an ``AssetWatcher`` (Airflow 3.3 and newer), whose asset starts the DAG with
    :class:`~lightly_provider.operators.events.ListEndedRunsOperator`. The event says "look" and names no run: the
    operator knows which ones were handed on before. So nothing is lost if Airflow drops an event, if the DAG is
    paused, or while no triggerer runs: the trigger fires when it starts, and again after each ``remind_every``.

    Its arguments hold no secret. Errors of the platform are logged and do not end it.

    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``.
    :param dataset_ids: Only the runs on these datasets, at most 50. Empty (default): all runs of the connection's user.
    :param include_team: Also the runs of the other members of the user's team. Default: False.
    :param quiet_period: Seconds for which no other run must have ended. Default: 30.
    :param longest_wait: Seconds after which it fires although more runs end. Default: 600.
    :param poll_interval: Seconds between two looks, at least 30 except for a platform on this machine. Default: 60.
    :param remind_every: Seconds after which it fires although no run has ended. Default: 3600.
    """

    _subject = "The runs"

    def __init__(
        self,
        *,
        lightly_conn_id: str = "lightly_default",
        dataset_ids: Sequence[str] = (),
        include_team: bool = False,
        quiet_period: float = 30.0,
        longest_wait: float = 600.0,
        poll_interval: float = 60.0,
        remind_every: float = 3600.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        _check_conn_id(lightly_conn_id, argument="lightly_conn_id")
        _check_dataset_ids(dataset_ids)
        if not isinstance(include_team, bool):
            raise ValueError(f"include_team is {_quoted(include_team)}; give True or False.")
        _check_seconds(
            quiet_period=quiet_period,
            longest_wait=longest_wait,
            poll_interval=poll_interval,
            remind_every=remind_every,
        )
        self.lightly_conn_id = lightly_conn_id
        self.dataset_ids = list(dataset_ids)
        self.include_team = include_team
        self.quiet_period = quiet_period
        self.longest_wait = longest_wait
        self.poll_interval = poll_interval
        self.remind_every = remind_every
        self._client: AsyncLightlyClient | None = None
        self._cursor: Cursor | None = None
        self._n_ended = 0
        self._bell = Bell(quiet_period, longest_wait, cool_down=0.0)
        self._fired_at: float | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and its arguments as JSON types, which are the identity of a watcher's trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "lightly_conn_id": self.lightly_conn_id,
                "dataset_ids": self.dataset_ids,
                "include_team": self.include_team,
                "quiet_period": self.quiet_period,
                "longest_wait": self.longest_wait,
                "poll_interval": self.poll_interval,
                "remind_every": self.remind_every,
            },
        )

    async def _look(self) -> dict[str, Any] | None:
        from lightly_provider.runs.ended import Cursor

        look = await self._read()
        now = time.monotonic()
        now_ms = int(time.time() * 1000)
        cursor = self._cursor or Cursor.first(look, since_ms=None, now_ms=now_ms)
        self._cursor, found = cursor.after(look, owner={}, digest="", now_ms=now_ms)
        self._n_ended += len(found.new)
        # What ended while no triggerer ran is not known here, so it also fires at the first look.
        is_time = self._fired_at is None or now - self._fired_at >= self.remind_every
        if not self._bell.rings(self._n_ended, now) and not is_time:
            return None
        self.log.info("Runs that have ended since the last event: %s.", f"{self._n_ended:,}")
        payload = {"lightly_conn_id": self.lightly_conn_id, "n_ended": self._n_ended}
        self._n_ended, self._fired_at = 0, now
        self._bell.rings(0, now)
        return payload

    async def _read(self) -> Look:
        from lightly_provider.api.async_client import AsyncLightlyClient
        from lightly_provider.exceptions import LightlyNotFoundError
        from lightly_provider.hooks.connection import read_connection
        from lightly_provider.runs.ended import Look

        if self._client is None:
            connection = await read_connection(self.lightly_conn_id)
            if not connection.is_local and self.poll_interval < _SHORTEST_REMOTE_POLL_S:
                self.poll_interval = _SHORTEST_REMOTE_POLL_S
            # The next look is the retry.
            self._client = await AsyncLightlyClient(replace(connection.settings, max_attempts=1)).__aenter__()
        look = Look(self._cursor, dataset_ids=self.dataset_ids, include_team=self.include_team)
        while (call := look.next_call()) is not None:
            try:
                response = await self._client.send(call)
            except LightlyNotFoundError:
                look.take_missing()
            else:
                look.take(response)
        return look

    async def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__()


def _check_dataset_ids(dataset_ids: Sequence[str]) -> None:
    import re

    if not isinstance(dataset_ids, (list, tuple)):
        raise ValueError(f"dataset_ids is {_quoted(dataset_ids)}; give a list of ids.")
    for dataset_id in dataset_ids:
        if not isinstance(dataset_id, str) or not re.fullmatch(r"[a-f0-9]{24}", dataset_id):
            raise ValueError(f"dataset_ids has {_quoted(dataset_id)}, and an id of a dataset is 24 hexadecimal digits.")
    if len(dataset_ids) > _MOST_DATASETS:
        raise ValueError(
            f"dataset_ids has {len(dataset_ids):,} ids, and each is a request per look; leave it empty for all "
            "datasets, and filter the result."
        )


def _check_conn_id(conn_id: Any, *, argument: str) -> None:
    if not isinstance(conn_id, str) or not conn_id.strip() or not conn_id.isprintable():
        raise ValueError(f"{argument} is {_quoted(conn_id)}; give the id of an Airflow connection.")
    if "{{" in conn_id or "{%" in conn_id:
        raise ValueError(f"{argument} is {_quoted(conn_id)}, and Airflow renders no template in a trigger of a DAG.")


def _check_seconds(**arguments: float) -> None:
    for name, seconds in arguments.items():
        if not _is_number(seconds) or not 0 < seconds <= _LONGEST_S:
            raise ValueError(f"{name} is {_quoted(seconds)}; give a number of seconds, above 0 and up to 86400.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _quoted(value: Any) -> str:
    return shown(repr(value), longest=200)
