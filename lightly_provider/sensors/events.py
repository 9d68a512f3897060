"""Waits for uploads in a task, for Airflow 2, which has no asset watchers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue, conf

from lightly_provider.events.bell import Bell
from lightly_provider.operators.arguments import (
    LONGEST_POLL_INTERVAL,
    check_arguments_of_sensor,
    is_static,
    seconds_of,
)
from lightly_provider.operators.base import CheckedArguments, failing_for_good
from lightly_provider.sensors.deferred import deadline_of_sensor, failing_softly, limit_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context


class LightlyUploadSensor(CheckedArguments, BaseSensorOperator):
    """
    Wait until uploads are in a queue of SQS and no more have arrived for a while; then ``DrainUploadsOperator`` can
    drain it.

    On Airflow 3, an asset watcher with :class:`~lightly_provider.triggers.events.LightlyUploadTrigger` does the same
    without a DAG run that waits. The sensor only counts the messages, and never receives one.

    :param queue_url: URL of the queue that the bucket's event notifications are sent to. Templated.
    :param aws_conn_id: AWS connection that counts the messages. It needs ``sqs:GetQueueAttributes``. Default:
        ``aws_default``. Templated.
    :param quiet_period: Seconds for which the number of messages must not have changed. Default: 30.
    :param longest_wait: Seconds after which it ends although more arrive. Default: 600.
    :param deferrable: Wait in the triggerer, without a slot of a worker. Default: Airflow's configuration
        ``[operators] default_deferrable``, which is False.
    :param kwargs: Those of every Airflow sensor, e.g. ``poke_interval`` (seconds between two looks; default: 60),
        ``timeout`` (default: 7 days), ``execution_timeout`` and ``soft_fail``. ``mode="reschedule"`` is refused,
        because the quiet period cannot be remembered between two looks.
    :return: How many messages wait, approximately.
    :raises ValueError: An argument is invalid.
    :raises LightlyQueueError: There is no such queue. While deferred, an error is logged and does not end the wait.
    :raises LightlyAccessError: AWS denied the request; likewise.
    """

    template_fields: Sequence[str] = ("queue_url", "aws_conn_id")
    custom_operator_name = "Lightly wait for uploads"
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        queue_url: str,
        aws_conn_id: str = "aws_default",
        quiet_period: float | timedelta = 30.0,
        longest_wait: float | timedelta = 600.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        check_arguments_of_sensor(kwargs)
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.aws_conn_id = aws_conn_id
        self.quiet_period = quiet_period
        self.longest_wait = longest_wait
        self.deferrable = deferrable
        self._bell: Bell | None = None
        if self.reschedule and not deferrable:
            raise ValueError(
                "mode is 'reschedule', in which the quiet period is not remembered between two looks; set "
                "deferrable=True instead."
            )
        # The trigger takes no other.
        seconds_of(self.poke_interval, argument="poke_interval", longest=LONGEST_POLL_INTERVAL)
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        for argument in ("quiet_period", "longest_wait"):
            self._seconds(argument)
        if is_static(self.queue_url):
            from lightly_provider.events.queue import check_queue_url

            check_queue_url(self.queue_url, argument="queue_url")

    def execute(self, context: Context) -> Any:
        """Look at the queue, and wait here or in the triggerer."""
        with failing_for_good():
            self.check_arguments()
            if self.deferrable:
                self._defer(context)
            return super().execute(context)

    def _seconds(self, argument: str) -> float:
        return seconds_of(getattr(self, argument), argument=argument, longest=LONGEST_POLL_INTERVAL)

    def _defer(self, context: Context) -> NoReturn:
        from lightly_provider.runs.state import Limits
        from lightly_provider.triggers.events import LightlyUploadTrigger
        from lightly_provider.triggers.worker import backstop

        limits = Limits(deadline=deadline_of_sensor(self, context["ti"]))
        self.defer(
            trigger=LightlyUploadTrigger(
                queue_url=self.queue_url,
                aws_conn_id=self.aws_conn_id,
                quiet_period=self._seconds("quiet_period"),
                longest_wait=self._seconds("longest_wait"),
                poll_interval=self.poke_interval,
                deadline=limits.deadline,
            ),
            method_name="execute_complete",
            timeout=backstop(limits, self.poke_interval),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the queue once."""
        from lightly_provider.events.queue import Queue

        self._bell = self._bell or Bell(self._seconds("quiet_period"), self._seconds("longest_wait"), 0.0)
        count = Queue(self.queue_url, aws_conn_id=self.aws_conn_id).count()
        return PokeReturnValue(is_done=self._bell.rings(count, time.monotonic()), xcom_value=count)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """Return the count that ended the wait in the triggerer."""
        if not event.get("timed_out"):
            return int(event["count"])
        argument, seconds, error = limit_of(self, deferred=True)
        with failing_softly(self):
            raise error(f"No uploads arrived within {seconds:g} s; allow more time with {argument}.")
