"""Whether uploads are announced in a queue, from what AWS says: what was not seen is never PASS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.events.delivery import (
    BucketFacts,
    EventRule,
    EventRules,
    KeyFacts,
    QueueFacts,
    TopicFacts,
    judge_location,
    judge_queue,
)
from lightly_provider.events.notifications import (
    QueueArn,
    allows_encrypting,
    allows_sending,
    event_pattern,
    with_eventbridge,
    with_rules,
)
from tests.unit.events.test_notifications import BOTH, OTHER, QUEUE, rule

if TYPE_CHECKING:
    from lightly_provider.diagnosis.findings import Finding

PHOTOS = S3Location.parse("s3://my-bucket/photos/", argument="location")
BUCKET_ARN = "arn:aws:s3:::my-bucket"
ACCOUNT = "123456789012"
S3 = allows_sending(QUEUE, "s3.amazonaws.com", BUCKET_ARN, source_account=ACCOUNT)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:uploads"
EVENT_RULE = "arn:aws:events:eu-central-1:123456789012:rule/lightly-uploads"
REDRIVE = json.dumps({"deadLetterTargetArn": f"{QUEUE}-dead", "maxReceiveCount": 5})


def queue(*statements: Any, key: KeyFacts | None = None, **attributes: str) -> QueueFacts:
    policy = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": list(statements)})} if statements else {}
    given = {"QueueArn": QUEUE, "MessageRetentionPeriod": "1209600", "RedrivePolicy": REDRIVE, **policy, **attributes}
    arn = QueueArn.parse(QUEUE, argument="arn")
    return QueueFacts(arn.url, arn, given, key=key)


RIGHT = queue(S3)
CONFIGURED = with_rules({}, [PHOTOS], QUEUE).configuration


def bucket(configuration: Any = CONFIGURED, **facts: Any) -> BucketFacts:
    return BucketFacts(
        "my-bucket", **{"region": "eu-central-1", "owner": ACCOUNT, "configuration": configuration, **facts}
    )


def found(findings: list[Finding]) -> dict[str, str]:
    return {one.subject: str(one.status) for one in findings}


def of_location(bucket_facts: BucketFacts, queue_facts: QueueFacts = RIGHT) -> dict[str, str]:
    return found(judge_location(PHOTOS, bucket_facts, queue_facts))


def test_what_notifications_prints_is_right() -> None:
    assert of_location(bucket()) == {"region": "PASS", "rules": "PASS", "removals": "PASS", "policy": "PASS"}
    assert found(judge_queue(RIGHT, ["s3.amazonaws.com"])) == {
        "queue": "PASS", "encryption": "PASS", "redrive": "PASS", "retention": "PASS",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("configuration", "status", "why"),
    [
        ({}, "FAIL", "no notification rule of the bucket leads to this queue (it has 0)"),
        (rule(QUEUE.replace("uploads", "others"), BOTH), "FAIL", "another rule stands in the way"),
        (rule(OTHER, prefix="photos/a/"), "FAIL", "another rule stands in the way"),
        (rule(QUEUE, BOTH, prefix="photos/a/"), "FAIL", "not every upload is sent"),
        (rule(QUEUE, BOTH, suffix=".jpg"), "FAIL", "not every upload is sent"),
        (rule(QUEUE, ["s3:ObjectCreated:Put"]), "FAIL", "s3:ObjectCreated:CompleteMultipartUpload"),
        (rule(QUEUE), "PASS", "uploads at the location are sent to the queue directly"),
        (with_eventbridge({}).configuration, "FAIL", "no rule of EventBridge has the queue as its target"),
        (None, "UNKNOWN", "denied"),
    ],
)
def test_the_buckets_rules(configuration: Any, status: str, why: str) -> None:
    rules = next(
        one for one in judge_location(PHOTOS, bucket(configuration, fault="denied"), RIGHT) if one.subject == "rules"
    )
    assert str(rules.status) == status
    assert why in rules.message
    assert status == "PASS" or (rules.remedy and rules.remedy.texts)


def test_removals_that_are_not_announced_are_a_warning() -> None:
    assert of_location(bucket(rule(QUEUE)))["removals"] == "WARN"


def test_a_bucket_in_another_region_and_one_that_does_not_exist() -> None:
    assert of_location(bucket(region="eu-west-1"))["region"] == "FAIL"
    assert of_location(bucket(region=None))["region"] == "UNKNOWN"
    assert of_location(bucket(is_missing=True, fault="no such bucket")) == {"bucket": "FAIL"}


OPEN = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
TLS = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*",
       "Condition": {"Bool": {"aws:SecureTransport": "false"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "owner", "status"),
    [
        ([], ACCOUNT, "FAIL"),
        ([S3], None, "UNKNOWN"),
        ([S3, TLS], ACCOUNT, "PASS"),
        ([OPEN], ACCOUNT, "WARN"),
        ([{**OPEN, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}}], ACCOUNT, "WARN"),
        ([S3, {**OPEN, "Condition": {"StringLike": {"aws:SourceAccount": "*"}}}], ACCOUNT, "WARN"),
        ([OPEN, {**OPEN, "Effect": "Deny", "Condition": {"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}}],
         ACCOUNT, "PASS"),
        ([{**OPEN, "Principal": {"AWS": "*"}, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:my-bucket"}}}],
         ACCOUNT, "PASS"),
        ([{**S3, "Principal": {"Service": "sns.amazonaws.com"}}], ACCOUNT, "FAIL"),
        ([{**S3, "Principal": {"AWS": ACCOUNT}}], ACCOUNT, "FAIL"),
        ([{**S3, "Action": "sqs:ReceiveMessage"}], ACCOUNT, "FAIL"),
        ([{**S3, "Resource": f"{QUEUE}-2"}], ACCOUNT, "FAIL"),
        ([{**S3, "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::other"}}}], ACCOUNT, "FAIL"),
        ([{**S3, "Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}], ACCOUNT, "FAIL"),
        ([{**S3, "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}], ACCOUNT, "UNKNOWN"),
        ([S3, {**OPEN, "Effect": "Deny"}], ACCOUNT, "FAIL"),
        ([S3, {**TLS, "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}}], ACCOUNT, "UNKNOWN"),
        ([{**S3, "Condition": "nonsense"}], ACCOUNT, "UNKNOWN"),
        (["nonsense"], ACCOUNT, "FAIL"),
    ],
)  # fmt: skip
def test_the_queues_policy(statements: list[Any], owner: str | None, status: str) -> None:
    facts = judge_location(PHOTOS, bucket(owner=owner), queue(*statements))
    policy = next(one for one in facts if one.subject == "policy")
    assert str(policy.status) == status
    if status == "FAIL" and not any(isinstance(one, dict) and one["Effect"] == "Deny" for one in statements):
        assert policy.remedy is not None
        assert policy.remedy.changes[0].add == (S3,)


def test_a_queue_that_could_not_be_read_is_unknown_and_one_that_is_missing_fails() -> None:
    denied = replace(RIGHT, attributes=None, fault="denied")
    assert found(judge_queue(denied, ["s3.amazonaws.com"])) == {"queue": "UNKNOWN"}
    assert of_location(bucket(), denied)["policy"] == "UNKNOWN"
    assert found(judge_queue(replace(denied, is_missing=True), ["s3.amazonaws.com"])) == {"queue": "FAIL"}
    assert "policy" not in of_location(bucket(), replace(denied, is_missing=True))


@pytest.mark.parametrize(
    ("attributes", "subject", "status"),
    [
        ({"FifoQueue": "true"}, "queue", "FAIL"),
        ({"RedrivePolicy": ""}, "redrive", "WARN"),
        ({"RedrivePolicy": "nonsense"}, "redrive", "WARN"),
        ({"RedrivePolicy": REDRIVE.replace("5", "1")}, "redrive", "WARN"),
        ({"MessageRetentionPeriod": "3600"}, "retention", "WARN"),
        ({"MessageRetentionPeriod": "345600"}, "retention", "PASS"),
        ({"MessageRetentionPeriod": ""}, "retention", "UNKNOWN"),
        ({"SqsManagedSseEnabled": "true"}, "encryption", "PASS"),
    ],
)
def test_the_queues_attributes(attributes: dict[str, str], subject: str, status: str) -> None:
    assert found(judge_queue(queue(S3, **attributes), ["s3.amazonaws.com"]))[subject] == status


KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/1"
KEY = KeyFacts(
    KEY_ARN, KEY_ARN, is_awss_own=False, is_enabled=True, policy={"Statement": [allows_encrypting("s3.amazonaws.com")]}
)


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (KEY, "PASS"),
        (KeyFacts("alias/aws/sqs"), "FAIL"),
        (replace(KEY, is_awss_own=True), "FAIL"),
        (replace(KEY, is_enabled=False), "FAIL"),
        (replace(KEY, policy=None, fault="denied"), "UNKNOWN"),
        (replace(KEY, policy={"Statement": []}), "FAIL"),
        (replace(KEY, policy={"Statement": {**allows_encrypting("s3.amazonaws.com"), "Action": "kms:Decrypt"}}),
         "FAIL"),
        (replace(KEY, policy={"Statement": [{**allows_encrypting("s3.amazonaws.com"), "Condition": {
            "StringEquals": {"kms:ViaService": "sqs.eu-central-1.amazonaws.com"}}}]}), "UNKNOWN"),
    ],
)  # fmt: skip
def test_the_key_of_the_queue(key: KeyFacts, status: str) -> None:
    encryption = judge_queue(queue(S3, key=key), ["s3.amazonaws.com"])[1]
    assert (encryption.subject, str(encryption.status)) == ("encryption", status)
    if status in ("FAIL", "UNKNOWN"):
        assert encryption.remedy is not None
        assert encryption.remedy.texts or encryption.remedy.changes


@pytest.mark.parametrize(
    ("topic", "rules", "policy"),
    [
        (TopicFacts(TOPIC, leads_to_queue=True), "PASS", "PASS"),
        (TopicFacts(TOPIC, leads_to_queue=False), "FAIL", "FAIL"),
        (TopicFacts(TOPIC, leads_to_queue=None, fault="denied"), "UNKNOWN", "PASS"),
        (TopicFacts(TOPIC, leads_to_queue=True, is_filtered=True), "UNKNOWN", "PASS"),
    ],
)
def test_by_a_topic(topic: TopicFacts, rules: str, policy: str) -> None:
    facts = bucket(with_rules({}, [PHOTOS], TOPIC).configuration, topics=(topic,))
    judged = of_location(facts, queue(allows_sending(QUEUE, "sns.amazonaws.com", TOPIC, source_account=None)))
    assert (judged["rules"], judged["policy"]) == (rules, policy)


PATTERN = event_pattern([PHOTOS])


@pytest.mark.parametrize(
    ("event_rules", "status"),
    [
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern=PATTERN)]), "PASS"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=False, pattern=PATTERN)]), "FAIL"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern={"source": ["aws.s3"]})]), "PASS"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern={"source": ["aws.ec2"]})]), "FAIL"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern={**PATTERN, "detail-type": ["Object Deleted"]})]),
         "FAIL"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern={**PATTERN, "detail": {
            "bucket": {"name": ["my-bucket"]}, "object": {"key": ["photos/"]}}})]), "FAIL"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern={**PATTERN, "detail": {"$or": []}})]), "UNKNOWN"),
        (EventRules([EventRule(EVENT_RULE, is_enabled=True, pattern={**PATTERN, "account": ["1"]})]), "UNKNOWN"),
        (EventRules(None, "denied"), "UNKNOWN"),
        (EventRules([]), "FAIL"),
    ],
)  # fmt: skip
def test_by_eventbridge(event_rules: EventRules, status: str) -> None:
    facts = bucket(with_eventbridge({}).configuration, event_rules=event_rules)
    assert of_location(facts)["rules"] == status
