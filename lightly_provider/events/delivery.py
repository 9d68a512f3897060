"""
Whether the uploads at a location are announced in a queue: from what AWS says of both. Pure.

What could not be read is UNKNOWN, never PASS. Sources: those of :mod:`lightly_provider.events.notifications`; SQS
developer guide, "Amazon SQS Key management" (AWS's own key for SQS does not let other services send), "Amazon SQS
dead-letter queues", "Amazon SQS message quotas"; IAM user guide, "The confused deputy problem".
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.policy_documents import may_cover
from lightly_provider.diagnosis.conditions import holds, keys_not_known
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import PolicyChange, Remedy
from lightly_provider.events.notifications import (
    CREATED,
    EVENTBRIDGE,
    REMOVED,
    Via,
    allows_encrypting,
    allows_sending,
    bucket_arn,
    not_announced,
    rules_of,
    with_rules,
)
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.aws.location import S3Location
    from lightly_provider.aws.policies import Statement
    from lightly_provider.events.notifications import QueueArn, Rule

# Seconds: a drain that is down over a weekend shall lose nothing.
_SHORT_RETENTION = 4 * 24 * 3600
_LONGEST_RETENTION = 14 * 24 * 3600
_AWS_KEY = "alias/aws/sqs"
_DAY = 24 * 3600
_MOST_SHOWN = 3


@dataclass(frozen=True)
class KeyFacts:
    """
    The KMS key that encrypts a queue.

    :param key_id: As the queue names it.
    :param arn: Its ARN; None: not known.
    :param is_awss_own: Whether AWS manages it, and its policy; None: not known.
    :param is_enabled: Whether it can be used; None: not known.
    :param policy: Its policy; None: not known.
    :param fault: Why something of it is not known; empty: all is known.
    """

    key_id: str
    arn: str | None = None
    is_awss_own: bool | None = None
    is_enabled: bool | None = None
    policy: Mapping[str, Any] | None = None
    fault: str = ""


@dataclass(frozen=True)
class QueueFacts:
    """
    A queue.

    :param url: Its URL.
    :param arn: Its ARN.
    :param attributes: Its attributes; None: they could not be read.
    :param fault: Why they could not be read, or that there is no such queue.
    :param is_missing: Whether there is no such queue.
    :param key: The KMS key that encrypts it; None: there is none, or it is not known.
    """

    url: str
    arn: QueueArn
    attributes: Mapping[str, str] | None
    fault: str = ""
    is_missing: bool = False
    key: KeyFacts | None = None

    @property
    def policy(self) -> Mapping[str, Any] | None:
        """Its policy; one without statements if it has none; None: not known."""
        if self.attributes is None:
            return None
        return parsed_policy(self.attributes.get("Policy") or "{}")


@dataclass(frozen=True)
class TopicFacts:
    """
    A topic that a bucket's notifications are sent to.

    :param arn: Its ARN.
    :param leads_to_queue: Whether the queue is subscribed to it; None: not known.
    :param is_filtered: Whether the subscription passes on only some messages.
    :param fault: Why it is not known.
    """

    arn: str
    leads_to_queue: bool | None
    is_filtered: bool = False
    fault: str = ""


@dataclass(frozen=True)
class EventRule:
    """
    A rule of EventBridge whose target is the queue.

    :param arn: Its ARN.
    :param is_enabled: Whether it is on.
    :param pattern: Its event pattern.
    """

    arn: str
    is_enabled: bool
    pattern: Mapping[str, Any]


@dataclass(frozen=True)
class EventRules:
    """
    The rules of EventBridge whose target is the queue.

    :param rules: Those on the default bus of the bucket's region; None: not known.
    :param fault: Why they are not known.
    """

    rules: Sequence[EventRule] | None = ()
    fault: str = ""


@dataclass(frozen=True)
class BucketFacts:
    """
    A bucket, and where its notifications go.

    :param name: Its name.
    :param region: Its region; None: not known.
    :param owner: Its account; None: not known.
    :param configuration: Its notification configuration; None: it could not be read.
    :param fault: Why it could not be read, or that there is no such bucket.
    :param is_missing: Whether there is no such bucket.
    :param topics: The topics in the configuration.
    :param event_rules: The rules of EventBridge, if the bucket sends to it.
    """

    name: str
    region: str | None
    owner: str | None = None
    configuration: Mapping[str, Any] | None = None
    fault: str = ""
    is_missing: bool = False
    topics: Sequence[TopicFacts] = ()
    event_rules: EventRules = field(default_factory=EventRules)


@dataclass(frozen=True)
class Route:
    """
    A way on which a location's notifications may reach the queue.

    :param via: Directly, by a topic, or by EventBridge.
    :param source_arn: ARN of the bucket, topic or rule for which the service sends.
    :param missing: The events that it does not announce for the whole location.
    :param doubt: Why it is not certain that it leads to the queue; empty: it does.
    """

    via: Via
    source_arn: str
    missing: Sequence[str]
    doubt: str = ""


def judge_queue(queue: QueueFacts, services: Iterable[str]) -> list[Finding]:
    """
    Judge what is the queue's alone.

    :param queue: The queue.
    :param services: The services that send to it.
    """
    if queue.attributes is None:
        status = Status.FAIL if queue.is_missing else Status.UNKNOWN
        advice = (
            "Check the queue's name, region and account."
            if queue.is_missing
            else "Allow the AWS connection sqs:GetQueueAttributes on the queue, and run the check again."
        )
        return [Finding("queue", status, queue.fault, remedy=Remedy((advice,)))]
    attributes = queue.attributes
    if attributes.get("FifoQueue") == "true" or str(attributes.get("QueueArn", "")).endswith(".fifo"):
        why = "it is a FIFO queue, and S3 sends event notifications to standard queues only"
        advice = "Create a standard queue; the drain orders the changes of a file by itself."
        return [Finding("queue", Status.FAIL, why, remedy=Remedy((advice,)))]
    waiting = sum(
        int(attributes.get(name, 0))
        for name in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
        if attributes.get(name, "0").isdigit()
    )
    return [
        Finding("queue", Status.PASS, f"a standard queue; messages that wait: about {waiting:,}"),
        *_encryption(queue, list(dict.fromkeys(services))),
        _redrive(queue),
        _retention(queue),
    ]


def judge_location(location: S3Location, bucket: BucketFacts, queue: QueueFacts) -> list[Finding]:
    """
    Judge whether the uploads at a location are announced in the queue.

    :param location: The location.
    :param bucket: Its bucket.
    :param queue: The queue.
    """
    if bucket.is_missing:
        return [Finding("bucket", Status.FAIL, bucket.fault, remedy=Remedy(("Check the bucket's name.",)))]
    routes = routes_of(location, bucket, queue)
    findings = [_region(bucket, queue, routes)]
    if bucket.configuration is None:
        advice = "Allow the AWS connection s3:GetBucketNotification on the bucket, and run the check again."
        findings.append(Finding("rules", Status.UNKNOWN, bucket.fault, remedy=Remedy((advice,))))
        # The usual way, so that its policy is judged.
        routes = [Route(Via.S3, bucket_arn(bucket.name, queue.arn.partition), ())]
    else:
        findings.append(_rules(location, bucket, queue, routes))
        findings += [_removals(routes)] if findings[-1].status is Status.PASS else []
    if not queue.is_missing:
        used = [route for route in routes if not _missing(route, CREATED)] or [
            Route(Via.S3, bucket_arn(bucket.name, queue.arn.partition), ())
        ]
        findings.append(_best([_policy(route, bucket, queue) for route in used]))
    return findings


def routes_of(location: S3Location, bucket: BucketFacts, queue: QueueFacts) -> list[Route]:
    """
    Return the ways on which a location's notifications reach the queue, or may.

    :param location: The location.
    :param bucket: Its bucket.
    :param queue: The queue.
    """
    if bucket.configuration is None:
        return []
    rules = rules_of(bucket.configuration)
    routes = []
    direct = [rule for rule in rules if rule.destination == str(queue.arn)]
    if direct:
        routes.append(Route(Via.S3, bucket_arn(bucket.name, queue.arn.partition), _not_by(direct, location)))
    for topic in bucket.topics:
        if topic.leads_to_queue is False:
            continue
        doubt = topic.fault if topic.leads_to_queue is None else ""
        if topic.is_filtered:
            doubt = f"the queue's subscription to the topic {shown(topic.arn, longest=300)} has a filter policy"
        of_topic = [rule for rule in rules if rule.destination == topic.arn]
        routes.append(Route(Via.SNS, topic.arn, _not_by(of_topic, location), doubt))
    if EVENTBRIDGE in bucket.configuration:
        found = bucket.event_rules
        if found.rules is None:
            routes.append(Route(Via.EVENTBRIDGE, "", (), found.fault))
        for rule in found.rules or ():
            missing, doubt = _not_by_event_rule(rule, location)
            routes.append(Route(Via.EVENTBRIDGE, rule.arn, missing, doubt))
    return routes


def services_of(routes: Iterable[Route]) -> list[str]:
    """Return the services that send by these routes; that of S3 if there is none."""
    return list(dict.fromkeys(route.via.service for route in routes)) or [Via.S3.service]


def parsed_policy(text: str) -> dict[str, Any]:
    """Return a policy as an object; one without statements if it is none."""
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return policy if isinstance(policy, dict) else {}


# --- the queue ------------------------------------------------------------------------------------------------------


def _encryption(queue: QueueFacts, services: Sequence[str]) -> list[Finding]:
    key, attributes = queue.key, queue.attributes or {}
    if key is None:
        how = "SQS's own keys" if attributes.get("SqsManagedSseEnabled") == "true" else "none"
        return [Finding("encryption", Status.PASS, f"{how}, so the sender needs no key")]
    command = f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes"
    if key.is_awss_own or key.key_id.endswith(_AWS_KEY):
        why = (
            f"AWS's own key {_AWS_KEY}, whose policy cannot be changed, so {' and '.join(services)} cannot send to the "
            "queue"
        )
        advice = "Encrypt the queue with SQS's own keys, or with a KMS key of yours whose policy allows the service."
        attributes_text = json.dumps({"KmsMasterKeyId": "", "SqsManagedSseEnabled": "true"})
        remedy = Remedy((advice,), commands=(f"{command} {shlex.quote(attributes_text)}",))
        return [Finding("encryption", Status.FAIL, why, remedy=remedy)]
    name = shown(key.arn or key.key_id, longest=300)
    if key.is_enabled is False:
        why = f"the KMS key {name} is disabled, or is to be deleted"
        return [Finding("encryption", Status.FAIL, why, remedy=Remedy(("Enable the key, or use another one.",)))]
    needed = PolicyChange(f"policy of KMS key {name}", tuple(map(allows_encrypting, services)))
    if key.policy is None:
        why = f"the policy of the KMS key {name} could not be read: {key.fault}"
        advice = "Allow kms:GetKeyPolicy on the key, and run the check again; the key's policy must have this:"
        return [Finding("encryption", Status.UNKNOWN, why, remedy=Remedy((advice,), changes=(needed,)))]
    results = [
        _Decision.of(key.policy, action, key.arn or "*", service, {}, queue.arn.region)
        for service in services
        for action in ("kms:GenerateDataKey", "kms:Decrypt")
    ]
    worst = next((one for one in results if one.allowed is False), None) or next(
        (one for one in results if one.allowed is None), None
    )
    if worst is None:
        return [Finding("encryption", Status.PASS, f"the KMS key {name} lets {' and '.join(services)} use it")]
    if worst.allowed is None:
        why = f"whether the policy of the KMS key {name} lets {worst.service} use it depends on {worst.reason}"
        return [Finding("encryption", Status.UNKNOWN, why, remedy=Remedy(changes=(needed,)))]
    if worst.denying:
        return [Finding("encryption", Status.FAIL, worst.sentence(f"The policy of the KMS key {name}"))]
    why = f"the policy of the KMS key {name} does not let {worst.service} use it for {worst.action}"
    return [Finding("encryption", Status.FAIL, why, remedy=Remedy(changes=(needed,)))]


def _redrive(queue: QueueFacts) -> Finding:
    attributes = queue.attributes or {}
    policy = parsed_policy(attributes.get("RedrivePolicy") or "{}")
    target, most = policy.get("deadLetterTargetArn"), policy.get("maxReceiveCount")
    if not target:
        why = "none, so a message that is not a notification of S3 is received again until it expires"
        value = {"deadLetterTargetArn": f"{queue.arn}-dead-letters", "maxReceiveCount": 5}
        attributes_text = json.dumps({"RedrivePolicy": json.dumps(value)})
        commands = (
            f"aws sqs create-queue --queue-name {queue.arn.name}-dead-letters --region {queue.arn.region}",
            f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes {shlex.quote(attributes_text)}",
        )
        return Finding("redrive", Status.WARN, why, remedy=Remedy(commands=commands))
    if isinstance(most, (int, str)) and str(most).isdigit() and int(most) < 3:
        why = f"after {most} receptions, so a drain that is killed twice may lose notifications to {shown(target)}"
        return Finding("redrive", Status.WARN, why, remedy=Remedy(("Set its maxReceiveCount to 5 or more.",)))
    return Finding("redrive", Status.PASS, f"after {shown(most, longest=20)} receptions to {shown(target)}")


def _retention(queue: QueueFacts) -> Finding:
    text = (queue.attributes or {}).get("MessageRetentionPeriod", "")
    if not text.isdigit():
        return Finding("retention", Status.UNKNOWN, "the queue does not say how long it keeps messages")
    seconds = int(text)
    if seconds < _SHORT_RETENTION:
        command = (
            f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes "
            f"MessageRetentionPeriod={_LONGEST_RETENTION}"
        )
        why = f"{_duration(seconds)}: notifications are lost if the DAG is paused for longer"
        return Finding("retention", Status.WARN, why, remedy=Remedy(commands=(command,)))
    return Finding("retention", Status.PASS, _duration(seconds))


def _duration(seconds: int) -> str:
    if seconds >= _DAY:
        return f"{seconds / _DAY:g} days"
    return f"{seconds:,} seconds"


# --- the location ---------------------------------------------------------------------------------------------------


def _region(bucket: BucketFacts, queue: QueueFacts, routes: Sequence[Route]) -> Finding:
    if bucket.region is None:
        return Finding("region", Status.UNKNOWN, "S3 did not say in which region the bucket is")
    if bucket.region == queue.arn.region:
        return Finding("region", Status.PASS, f"bucket and queue are in {bucket.region}")
    if any(route.via is Via.SNS for route in routes):
        why = f"the bucket is in {bucket.region} and the queue in {queue.arn.region}; a topic delivers to other regions"
        return Finding("region", Status.PASS, why)
    why = (
        f"the bucket is in {bucket.region} and the queue in {queue.arn.region}, and S3 sends event notifications only "
        "within a region"
    )
    return Finding("region", Status.FAIL, why, remedy=Remedy((f"Create the queue in {bucket.region}.",)))


def _rules(location: S3Location, bucket: BucketFacts, queue: QueueFacts, routes: Sequence[Route]) -> Finding:
    if whole := [route for route in routes if not _missing(route, CREATED) and not route.doubt]:
        via = " and ".join(dict.fromkeys(_by(route) for route in whole))
        return Finding("rules", Status.PASS, f"uploads at the location are sent to the queue {via}")
    if doubtful := [route for route in routes if not _missing(route, CREATED)]:
        why = f"uploads may be sent to the queue {_by(doubtful[0])}: {doubtful[0].doubt}"
        advice = "Allow the AWS connection to read that, and run the check again; or look at it in AWS."
        return Finding("rules", Status.UNKNOWN, why, remedy=Remedy((advice,)))
    configuration = bucket.configuration or {}
    rules = rules_of(configuration)
    if not routes:
        off = "" if EVENTBRIDGE not in configuration else ", and no rule of EventBridge has the queue as its target"
        why = f"no notification rule of the bucket leads to this queue (it has {len(rules)}){off}"
    else:
        missing = ", ".join(_missing(routes[0], CREATED))
        part = [rule for rule in rules if rule.destination in (str(queue.arn), routes[0].source_arn)]
        shown_part = "; ".join(map(str, part[:_MOST_SHOWN]))
        why = f"not every upload is sent to the queue: no rule for all of {shown(location.uri)} and {missing}"
        why += f" ({shown_part})" if shown_part else ""
    change = with_rules(configuration, [location], str(queue.arn))
    if change.conflicts:
        named = "; ".join(map(str, change.conflicts[:_MOST_SHOWN]))
        advice = (
            f"S3 takes no second rule whose keys and events overlap, and the bucket has this: {named}. Send to a topic "
            "of SNS to which both are subscribed, or use EventBridge (airflow lightly notifications --via sns, or "
            "--via eventbridge), or remove that rule if nobody needs it."
        )
        return Finding("rules", Status.FAIL, f"{why}; another rule stands in the way", remedy=Remedy((advice,)))
    command = f"airflow lightly notifications {shlex.quote(location.uri)} --queue-arn {queue.arn} --aws-conn-id <id>"
    advice = f"Add the rule to the bucket; this prints the whole configuration with the rules that are there: {command}"
    return Finding("rules", Status.FAIL, why, remedy=Remedy((advice,)))


def _removals(routes: Sequence[Route]) -> Finding:
    best = min((_missing(route, REMOVED) for route in routes), key=len)
    if not best:
        return Finding("removals", Status.PASS, "removals are sent, too")
    why = f"{', '.join(best)} is not sent, so a file that is removed before the drain is listed nevertheless"
    return Finding("removals", Status.WARN, why)


def _policy(route: Route, bucket: BucketFacts, queue: QueueFacts) -> Finding:
    service, policy = route.via.service, queue.policy
    if not route.source_arn:
        return Finding("policy", Status.UNKNOWN, f"which rule of EventBridge sends is not known: {route.doubt}")
    source = bucket.owner if route.via is Via.S3 else None
    account = (source or f"<account of {bucket.name}>") if route.via is Via.S3 else None
    needed = PolicyChange(
        f"policy of queue {queue.arn.name}",
        (allows_sending(str(queue.arn), service, route.source_arn, source_account=account),),
    )
    if policy is None:
        return Finding(
            "policy", Status.UNKNOWN, "the queue's policy could not be read", remedy=Remedy(changes=(needed,))
        )
    context: dict[str, str | None] = {"aws:sourcearn": route.source_arn}
    if route.via is not Via.S3:
        source = route.source_arn.split(":")[4]
    if source:
        context["aws:sourceaccount"] = source
    asked = (policy, "sqs:SendMessage", str(queue.arn), service)
    decision = _Decision.of(*asked, context, queue.arn.region)
    if decision.allowed is None:
        why = f"whether it lets {service} send for {route.source_arn} depends on {decision.reason}"
        return Finding("policy", Status.UNKNOWN, why, remedy=Remedy(changes=(needed,)))
    if decision.denying:
        return Finding("policy", Status.FAIL, decision.sentence("The queue's policy"))
    if not decision.allowed:
        why = f"the queue's policy does not let {service} send for {route.source_arn}"
        return Finding("policy", Status.FAIL, why, remedy=Remedy(changes=(needed,)))
    if _Decision.of(*asked, _of_a_stranger(route.source_arn), queue.arn.region).allowed:
        why = f"lets {service} send, for anybody's {'bucket' if route.via is Via.S3 else 'resource'}"
        advice = "Limit the statement by aws:SourceArn and aws:SourceAccount, as this one is:"
        return Finding("policy", Status.WARN, why, remedy=Remedy((advice,), changes=(needed,)))
    return Finding("policy", Status.PASS, f"lets {service} send for {route.source_arn}")


def _best(findings: Sequence[Finding]) -> Finding:
    order = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)
    return min(findings, key=lambda finding: order.index(finding.status))


def _missing(route: Route, event: str) -> list[str]:
    return [one for one in route.missing if one.startswith(event[:-1])]


def _by(route: Route) -> str:
    if route.via is Via.S3:
        return "directly"
    how = "topic" if route.via is Via.SNS else "EventBridge rule"
    return f"by the {how} {shown(route.source_arn or '(not known)', longest=300)}"


def _not_by(rules: Sequence[Rule], location: S3Location) -> list[str]:
    return [missing for event in (CREATED, REMOVED) for missing in not_announced(rules, location, event)]


def _not_by_event_rule(rule: EventRule, location: S3Location) -> tuple[list[str], str]:
    """Return the events that a rule of EventBridge does not pass on for the location, and a doubt about that."""
    everything = [f"{event[:-1]}*" for event in (CREATED, REMOVED)]
    if not rule.is_enabled:
        return everything, ""
    pattern = rule.pattern
    detail = pattern.get("detail", {})
    known = {"source", "detail-type", "detail", "account", "region", "resources"}
    parts = detail.values() if isinstance(detail, dict) else [None]
    if set(pattern) - known or not all(isinstance(one, dict) for one in parts) or set(detail) - {"bucket", "object"}:
        return [], f"the pattern of the rule {shown(rule.arn, longest=300)} has conditions that are not evaluated here"
    of_bucket, of_object = detail.get("bucket") or {}, detail.get("object") or {}
    matched = [
        _fits(pattern.get("source"), "aws.s3"),
        _fits(pattern.get("resources"), bucket_arn(location.bucket, rule.arn.split(":")[1])),
        _fits(of_bucket.get("name"), location.bucket),
        _fits(of_object.get("key"), location.prefix, is_prefix=True),
    ]
    if False in matched:
        return everything, ""
    missing = [
        f"{event[:-1]}*"
        for event, kind in ((CREATED, "Object Created"), (REMOVED, "Object Deleted"))
        if _fits(pattern.get("detail-type"), kind) is False
    ]
    others = {"account", "region"} & set(pattern) or set(of_bucket) - {"name"} or set(of_object) - {"key"}
    if None in matched or others:
        return (
            missing,
            f"the pattern of the rule {shown(rule.arn, longest=300)} has conditions that are not evaluated here",
        )
    return missing, ""


def _fits(patterns: Any, value: str, *, is_prefix: bool = False) -> bool | None:
    """Return whether a list of EventBridge's patterns takes a value, or all that begin with it; None: not judged."""
    if patterns is None:
        return True
    if not isinstance(patterns, list):
        return None
    results: list[bool | None] = []
    for one in patterns:
        if isinstance(one, str):
            results.append(value == one and not is_prefix)
        elif isinstance(one, dict) and list(one) == ["prefix"] and isinstance(one["prefix"], str):
            results.append(value.startswith(one["prefix"]))
        else:
            results.append(None)
    return True if True in results else None if None in results else False


