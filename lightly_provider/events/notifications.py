"""
The rules by which S3 announces uploads in a queue, and the policies that these need. Pure.

Sources, all in AWS's documentation: S3 user guide, "Event notification types and destinations" (a queue or topic lies
in the bucket's region, and is not a FIFO one), "Configuring event notifications using object key name filtering" (how
names are encoded, and which rules overlap), "Granting permissions to publish event notification messages to a
destination"; S3 API reference, "PutBucketNotificationConfiguration" (it replaces the whole configuration, which has at
most 100 rules); SNS developer guide, "Subscribing an Amazon SQS queue to an Amazon SNS topic"; EventBridge user guide,
"Using resource-based policies for Amazon EventBridge".
"""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus

from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.aws.location import S3Location
    from lightly_provider.aws.policies import Statement

CREATED, REMOVED = "s3:ObjectCreated:*", "s3:ObjectRemoved:*"
_MEMBERS = {
    CREATED: ("Put", "Post", "Copy", "CompleteMultipartUpload"),
    REMOVED: ("Delete", "DeleteMarkerCreated"),
}
MOST_RULES = 100
_DESTINATIONS = {
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
}
EVENTBRIDGE = "EventBridgeConfiguration"
# "Safe characters" of the S3 user guide, "Naming Amazon S3 objects"; all others are encoded in a rule.
_SAFE = "/!-_.'()"
_QUEUE_ARN = (
    r"arn:(?P<partition>aws[a-z-]*):sqs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[A-Za-z0-9_-]{1,80})"
)
_TOPIC_ARN = r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}"
EVENTBRIDGE_RULE = "lightly-uploads"


class Via(StrEnum):
    """How S3's notifications reach the queue."""

    S3 = "s3"
    SNS = "sns"
    EVENTBRIDGE = "eventbridge"

    @property
    def service(self) -> str:
        """The service that sends to the queue."""
        return {Via.S3: "s3", Via.SNS: "sns", Via.EVENTBRIDGE: "events"}[self] + ".amazonaws.com"


@dataclass(frozen=True)
class QueueArn:
    """
    A standard queue.

    :param partition: Its AWS partition.
    :param region: Its region.
    :param account: Its account.
    :param name: Its name.
    """

    partition: str
    region: str
    account: str
    name: str

    @classmethod
    def parse(cls, arn: str, *, argument: str) -> QueueArn:
        """
        Parse the ARN of a queue.

        :param arn: ``arn:aws:sqs:<region>:<account>:<name>``.
        :param argument: Name of the argument, for the message.
        :raises ValueError: It is none, or that of a FIFO queue; the message has the next step.
        """
        if match := re.fullmatch(_QUEUE_ARN, arn):
            return cls(**match.groupdict())
        form = "write arn:aws:sqs:<region>:<account>:<name>"
        if re.fullmatch(_QUEUE_ARN + r"\.fifo", arn):
            raise ValueError(
                f"{argument} is {shown(arn, longest=200)!r}, a FIFO queue, and S3 sends event notifications to "
                "standard queues only; create a standard queue."
            )
        if arn.startswith(("https://", "http://")):
            parts = re.fullmatch(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com/(\d{12})/([A-Za-z0-9_-]+)", arn)
            form = f"write arn:aws:sqs:{':'.join(parts.groups())}" if parts else form
            raise ValueError(f"{argument} is {shown(arn, longest=300)!r}, which is the queue's URL; {form}.")
        raise ValueError(f"{argument} is {shown(arn, longest=300)!r}, which is not the ARN of a queue; {form}.")

    @property
    def url(self) -> str:
        """Its URL at AWS."""
        end = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"https://sqs.{self.region}.{end}/{self.account}/{self.name}"

    def __str__(self) -> str:
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.name}"


