from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from lightly_sandbox.aws.client import S3_CONFIG
from tests.lab.sandbox import ACCOUNT, Customer, Process, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWEST, MOST = 24, 80


@dataclass
class Acknowledged:
    """What the local AWS said it had done, by kind; the stream of requests ends with the first that fails."""

    customer: Customer
    done: list[tuple[str, Any]] = field(default_factory=list)
    in_flight: bytes = b""

    def stream(self) -> None:
        try:
            for number in range(10_000):
                self._one(number)
        except (BotoCoreError, ClientError, OSError):
            return

    def _add(self, kind: str, what: Any) -> None:
        self.done.append((kind, what))

    def _one(self, number: int) -> None:
        s3, iam, kms = self.customer.s3, self.customer.iam, self.customer.client("kms")
        bucket = self.customer.bucket()
        self._add("bucket", bucket)
        for each in range(5):
            s3.put_object(Bucket=bucket, Key=f"a/{each}", Body=f"{number}-{each}".encode())
            self._add("object", (bucket, f"a/{each}", f"{number}-{each}".encode()))
        s3.put_object(Bucket=bucket, Key="gone", Body=b"gone")
        s3.delete_object(Bucket=bucket, Key="gone")
        self._add("no object", (bucket, "gone"))
        for turn in range(4):
            self.in_flight = os.urandom(1000 * (turn + 1))
            s3.put_object(Bucket=bucket, Key="again", Body=self.in_flight)
            self._add("overwritten", (bucket, "again", self.in_flight))
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "n", "Value": str(number)}]})
        self._add("tags", (bucket, str(number)))
        upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
        which = {"Bucket": bucket, "Key": "big", "UploadId": upload}
        part = s3.upload_part(**which, PartNumber=1, Body=b"part of it")
        self._add("part", (which, part["ETag"]))
        everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        keys = self.customer.user(everything)
        self._add("user", keys)
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
            "Action": "sts:AssumeRole",
        }
        arn = self.customer.role("x", everything)
        iam.update_assume_role_policy(
            RoleName=arn.rsplit("/", 1)[-1],
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        self._add("role", arn)
        session = self.customer.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")
        self._add("session", session["Credentials"])
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        sealed = kms.encrypt(KeyId=key_id, Plaintext=b"secret")["CiphertextBlob"]
        self._add("key", (key_id, sealed))
        self._secrets(number)
        self._notified()

    def _secrets(self, number: int) -> None:
        secrets, parameters = self.customer.client("secretsmanager"), self.customer.client("ssm")
        name = f"{id(self)}-{number}"
        secrets.create_secret(Name=name, SecretString="first")
        self._add("secret", (name, "first"))
        secrets.put_secret_value(SecretId=name, SecretString="second")
        self._add("secret", (name, "second"))
        parameters.put_parameter(Name=name, Value="first", Type="SecureString")
        self._add("parameter", (name, "first"))
        parameters.delete_parameter(Name=name)
        self._add("parameter", (name, None))

    def _notified(self) -> None:
        sqs, bucket = self.customer.client("sqs"), self.customer.bucket()
        queue = sqs.create_queue(QueueName=bucket)["QueueUrl"]
        arn = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:{bucket}"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        self.customer.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration=wanted
        )
        for key in ("one.jpg", "two.jpg"):
            self.customer.s3.put_object(Bucket=bucket, Key=key, Body=b"new")
            self._add("notification", (queue, key))

    def check(self, customer: Customer, aws_url: str) -> None:
        """Everything that was acknowledged is there."""
        overwritten: dict[tuple[str, str], bytes] = {}
        stored: dict[tuple[str, str], str | None] = {}
        for kind, what in self.done:
            match kind:
                case "bucket":
                    assert customer.s3.head_bucket(Bucket=what)["BucketRegion"] == "eu-central-1"
                case "object":
                    assert _content(customer, *what[:2]) == what[2]
                case "no object":
                    assert what[1] not in customer.keys(what[0])
                case "overwritten":
                    overwritten[what[:2]] = what[2]
                case "tags":
                    tags = customer.s3.get_bucket_tagging(Bucket=what[0])["TagSet"]
                    assert tags == [{"Key": "n", "Value": what[1]}]
                case "part":
                    (part,) = customer.s3.list_parts(**what[0])["Parts"]
                    assert part["ETag"] == what[1]
                case "user":
                    assert customer.client("s3", what).list_buckets()["Buckets"]
                case "role":
                    role = customer.iam.get_role(RoleName=what.rsplit("/", 1)[-1])["Role"]
                    assert role["MaxSessionDuration"] == 43200
                case "session":
                    session = boto3.client(
                        "s3",
                        region_name="eu-central-1",
                        endpoint_url=aws_url,
                        aws_access_key_id=what["AccessKeyId"],
                        aws_secret_access_key=what["SecretAccessKey"],
                        aws_session_token=what["SessionToken"],
                        config=S3_CONFIG,
                    )
                    assert session.list_buckets()["Buckets"]
                case "key":
                    kms = customer.client("kms")
                    assert kms.decrypt(KeyId=what[0], CiphertextBlob=what[1])["Plaintext"] == b"secret"
                case "secret" | "parameter":
                    stored[kind, what[0]] = what[1]
                case "notification":
                    # Without a visibility timeout the messages stay for the next look.
                    found = customer.client("sqs").receive_message(
                        QueueUrl=what[0], MaxNumberOfMessages=10, VisibilityTimeout=0
                    )
                    assert any(what[1] in message["Body"] for message in found.get("Messages", []))
        for where, content in overwritten.items():
            assert _content(customer, *where) in (content, self.in_flight)
        for (kind, name), value in stored.items():
            # The request that was in flight may have done its work.
            later = [{"secret": "second", "parameter": None}[kind]] if value == "first" else []
            assert _value(customer, kind, name) in [value, *later]