# --- policies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Decision:
    """Whether a resource's policy lets a service do something; None: not known, and why."""

    allowed: bool | None
    service: str
    action: str
    reason: str = ""
    denying: Statement | None = None

    def sentence(self, whose: str) -> str:
        return f"{whose} denies it to {self.service}: {shown(json.dumps(self.denying), longest=1000)}"

    @classmethod
    def of(
        cls,
        policy: Mapping[str, Any],
        action: str,
        resource: str,
        service: str,
        source: Mapping[str, str | None],
        region: str,
    ) -> _Decision:
        """Decide as AWS does: an explicit deny outweighs an allow."""
        context: dict[str, str | None] = {
            "aws:securetransport": "true",
            "aws:principalisawsservice": "true",
            "aws:principalservicename": service,
            "aws:requestedregion": region,
            **source,
        }
        statements = policy.get("Statement") or []
        relevant: list[tuple[Statement, bool | None]] = []
        for statement in statements if isinstance(statements, list) else [statements]:
            if not isinstance(statement, dict):
                continue
            try:
                applies = _all_of(
                    may_cover(statement, action, resource),
                    _names(statement, service),
                    holds(statement.get("Condition"), context),
                )
            except (AttributeError, TypeError):  # not what AWS takes as a statement
                applies = None
            if applies is not False:
                relevant.append((statement, applies))
        denying = next((one for one, applies in relevant if one.get("Effect") == "Deny" and applies), None)
        if denying:
            return cls(False, service, action, denying=denying)
        uncertain = [one for one, applies in relevant if applies is None]
        if any(one.get("Effect") == "Deny" for one in uncertain):
            return cls(None, service, action, _unknown(uncertain, "Deny", context))
        allowing = [one for one, applies in relevant if one.get("Effect") == "Allow" and applies]
        if allowing:
            return cls(True, service, action)
        if uncertain:
            return cls(None, service, action, _unknown(uncertain, "Allow", context))
        return cls(False, service, action)


