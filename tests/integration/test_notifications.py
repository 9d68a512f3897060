"""What ``airflow lightly notifications`` prints, applied to the local AWS; what the doctor says before and after."""

from __future__ import annotations

import json
import shlex
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.cli.commands import main
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.events.notifications import allows_encrypting

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("in_the_sandboxs_region")
SAMPLE = "test_the_printed_commands_announce_the_uploads_and_leave_the_rules_of_others"
EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


class Place:
    """A bucket and a queue that know nothing of each other."""

    def __init__(self, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.sandbox, self._capsys = sandbox, capsys
        self.bucket = sandbox.bucket()
        self.url, self.arn = self.queue()

    def queue(self, name: str = "", region: str | None = None, **attributes: str) -> tuple[str, str]:
        """A new queue: its URL and ARN."""
        sqs = self.sandbox.aws("sqs", region)
        url = sqs.create_queue(QueueName=f"uploads-{uuid.uuid4().hex[:12]}{name}", Attributes=attributes)["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(url), str(answer["Attributes"]["QueueArn"])

    def run(self, *arguments: str) -> tuple[int, Any, str]:
        """Exit code of a command, its JSON, and its notes."""
        code = 0
        try:
            main([*arguments, "--output", "json"])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = self._capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    def notifications(self, *arguments: str, prefix: str = "photos/") -> tuple[int, Any, str]:
        location = f"s3://{self.bucket}/{prefix}"
        return self.run("notifications", location, "--queue-arn", self.arn, "--aws-conn-id", "aws_default", *arguments)

    def doctor(self, *, queue: str | None = None) -> tuple[int, dict[str, str], list[dict[str, Any]]]:
        """Exit code, status by check, and the checks."""
        location = f"s3://{self.bucket}/photos/"
        code, data, _ = self.run("doctor", location, "--queue", queue or self.url, "--aws-conn-id", "aws_default")
        return code, {one["check"]: one["status"] for one in data[0]["checks"]}, data[0]["checks"]

    def apply(self, command: str) -> None:
        """Do what a command of the AWS command line does."""
        _, service, operation, *options = shlex.split(command)
        given = dict(zip(options[::2], options[1::2], strict=True))
        if operation == "set-queue-attributes":
            attributes = json.loads(given["--attributes"])
            self.sandbox.aws("sqs").set_queue_attributes(QueueUrl=given["--queue-url"], Attributes=attributes)
            return
        assert (service, operation) == ("s3api", "put-bucket-notification-configuration")
        self.sandbox.aws("s3").put_bucket_notification_configuration(
            Bucket=given["--bucket"], NotificationConfiguration=json.loads(given["--notification-configuration"])
        )


@pytest.fixture
def place(lightly: Sandbox, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(lightly, capsys)


def test_the_printed_commands_announce_the_uploads_and_leave_the_rules_of_others(place: Place) -> None:
    others_url, others_arn = place.queue()
    statement = {
        "Sid": "others", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": others_arn,
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    place.sandbox.aws("sqs").set_queue_attributes(QueueUrl=others_url, Attributes={"Policy": policy})
    theirs = {
        "Id": "theirs",
        "QueueArn": others_arn,
        "Events": EVENTS,
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "logs/"}]}},
    }
    s3 = place.sandbox.aws("s3")
    s3.put_bucket_notification_configuration(
        Bucket=place.bucket, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    code, before, checks = place.doctor()
    assert (code, before["rules"], before["policy"]) == (ExitCode.DENIED, "FAIL", "FAIL")
    assert f"--queue-arn {place.arn}" in next(one["advice"] for one in checks if one["check"] == "rules")

    code, printed, notes = place.notifications()
    assert (code, notes) == (0, "")
    for command in printed["commands"]:
        assert command.endswith(f" --endpoint-url {place.sandbox.aws_url}")
        place.apply(command)

    code, after, _ = place.doctor()
    assert code == 0
    assert after == {
        "queue": "PASS", "encryption": "PASS", "redrive": "WARN", "retention": "PASS",
        "region": "PASS", "rules": "PASS", "removals": "PASS", "policy": "PASS",
    }  # fmt: skip
    rules = s3.get_bucket_notification_configuration(Bucket=place.bucket)["QueueConfigurations"]
    assert rules[0]["Id"] == "theirs"
    assert len(rules) == 2
    s3.put_object(Bucket=place.bucket, Key="photos/a.jpg", Body=b"content")
    deadline, bodies = time.monotonic() + 60, ""
    while "photos/a.jpg" not in bodies:
        assert time.monotonic() < deadline
        answer = place.sandbox.aws("sqs").receive_message(QueueUrl=place.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        bodies += "".join(one["Body"] for one in answer.get("Messages", []))
    # A second time there is nothing to do.
    code, printed, notes = place.notifications()
    assert [command.split()[2] for command in printed["commands"]] == ["set-queue-attributes"]
    assert len(printed["queue_policy"]["Statement"]) == 1
    assert "has all the rules already" in notes
    # Beside their rule, S3 would refuse this one.
    code, printed, notes = place.notifications(prefix="logs/2026/")
    assert (code, printed) == (ExitCode.DENIED, None)
    assert "rule 'theirs'" in notes
    assert "keys below 'logs/'" in notes


@pytest.mark.exhaustive(sample=SAMPLE)
def test_what_may_not_be_read_is_unknown_and_no_command_would_erase_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = place.sandbox.aws_connection(place.sandbox.user(), region_name=place.sandbox.region)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", nobody)
    code, checks, _ = place.doctor()
    assert (code, checks["queue"], checks["rules"], checks["policy"]) == (3, "UNKNOWN", "UNKNOWN", "UNKNOWN")
    assert "PASS" not in {checks[one] for one in ("queue", "rules", "policy")}
    code, printed, notes = place.notifications()
    assert code == ExitCode.UNKNOWN
    assert printed["commands"] == []
    assert list(printed["configuration"][place.bucket]) == ["add"]
    assert "would erase the rules of others" in notes
    assert "AccessDenied" in notes


@pytest.mark.exhaustive(sample=SAMPLE)
def test_the_key_of_the_queue_must_let_s3_use_it(place: Place) -> None:
    kms = place.sandbox.aws("kms")
    key_arn = kms.create_key()["KeyMetadata"]["Arn"]
    place.url, place.arn = place.queue(KmsMasterKeyId=key_arn)
    _, checks, found = place.doctor()
    assert checks["encryption"] == "FAIL"
    (change,) = next(one["fix_elsewhere"] for one in found if one["check"] == "encryption")
    assert change["add"] == [allows_encrypting("s3.amazonaws.com")]
    assert place.notifications()[1]["key_policy"] == {key_arn: {"add": change["add"]}}

    policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
    policy["Statement"] += change["add"]
    kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))
    assert place.doctor()[1]["encryption"] == "PASS"

    own, _ = place.queue(KmsMasterKeyId="alias/aws/sqs")
    assert place.doctor(queue=own)[1]["encryption"] == "FAIL"


