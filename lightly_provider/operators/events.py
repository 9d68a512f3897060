"""What happened outside Airflow: uploads that arrived, and runs that ended."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightly_provider.airflow_internals import DELETED, classes_of_assets, returned_by
from lightly_provider.foreign_text import shown
from lightly_provider.operators.arguments import check_choice, check_id, is_static, moment_of, names_of
from lightly_provider.operators.base import CheckedOperator, LightlyBaseOperator
from lightly_provider.operators.earlier_xcom import pushed_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.api.models.run import Run
    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.batches import Batch
    from lightly_provider.events.routing import Routes
    from lightly_provider.runs.ended import Cursor, Look

# AWS docs: SQS developer guide, "Standard queue quotas": 120,000 messages may be received and not deleted yet.
MOST_IN_FLIGHT = 100_000
# The same guide, "Amazon SQS visibility timeout": at most 12 hours. It is extended when a third of it has passed.
SHORTEST_VISIBILITY_S, LONGEST_VISIBILITY_S = 10, 12 * 3600
# As runs/ended.py, MOST_PER_LOOK, which an operator must not import when its DAG is parsed: it needs pydantic.
_MOST_RUNS = 500
_MOST_DATASETS = 50
_MOST_MANIFESTS = 10_000
_LONGEST_KEY = 1024  # bytes; AWS docs: S3 user guide, "Naming Amazon S3 objects"
_XCOM_KEY = "cursor"
_DELETED_BY_AGE_S = 7 * 24 * 3600


class DrainUploadsOperator(CheckedOperator):
    """
    Read the event notifications of S3 from a queue of SQS, and write one manifest of the new files per dataset.

    Nothing is lost, whatever is killed: the batch is stored before its manifests are written, its messages are deleted
    last, and a batch that no task has returned is handed on again by the next one, with the same manifests and the
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
    :param max_manifests: At most so many manifests at once; the next DAG run hands on the others. Airflow maps a task
        over at most 1,024 by default (``[core] max_map_length``). Default: 1000.
    :param visibility_timeout: Seconds after which the messages of a task that was killed are received again; a task
        that runs longer extends it. Default: 300.
    :return: A list with a mapping for each dataset that got files: ``dataset``, ``manifest`` (its address; a value for
        ``relevant_filenames``), ``n_files``, ``batch_id`` and ``run_id``, the id for the DAG run about it.
    :raises ValueError: An argument is invalid. Nothing was read.
    :raises LightlyQueueError: There is no such queue, or a file below the prefix is not a batch.
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
        max_manifests: int = 1000,
        visibility_timeout: int = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.datasets = datasets
        self.manifest_prefix = manifest_prefix
        self.aws_conn_id = aws_conn_id
        self.max_messages = max_messages
        self.max_manifests = max_manifests
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
        if not 1 <= self.max_manifests <= _MOST_MANIFESTS:
            raise ValueError(f"max_manifests is {self.max_manifests}; give a number from 1 to {_MOST_MANIFESTS:,}.")
        if not SHORTEST_VISIBILITY_S <= self.visibility_timeout <= LONGEST_VISIBILITY_S:
            raise ValueError(
                f"visibility_timeout is {self.visibility_timeout}; give seconds from {SHORTEST_VISIBILITY_S} to "
                f"{LONGEST_VISIBILITY_S}."
            )
        location = self._location() if is_static(self.manifest_prefix) else None
        if is_static(self.datasets):
            routes = self._routes()
            if location is not None:
                _check_prefix(location, routes)

    def perform(self, context: Context) -> list[dict[str, Any]]:
        """Drain the queue."""
        from lightly_provider.events.batches import owner_of
        from lightly_provider.events.drain import drain
        from lightly_provider.events.queue import Queue
        from lightly_provider.events.store import BatchStore

        ti: Any = context["ti"]
        manifests = drain(
            Queue(self.queue_url, aws_conn_id=self.aws_conn_id),
            BatchStore(self._location(), aws_conn_id=self.aws_conn_id),
            self._routes(),
            owner=owner_of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index),
            was_handed_on=lambda batch: _has_returned(ti, batch),
            most_messages=self.max_messages,
            most_manifests=self.max_manifests,
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


