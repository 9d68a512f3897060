"""
Read S3's event notifications from the bodies of SQS messages.

They arrive directly, wrapped by SNS, or through EventBridge (AWS docs: S3 user guide, "Event message structure" and
"EventBridge event message structure"; SNS developer guide, "Parsing message formats").
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from lightly_provider.foreign_text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

# SQS takes no longer message (AWS docs: SQS developer guide, "Amazon SQS message quotas").
LONGEST_BODY = 1024 * 1024

_LONGEST_KEY = 1024  # bytes; AWS docs: S3 user guide, "Naming Amazon S3 objects"
_LONGEST_BUCKET_NAME = 255  # buckets created in us-east-1 before March 2018
_LONGEST_SEQUENCER = 64
_LONGEST_VERSION = 1024  # AWS docs: S3 user guide, "How S3 Versioning works"
_MOST_RECORDS = 10_000
# EventBridge may deliver to SNS, which delivers to SQS.
_MOST_WRAPPERS = 3

_CREATED, _REMOVED = "ObjectCreated:", ("ObjectRemoved:", "LifecycleExpiration:")
_CREATED_DETAIL, _REMOVED_DETAIL = "Object Created", "Object Deleted"
# What else S3 sends to EventBridge (AWS docs: S3 user guide, "EventBridge event message structure").
_OTHER_DETAILS = frozenset(
    {
        "Object Restore Initiated",
        "Object Restore Completed",
        "Object Restore Expired",
        "Object Storage Class Changed",
        "Object Access Tier Changed",
        "Object ACL Updated",
        "Object Tags Added",
        "Object Tags Deleted",
    }
)
_MARKER, _MARKER_DETAIL = ":DeleteMarkerCreated", "Delete Marker Created"
_TEST_EVENT = "s3:TestEvent"


class UnreadableMessageError(ValueError):
    """The body of a message is not an event notification of S3; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    An object that was created or removed.

    :param bucket: Name of the bucket.
    :param key: Key of the object.
    :param is_removed: Whether it was removed.
    :param sequencer: Hexadecimal digits that order the changes of one key, see :attr:`order`; empty: unknown.
    :param version: The version that the change created, or deleted; empty: the bucket has no versions.
    :param is_of_version: Whether only that version was deleted, and another one may have become the current one.
    """

    bucket: str
    key: str
    is_removed: bool = False
    sequencer: str = ""
    version: str = ""
    is_of_version: bool = False

    @property
    def order(self) -> tuple[int, str, bool]:
        """
        The position among the changes of the same key.

        Sequencers are compared as texts, after zeros are added to the end of the shorter one (AWS docs: S3 user guide,
        "Event message structure"). Without a sequencer, a creation is the last change and a removal the first one, so
        that no file is missed.
        """
        if not self.sequencer:
            return (0 if self.is_removed else 2), "", False
        return 1, self.sequencer.rstrip("0"), not self.is_removed


def last_of(changes: Sequence[Change]) -> Change:
    """
    Return the change of a key that counts: the last one.

    The deletion of a version takes back what created this version, be it a file or a delete marker, and nothing else
    (AWS docs: S3 user guide, "Deleting object versions from a versioning-enabled bucket").

    :param changes: All changes of one key, at least one, in any order.
    """
    deleted: dict[str, tuple[int, str, bool]] = {}
    for change in changes:
        if change.is_of_version:
            deleted[change.version] = max(change.order, deleted.get(change.version, change.order))
    left = [
        change
        for change in changes
        if not change.is_of_version and not (change.version in deleted and deleted[change.version] > change.order)
    ]
    return max(left or changes, key=lambda change: change.order)


def changes_of(body: str) -> list[Change]:
    """
    Return the objects that a message says were created or removed.

    Other events of S3 (its test event, tags, access control lists, archiving) are none.

    :param body: Body of the SQS message.
    :raises UnreadableMessageError: It is not an event notification of S3, or one that no file name can be taken from.
    """
    if len(body) > LONGEST_BODY:
        raise UnreadableMessageError(f"it has {len(body):,} characters, more than a message of SQS")
    content = _json_object(body)
    for _ in range(_MOST_WRAPPERS):
        if content.get("Type") != "Notification" or not isinstance(content.get("Message"), str):
            break
        content = _json_object(content["Message"])
    if content.get("Event") == _TEST_EVENT:
        return []
    if content.get("source") == "aws.s3":
        return _from_eventbridge(content)
    records = content.get("Records")
    if not isinstance(records, list):
        raise UnreadableMessageError("it has neither 'Records' of S3 nor the source 'aws.s3' of EventBridge")
    if len(records) > _MOST_RECORDS:
        raise UnreadableMessageError(f"it has {len(records):,} records")
    found = [_from_record(record) for record in records]
    return [change for change in found if change is not None]


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableMessageError("it is not JSON") from None
    if not isinstance(content, dict):
        raise UnreadableMessageError("it is not a JSON object")
    return content


def _from_record(record: Any) -> Change | None:
    if not isinstance(record, dict) or record.get("eventSource") not in ("aws:s3", None):
        raise UnreadableMessageError("a record is not from S3")
    if not isinstance(record.get("eventName"), str) or not record["eventName"]:
        raise UnreadableMessageError("a record does not say what happened ('eventName')")
    name = record["eventName"].removeprefix("s3:")
    is_removed = name.startswith(_REMOVED)
    if not is_removed and not name.startswith(_CREATED):
        return None
    s3 = record.get("s3")
    bucket, entry = (s3.get("bucket"), s3.get("object")) if isinstance(s3, dict) else (None, None)
    change = _change(bucket, entry, is_removed=is_removed, is_encoded=True)
    version = entry.get("versionId") if isinstance(entry, dict) else None
    return _with_version(change, version, is_marker=name.endswith(_MARKER))


def _from_eventbridge(content: dict[str, Any]) -> list[Change]:
    kind, detail = content.get("detail-type"), content.get("detail")
    if not isinstance(kind, str) or not kind:
        raise UnreadableMessageError("the event of EventBridge does not say what happened ('detail-type')")
    if kind in _OTHER_DETAILS:
        return []
    if kind not in (_CREATED_DETAIL, _REMOVED_DETAIL):
        # Such as 'AWS API Call via CloudTrail', which a rule for the source aws.s3 alone delivers too.
        raise UnreadableMessageError(f"it is {shown(repr(kind), longest=100)} of EventBridge, not what S3 itself sends")
    if not isinstance(detail, dict):
        raise UnreadableMessageError("the event of EventBridge has no 'detail'")
    # EventBridge passes keys as they are; S3's own notifications encode them.
    is_removed = kind == _REMOVED_DETAIL
    entry = detail.get("object")
    change = _change(detail.get("bucket"), entry, is_removed=is_removed, is_encoded=False)
    version = entry.get("version-id") if isinstance(entry, dict) else None
    return [_with_version(change, version, is_marker=detail.get("deletion-type") == _MARKER_DETAIL)]


def _with_version(change: Change, version: Any, *, is_marker: bool) -> Change:
    if not isinstance(version, str) or not 0 < len(version) <= _LONGEST_VERSION:
        return change
    return replace(change, version=version, is_of_version=change.is_removed and not is_marker)


def _change(bucket: Any, entry: Any, *, is_removed: bool, is_encoded: bool) -> Change:
    name = bucket.get("name") if isinstance(bucket, dict) else None
    key = entry.get("key") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_BUCKET_NAME or not name.isascii():
        raise UnreadableMessageError("a record has no name of a bucket")
    if not isinstance(key, str) or not key:
        raise UnreadableMessageError("a record has no key of an object")
    if is_encoded:
        try:
            key = unquote_plus(key, errors="strict")
        except UnicodeDecodeError:
            raise UnreadableMessageError(f"the key {shown(repr(key), longest=200)} is not encoded UTF-8") from None
    if not is_storable(key) or len(key.encode(errors="replace")) > _LONGEST_KEY:
        raise UnreadableMessageError(f"the key {shown(repr(key), longest=200)} is none that S3 stores as a file name")
    sequencer = str(entry.get("sequencer") or "").upper()
    is_usable = len(sequencer) <= _LONGEST_SEQUENCER and sequencer.isascii() and sequencer.isalnum()
    return Change(name, key, is_removed, sequencer if is_usable else "")