def check_topic_arn(arn: str, *, argument: str, queue: QueueArn) -> str:
    """
    Reject a text that is not the ARN of a standard topic.

    :param arn: ``arn:aws:sns:<region>:<account>:<name>``.
    :param argument: Name of the argument, for the message.
    :param queue: The queue, for the message.
    :raises ValueError: The message contains the expected form.
    """
    if re.fullmatch(_TOPIC_ARN, arn):
        return arn
    why = ", a FIFO topic, to which S3 does not send" if arn.endswith(".fifo") else ""
    raise ValueError(
        f"{argument} is {shown(arn, longest=300)!r}{why}; give the ARN of a standard topic in the bucket's region, "
        f"e.g. arn:{queue.partition}:sns:{queue.region}:{queue.account}:uploads."
    )


@dataclass(frozen=True)
class Rule:
    """
    A rule of a bucket's notification configuration.

    :param id: Its id.
    :param destination: ARN of the queue, topic or function that it sends to.
    :param events: The types of events.
    :param prefix: With what the keys begin; empty: anything.
    :param suffix: With what the keys end; empty: anything.
    """

    id: str
    destination: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def announces(self, event: str) -> bool:
        """Return whether it is about an event, e.g. ``s3:ObjectCreated:Put``."""
        return any(_is_same(event, one) for one in self.events)

    def overlaps(self, prefix: str, event: str) -> bool:
        """Return whether a rule for all keys with a prefix and the same destination or another would be refused."""
        return self.announces(event) and (self.prefix.startswith(prefix) or prefix.startswith(self.prefix))

    def __str__(self) -> str:
        ends = f" that end in {shown(self.suffix, longest=200)!r}" if self.suffix else ""
        begins = f"keys below {shown(self.prefix, longest=200)!r}" if self.prefix else "all keys"
        return f"rule {shown(self.id, longest=255)!r} to {shown(self.destination, longest=300)}, for {begins}{ends}"


def rules_of(configuration: Mapping[str, Any]) -> list[Rule]:
    """
    Return the rules of a notification configuration.

    :param configuration: As S3's ``GetBucketNotificationConfiguration`` returns it.
    """
    found = []
    for member, arn in _DESTINATIONS.items():
        for entry in configuration.get(member) or ():
            filters = {
                str(one.get("Name", "")).lower(): _decoded(str(one.get("Value", "")))
                for one in entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
            }
            found.append(
                Rule(
                    id=str(entry.get("Id", "")),
                    destination=str(entry.get(arn, "")),
                    events=tuple(map(str, entry.get("Events", ()))),
                    prefix=filters.get("prefix", ""),
                    suffix=filters.get("suffix", ""),
                )
            )
    return found


def members_of(event: str) -> list[str]:
    """Return the events that ``s3:ObjectCreated:*`` or ``s3:ObjectRemoved:*`` stands for."""
    return [event.replace("*", member) for member in _MEMBERS[event]]


def not_announced(rules: Sequence[Rule], location: S3Location, event: str) -> list[str]:
    """
    Return the events of a kind that no rule announces for the whole location.

    :param rules: The rules that lead to the queue.
    :param location: The location.
    :param event: ``s3:ObjectCreated:*`` or ``s3:ObjectRemoved:*``.
    """
    whole = [rule for rule in rules if location.prefix.startswith(rule.prefix) and not rule.suffix]
    return [member for member in members_of(event) if not any(rule.announces(member) for rule in whole)]


@dataclass(frozen=True)
class Change:
    """
    A bucket's notification configuration with what is missing for some locations.

    :param configuration: The whole configuration, for ``PutBucketNotificationConfiguration``.
    :param added: The new rules, in S3's form.
    :param notes: What becomes of rules that were there.
    :param conflicts: The rules that S3 would refuse beside the new ones, each once.
    """

    configuration: Mapping[str, Any]
    added: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    conflicts: Sequence[Rule] = field(default=())

    @property
    def changes_nothing(self) -> bool:
        """Whether all that is needed is there."""
        return not self.added and not self.notes


