"""What S3's notifications say, in each of the forms in which they arrive."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from lightly_provider.events.messages import Change, UnreadableMessageError, changes_of, last_of

A = Change("photos", "raw/a b+c/ü.jpg")


def record(
    key: str, event: str = "ObjectCreated:Put", *, bucket: str = "photos", sequencer: str = ""
) -> dict[str, Any]:
    """A record as AWS documents it."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": event,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "sequencer": sequencer}},
    }


def eventbridge(key: str, kind: str = "Object Created") -> dict[str, Any]:
    """An event of EventBridge as AWS documents it."""
    detail = {
        "bucket": {"name": "photos"},
        "object": {"key": key, "size": 1, "sequencer": "0062"},
        "reason": "PutObject",
    }
    return {"version": "0", "source": "aws.s3", "detail-type": kind, "detail": detail}


def versioned(event: str, *, version: Any = "v1") -> dict[str, Any]:
    """A record of a bucket with versions."""
    found = record("a", event)
    found["s3"]["object"]["versionId"] = version
    return found


def deleted(kind: str) -> dict[str, Any]:
    """An event of EventBridge about a bucket with versions."""
    event = eventbridge("a", "Object Deleted")
    event["detail"]["object"]["version-id"] = "v1"
    event["detail"]["deletion-type"] = kind
    return event


def by_sns(content: dict[str, Any]) -> dict[str, Any]:
    """The same as SNS wraps it."""
    return {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:::t", "Message": json.dumps(content)}


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        ({"Records": [record("raw/a+b%2Bc/%C3%BC.jpg")]}, [A]),
        (by_sns({"Records": [record("raw/a+b%2Bc/%C3%BC.jpg")]}), [A]),
        (eventbridge("raw/a b+c/ü.jpg"), [Change("photos", A.key, sequencer="0062")]),
        (by_sns(eventbridge("raw/100%.jpg")), [Change("photos", "raw/100%.jpg", sequencer="0062")]),
        (eventbridge("a", "Object Deleted"), [Change("photos", "a", is_removed=True, sequencer="0062")]),
        (eventbridge("a", "Object Tags Added"), []),
        ({"Records": [record("a", "ObjectRemoved:DeleteMarkerCreated")]}, [Change("photos", "a", is_removed=True)]),
        ({"Records": [record("a", "LifecycleExpiration:Delete")]}, [Change("photos", "a", is_removed=True)]),
        ({"Records": [record("a", "s3:ObjectCreated:CompleteMultipartUpload")]}, [Change("photos", "a")]),
        ({"Records": [record("a", "ObjectTagging:Put"), record("b")]}, [Change("photos", "b")]),
        ({"Records": [record("a", sequencer="00aF"), record("b", sequencer="x" * 99)]},
         [Change("photos", "a", sequencer="00AF"), Change("photos", "b")]),
        ({"Records": [{**record("a"), "s3": {"bucket": {"name": "photos"}, "object": {"key": "a", "sequencer": {}}}}]},
         [Change("photos", "a")]),
        ({"Records": []}, []),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"}, []),
    ],
)  # fmt: skip
def test_the_changes_of_a_message(content: dict[str, Any], changes: list[Change]) -> None:
    assert changes_of(json.dumps(content)) == changes


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ('{"job": "done"}', "neither 'Records' of S3 nor"),
        ('{"Records": {}}', "neither 'Records' of S3 nor"),
        (json.dumps({"Records": [{"eventSource": "aws:sqs"}]}), "not from S3"),
        (json.dumps({"Records": ["a"]}), "not from S3"),
        (json.dumps({"Records": [{**record("a"), "s3": None}]}), "no name of a bucket"),
        (json.dumps({"Records": [record("")]}), "no key"),
        (json.dumps({"Records": [record("%FF.jpg")]}), "not encoded UTF-8"),
        (json.dumps({"Records": [record("a%00.jpg")]}), "is none that S3 stores"),
        (json.dumps({"Records": [record("a" * 1025)]}), "is none that S3 stores"),
        (json.dumps({"source": "aws.s3", "detail-type": "Object Created"}), "no 'detail'"),
        (json.dumps({"Type": "Notification", "Message": "no"}), "not JSON"),
        (json.dumps({"Records": [record("a", event=["ObjectCreated:Put"])]}), "does not say what happened"),  # type: ignore[arg-type]
        (json.dumps({"Records": [record("a", event="")]}), "does not say what happened"),
        (json.dumps({"source": "aws.s3", "detail-type": {}}), "does not say what happened"),
        (
            json.dumps({"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {}}),
            "'AWS API Call via CloudTrail' of EventBridge",
        ),
        (json.dumps({"Records": [{**record("a"), "s3": {"bucket": {"name": 5}, "object": {"key": "a"}}}]}), "no name"),
        (
            json.dumps({"Records": [{**record("a"), "s3": {"bucket": {"name": "b"}, "object": {"key": ["a"]}}}]}),
            "no key",
        ),
        (json.dumps({"Records": [{}] * 10_001}), "10,001 records"),
        (json.dumps(eventbridge("a\x00.jpg")), "is none that S3 stores"),
        (json.dumps(eventbridge("a\ud800.jpg")), "is none that S3 stores"),
        (json.dumps({"Records": [record("%ED%A0%80.jpg")]}), "not encoded UTF-8"),
        ("9" * 5_000, "not JSON"),
        ('{"Records": ' * 50_000 + "1" + "}" * 50_000, "not JSON"),
        ("\x85\u202e" * 128 * 1024, "not JSON"),
        (
            json.dumps(
                {"Type": "Notification", "Message": json.dumps({"Type": "Notification", "Message": "[" * 99_999})}
            ),
            "not JSON",
        ),
        ("x" * (1024 * 1024 + 1), "more than a message of SQS"),
    ],
)
def test_a_message_that_is_none_of_them_says_why(body: str, why: str) -> None:
    with pytest.raises(UnreadableMessageError, match=None) as refused:
        changes_of(body)
    assert why in str(refused.value)
    assert str(refused.value).isprintable()