class ListEndedRunsOperator(LightlyBaseOperator):
    """
    List the runs of the worker that ended since the last look, also those that somebody started in the web app.

    Each ended run is handed on, and always with the same ``dag_run_id``: start one DAG run per returned mapping, with
    ``TriggerDagRunOperator`` and ``skip_when_already_exists=True``. The cursor counts as moved only when this task has
    succeeded and Airflow has stored what it returned; from there on the tasks after it are responsible, with their own
    retries. If this task fails, is killed or is marked as success, the next look hands on the same runs again. Let only
    one DAG run look at a time (``max_active_runs=1``).

    The first look hands on nothing, unless ``since`` is given: it remembers which runs have ended already. Runs that
    were archived before a look are not listed by the platform, and a scheduled run that was canceled before a worker
    took it never was a run.

    The cursor is in the asset state store of the task's first asset, on Airflow 3.3 and newer. Give the task the asset
    that starts its DAG: ``inlets=[RUNS]``. Without an asset, and below 3.3, it is an XCom of this task; there, the DAG
    needs a schedule by time, because Airflow finds the XComs of earlier DAG runs by their logical date.

    :param dataset_ids: Only the runs on these datasets, at most 50. Empty (default): all runs of the connection's user.
        Templated.
    :param include_team: Also the runs of the other members of the user's team. Default: False.
    :param states: Only the runs that ended in these states; the others count as handed on. Default: all of
        ``COMPLETED``, ``FAILED``, ``CRASHED`` and ``ABORTED``.
    :param since: For the first look: hand on the runs that have ended and changed since this time. None (default):
        only those that end after the first look. Templated.
    :param max_runs: At most so many runs per look, the oldest first; the next look lists the rest. Airflow maps a task
        over at most 1,024 by default. Default: 500, which is also the maximum.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: A list with a mapping for each run that ended: ``run_id``, ``dataset_id`` and ``scheduled_run_id`` (None:
        it has none), ``state``, ``message`` (the platform's reason; None: there is none), and ``dag_run_id``, the id
        for the DAG run about it.
    :raises ValueError: An argument is invalid, or the cursor cannot be kept. Nothing was handed on.
    :raises LightlyStoredFormError: A newer version of the provider stored the cursor.
    :raises LightlyApiError: The runs could not be listed. Nothing was handed on.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "dataset_ids", "since")
    custom_operator_name = "Lightly list ended runs"
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        dataset_ids: Sequence[str] | None = (),
        include_team: bool = False,
        states: Sequence[str] | None = None,
        since: datetime | str | float | None = None,
        max_runs: int = 500,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_ids = dataset_ids
        self.include_team = include_team
        self.states = states
        self.since = since
        self.max_runs = max_runs
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_ids):
            for dataset_id in self.dataset_ids or ():
                check_id(dataset_id, argument="dataset_ids")
            if len(self.dataset_ids or ()) > _MOST_DATASETS:
                raise ValueError(
                    f"dataset_ids has {len(self.dataset_ids or ()):,} ids, and each is a request per look; give at "
                    f"most {_MOST_DATASETS}, or leave it empty for all datasets."
                )
        if self.states is not None:
            from lightly_provider.contract import RunState

            for state in names_of(self.states, argument="states"):
                check_choice(state, [str(each) for each in RunState if each.is_terminal], argument="states")
        if self.since is not None and is_static(self.since):
            moment_of(self.since, argument="since")
        if not 1 <= self.max_runs <= _MOST_RUNS:
            raise ValueError(f"max_runs is {self.max_runs}; give a number from 1 to {_MOST_RUNS}.")

    def perform(self, context: Context) -> list[dict[str, Any]]:
        """List the runs, and remember which ones."""
        from lightly_provider.events.batches import digest_of, owner_of
        from lightly_provider.runs.ended import Cursor

        ti = context["ti"]
        owner = owner_of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        memory = _Memory(self, context)
        cursor = self._cursor(memory, owner, ti)
        look = self._read(cursor)
        now_ms = int(time.time() * 1000)
        if cursor is None:
            since_ms = None if self.since is None else moment_of(self.since, argument="since") * 1000
            cursor = Cursor.first(look, since_ms=since_ms, now_ms=now_ms)
            self.log.info("This is the first look: %s runs exist.", f"{len(look.runs):,}")
        cursor, found = cursor.after(look, owner=owner, digest=digest_of(owner), now_ms=now_ms, most=self.max_runs)
        returned = [
            _as_dict(run) for run in [*found.again, *found.new] if self.states is None or run.state in self.states
        ]
        memory.write(replace(cursor, returned=_digest_of_runs(returned)).to_json())
        if look.missing_datasets:
            self.log.warning("These datasets do not exist any more: %s", ", ".join(look.missing_datasets))
        if found.n_forgotten:
            self.log.warning(
                "Runs that have not ended for long and are not watched any more: %s.", f"{found.n_forgotten:,}"
            )
        self.log.info(
            "Runs that have ended since the last look: %s; handed on again: %s; left for the next look: %s.",
            *(f"{n:,}" for n in (len(found.new), len(found.again), found.n_left)),
        )
        return returned

    def _cursor(self, memory: _Memory, owner: Mapping[str, Any], ti: Any) -> Cursor | None:
        from lightly_provider.runs.ended import Cursor

        stored = memory.read()
        if stored is None:
            return None
        try:
            cursor = Cursor.from_json(stored)
        except ValueError as error:
            raise ValueError(
                f"What is in {memory.place} is not a cursor of ended runs: {shown(error, longest=200)}. Nothing was "
                "handed on; delete it there, and give since, so that no run is missed."
            ) from None
        if cursor.owner != owner and _was_handed_on(ti, cursor):
            return cursor
        if cursor.new:
            self.log.info("Handing on %s runs: no task that succeeded has returned them yet.", len(cursor.new))
        return cursor.taken_back()

    def _read(self, cursor: Cursor | None) -> Look:
        from lightly_provider.exceptions import LightlyNotFoundError
        from lightly_provider.runs.ended import Look

        look = Look(cursor, dataset_ids=self.dataset_ids or (), include_team=self.include_team)
        while (call := look.next_call()) is not None:
            try:
                response = self.hook.client.send(call)
            except LightlyNotFoundError:
                look.take_missing()
            else:
                look.take(response)
        return look


class _Memory:
    """
    Where a task keeps its cursor from one DAG run to the next.

    :param operator: The task.
    :param context: Its context.
    :raises ValueError: Airflow could not find what earlier DAG runs kept.
    """

    def __init__(self, operator: ListEndedRunsOperator, context: Context) -> None:
        self._ti: Any = context["ti"]
        self._store: Any = None
        place = f"{self._ti.dag_id}/{operator.task_id}"
        if self._ti.map_index is not None and self._ti.map_index >= 0:
            place += f"/{self._ti.map_index}"
        self._key = f"lightly_ended_runs_{hashlib.sha256(place.encode()).hexdigest()[:16]}"
        self.place = f"the XCom {_XCOM_KEY} of {place}"
        asset: Any = next((each for each in _edges(operator) if isinstance(each, classes_of_assets())), None)
        if asset is not None and "asset_state_store" in context:
            self._store = context["asset_state_store"][asset]
            self.place = f"the state {self._key} of the asset {getattr(asset, 'name', asset)}"
        elif getattr(context["dag_run"], "logical_date", None) is None:
            raise ValueError(
                f"Task {place} keeps its cursor in an XCom, which Airflow finds again only by the logical date of a "
                "DAG run, and this one has none. Give the DAG a schedule by time; or, on Airflow 3.3 and newer, give "
                "the task an asset, e.g. inlets=[RUNS]."
            )

    def read(self) -> Any:
        """Return what the last look kept; None: there is nothing."""
        return pushed_before(self._ti, _XCOM_KEY) if self._store is None else self._store.get(self._key)

    def write(self, value: dict[str, Any]) -> None:
        """Keep this for the next look."""
        if self._store is None:
            self._ti.xcom_push(key=_XCOM_KEY, value=value)
        else:
            self._store.set(self._key, value)


def _edges(operator: Any) -> list[Any]:
    return [*(operator.inlets or ()), *(operator.outlets or ())]


def _as_dict(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "dataset_id": run.dataset_id,
        "scheduled_run_id": run.scheduled_id,
        "state": run.state,
        "message": None if run.message is None else shown(run.message, longest=500),
        "dag_run_id": f"lightly_run__{run.id}",
    }


def _has_returned(ti: Any, batch: Batch) -> bool:
    """
    Return whether the batch's owner has succeeded, and Airflow has stored that it returned this batch.

    Success alone is not enough: a person can mark a task as success, and an earlier try of it, which Airflow took for
    dead, can have stored the batch.
    """
    if _state_of(batch.owner) != "success":
        return False
    stored = returned_by(ti, **batch.owner)
    return isinstance(stored, list) and batch.id in {one.get("batch_id") for one in stored if isinstance(one, dict)}


def _was_handed_on(ti: Any, cursor: Cursor) -> bool:
    state = _state_of(cursor.owner)
    # Airflow does not know the task any more if its DAG run was deleted: by a user soon, because it had failed, or
    # much later by `airflow db clean`, which must not start everything again. Likewise what the task returned.
    is_old = time.time() - cursor.looked_at > _DELETED_BY_AGE_S
    if state != "success":
        return state == DELETED and is_old
    if cursor.returned is None:  # an earlier version stored it
        return True
    stored = returned_by(ti, **cursor.owner)
    return is_old if stored is None else _digest_of_runs(stored) == cursor.returned


def _digest_of_runs(returned: Any) -> str:
    """Return a short text that stands for a list of runs as the task returns it."""
    ids = sorted(str(run.get("run_id")) for run in returned if isinstance(run, dict)) if returned else []
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _state_of(owner: Mapping[str, Any]) -> str | None:
    from types import SimpleNamespace

    from lightly_provider.runs.task_state import state_of_task

    return state_of_task(SimpleNamespace(**owner))


def _check_prefix(location: S3Location, routes: Routes) -> None:
    from lightly_provider.events.batches import longest_manifest_name
    from lightly_provider.events.store import LONGEST_NAME

    longest = longest_manifest_name(routes.locations)
    if len(f"{location.prefix}{longest}".encode()) > _LONGEST_KEY:
        raise ValueError(
            f"The name of a manifest, {shown(location.uri, longest=100)} followed by {shown(longest, longest=100)}, "
            f"has more than the {_LONGEST_KEY:,} bytes of a key of S3; shorten manifest_prefix, or the dataset's name."
        )
    if len(location.prefix.encode()) + LONGEST_NAME > _LONGEST_KEY:
        raise ValueError(
            f"manifest_prefix is {shown(location.uri, longest=200)}, and the names of the batches below it would have "
            f"more than the {_LONGEST_KEY:,} bytes of a key of S3; shorten it."
        )
    for dataset, files in routes.locations.items():
        one, other = sorted((location.prefix, files.prefix), key=len)
        if location.bucket == files.bucket and other.startswith(one):
            raise ValueError(
                f"manifest_prefix is {shown(location.uri)} and the files of {shown(dataset)!r} are in "
                f"{shown(files.uri)}, one within the other, so a manifest could be taken for an upload. Choose a "
                "prefix apart from all datasets."
            )
