"""
A batch of uploads: the messages that were read together, and what each dataset got.

A batch is stored before its manifests are written, and its messages are deleted only after that. So whatever is
killed, each message is either in a stored batch or still in the queue.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lightly_provider.aws.location import relative_name_fault
from lightly_provider.events.messages import Change, UnreadableMessageError, changes_of, last_of
from lightly_provider.foreign_text import is_storable
from lightly_provider.stored_forms import NEWEST, check_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lightly_provider.events.routing import Routes

_ID_DIGITS = 32
_LATEST_MS = 10**13  # so that a moment has at most 13 digits, until the year 2286


@dataclass(frozen=True, slots=True)
class Message:
    """
    A message of the queue, without its text, which may have 1 MiB: what it says is read when it is received.

    :param id: Its id, the same each time it is received.
    :param receipt: The receipt of this reception, with which it can be deleted.
    :param changes: The objects that it says were created or removed.
    :param fault: Why it was not understood; empty: it was.
    :param sent_ms: When it was sent, in milliseconds since the epoch.
    :param n_receptions: How often it was received, approximately.
    """

    id: str
    receipt: str = field(repr=False)
    changes: Sequence[Change] = field(default=(), repr=False)
    fault: str = ""
    sent_ms: int = 0
    n_receptions: int = 1

    @classmethod
    def read(cls, id_: str, receipt: str, body: str, *, sent_ms: int = 0, n_receptions: int = 1) -> Message:
        """
        Read a message.

        :param id_: Its id.
        :param receipt: The receipt of this reception.
        :param body: Its text.
        :param sent_ms: When it was sent.
        :param n_receptions: How often it was received.
        """
        try:
            return cls(id_, receipt, changes_of(body), "", sent_ms, n_receptions)
        except UnreadableMessageError as error:
            return cls(id_, receipt, (), str(error), sent_ms, n_receptions)


@dataclass(frozen=True)
class Sorted:
    """
    What messages say.

    :param keys: The uploaded files by dataset, each once, in alphabetical order, as keys of the dataset's bucket.
    :param read: The messages that were understood; all but these stay in the queue.
    :param unreadable: Why each of the others was not understood, by message id.
    :param n_removed: How many files were removed and not created again.
    :param unrouted: Files in the buckets of the datasets that belong to none, as ``s3://`` addresses; the first ones.
    :param n_unrouted: How many there are.
    :param unusable: Files with names that cannot be given to a worker, as ``s3://`` addresses; the first ones.
    :param n_unusable: How many there are.
    """

    keys: Mapping[str, Sequence[str]]
    read: Sequence[Message]
    unreadable: Mapping[str, str]
    n_removed: int = 0
    unrouted: Sequence[str] = ()
    n_unrouted: int = 0
    unusable: Sequence[str] = ()
    n_unusable: int = 0


def sort_messages(messages: Iterable[Message], routes: Routes, *, most_shown: int = 5) -> Sorted:
    """
    Determine which dataset got which files.

    Of all changes of one file, the last one counts. A message that is not understood, or is about buckets of which no
    dataset is known, changes nothing.

    :param messages: The messages.
    :param routes: The datasets.
    :param most_shown: How many files without a dataset to name. Default: 5.
    """
    by_place: dict[tuple[str, str], list[Change]] = {}
    read, unreadable = [], {}
    for message in messages:
        if message.fault:
            unreadable[message.id] = message.fault
            continue
        changes = message.changes
        foreign = {change.bucket for change in changes} - routes.buckets
        if foreign and len(foreign) == len({change.bucket for change in changes}):
            unreadable[message.id] = f"it is about the bucket {min(foreign)}, and no dataset's files are there"
            continue
        read.append(message)
        for change in changes:
            by_place.setdefault((change.bucket, change.key), []).append(change)
    keys: dict[str, list[str]] = {}
    unrouted: list[str] = []
    unusable: list[str] = []
    n_removed = n_unrouted = n_unusable = 0
    for (bucket, key), of_key in sorted(by_place.items()):
        change = last_of(of_key)
        dataset = routes.dataset_of(bucket, key)
        if dataset is None:
            if routes.dataset_around(bucket, key) is not None:
                continue  # Lightly's own, or a folder
            n_unrouted += 1
            if len(unrouted) < most_shown:
                unrouted.append(f"s3://{bucket}/{key}")
        elif change.is_removed:
            n_removed += 1
        elif relative_name_fault(key[len(routes.locations[dataset].prefix) :]):
            # One such name in a manifest, and the run on all of it would be refused.
            n_unusable += 1
            if len(unusable) < most_shown:
                unusable.append(f"s3://{bucket}/{key}")
        else:
            keys.setdefault(dataset, []).append(key)
    return Sorted(keys, read, unreadable, n_removed, unrouted, n_unrouted, unusable, n_unusable)


@dataclass(frozen=True)
class Batch:
    """
    Uploads that were read together.

    :param message_ids: The messages that announced them.
    :param keys: The uploaded files by dataset, as keys of the dataset's bucket.
    :param buckets: The bucket of each of these datasets.
    :param sent_ms: When the first and the last message was sent, in milliseconds since the epoch.
    :param owner: The task instance that hands the batch on, see :func:`owner_of`.
    """

    message_ids: Sequence[str]
    keys: Mapping[str, Sequence[str]]
    buckets: Mapping[str, str]
    sent_ms: tuple[int, int]
    owner: Mapping[str, Any]

    @classmethod
    def of(cls, found: Sorted, routes: Routes, *, owner: Mapping[str, Any]) -> Batch:
        """
        Make a batch of what messages say.

        :param found: What they say.
        :param routes: The datasets.
        :param owner: The task instance that hands the batch on.
        """
        sent = [min(max(message.sent_ms, 0), _LATEST_MS - 1) for message in found.read] or [0]
        return cls(
            message_ids=sorted(message.id for message in found.read),
            keys=found.keys,
            buckets={dataset: routes.locations[dataset].bucket for dataset in found.keys},
            sent_ms=(min(sent), max(sent)),
            owner=owner,
        )

    @classmethod
    def from_json(cls, text: bytes) -> Batch:
        """
        Read a stored batch.

        :param text: What :meth:`to_json` returned.
        :raises LightlyStoredFormError: A newer version of the provider stored it.
        :raises ValueError: It is not a stored batch.
        """
        stored = json.loads(text)
        if not isinstance(stored, dict):
            raise ValueError("it is not a JSON object")
        check_version(stored, what="The batch of uploads")
        for member, is_valid in _MEMBERS.items():
            if not is_valid(stored.get(member)):
                raise ValueError(f"its member {member!r} is missing or invalid")
        if stored["buckets"].keys() != stored["keys"].keys():
            raise ValueError("its members 'keys' and 'buckets' are about different datasets")
        first, last = stored["sent_ms"]
        return cls(stored["message_ids"], stored["keys"], stored["buckets"], (first, last), stored["owner"])

    def to_json(self) -> bytes:
        """Return the batch as JSON."""
        return json.dumps(
            {
                "version": NEWEST,
                "message_ids": list(self.message_ids),
                "keys": {dataset: list(keys) for dataset, keys in self.keys.items()},
                "buckets": dict(self.buckets),
                "sent_ms": list(self.sent_ms),
                "owner": dict(self.owner),
            },
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()

    @property
    def id(self) -> str:
        """The batch's id: equal messages have the same one."""
        return hashlib.sha256("\n".join(self.message_ids).encode()).hexdigest()[:_ID_DIGITS]

    def manifest_name(self, dataset: str) -> str:
        """Return the name of a dataset's manifest, below the prefix of all manifests."""
        return _manifest_name(dataset, self.id)

    def manifest(self, dataset: str) -> bytes:
        """Return a dataset's manifest: a JSON object per line, with the file's address as ``source-ref``."""
        bucket = self.buckets[dataset]
        lines = (json.dumps({"source-ref": f"s3://{bucket}/{key}"}, ensure_ascii=False) for key in self.keys[dataset])
        return "".join(f"{line}\n" for line in lines).encode()