def _value(customer: Customer, kind: str, name: str) -> str | None:
    """The value of a secret or a parameter; None if it is not there."""
    if kind == "secret":
        secret: str = customer.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        return secret
    try:
        parameter = customer.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]
    except ClientError:
        return None
    value: str = parameter["Value"]
    return value


def _content(customer: Customer, bucket: str, key: str) -> bytes:
    answer = customer.s3.get_object(Bucket=bucket, Key=key)
    content: bytes = answer["Body"].read()
    assert answer["ContentLength"] == len(content)
    assert answer["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    return content


def _process_of(supervisor: int, module: str) -> int:
    """The supervisor's child that runs ``module``."""
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        if module in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
            return int(child)
    raise AssertionError(f"no child of {supervisor} runs {module}")


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.stop()


@pytest.mark.parametrize("n_kills", [1, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_what_the_local_aws_has_acknowledged_outlives_every_kill(
    started: list[Process], tmp_path: Path, n_kills: int
) -> None:
    chance = random.Random()
    streams: list[Acknowledged] = []
    for turn in range(n_kills + 1):
        process = Process.start(tmp_path / "state", "--workers", "0")
        started.append(process)
        ready = process.ready()
        customer = Customer(ready)
        for stream in streams:
            stream.check(customer, ready["aws_url"])
        if turn == n_kills:
            break
        stream, moment = Acknowledged(customer), chance.randint(FEWEST, MOST)
        streams.append(stream)
        writing = threading.Thread(target=stream.stream)
        writing.start()

        def reached(stream: Acknowledged = stream, moment: int = moment) -> bool:
            return len(stream.done) >= moment

        wait_until(reached, 60)
        # The local AWS by itself, or the supervisor, whose other processes end a little later.
        victim = (
            process.popen.pid if turn % 2 else _process_of(process.popen.pid, "lightly_sandbox.aws.server")
        )
        os.kill(victim, signal.SIGKILL)
        writing.join(60)
        assert not writing.is_alive()
        process.output()


@pytest.mark.exhaustive(sample="test_what_the_local_aws_has_acknowledged_outlives_every_kill")
def test_an_upload_goes_on_and_an_object_is_not_described_by_what_it_replaces(
    started: list[Process], tmp_path: Path
) -> None:
    first = Process.start(tmp_path / "state", "--workers", "0")
    started.append(first)
    customer = Customer(first.ready())
    bucket, with_object = customer.bucket(), customer.bucket("a.jpg")
    parts = [os.urandom(5 * 2**20), os.urandom(1000)]
    upload = customer.s3.create_multipart_upload(Bucket=bucket, Key="big", Metadata={"camera": "1"})
    which = {"Bucket": bucket, "Key": "big", "UploadId": upload["UploadId"]}
    customer.s3.upload_part(**which, PartNumber=1, Body=parts[0])
    other = customer.s3.create_multipart_upload(Bucket=bucket, Key="other")
    customer.s3.abort_multipart_upload(Bucket=bucket, Key="other", UploadId=other["UploadId"])
    os.kill(_process_of(first.popen.pid, "lightly_sandbox.aws.server"), signal.SIGKILL)
    first.output()
    # As a kill between the two files of an object leaves it.
    (content,) = (tmp_path / "state" / "aws" / "s3").rglob("a.jpg")
    content.write_bytes(b"something longer than before")
    described = content.with_name("a.jpg.meta.json").stat()
    os.utime(content, ns=(described.st_mtime_ns + 1, described.st_mtime_ns + 1))

    second = Process.start(tmp_path / "state", "--workers", "0")
    started.append(second)
    customer = Customer(second.ready())
    assert _content(customer, with_object, "a.jpg") == b"something longer than before"
    assert [one["Key"] for one in customer.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["big"]
    customer.s3.upload_part(**which, PartNumber=2, Body=parts[1])
    listed = customer.s3.list_parts(**which)["Parts"]
    complete = {"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed]}
    customer.s3.complete_multipart_upload(**which, MultipartUpload=complete)
    answer = customer.s3.get_object(Bucket=bucket, Key="big")
    assert answer["Body"].read() == b"".join(parts)
    assert answer["Metadata"] == {"camera": "1"}
    assert not any((tmp_path / "state" / "aws" / "uploads").iterdir())
