"""
Drain the queue of uploads: one manifest per dataset, and nothing lost or handed on twice.

The order makes it safe to be killed at any moment. A batch is stored, then its manifests are written, then its messages
are deleted. Whether the batch was handed on is decided by the next drain: it was if Airflow has stored that a task
returned it. Until then, each drain hands it on again, with the same names.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.events.batches import Batch, sort_messages
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from logging import Logger

    from lightly_provider.events.batches import Message, Sorted
    from lightly_provider.events.queue import Queue
    from lightly_provider.events.routing import Routes
    from lightly_provider.events.store import BatchStore

_MOST_SHOWN = 5
_MOST_MANIFESTS_SHOWN = 50
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
    was_handed_on: Callable[[Batch], bool],
    most_messages: int,
    most_manifests: int = 1000,
    visibility_timeout: int = 300,
    log: Logger | Any,
) -> list[Manifest]:
    """
    Read all messages, write the manifests, and delete the messages.

    :param queue: The queue.
    :param store: The batches and manifests.
    :param routes: The datasets.
    :param owner: The task instance that hands on what is returned.
    :param was_handed_on: Whether the batch's owner has succeeded and returned it.
    :param most_messages: At most about so many messages.
    :param most_manifests: At most so many manifests, unless a single batch has more; the batches of the others are
        stored, and wait for the next drain. Default: 1000.
    :param visibility_timeout: Seconds after which the messages of a drain that was killed are received again; one that
        goes on extends it. Default: 300.
    :param log: The task's log.
    :return: The manifests, also those of earlier batches that may not have been handed on.
    """
    # What this task instance handed on before it was cleared.
    batches = store.finished_by(owner)
    stored = store.open_batches()
    n_later = 0
    finished = {batch.id for batch in batches}
    for batch in stored:
        # A drain may have been killed when it had finished a batch, and not yet deleted the open one.
        if batch.id in finished or (batch.owner != owner and was_handed_on(batch)):
            store.finish(batch)
            continue
        if batches and _n_manifests([*batches, batch]) > most_manifests:
            n_later += 1
            continue
        if batch.owner != owner:
            store.open(batch := replace(batch, owner=owner))
        batches.append(batch)
        log.info("Handing on %s: no task that succeeded has returned it yet.", _described(batch))
    store.forget_old()
    if n_later:
        _report_later(n_later, most_manifests, log)
        return [manifest for batch in batches for manifest in _written(store, batch)]

    # Each reception of a message counts for the redrive policy. So if nothing can be written, nothing is received.
    store.check_writable()
    messages = queue.receive(most=most_messages, visibility_timeout=visibility_timeout)
    with queue.held(messages, visibility_timeout=visibility_timeout) as is_stored:
        known = {one for batch in [*stored, *batches] for one in batch.message_ids}
        known |= store.finished_messages([message for message in messages if message.id not in known])
        new = [message for message in messages if message.id not in known]
        found = sort_messages(new, routes)
        _report(found, messages, queue, log)
        later: list[Batch] = []
        parts = [found]
        if len(found.keys) > (room := most_manifests - _n_manifests(batches)):
            groups = _divided(new, routes, first=room, each=most_manifests)
            parts = [sort_messages(some, routes) for some in groups]
        for part in parts:
            batch = Batch.of(part, routes, owner=owner)
            if not batch.keys:
                continue
            store.open(batch)
            fits = not batches or _n_manifests([*batches, batch]) <= most_manifests
            (batches if fits else later).append(batch)
        is_stored.set()
        manifests = [manifest for batch in batches for manifest in _written(store, batch)]
        # The messages of the batches that wait stay in the queue, so that the next DAG run is started for them.
        waiting = {one for batch in later for one in batch.message_ids}
        done = (known | {message.id for message in found.read}) - waiting
        _report_manifests(manifests, log)
        n_left = queue.delete([message for message in messages if message.id in done])
    if later:
        _report_later(len(later), most_manifests, log)
        queue.give_back([message for message in messages if message.id in waiting])
    if n_left:
        log.warning("Messages that could not be deleted: %s; the next drain deletes them.", f"{n_left:,}")
    return manifests


def _n_manifests(batches: Iterable[Batch]) -> int:
    return sum(len(batch.keys) for batch in batches)


def _divided(messages: Sequence[Message], routes: Routes, *, first: int, each: int) -> list[list[Message]]:
    """
    Divide messages into groups, each about a limited number of datasets. All messages about a dataset are in one group.

    :param messages: The messages.
    :param routes: The datasets.
    :param first: Number of datasets in the first group; in any group there is one at least.
    :param each: Number of datasets in each further group.
    """
    datasets_of = {
        message.id: {
            dataset
            for change in message.changes
            if (dataset := routes.dataset_of(change.bucket, change.key)) is not None
        }
        for message in messages
    }
    # Datasets that a message names together stay together.
    together: dict[str, set[str]] = {}
    for datasets in datasets_of.values():
        if not datasets or datasets <= together.get(next(iter(datasets)), set()):
            continue
        joined = set(datasets).union(*(together[one] for one in datasets if one in together))
        together |= dict.fromkeys(joined, joined)
    group_of: dict[str, int] = {}
    number, room = 0, first
    for dataset in sorted(together):
        if dataset in group_of:
            continue
        joined = together[dataset]
        if group_of and len(joined) > room:
            number, room = number + 1, each
        group_of |= dict.fromkeys(joined, number)
        room -= len(joined)
    groups: list[list[Message]] = [[] for _ in range(number + 1)]
    for message in messages:
        groups[group_of.get(next(iter(datasets_of[message.id]), ""), 0)].append(message)
    return groups


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


def _report_later(n_later: int, most_manifests: int, log: Logger | Any) -> None:
    log.warning(
        "Stored batches that wait for the next DAG run: %s, because of at most %s manifests at once. The messages in "
        "the queue wait with them.",
        f"{n_later:,}",
        f"{most_manifests:,}",
    )


def _report_manifests(manifests: Sequence[Manifest], log: Logger | Any) -> None:
    for one in manifests[:_MOST_MANIFESTS_SHOWN]:
        log.info("Dataset %s: %s files in %s", shown(one.dataset, longest=200), f"{one.n_files:,}", shown(one.uri))
    if n_more := len(manifests[_MOST_MANIFESTS_SHOWN:]):
        log.info("There are %s more manifests; the XCom of this task has all of them.", f"{n_more:,}")


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
    if found.n_unusable:
        log.warning(
            "Files with names that no worker can be given, which are in no manifest: %s, e.g. %s.",
            f"{found.n_unusable:,}",
            ", ".join(shown(one, longest=200) for one in found.unusable),
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
