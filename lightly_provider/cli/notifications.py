"""``airflow lightly notifications``: print what S3 needs to announce uploads in a queue. Changes nothing."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.command import Argument, Command
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.cli.refusals import CommandError, choose

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.delivery import BucketFacts, QueueFacts
    from lightly_provider.events.notifications import Change, QueueArn, Via
    from lightly_provider.hooks.aws import AwsConnection

_VIAS = ("s3", "sns", "eventbridge")
_DOCUMENTS = ("all", "configuration", "queue-policy", "topic-policy", "key-policy", "commands")
_ACCOUNT_DIGITS = 12


def run(arguments: argparse.Namespace) -> Answer:
    """Return the documents: as JSON, or as a table of what is new in them."""
    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.notifications import QueueArn, Via, check_prefixes, check_topic_arn

    via = Via(choose(arguments.via, _VIAS, argument="--via"))
    document = choose(arguments.document, _DOCUMENTS, argument="--document")
    queue = QueueArn.parse(arguments.queue_arn, argument="--queue-arn")
    locations = [S3Location.parse(uri, argument="location") for uri in dict.fromkeys(arguments.location)]
    if via is not Via.EVENTBRIDGE:
        check_prefixes(locations, argument="location")
    if via is Via.SNS:
        check_topic_arn(arguments.topic_arn or "", argument="--topic-arn", queue=queue)
    elif arguments.topic_arn is not None:
        raise CommandError(f"--topic-arn is for --via sns, and --via is {via}; leave one of them out.")
    account = arguments.bucket_account or queue.account
    if not (len(account) == _ACCOUNT_DIGITS and account.isascii() and account.isdigit()):
        raise CommandError(f"--bucket-account is {account!r}; write the 12 digits of the account that owns the bucket.")
    needs = _Needs(arguments, via, queue, locations, account)
    data = needs.documents
    if document != "all":
        name = document.replace("-", "_")
        if name not in data:
            raise CommandError(f"there is no {document} for what was asked; leave --document out to see all.")
        data = data[name]
    return Answer(
        sections=[Section(rows=list(needs.rows()))],
        data=data,
        notes=needs.notes,
        exit_code=ExitCode.UNKNOWN if needs.is_partly_unknown else ExitCode.OK,
    )


class _Needs:
    """What is needed for some locations, beside what is there."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        via: Via,
        queue: QueueArn,
        locations: Sequence[S3Location],
        account: str,
    ) -> None:
        from lightly_provider.events.notifications import EVENTBRIDGE_RULE, Via, bucket_arn

        self._via, self._queue, self._locations = via, queue, locations
        self._destination: str = arguments.topic_arn or str(queue)
        self.notes: list[str] = []
        self.is_partly_unknown = False
        self._url = queue.url
        self._connection: AwsConnection | None = None
        self._queue_facts: QueueFacts | None = None
        self._buckets: dict[str, BucketFacts] = {}
        names = list(dict.fromkeys(one.bucket for one in locations))
        if arguments.aws_conn_id is not None:
            self._look(arguments.aws_conn_id, names)
        else:
            self.notes.append(
                "Nothing was asked of AWS: give --aws-conn-id to see what is there, and to get it merged with this."
            )
        owners = {name: self._owner_of(name, account, arguments.bucket_account) for name in names}
        self._owners = owners
        rule_arn = f"arn:{queue.partition}:events:{queue.region}:{queue.account}:rule/{EVENTBRIDGE_RULE}"
        self._sources: list[tuple[str, str | None]] = [(self._destination, None)]
        if via is Via.S3:
            self._sources = [(bucket_arn(name, queue.partition), owners[name]) for name in names]
        elif via is Via.EVENTBRIDGE:
            self._sources = [(rule_arn, None)]
        self._changes = {name: self._change(name) for name in names}

    def _look(self, aws_conn_id: str, names: Sequence[str]) -> None:
        from lightly_provider.events.delivery_facts import Looking
        from lightly_provider.events.notifications import Via
        from lightly_provider.hooks.aws import AwsConnection

        self._connection = AwsConnection(aws_conn_id)
        looking = Looking(self._connection)
        self._url = looking.queue_url(self._queue)
        self._queue_facts = facts = looking.queue(self._url, self._queue)
        if facts.is_missing:
            raise CommandError(f"--queue-arn: {facts.fault}; check its name, region and account.", ExitCode.DENIED)
        if facts.attributes is None:
            self.is_partly_unknown = True
            self.notes.append(f"The queue's policy and key are not known: {facts.fault}.")
        for name in names:
            self._buckets[name] = bucket = looking.bucket(name, facts)
            if bucket.is_missing:
                raise CommandError(bucket.fault, ExitCode.DENIED)
            if bucket.region and bucket.region != self._queue.region and self._via is not Via.SNS:
                raise CommandError(
                    f"The bucket {name} is in {bucket.region} and the queue in {self._queue.region}, and S3 sends "
                    f"event notifications only within a region; create the queue in {bucket.region}."
                )
            if bucket.configuration is None:
                self.is_partly_unknown = True

    def _owner_of(self, name: str, account: str, given: str | None) -> str:
        known = self._buckets[name].owner if name in self._buckets else None
        if given is None and known is None:
            self.notes.append(
                f"aws:SourceAccount is {account}, the queue's account; if the bucket {name} belongs to another, give "
                "--bucket-account."
            )
        return given or known or account

    def _change(self, bucket: str) -> Change:
        from lightly_provider.events.notifications import Via, with_eventbridge, with_rules

        existing = self._existing(bucket)
        if existing is None and self._buckets:
            fault = self._buckets[bucket].fault
            self.notes.append(
                f"{fault[:1].upper()}{fault[1:]}. So only the new rules are printed, and no command: "
                "put-bucket-notification-configuration replaces the whole configuration, and would erase the rules of "
                "others."
            )
        if self._via is Via.EVENTBRIDGE:
            return with_eventbridge(existing or {})
        change = with_rules(existing or {}, (one for one in self._locations if one.bucket == bucket), self._destination)
        if change.conflicts:
            theirs = "; the ".join(map(str, change.conflicts))
            raise CommandError(
                f"The bucket {bucket} has the {theirs}. S3 refuses a second rule whose keys and events overlap with "
                "it; use --via sns with a topic to which both are subscribed, or --via eventbridge, or remove that "
                "rule if nobody needs it.",
                ExitCode.DENIED,
            )
        self.notes += change.notes
        if existing is not None and change.changes_nothing:
            self.notes.append(f"The bucket {bucket} has all the rules already.")
        return change

    def _existing(self, bucket: str) -> Mapping[str, Any] | None:
        return self._buckets[bucket].configuration if bucket in self._buckets else None

    @cached_property
    def documents(self) -> dict[str, Any]:
        """The documents by name."""
        from lightly_provider.events.notifications import Via, allows_encrypting, allows_publishing, bucket_arn

        documents: dict[str, Any] = {"configuration": {}}
        for name, change in self._changes.items():
            whole = self._existing(name) is not None
            documents["configuration"][name] = dict(change.configuration) if whole else {"add": list(change.added)}
        documents["queue_policy"] = self._queue_policy()
        if self._via is Via.SNS:
            documents["topic_policy"] = {
                "add": [
                    allows_publishing(self._destination, bucket_arn(name, self._queue.partition), owner)
                    for name, owner in self._owners.items()
                ]
            }
        if key := self._queue_facts.key if self._queue_facts else None:
            documents["key_policy"] = {key.arn or key.key_id: {"add": [allows_encrypting(self._via.service)]}}
            if key.is_awss_own or key.key_id.endswith("alias/aws/sqs"):
                self.notes.append(
                    "The queue is encrypted with AWS's own key, whose policy cannot be changed: S3 cannot send to it. "
                    "Use SQS's own keys, or a KMS key of yours with the statement of key_policy."
                )
        documents["commands"] = [f"{command}{self._endpoint(command)}" for command in self._commands(documents)]
        return documents

    def _queue_policy(self) -> dict[str, Any]:
        from lightly_provider.events.notifications import allows_sending

        needed = [
            allows_sending(str(self._queue), self._via.service, source, source_account=owner)
            for source, owner in self._sources
        ]
        existing = self._queue_facts.policy if self._queue_facts else None
        if existing is None:
            return {"add": needed}
        statements = existing.get("Statement") or []
        there = statements if isinstance(statements, list) else [statements]
        return {
            **({"Version": "2012-10-17"} if "Version" not in existing else {}),
            **existing,
            "Statement": [*there, *(one for one in needed if not _has(there, one))],
        }

    def _endpoint(self, command: str) -> str:
        """Return the option with which a command goes where the connection's requests go."""
        import shlex

        service = command.split()[1].removesuffix("api")
        url = self._connection.endpoint_url(service) if self._connection else None
        return f" --endpoint-url {shlex.quote(url)}" if url else ""

    def _commands(self, documents: Mapping[str, Any]) -> Iterator[str]:
        """Yield the commands in an order in which each is taken: S3 sends a test event when it gets a configuration."""
        import json
        import shlex

        from lightly_provider.aws.policy_documents import compact
        from lightly_provider.events.notifications import EVENTBRIDGE_RULE, Via, event_pattern

        region = f"--region {self._queue.region}"
        policy = documents["queue_policy"]
        if "add" not in policy:
            attributes = shlex.quote(json.dumps({"Policy": compact(policy)}))
            yield f"aws sqs set-queue-attributes --queue-url {self._url} --attributes {attributes} {region}"
        if self._via is Via.SNS:
            topic_region = f"--region {self._destination.split(':')[3]}"
            yield (
                f"aws sns subscribe --topic-arn {self._destination} --protocol sqs --notification-endpoint "
                f"{self._queue} {topic_region}"
            )
        if self._via is Via.EVENTBRIDGE:
            pattern = shlex.quote(json.dumps(event_pattern(self._locations), separators=(",", ":")))
            yield f"aws events put-rule --name {EVENTBRIDGE_RULE} --event-pattern {pattern} {region}"
            target = shlex.quote(json.dumps([{"Id": "queue", "Arn": str(self._queue)}]))
            yield f"aws events put-targets --rule {EVENTBRIDGE_RULE} --targets {target} {region}"
        for name, change in self._changes.items():
            if self._existing(name) is not None and not change.changes_nothing:
                text = shlex.quote(json.dumps(dict(change.configuration), separators=(",", ":")))
                owner = f" --expected-bucket-owner {owner}" if (owner := self._buckets[name].owner) else ""
                yield (
                    f"aws s3api put-bucket-notification-configuration --bucket {name} --notification-configuration "
                    f"{text}{owner}"
                )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each rule and statement that is new."""
        from lightly_provider.events.notifications import rules_of

        documents = self.documents
        for name, change in self._changes.items():
            member = "TopicConfigurations" if ":sns:" in self._destination else "QueueConfigurations"
            for rule in rules_of({member: [one for one in change.added if "Events" in one]}):
                yield _row("configuration", name, rule.prefix, rule.events, rule.destination)
            if any("Events" not in one for one in change.added):
                yield _row("configuration", name, "", ["all"], "EventBridge")
        for document in ("queue_policy", "topic_policy"):
            policy = documents.get(document, {})
            for statement in policy.get("add") or policy.get("Statement", ()):
                source = statement.get("Condition", {}).get("ArnEquals", {}).get("aws:SourceArn")
                if source:
                    yield _row(document, source, "", [statement["Action"]], statement["Resource"])
        for key, policy in documents.get("key_policy", {}).items():
            yield _row("key_policy", self._via.service, "", policy["add"][0]["Action"], key)


def _row(document: str, from_: str, prefix: str, events: Sequence[str], to: str) -> dict[str, Any]:
    return {"document": document, "from": from_, "prefix": prefix, "what": list(events), "to": to}


def _has(statements: Sequence[Any], needed: Mapping[str, Any]) -> bool:
    from lightly_provider.aws.policy_documents import same_meaning

    return any(
        isinstance(one, dict) and same_meaning({"Statement": [one]}, {"Statement": [dict(needed)]})
        for one in statements
    )


COMMAND = Command(
    name="notifications",
    summary="Print what S3 needs to announce the uploads at some locations in a queue of SQS.",
    description=(
        "The bucket's notification configuration, the queue's policy, the statement for the key that encrypts the\n"
        "queue, and the commands that apply them. Reads what is there with --aws-conn-id, and changes nothing."
    ),
    arguments=(
        Argument("location", nargs="+", metavar="s3://bucket/prefix/", help="Where the files arrive."),
        Argument("--queue-arn", metavar="ARN", required=True, help="ARN of the queue."),
        Argument(
            "--aws-conn-id",
            metavar="ID",
            help="AWS connection of Airflow's own, with which to read what bucket and queue have. Default: none, ask "
            "nothing of AWS.",
        ),
        Argument("--via", default="s3", help="How: s3 (directly), sns or eventbridge. Default: s3."),
        Argument("--topic-arn", metavar="ARN", help="ARN of the topic, for --via sns."),
        Argument(
            "--bucket-account",
            metavar="ACCOUNT",
            help="Account that owns the bucket. Default: S3 is asked, or else that of the queue.",
        ),
        Argument(
            "--document",
            default="all",
            help="Document to print: configuration, queue-policy, topic-policy, key-policy or commands. Default: all.",
        ),
    ),
    output=Argument(
        "-o",
        "--output",
        metavar="(json, yaml, table, plain)",
        help="Output format; table and plain list the rules and statements. Default: json.",
    ),
    default_format="json",
    examples=(
        (
            "beside the rules that the bucket has",
            "notifications s3://my-bucket/photos/ --queue-arn arn:aws:sqs:eu-central-1:123456789012:uploads "
            "--aws-conn-id aws_default",
        ),
        (
            "the commands alone",
            "notifications s3://my-bucket/photos/ --queue-arn arn:aws:sqs:eu-central-1:123456789012:uploads "
            "--aws-conn-id aws_default --document commands | jq -r '.[]'",
        ),
        (
            "by EventBridge, if another rule stands in the way",
            "notifications s3://my-bucket/photos/ --queue-arn arn:aws:sqs:eu-central-1:123456789012:uploads "
            "--aws-conn-id aws_default --via eventbridge",
        ),
    ),
    run=run,
)
