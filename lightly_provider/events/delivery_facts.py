"""Ask AWS what decides whether uploads are announced in a queue. Reads only; what is denied is a fact, too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.regions import partition_of
from lightly_provider.diagnosis.failures import failure_of
from lightly_provider.events.delivery import (
    BucketFacts,
    EventRule,
    EventRules,
    KeyFacts,
    QueueFacts,
    TopicFacts,
    parsed_policy,
)
from lightly_provider.events.notifications import EVENTBRIDGE, QueueArn, rules_of
from lightly_provider.events.queue import region_of_queue
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.aws import QUICK, find_bucket_region

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lightly_provider.hooks.aws import AwsConnection

_MOST_PAGES = 20
_NO_QUEUE = ("NonExistentQueue", "QueueDoesNotExist")


class Looking:
    """
    Reads what AWS says of a queue and of buckets.

    :param connection: AWS connection of Airflow's own. It needs ``sqs:GetQueueAttributes``,
        ``s3:GetBucketNotification``, and, where there are such, ``kms:DescribeKey``, ``kms:GetKeyPolicy``,
        ``sns:ListSubscriptionsByTopic``, ``sns:GetSubscriptionAttributes``, ``events:ListRuleNamesByTarget``,
        ``events:DescribeRule``.
    """

    def __init__(self, connection: AwsConnection) -> None:
        self._connection = connection

    def queue(self, url: str, arn: QueueArn | None = None) -> QueueFacts:
        """
        Read a queue, and the key that encrypts it.

        :param url: Its URL.
        :param arn: Its ARN. None (default): it is taken from the answer, or else from the URL.
        """
        region = region_of_queue(url) or (arn.region if arn else None) or self._connection.region
        sqs = self._client("sqs", region)
        here = str(sqs.meta.region_name)
        guessed = arn or QueueArn(partition_of(here), here, *url.split("/")[-2:])
        try:
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]).get("Attributes", {})
        except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
            code = str(getattr(raised, "response", {}).get("Error", {}).get("Code", ""))
            if any(one in code for one in _NO_QUEUE):
                why = f"there is no queue {shown(url, longest=300)} in {here}"
                return QueueFacts(url, guessed, None, why, is_missing=True)
            return QueueFacts(url, guessed, None, f"it could not be looked at: {_text(raised)}")
        texts = {str(name): str(value) for name, value in attributes.items()}
        try:
            known = QueueArn.parse(texts.get("QueueArn", "").removesuffix(".fifo"), argument="QueueArn")
        except ValueError:
            known = guessed
        key_id = texts.get("KmsMasterKeyId")
        return QueueFacts(url, known, texts, key=self._key(key_id, known.region) if key_id else None)

    def queue_url(self, arn: QueueArn) -> str:
        """Return the URL of a queue; if it cannot be asked for, that which it has at AWS."""
        try:
            answer = self._client("sqs", arn.region).get_queue_url(
                QueueName=arn.name, QueueOwnerAWSAccountId=arn.account
            )
        except Exception:  # noqa: BLE001  (the queue itself is asked for next, and says what is wrong)
            return arn.url
        return str(answer["QueueUrl"])

    def bucket(self, name: str, queue: QueueFacts) -> BucketFacts:
        """
        Read where a bucket's notifications go.

        :param name: Its name.
        :param queue: The queue that they should reach.
        """
        try:
            region = find_bucket_region(name, self._connection)
        except LookupError as missing:
            return BucketFacts(name, None, fault=str(missing), is_missing=True)
        s3 = self._client("s3", region)
        facts = BucketFacts(name, region)
        for account in _accounts(queue):
            # S3 answers only if the bucket belongs to this account (AWS docs: S3 user guide, "Verifying bucket
            # ownership with bucket owner condition").
            answer, _ = _answer(s3.get_bucket_notification_configuration, Bucket=name, ExpectedBucketOwner=account)
            if answer is not None:
                facts = replace(facts, owner=account, configuration=answer)
                break
        else:
            answer, fault = _answer(s3.get_bucket_notification_configuration, Bucket=name)
            if answer is None:
                return replace(facts, fault=f"the bucket's notification rules could not be read: {fault}")
            facts = replace(facts, configuration=answer)
        configuration = facts.configuration or {}
        topics = {rule.destination for rule in rules_of(configuration) if ":sns:" in rule.destination}
        facts = replace(facts, topics=tuple(self._topic(arn, queue) for arn in sorted(topics)))
        if EVENTBRIDGE in configuration:
            facts = replace(facts, event_rules=self._event_rules(queue, region))
        return facts

    def _client(self, service: str, region: str | None) -> Any:
        return self._connection.client(service, region=region, config=QUICK)

    def _key(self, key_id: str, region: str) -> KeyFacts:
        kms = self._client("kms", region)
        facts = KeyFacts(key_id)
        answer, fault = _answer(kms.describe_key, KeyId=key_id)
        if answer is not None:
            metadata = answer.get("KeyMetadata", {})
            facts = replace(
                facts,
                arn=metadata.get("Arn"),
                is_awss_own=metadata.get("KeyManager") == "AWS",
                is_enabled=metadata.get("KeyState", "Enabled") == "Enabled",
            )
        # An alias is no key's id here (AWS docs: KMS API reference, "GetKeyPolicy").
        named = facts.arn or key_id
        answer, policy_fault = _answer(kms.get_key_policy, KeyId=named, PolicyName="default")
        if answer is None:
            return replace(facts, fault=policy_fault or fault)
        return replace(facts, policy=parsed_policy(str(answer.get("Policy", ""))))

    def _topic(self, arn: str, queue: QueueFacts) -> TopicFacts:
        parts = arn.split(":")
        sns = self._client("sns", parts[3] if len(parts) > 3 else None)
        token: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer, fault = _answer(sns.list_subscriptions_by_topic, TopicArn=arn, **token)
            if answer is None:
                return TopicFacts(
                    arn, None, fault=f"the subscriptions of the topic {shown(arn)} could not be read: {fault}"
                )
            for one in answer.get("Subscriptions", ()):
                if one.get("Endpoint") == str(queue.arn) and str(one.get("SubscriptionArn", "")).startswith("arn:"):
                    return self._subscription(sns, arn, one["SubscriptionArn"])
            if not answer.get("NextToken"):
                return TopicFacts(arn, leads_to_queue=False)
            token = {"NextToken": answer["NextToken"]}
        return TopicFacts(arn, None, fault=f"the topic {shown(arn)} has too many subscriptions to look through")

    def _subscription(self, sns: Any, topic: str, arn: str) -> TopicFacts:
        answer, fault = _answer(sns.get_subscription_attributes, SubscriptionArn=arn)
        if answer is None:
            return TopicFacts(topic, None, fault=f"the subscription {shown(arn)} could not be read: {fault}")
        return TopicFacts(topic, leads_to_queue=True, is_filtered="FilterPolicy" in answer.get("Attributes", {}))

    def _event_rules(self, queue: QueueFacts, region: str | None) -> EventRules:
        events = self._client("events", region or queue.arn.region)
        answer, fault = _answer(events.list_rule_names_by_target, TargetArn=str(queue.arn))
        if answer is None:
            return EventRules(None, f"the rules of EventBridge could not be read: {fault}")
        found = []
        for name in answer.get("RuleNames", ()):
            rule, fault = _answer(events.describe_rule, Name=name)
            if rule is None:
                return EventRules(None, f"the rule {shown(name)} of EventBridge could not be read: {fault}")
            pattern = parsed_policy(str(rule.get("EventPattern") or "{}"))
            found.append(EventRule(str(rule.get("Arn", "")), rule.get("State", "").startswith("ENABLED"), pattern))
        return EventRules(found)


def _accounts(queue: QueueFacts) -> list[str]:
    """Return the accounts that may own the bucket: the queue's, and those that the queue's policy names."""
    found = [queue.arn.account]
    for statement in (queue.policy or {}).get("Statement") or ():
        condition = statement.get("Condition") if isinstance(statement, dict) else None
        for block in condition.values() if isinstance(condition, dict) else ():
            for key, value in block.items() if isinstance(block, dict) else ():
                if key.lower() == "aws:sourceaccount":
                    found += [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [one for one in dict.fromkeys(map(str, found)) if one.isdigit() and len(one) == 12][:10]


def _answer(ask: Callable[..., Mapping[str, Any]], **arguments: Any) -> tuple[Mapping[str, Any] | None, str]:
    """Return AWS's answer, or None and why there is none."""
    try:
        return ask(**arguments), ""
    except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
        return None, _text(raised)


def _text(raised: Exception) -> str:
    failure = failure_of(raised)
    return shown(failure.text or failure.cause, longest=500)
