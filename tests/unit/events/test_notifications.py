"""Which rules announce the uploads at a location, and what S3 would refuse beside the rules that a bucket has."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.events.notifications import (
    QueueArn,
    check_prefixes,
    check_topic_arn,
    event_pattern,
    not_announced,
    rules_of,
    with_eventbridge,
    with_rules,
)

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:uploads"
OTHER = "arn:aws:lambda:eu-central-1:123456789012:function:thumbnails"
BOTH = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


def at(*uris: str) -> list[S3Location]:
    return [S3Location.parse(uri, argument="location") for uri in uris]


def rule(
    destination: str = QUEUE,
    events: list[str] | None = None,
    *,
    id_: str = "theirs",
    prefix: str = "",
    suffix: str = "",
) -> dict[str, Any]:
    """A configuration with one rule, as S3 returns it."""
    member = {"sqs": "Queue", "sns": "Topic", "lambda": "LambdaFunction"}[destination.split(":")[2]]
    filters = [{"Name": name, "Value": value} for name, value in (("Prefix", prefix), ("Suffix", suffix)) if value]
    entry = {"Id": id_, f"{member}Arn": destination, "Events": events or ["s3:ObjectCreated:*"]}
    return {
        f"{member}Configurations": [{**entry, **({"Filter": {"Key": {"FilterRules": filters}}} if filters else {})}]
    }


def added(change: Any) -> list[tuple[str, list[str]]]:
    """Prefix and events of the new rules."""
    entries = [
        (one.get("Filter", {}).get("Key", {}).get("FilterRules", [{}])[0].get("Value", ""), one["Events"])
        for one in change.added
    ]
    return sorted(entries)


@pytest.mark.parametrize(
    ("existing", "locations", "rules"),
    [
        ({}, ["s3://b-1/photos/"], [("photos/", BOTH)]),
        ({}, ["s3://b-1"], [("", BOTH)]),
        ({}, ["s3://b-1/a/", "s3://b-1/a/b/", "s3://b-1/c/"], [("a/", BOTH), ("c/", BOTH)]),
        ({}, ["s3://b-1/night und ü/"], [("night+und+%C3%BC/", BOTH)]),
        (rule(events=BOTH), ["s3://b-1/photos/"], []),
        (rule(prefix="photos/"), ["s3://b-1/photos/a/"], [("photos/a/", ["s3:ObjectRemoved:*"])]),
        (rule(events=["s3:ObjectCreated:Put"], prefix="photos/"), ["s3://b-1/photos/"], [("photos/", BOTH[1:])]),
        (rule(events=["s3:ObjectCreated:Put"]), ["s3://b-1/photos/"], [("photos/", ["s3:ObjectRemoved:*"])]),
        (rule(OTHER, prefix="logs/"), ["s3://b-1/photos/"], [("photos/", BOTH)]),
        (rule(OTHER, ["s3:ObjectTagging:*"]), ["s3://b-1/photos/"], [("photos/", BOTH)]),
    ],
)
def test_only_what_is_missing_is_added(
    existing: dict[str, Any], locations: list[str], rules: list[tuple[str, list[str]]]
) -> None:
    change = with_rules(existing, at(*locations), QUEUE)
    assert added(change) == rules
    assert change.conflicts == []
    after = rules_of(change.configuration)
    for location in at(*locations):
        for event in BOTH:
            assert not_announced([one for one in after if one.destination == QUEUE], location, event) == []


def test_the_rules_of_others_stay_as_they_are() -> None:
    theirs = {
        **rule(OTHER, prefix="logs/"),
        "EventBridgeConfiguration": {},
        "ResponseMetadata": {"HTTPStatusCode": 200},
    }
    change = with_rules(theirs, at("s3://b-1/photos/"), QUEUE)
    assert change.configuration["LambdaFunctionConfigurations"] == theirs["LambdaFunctionConfigurations"]
    assert change.configuration["EventBridgeConfiguration"] == {}
    assert "ResponseMetadata" not in change.configuration
    assert change.notes == []
    on = with_eventbridge(rule(OTHER))
    assert on.configuration == {**rule(OTHER), "EventBridgeConfiguration": {}}
    assert with_eventbridge(on.configuration).changes_nothing


@pytest.mark.parametrize(
    ("existing", "conflict"),
    [
        (rule(OTHER), "all keys"),
        (rule(OTHER, prefix="photos/a/"), "keys below 'photos/a/'"),
        (rule(OTHER, prefix="ph"), "keys below 'ph'"),
        (rule(OTHER, suffix=".jpg"), "all keys that end in '.jpg'"),
        (rule(OTHER, ["s3:ObjectRemoved:Delete"], prefix="photos/"), "keys below 'photos/'"),
        (rule(QUEUE, suffix=".jpg"), "that end in '.jpg'"),
    ],
)
def test_a_rule_beside_which_s3_refuses_a_new_one_is_named(existing: dict[str, Any], conflict: str) -> None:
    (found,) = with_rules(existing, at("s3://b-1/photos/"), QUEUE).conflicts
    assert conflict in str(found)
    assert "'theirs'" in str(found)


def test_a_rule_that_gets_more_events_is_beside_others_as_a_new_one() -> None:
    ours = rule(events=["s3:ObjectCreated:Put", "s3:ObjectRemoved:*"], id_="ours", prefix="photos/")
    theirs = rule(OTHER, ["s3:ObjectCreated:Copy"], prefix="photos/a/")
    narrower = rule(events=["s3:ObjectCreated:Copy"], id_="narrower", prefix="photos/a/")["QueueConfigurations"]

    (found,) = with_rules(ours | theirs, at("s3://b-1/photos/"), QUEUE).conflicts
    assert "'theirs'" in str(found)
    change = with_rules(
        {"QueueConfigurations": [*ours["QueueConfigurations"], *narrower]}, at("s3://b-1/photos/"), QUEUE
    )
    (entry,) = change.configuration["QueueConfigurations"]
    assert (entry["Id"], sorted(entry["Events"])) == ("ours", BOTH)
    assert (change.added, change.conflicts, len(change.notes)) == ([], [], 2)


def test_a_narrower_rule_of_the_same_queue_is_replaced_and_named() -> None:
    existing = rule(events=["s3:ObjectCreated:Put", "s3:ObjectTagging:Put"], prefix="photos/a/", suffix=".jpg")
    change = with_rules(existing, at("s3://b-1/photos/"), QUEUE)
    kept, new = change.configuration["QueueConfigurations"]
    assert (kept["Id"], kept["Events"]) == ("theirs", ["s3:ObjectTagging:Put"])
    assert new["Events"] == BOTH
    (note,) = change.notes
    assert "'theirs'" in note


@pytest.mark.parametrize(
    ("arn", "why"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/uploads", f"which is the queue's URL; write {QUEUE}."),
        (f"{QUEUE}.fifo", "a FIFO queue"),
        ("uploads", "which is not the ARN of a queue"),
        ("arn:aws:sns:eu-central-1:123456789012:uploads", "which is not the ARN of a queue"),
        (f"{QUEUE}\n", "which is not the ARN of a queue"),
    ],
)
def test_what_is_no_standard_queue_is_refused(arn: str, why: str) -> None:
    with pytest.raises(ValueError, match="--queue-arn is") as refused:
        QueueArn.parse(arn, argument="--queue-arn")
    assert why in str(refused.value)


def test_a_queue_has_its_url_and_a_topic_is_checked() -> None:
    queue = QueueArn.parse(QUEUE, argument="a")
    assert (str(queue), queue.url) == (QUEUE, "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads")
    assert QueueArn.parse(QUEUE.replace("aws", "aws-cn"), argument="a").url.endswith(".com.cn/123456789012/uploads")
    assert check_topic_arn(QUEUE.replace("sqs", "sns"), argument="t", queue=queue)
    with pytest.raises(ValueError, match="a FIFO topic, to which S3 does not send"):
        check_topic_arn(QUEUE.replace("sqs", "sns") + ".fifo", argument="t", queue=queue)


def test_locations_of_which_s3_takes_no_rules_are_refused() -> None:
    check_prefixes(at("s3://b-1/a/"), argument="location")
    with pytest.raises(ValueError, match=r"takes no '\*'"):
        check_prefixes(at("exact:s3://b-1/a*/"), argument="location")
    with pytest.raises(ValueError, match="has 101 folders of the bucket b-1, and S3 takes 100 rules"):
        check_prefixes(at(*(f"s3://b-1/{n}/" for n in range(101))), argument="location")


def test_the_pattern_for_eventbridge() -> None:
    assert event_pattern(at("s3://b-1/a/", "s3://b-1/a/b/"))["detail"] == {
        "bucket": {"name": ["b-1"]},
        "object": {"key": [{"prefix": "a/"}]},
    }
    assert event_pattern(at("s3://b-1", "s3://b-2/a/"))["detail"]["$or"][0] == {"bucket": {"name": ["b-1"]}}
