"""Triggers that start DAGs: when uploads have arrived."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from lightly_provider.events.bell import Bell
from lightly_provider.exceptions import LightlyError
from lightly_provider.foreign_text import shown

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2 has no asset watchers; there, a sensor uses the trigger
    BaseEventTrigger = BaseTrigger  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LONGEST_PAUSE_S = 300.0


class LightlyUploadTrigger(BaseEventTrigger):
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
    """

    def __init__(
        self,
        *,
        queue_url: str,
        aws_conn_id: str | None = "aws_default",
        quiet_period: float = 30.0,
        longest_wait: float = 600.0,
        poll_interval: float = 10.0,
        cool_down: float = 900.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from lightly_provider.events.queue import check_queue_url

        check_queue_url(queue_url, argument="queue_url")
        for name, seconds in {
            "quiet_period": quiet_period,
            "longest_wait": longest_wait,
            "poll_interval": poll_interval,
            "cool_down": cool_down,
        }.items():
            if not isinstance(seconds, (int, float)) or not 0 < seconds <= 24 * 3600:
                raise ValueError(f"{name} is {seconds!r}; give a number of seconds, above 0 and up to 86400.")
        self.queue_url = queue_url
        self.aws_conn_id = aws_conn_id
        self.quiet_period = quiet_period
        self.longest_wait = longest_wait
        self.poll_interval = poll_interval
        self.cool_down = cool_down

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and its arguments as JSON types."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "queue_url": self.queue_url,
                "aws_conn_id": self.aws_conn_id,
                "quiet_period": self.quiet_period,
                "longest_wait": self.longest_wait,
                "poll_interval": self.poll_interval,
                "cool_down": self.cool_down,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the queue again and again, and fire each time that it should be drained."""
        from lightly_provider.events.queue import Queue

        queue: Queue | None = None
        bell = Bell(self.quiet_period, self.longest_wait, self.cool_down)
        n_failures = 0
        while True:
            try:
                # After an error the connection is read again: its keys may have been replaced.
                queue = queue or Queue(self.queue_url, aws_conn_id=self.aws_conn_id)
                # A request to AWS takes milliseconds, and boto3 has no other way to send one.
                count = await asyncio.to_thread(queue.count)
            except LightlyError as error:
                queue, n_failures = None, n_failures + 1
                self.log.error("The queue cannot be looked at: %s", error)
            except Exception as error:  # noqa: BLE001 - a watcher that ends is not started again at once
                queue, n_failures = None, n_failures + 1
                self.log.error("The queue cannot be looked at: %s: %s", type(error).__name__, shown(error, longest=500))
            else:
                n_failures = 0
                if bell.rings(count, time.monotonic()):
                    self.log.info("Messages that wait in %s: %s.", shown(self.queue_url, longest=300), f"{count:,}")
                    yield TriggerEvent({"queue_url": self.queue_url, "count": count})  # type: ignore[no-untyped-call]
            await asyncio.sleep(min(_LONGEST_PAUSE_S, self.poll_interval * 2 ** min(n_failures, 5)))
