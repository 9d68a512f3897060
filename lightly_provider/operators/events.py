"""From uploads to the datasets that got them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.foreign_text import shown
from lightly_provider.operators.arguments import is_static
from lightly_provider.operators.base import CheckedOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.routing import Routes

# AWS docs: SQS developer guide, "Standard queue quotas": 120,000 messages may be received and not deleted yet.
MOST_IN_FLIGHT = 100_000
# The same guide, "Amazon SQS visibility timeout": at most 12 hours. It is extended when half of it has passed.
SHORTEST_VISIBILITY_S, LONGEST_VISIBILITY_S = 10, 12 * 3600


class DrainUploadsOperator(CheckedOperator):
    """
    Read the event notifications of S3 from a queue of SQS, and write one manifest of the new files per dataset.

    Nothing is lost, whatever is killed: the batch is stored before its manifests are written, its messages are deleted
    last, and a batch of a task that did not succeed is handed on again by the next one, with the same manifests and the
    same ``run_id``. Start one DAG run per returned mapping, with ``TriggerDagRunOperator`` and
    ``skip_when_already_exists=True``. Let only one DAG run drain a queue at a time (``max_active_runs=1``).

    A file belongs to the dataset with the longest location that contains it; files below ``.lightly/`` are ignored.
    Notifications come directly from S3, through SNS, or through EventBridge. A message that is none of them, or about
    another bucket, stays in the queue for its redrive policy, and the log says why.

    If an outlet is an asset, the names of the datasets are added to its event as partition keys (Airflow 3.2 and
    newer), so that a DAG on a ``PartitionedAssetTimetable`` gets one run per dataset.

    :param queue_url: URL of the queue. Templated.
    :param datasets: ``s3://bucket/prefix/`` of the files by dataset name, which may be any text that your DAG uses.
        Templated.
    :param manifest_prefix: ``s3://bucket/prefix/`` for the manifests and the batches, outside of all datasets. The
        queue's state is there, so use one prefix per queue, and keep it. Templated.
    :param aws_conn_id: AWS connection with which Airflow reads the queue and writes the manifests. It needs
        ``sqs:ReceiveMessage``, ``sqs:DeleteMessage``, ``sqs:ChangeMessageVisibility``, ``sqs:GetQueueAttributes``, and
        ``s3:ListBucket``, ``s3:GetObject``, ``s3:PutObject``, ``s3:DeleteObject`` for the prefix. Default:
        ``aws_default``. Templated.
    :param max_messages: At most about so many messages at once; the rest stays in the queue. Default: 50,000.
    :param visibility_timeout: Seconds after which the messages of a task that was killed are received again; a task
        that runs longer extends it. Default: 300.
    :return: A list with a mapping for each dataset that got files: ``dataset``, ``manifest`` (its address; a value for
        ``relevant_filenames``), ``n_files``, ``batch_id`` and ``run_id``, the id for the DAG run about it.
    :raises ValueError: An argument is invalid. Nothing was read.
    :raises LightlyQueueError: There is no such queue, or a file below the prefix is no batch.
    :raises LightlyAccessError: AWS denied a request.
    """

    template_fields: Sequence[str] = ("queue_url", "datasets", "manifest_prefix", "aws_conn_id")
    custom_operator_name = "Lightly drain uploads"
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        queue_url: str,
        datasets: Mapping[str, str],
        manifest_prefix: str,
        aws_conn_id: str = "aws_default",
        max_messages: int = 50_000,
        visibility_timeout: int = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.datasets = datasets
        self.manifest_prefix = manifest_prefix
        self.aws_conn_id = aws_conn_id
        self.max_messages = max_messages
        self.visibility_timeout = visibility_timeout
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.queue_url):
            from lightly_provider.events.queue import check_queue_url

            check_queue_url(self.queue_url, argument="queue_url")
        if not 1 <= self.max_messages <= MOST_IN_FLIGHT:
            raise ValueError(f"max_messages is {self.max_messages}; give a number from 1 to {MOST_IN_FLIGHT:,}.")
        if not SHORTEST_VISIBILITY_S <= self.visibility_timeout <= LONGEST_VISIBILITY_S:
            raise ValueError(
                f"visibility_timeout is {self.visibility_timeout}; give seconds from {SHORTEST_VISIBILITY_S} to "
                f"{LONGEST_VISIBILITY_S}."
            )
        location = self._location() if is_static(self.manifest_prefix) else None
        if is_static(self.datasets):
            routes = self._routes()
            if location is not None:
                _check_apart(location, routes)

    def perform(self, context: Context) -> list[dict[str, Any]]:
        """Drain the queue."""
        from lightly_provider.events.batches import owner_of
        from lightly_provider.events.drain import drain
        from lightly_provider.events.queue import Queue
        from lightly_provider.events.store import BatchStore

        ti = context["ti"]
        manifests = drain(
            Queue(self.queue_url, aws_conn_id=self.aws_conn_id),
            BatchStore(self._location(), aws_conn_id=self.aws_conn_id),
            self._routes(),
            owner=owner_of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index),
            was_handed_on=_has_succeeded,
            most_messages=self.max_messages,
            visibility_timeout=self.visibility_timeout,
            log=self.log,
        )
        self._add_partitions(context, {manifest.dataset for manifest in manifests})
        return [manifest.as_dict() for manifest in manifests]

    def _routes(self) -> Routes:
        from lightly_provider.events.routing import Routes

        return Routes.of(self.datasets, argument="datasets")

    def _location(self) -> S3Location:
        from lightly_provider.aws.location import S3Location

        return S3Location.parse(self.manifest_prefix, argument="manifest_prefix")

    def _add_partitions(self, context: Context, datasets: set[str]) -> None:
        if not datasets:
            return
        for outlet in self.outlets:
            event = context["outlet_events"][outlet]
            if not hasattr(event, "add_partitions"):
                continue
            try:
                event.add_partitions(sorted(datasets))
            except TypeError:  # an asset alias has no partitions
                continue


def _has_succeeded(owner: Mapping[str, Any]) -> bool:
    """Return whether a task instance has succeeded, so that Airflow has stored what it returned; else False."""
    from types import SimpleNamespace

    from lightly_provider.runs.task_state import state_of_task

    return state_of_task(SimpleNamespace(**owner)) == "success"


def _check_apart(location: S3Location, routes: Routes) -> None:
    for dataset, files in routes.locations.items():
        one, other = sorted((location.prefix, files.prefix), key=len)
        if location.bucket == files.bucket and other.startswith(one):
            raise ValueError(
                f"manifest_prefix is {shown(location.uri)} and the files of {shown(dataset)!r} are in "
                f"{shown(files.uri)}, one within the other, so a manifest could be taken for an upload. Choose a "
                "prefix apart from all datasets."
            )