def _all_of(*parts: bool | None) -> bool | None:
    return False if False in parts else None if None in parts else True


def _unknown(statements: Sequence[Statement], effect: str, context: Mapping[str, str | None]) -> str:
    one = next(one for one in statements if one.get("Effect") == effect)
    try:
        keys = keys_not_known(one.get("Condition"), context)
    except (AttributeError, TypeError):
        keys = []
    what = f"the condition {', '.join(map(shown, keys))}" if keys else "whom and what it is for"
    return f"{what} of a statement: {shown(json.dumps(one), longest=1000)}"


def _names(statement: Statement, service: str) -> bool | None:
    """Return whether a statement of a resource's policy is for a service; None: not judged."""
    if "NotPrincipal" in statement:
        return None
    named = statement.get("Principal")
    if isinstance(named, dict):
        # AWS docs: IAM user guide, "AWS JSON policy elements: Principal": both forms stand for everyone.
        everyone = "*" in _listed(named.get("AWS"))
        return everyone or bool({"*", service} & set(map(str, _listed(named.get("Service")))))
    return named == "*"


def _of_a_stranger(source_arn: str) -> dict[str, str | None]:
    """Return a source like this one of somebody else; whoever may send for it, may send for anybody's."""
    parts = source_arn.split(":", 5)
    if len(parts) == 6:
        parts[4:] = ["0" * 12 if parts[4] else "", "somebody-elses"]
    return {
        "aws:sourcearn": ":".join(parts),
        "aws:sourceaccount": "0" * 12,
        "aws:sourceorgid": "o-0000000000",
        "aws:sourceorgpaths": "o-0000000000/",
    }


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
