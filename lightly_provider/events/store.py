"""
The batches and manifests in S3, below one prefix.

``open/`` holds the batches whose manifests may not be handed on yet, ``finished/`` those of the last 14 days that are.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from lightly_provider.events.batches import Batch, digest_of
from lightly_provider.exceptions import LightlyQueueError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.aws import AwsConnection, refusals_explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.batches import Message

_OPEN, _FINISHED = "batches/open/", "batches/finished/"
_WRITABLE = "batches/writable"
# SQS keeps no message longer (AWS docs: SQS developer guide, "Amazon SQS message quotas").
_LONGEST_RETENTION_MS = 14 * 24 * 3600 * 1000
# Clocks differ, and a message is sent before it is in a batch.
_SPARE_MS = 3600 * 1000
# Twice as much as one that is made of what a drain receives at most, see queue.py.
_LARGEST_BATCH = 512 * 1024 * 1024
_MOST_REMOVED = 1000
_FINISHED_NAME = r"(?P<owner>[0-9a-f]{16})-(?P<first>\d{13})-(?P<last>\d{13})-(?P<id>[0-9a-f]{32})\.json"
# The longest name of a file below the prefix that is not a manifest.
LONGEST_NAME = len(f"{_FINISHED}{'0' * 16}-{'0' * 13}-{'0' * 13}-{'0' * 32}.json")


class BatchStore:
    """
    The batches of one manifest prefix.

    :param location: Where manifests and batches are written.
    :param aws_conn_id: AWS connection that writes there; None: boto3's default credentials.
    """

    def __init__(self, location: S3Location, *, aws_conn_id: str | None) -> None:
        self._location = location
        self._connection = AwsConnection(aws_conn_id)

    @property
    def _client(self) -> Any:
        return self._connection.client("s3")

    def open_batches(self) -> list[Batch]:
        """
        Return the batches that may not be handed on yet.

        :raises LightlyQueueError: A file there is no batch.
        :raises LightlyAccessError: AWS denied the request.
        """
        found = []
        for key in self._keys(_OPEN):
            batch = self._read(key)
            if key != f"{self._location.prefix}{_open_name(batch)}":
                raise self._no_batch(key, "its name is not that of its messages")
            found.append(batch)
        return found

    def check_writable(self) -> None:
        """
        Write a small file, so that what cannot be written is known before messages are received.

        :raises LightlyAccessError: AWS denied the request.
        """
        self._write(_WRITABLE, b"", "text/plain")

    def open(self, batch: Batch) -> None:
        """
        Store a batch, before anything is done with it.

        :param batch: The batch.
        :raises LightlyAccessError: AWS denied the request.
        """
        self._write(_open_name(batch), batch.to_json(), "application/json")

    def write_manifests(self, batch: Batch) -> dict[str, str]:
        """
        Write the batch's manifests. A second call writes the same files.

        :param batch: A stored batch.
        :return: Address of the manifest by dataset.
        :raises LightlyAccessError: AWS denied the request.
        """
        return {
            dataset: self._write(batch.manifest_name(dataset), batch.manifest(dataset), "application/jsonl")
            for dataset in batch.keys
        }

    def finish(self, batch: Batch) -> None:
        """
        Remember a batch that was handed on as finished.

        :param batch: The batch.
        :raises LightlyAccessError: AWS denied the request.
        """
        first, last = batch.sent_ms
        name = f"{_FINISHED}{digest_of(batch.owner)}-{first:013d}-{last:013d}-{batch.id}.json"
        self._write(name, batch.to_json(), "application/json")
        with refusals_explained(self._connection):
            self._client.delete_object(Bucket=self._location.bucket, Key=f"{self._location.prefix}{_open_name(batch)}")

    def finished_by(self, owner: Mapping[str, Any]) -> list[Batch]:
        """
        Return the finished batches that a task instance handed on: if it runs again, it was cleared.

        :param owner: The task instance.
        :raises LightlyAccessError: AWS denied the request.
        """
        return [self._read(key) for key in self._keys(f"{_FINISHED}{digest_of(owner)}-")]

    def finished_messages(self, messages: Sequence[Message]) -> set[str]:
        """
        Return which of the messages belong to finished batches; their deletion was lost.

        :param messages: Messages that were received.
        :raises LightlyAccessError: AWS denied the request.
        """
        # SQS counts the receptions approximately, so this also looks if the count is missing or wrong by one.
        again = [message for message in messages if message.n_receptions != 1]
        if not again:
            return set()
        wanted = {message.id for message in again}
        sent = [message.sent_ms for message in again]
        found: set[str] = set()
        for key in self._keys(_FINISHED):
            name = self._finished_name(key)
            if any(int(name["first"]) <= moment <= int(name["last"]) for moment in sent):
                found |= wanted & set(self._read(key).message_ids)
        return found

    def forget_old(self) -> None:
        """
        Delete the finished batches whose messages SQS no longer keeps.

        :raises LightlyAccessError: AWS denied the request.
        """
        before = int(time.time() * 1000) - _LONGEST_RETENTION_MS - _SPARE_MS
        old = [key for key in self._keys(_FINISHED) if int(self._finished_name(key)["last"]) < before]
        if old:
            with refusals_explained(self._connection):
                self._client.delete_objects(
                    Bucket=self._location.bucket,
                    Delete={"Objects": [{"Key": key} for key in old[:_MOST_REMOVED]], "Quiet": True},
                )

    def _keys(self, prefix: str) -> Iterator[str]:
        with refusals_explained(self._connection):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._location.bucket, Prefix=f"{self._location.prefix}{prefix}"
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    if entry["Key"].endswith(".json"):
                        yield entry["Key"]

    def _finished_name(self, key: str) -> re.Match[str]:
        name = re.fullmatch(_FINISHED_NAME, key.removeprefix(f"{self._location.prefix}{_FINISHED}"), re.ASCII)
        if name is None:
            raise self._no_batch(key, "its name is not that of a finished batch")
        return name

    def _no_batch(self, key: str, why: object) -> LightlyQueueError:
        return LightlyQueueError(
            f"s3://{self._location.bucket}/{shown(key)} is not a batch of uploads: {shown(why, longest=200)}. Nothing "
            "was handed on, and no message was deleted; look at the file, and delete it if it is not of this provider."
        )

    def _read(self, key: str) -> Batch:
        with refusals_explained(self._connection):
            body = self._client.get_object(Bucket=self._location.bucket, Key=key)["Body"]
            content = body.read(_LARGEST_BATCH + 1)
        try:
            if len(content) > _LARGEST_BATCH:
                raise ValueError(f"it has more than {_LARGEST_BATCH:,} bytes")
            return Batch.from_json(content)
        except (ValueError, RecursionError) as error:
            raise self._no_batch(key, error) from None

    def _write(self, name: str, content: bytes, content_type: str) -> str:
        key = f"{self._location.prefix}{name}"
        with refusals_explained(self._connection):
            self._client.put_object(Bucket=self._location.bucket, Key=key, Body=content, ContentType=content_type)
        return f"s3://{self._location.bucket}/{key}"


def _open_name(batch: Batch) -> str:
    return f"{_OPEN}{batch.id}.json"