CREATED, REMOVED = Change("b", "k"), Change("b", "k", is_removed=True)
V1, V2 = Change("b", "k", sequencer="01", version="v1"), Change("b", "k", sequencer="02", version="v2")
NULL = Change("b", "k", sequencer="01", version="null")
MARKER = Change("b", "k", is_removed=True, sequencer="03", version="m")


def without(change: Change, sequencer: str = "09") -> Change:
    """The deletion of what a change created."""
    return Change("b", "k", True, sequencer, change.version, is_of_version=True)


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ([Change("b", "k", sequencer="00A1"), Change("b", "k", is_removed=True, sequencer="00B0")], 1),
        ([Change("b", "k", is_removed=True, sequencer="00A1"), Change("b", "k", sequencer="00A11")], 1),
        ([Change("b", "k", sequencer="0"), Change("b", "k", sequencer="001")], 1),
        ([REMOVED, Change("b", "k", sequencer="00A1")], 1),
        # A creation without a sequencer may be later than all others.
        ([Change("b", "k", sequencer="02"), Change("b", "k", is_removed=True, sequencer="03"), CREATED], 2),
        ([REMOVED, CREATED], 1),
        ([Change("b", "k", is_removed=True, sequencer="00A"), Change("b", "k", sequencer="00A0")], 1),
        # The deletion of an older version leaves the file; that of the only one does not.
        ([V1, V2, without(V1)], 1),
        ([V1, V2, without(V2)], 0),
        ([V1, without(V1)], 1),
        ([without(V1, "")], 0),
        # The deletion of a delete marker brings the file back.
        ([V2, MARKER], 1),
        ([V2, MARKER, without(MARKER)], 0),
        # A bucket whose versions are suspended names each one "null".
        ([NULL, without(NULL, "02"), Change("b", "k", sequencer="03", version="null")], 2),
    ],
)
def test_the_last_change_of_a_file_counts_in_whatever_order_they_arrive(changes: list[Change], last: int) -> None:
    assert {last_of(order) for order in permutations(changes)} == {changes[last]}


@pytest.mark.parametrize(
    ("content", "change"),
    [
        ({"Records": [versioned("ObjectCreated:Put")]}, Change("photos", "a", version="v1")),
        ({"Records": [versioned("ObjectRemoved:Delete")]}, Change("photos", "a", True, "", "v1", is_of_version=True)),
        (
            {"Records": [versioned("LifecycleExpiration:Delete")]},
            Change("photos", "a", True, "", "v1", is_of_version=True),
        ),
        ({"Records": [versioned("ObjectRemoved:DeleteMarkerCreated")]}, Change("photos", "a", True, version="v1")),
        (
            {"Records": [versioned("LifecycleExpiration:DeleteMarkerCreated")]},
            Change("photos", "a", True, version="v1"),
        ),
        ({"Records": [versioned("ObjectRemoved:Delete", version="")]}, Change("photos", "a", True)),
        ({"Records": [versioned("ObjectRemoved:Delete", version=7)]}, Change("photos", "a", True)),
        (deleted("Permanently Deleted"), Change("photos", "a", True, "0062", "v1", is_of_version=True)),
        (deleted("Delete Marker Created"), Change("photos", "a", True, "0062", "v1")),
    ],
)
def test_which_version_a_change_is_about(content: dict[str, Any], change: Change) -> None:
    assert changes_of(json.dumps(content)) == [change]