def with_rules(existing: Mapping[str, Any], locations: Iterable[S3Location], destination: str) -> Change:
    """
    Add the rules that announce all uploads and removals at some locations of a bucket.

    What is there stays as it is, but for narrower rules of the same destination: S3 takes no two rules whose names and
    events overlap, whatever their destinations.

    :param existing: The bucket's configuration as S3 returns it; empty: none, or not known.
    :param locations: Locations in this bucket.
    :param destination: ARN of a queue or topic.
    """
    member = "TopicConfigurations" if ":sns:" in destination else "QueueConfigurations"
    configuration = {name: copy.deepcopy(value) for name, value in existing.items() if name != "ResponseMetadata"}
    entries: list[dict[str, Any]] = list(configuration.get(member) or [])
    added: list[dict[str, Any]] = []
    notes: dict[str, None] = {}
    conflicts: dict[Rule, None] = {}
    for prefix in _outermost(location.prefix for location in locations):
        events = []
        for event in (CREATED, REMOVED):
            rules = rules_of({**configuration, member: entries})
            whole = [one for one in rules if one.destination == destination and prefix.startswith(one.prefix)]
            if all(any(one.announces(each) and not one.suffix for one in whole) for each in members_of(event)):
                continue
            wider = next((one for one in whole if not one.suffix and one.overlaps(prefix, event)), None)
            if wider:
                notes[f"The {wider} gets all events of {event}: S3 takes no two rules that overlap."] = None
                entries = [_with_event(entry, event) if entry.get("Id") == wider.id else entry for entry in entries]
            else:
                events.append(event)
            begin = wider.prefix if wider else prefix
            for rule in rules:
                if rule is wider or not rule.overlaps(begin, event):
                    continue
                if rule.destination == destination and rule.prefix.startswith(begin):
                    notes[f"The {rule} is replaced by the wider one: S3 takes no two rules that overlap."] = None
                    entries = _without(entries, rule.id, event)
                else:
                    conflicts[rule] = None
        if events:
            new = _entry(prefix, events, member, destination)
            entries.append(new)
            added.append(new)
    if entries:
        configuration[member] = entries
    else:
        configuration.pop(member, None)
    return Change(configuration, added, list(notes), list(conflicts))


def with_eventbridge(existing: Mapping[str, Any]) -> Change:
    """
    Turn EventBridge on, and leave the rest as it is.

    :param existing: The bucket's configuration as S3 returns it.
    """
    kept = {name: copy.deepcopy(value) for name, value in existing.items() if name != "ResponseMetadata"}
    return Change({**kept, EVENTBRIDGE: {}}, [] if EVENTBRIDGE in kept else [{EVENTBRIDGE: {}}])


def check_prefixes(locations: Iterable[S3Location], *, argument: str) -> None:
    """
    Reject locations of which no rule can be made.

    :param locations: The locations.
    :param argument: Name of the argument, for the message.
    :raises ValueError: One has a ``*``, which no rule takes (S3 user guide, as above), or there are too many.
    """
    listed = list(locations)
    for location in listed:
        if "*" in location.prefix:
            raise ValueError(
                f"{argument} is {shown(location.uri)}, and S3 takes no '*' in the prefix of a notification; name a "
                "folder above it."
            )
    for bucket in {location.bucket for location in listed}:
        n = len(_outermost(location.prefix for location in listed if location.bucket == bucket))
        if n > MOST_RULES:
            raise ValueError(
                f"{argument} has {n:,} folders of the bucket {shown(bucket)}, and S3 takes {MOST_RULES} rules; name a "
                "common folder above them, or use --via eventbridge: the drain ignores what belongs to no dataset."
            )