@pytest.mark.exhaustive(sample=SAMPLE)
def test_a_queue_elsewhere_one_that_is_missing_and_a_fifo_queue(place: Place) -> None:
    code, checks, _ = place.doctor(queue=f"{place.url}-nowhere")
    assert (code, checks["queue"]) == (ExitCode.DENIED, "FAIL")
    fifo, arn = place.queue(".fifo", FifoQueue="true")
    code, checks, _ = place.doctor(queue=fifo)
    assert (code, checks["queue"]) == (ExitCode.DENIED, "FAIL")
    place.arn = arn
    code, printed, notes = place.notifications()
    assert (code, printed) == (ExitCode.USAGE, None)
    assert "a FIFO queue" in notes
    _, place.arn = place.queue(region="eu-west-1")
    code, _, notes = place.notifications()
    assert code == ExitCode.USAGE
    assert "and the queue in eu-west-1, and S3 sends event notifications only within a region; create" in notes


@pytest.mark.exhaustive(sample=SAMPLE)
def test_without_a_connection_nothing_is_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    location = f"s3://{place.bucket}/photos/"
    code, printed, notes = place.run("notifications", location, "--queue-arn", place.arn)
    assert (code, printed["commands"]) == (0, [])
    assert printed["configuration"][place.bucket]["add"][0]["Events"] == EVENTS
    assert "Nothing was asked of AWS" in notes
    topic = place.arn.replace(":sqs:", ":sns:")
    _, printed, _ = place.run("notifications", location, "--queue-arn", place.arn, "--via", "sns", "--topic-arn", topic)
    assert printed["configuration"][place.bucket]["add"][0]["TopicArn"] == topic
    assert printed["topic_policy"]["add"][0]["Action"] == "sns:Publish"
    assert printed["queue_policy"]["add"][0]["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    _, commands, _ = place.run(
        "notifications", location, "--queue-arn", place.arn, "--via", "eventbridge", "--document", "commands"
    )
    assert [one.split()[2] for one in commands] == ["put-rule", "put-targets"]