def _manifest_name(dataset: str, batch_id: str) -> str:
    return f"{quote(dataset, safe='')}/{batch_id}.jsonl"


def longest_manifest_name(datasets: Iterable[str]) -> str:
    """Return the longest name of a manifest that these datasets may get."""
    return max((_manifest_name(dataset, "0" * _ID_DIGITS) for dataset in datasets), key=len)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and is_storable(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


# What a stored batch is, by member.
_MEMBERS: Mapping[str, Callable[[Any], bool]] = {
    "message_ids": _are_texts,
    "keys": lambda value: (
        isinstance(value, dict) and all(map(_is_text, value)) and all(map(_are_texts, value.values()))
    ),
    "buckets": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "sent_ms": lambda value: (
        isinstance(value, list) and len(value) == 2 and all(_is_number(one) and 0 <= one < _LATEST_MS for one in value)
    ),
    "owner": lambda value: (
        isinstance(value, dict)
        and value.keys() == {"dag_id", "run_id", "task_id", "map_index"}
        and all(_is_text(value[name]) for name in ("dag_id", "run_id", "task_id"))
        and _is_number(value["map_index"])
    ),
}


def owner_of(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> dict[str, Any]:
    """Return the task instance that hands a batch on, as a batch stores it."""
    return {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": -1 if map_index is None else map_index}


def digest_of(owner: Mapping[str, Any]) -> str:
    """Return a short text that stands for a task instance in a file's name."""
    return hashlib.sha256(json.dumps(dict(owner), sort_keys=True).encode()).hexdigest()[:16]