def event_pattern(locations: Iterable[S3Location]) -> dict[str, Any]:
    """Return the pattern of an EventBridge rule for the uploads and removals at some locations."""
    by_bucket: dict[str, list[str]] = {}
    for location in locations:
        by_bucket.setdefault(location.bucket, []).append(location.prefix)
    details = []
    for bucket, prefixes in by_bucket.items():
        outermost = _outermost(prefixes)
        keys = {} if "" in outermost else {"object": {"key": [{"prefix": prefix} for prefix in outermost]}}
        details.append({"bucket": {"name": [bucket]}, **keys})
    detail: dict[str, Any] = details[0] if len(details) == 1 else {"$or": details}
    return {"source": ["aws.s3"], "detail-type": ["Object Created", "Object Deleted"], "detail": detail}


def allows_sending(
    queue_arn: str, service: str, source_arn: str, *, source_account: str | None, sid: str = ""
) -> Statement:
    """
    Return the statement of a queue's policy that lets a service send to it.

    :param queue_arn: ARN of the queue.
    :param service: E.g. ``s3.amazonaws.com``.
    :param source_arn: ARN of the bucket, topic or rule that it may send for.
    :param source_account: Account of the bucket, of which its ARN says nothing; None for a topic or rule.
    :param sid: Id of the statement. Default: none.
    """
    condition: dict[str, Any] = {"ArnEquals": {"aws:SourceArn": source_arn}}
    if source_account:
        condition["StringEquals"] = {"aws:SourceAccount": source_account}
    return {
        **({"Sid": sid} if sid else {}),
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": condition,
    }


def allows_publishing(topic_arn: str, bucket_arn: str, account: str) -> Statement:
    """Return the statement of a topic's policy that lets S3 publish a bucket's notifications."""
    return {**allows_sending(topic_arn, Via.S3.service, bucket_arn, source_account=account), "Action": "sns:Publish"}


def allows_encrypting(service: str) -> Statement:
    """Return the statement of a key's policy that lets a service send to a queue that the key encrypts."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
        # In a key policy the only resource is the key itself.
        "Resource": "*",
    }


def bucket_arn(bucket: str, partition: str) -> str:
    """Return the ARN of a bucket."""
    return f"arn:{partition}:s3:::{bucket}"


def _is_same(one: str, other: str) -> bool:
    return (
        one == other
        or (other.endswith("*") and one.startswith(other[:-1]))
        or (one.endswith("*") and other.startswith(one[:-1]))
    )


def _outermost(prefixes: Iterable[str]) -> list[str]:
    distinct = list(dict.fromkeys(prefixes))
    return [one for one in distinct if not any(one != other and one.startswith(other) for other in distinct)]


def _entry(prefix: str, events: Sequence[str], member: str, destination: str) -> dict[str, Any]:
    # The same locations get the same id.
    digest = hashlib.sha256(f"{destination} {prefix} {' '.join(events)}".encode()).hexdigest()[:8]
    entry: dict[str, Any] = {
        "Id": f"lightly-uploads-{digest}",
        _DESTINATIONS[member]: destination,
        "Events": list(events),
    }
    if prefix:
        rule = {"Name": "prefix", "Value": quote_plus(prefix, safe=_SAFE)}
        entry["Filter"] = {"Key": {"FilterRules": [rule]}}
    return entry


def _with_event(entry: Mapping[str, Any], event: str) -> dict[str, Any]:
    """Return an entry for all events of a kind."""
    return {**entry, "Events": [*(one for one in entry.get("Events", ()) if not _is_same(one, event)), event]}


def _without(entries: Iterable[dict[str, Any]], id_: str, event: str) -> list[dict[str, Any]]:
    """Return the entries without the events of a kind in one of them; one without events is left out."""
    kept = []
    for entry in entries:
        if entry.get("Id") == id_:
            events = [one for one in entry.get("Events", ()) if not _is_same(one, event)]
            if not events:
                continue
            entry = {**entry, "Events": events}
        kept.append(entry)
    return kept


def _decoded(value: str) -> str:
    try:
        return unquote_plus(value, errors="strict")
    except UnicodeDecodeError:
        return value
