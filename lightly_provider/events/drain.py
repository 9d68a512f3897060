"""
Drain the queue of uploads: one manifest per dataset, and nothing lost or handed on twice.

The order makes it safe to be killed at any moment. A batch is stored, then its manifests are written, then its messages
are deleted. Whether the batch was handed on is decided by the next drain: Airflow stores what a task returns only when
the task succeeds. Until then, each drain hands it on again, with the same names.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.events.batches import Batch, sort_messages
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from logging import Logger

    from lightly_provider.events.batches import Message, Sorted
    from lightly_provider.events.queue import Queue
    from lightly_provider.events.routing import Routes
    from lightly_provider.events.store import BatchStore

_MOST_SHOWN = 5
_LONGEST_PART = 150  # of the 250 characters of a run's id


@dataclass(frozen=True)
class Manifest:
    """
    The uploads of one dataset in one batch.

    :param dataset: The dataset.
    :param uri: Address of the manifest.
    :param n_files: How many files it lists.
    :param batch_id: The batch.
    """

    dataset: str
    uri: str
    n_files: int
    batch_id: str

    def as_dict(self) -> dict[str, Any]:
        """Return it for XCom; ``run_id`` is the id of the DAG run that this manifest is for, the same each time."""
        return {
            "dataset": self.dataset,
            "manifest": self.uri,
            "n_files": self.n_files,
            "batch_id": self.batch_id,
            "run_id": f"uploads__{self.batch_id}__{_for_a_run_id(self.dataset)}",
        }


def drain(
    queue: Queue,
    store: BatchStore,
    routes: Routes,
    *,
    owner: Mapping[str, Any],
    was_handed_on: Callable[[Mapping[str, Any]], bool],
    most_messages: int,
    visibility_timeout: int = 300,
    log: Logger | Any,
) -> list[Manifest]:
    """
    Read all messages, write the manifests, and delete the messages.

    :param queue: The queue.
    :param store: The batches and manifests.
    :param routes: The datasets.
    :param owner: The task instance that hands on what is returned.
    :param was_handed_on: Whether a task instance has succeeded.
    :param most_messages: At most about so many messages.
    :param visibility_timeout: Seconds after which the messages of a drain that was killed are received again; one that
        goes on extends it. Default: 300.
    :param log: The task's log.
    :return: The manifests, also those of earlier batches that may not have been handed on.
    """
    # What this task instance handed on before it was cleared.
    batches = store.finished_by(owner)
    stored = store.open_batches()
    for batch in stored:
        if batch.owner != owner and was_handed_on(batch.owner):
            store.finish(batch)
            continue
        if batch.owner != owner:
            store.open(batch := replace(batch, owner=owner))
        batches.append(batch)
        log.info("Handing on %s again: the task that wrote it did not succeed.", _described(batch))
    store.forget_old()

    messages = queue.receive(most=most_messages, visibility_timeout=visibility_timeout)
    with queue.held(messages, visibility_timeout=visibility_timeout):
        known = {one for batch in [*stored, *batches] for one in batch.message_ids}
        known |= store.finished_messages([message for message in messages if message.id not in known])
        found = sort_messages([message for message in messages if message.id not in known], routes)
        _report(found, messages, queue, log)
        batch = Batch.of(found, routes, owner=owner)
        if batch.keys:
            store.open(batch)
            batches.append(batch)
        manifests = [manifest for batch in batches for manifest in _written(store, batch)]
        understood = {message.id for message in found.read}
        n_left = queue.delete([message for message in messages if message.id in known | understood])
    if n_left:
        log.warning("Messages that could not be deleted: %s; the next drain deletes them.", f"{n_left:,}")
    return manifests


def _for_a_run_id(dataset: str) -> str:
    """Return the dataset's name in the characters of Airflow's default ``[scheduler] allowed_run_id_pattern``."""
    readable = re.sub(r"[^A-Za-z0-9_.~:+-]", "-", dataset)[:_LONGEST_PART]
    return readable if readable == dataset else f"{readable}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def _written(store: BatchStore, batch: Batch) -> list[Manifest]:
    return [
        Manifest(dataset, uri, len(batch.keys[dataset]), batch.id)
        for dataset, uri in store.write_manifests(batch).items()
    ]


def _described(batch: Batch) -> str:
    n_files = sum(map(len, batch.keys.values()))
    return f"batch {batch.id} with {n_files:,} files for {len(batch.keys):,} datasets"


def _report(found: Sorted, messages: Sequence[Message], queue: Queue, log: Logger | Any) -> None:
    n_files = sum(map(len, found.keys.values()))
    log.info(
        "Messages received: %s. New files: %s, for datasets: %s. Files that were removed: %s.",
        f"{len(messages):,}",
        f"{n_files:,}",
        f"{len(found.keys):,}",
        f"{found.n_removed:,}",
    )
    if found.n_unrouted:
        log.warning(
            "Files that belong to no dataset: %s, e.g. %s.",
            f"{found.n_unrouted:,}",
            ", ".join(shown(one, longest=200) for one in found.unrouted),
        )
    if found.unreadable:
        for message_id, why in [*found.unreadable.items()][:_MOST_SHOWN]:
            log.warning("Message %s stays in the queue: %s.", shown(message_id, longest=100), shown(why, longest=500))
        then = (
            "SQS moves them away by the queue's redrive policy"
            if queue.has_redrive_policy()
            else "the queue has no redrive policy, so they return until they expire; give it one"
        )
        log.warning("Messages that stay in the queue: %s; %s.", f"{len(found.unreadable):,}", then)
