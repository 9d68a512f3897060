"""The SQS queue that S3's event notifications arrive in."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lightly_provider.events.batches import Message
from lightly_provider.exceptions import LightlyQueueError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.aws import QUICK, AwsConnection, refusals_explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# AWS docs: SQS developer guide, "Amazon SQS message quotas" and "Standard queue quotas".
_MOST_PER_CALL = 10
_LONGEST_POLL_S = 1
_LONGEST_VISIBILITY_S = 12 * 3600

_N_THREADS = 8
# S3 sends one change per message; who sends more shall not fill the memory. The rest waits for the next drain.
_MOST_CHANGES = 1_000_000
_MOST_KEY_BYTES = 32 * 1024 * 1024
# After this part of the visibility timeout, nothing more is received, and after it again, it is extended. So it has not
# ended for the first message by then.
_PART = 1 / 3
_QUEUE_URL = r"https?://[^/?#@]+/(?:[^?#]*/)?(?P<account>\d{12})/(?P<name>[A-Za-z0-9_-]{1,80}(?:\.fifo)?)"
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")


def check_queue_url(url: str, *, argument: str) -> None:
    """
    Reject a text that is not the URL of an SQS queue.

    :param url: ``https://sqs.<region>.amazonaws.com/<account>/<name>``, or the same at another endpoint.
    :param argument: The operator's argument, for the message.
    :raises ValueError: The message contains the expected form.
    """
    if isinstance(url, str) and re.fullmatch(_QUEUE_URL, url) and url.isprintable() and " " not in url:
        return
    why = ", which is the queue's ARN" if isinstance(url, str) and url.startswith("arn:") else ""
    raise ValueError(
        f"{argument} is {shown(repr(url), longest=200)}{why}; give the queue's URL, "
        "https://sqs.<region>.amazonaws.com/<account>/<name>."
    )


def region_of_queue(url: str) -> str | None:
    """Return the region of a queue's URL; None if its host has none."""
    match = re.fullmatch(
        r"(?:sqs\.(?P<new>[a-z0-9-]+)|(?P<old>[a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?",
        urlsplit(url).hostname or "",
    )
    return (match["new"] or match["old"]) if match else None


class Queue:
    """
    A queue of SQS.

    :param url: Its URL.
    :param aws_conn_id: AWS connection that reads it; None: boto3's default credentials.
    """

    def __init__(self, url: str, *, aws_conn_id: str | None) -> None:
        self.url = url
        self._connection = AwsConnection(aws_conn_id)

    @property
    def _client(self) -> Any:
        return self._client_with({"max_pool_connections": _N_THREADS + 1})

    def _client_with(self, config: Mapping[str, Any]) -> Any:
        return self._connection.client("sqs", region=region_of_queue(self.url), config=config)

    def count(self) -> int:
        """
        Return approximately how many messages wait: those that can be received now or after a delay.

        :raises LightlyQueueError: There is no such queue.
        :raises LightlyAccessError: AWS denied the request.
        """
        # The trigger counts in a thread of the triggerer, which other triggers need, too.
        with self._explained():
            answer = self._client_with(QUICK).get_queue_attributes(QueueUrl=self.url, AttributeNames=list(_COUNTS))
        return sum(int(answer.get("Attributes", {}).get(name, 0)) for name in _COUNTS)

    def has_redrive_policy(self) -> bool:
        """Return whether SQS moves a message that nobody deletes to another queue after some receptions."""
        with self._explained():
            answer = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
        return "RedrivePolicy" in answer.get("Attributes", {})

    def receive(self, *, most: int, visibility_timeout: int) -> list[Message]:
        """
        Receive messages until the queue has no more, or a third of the visibility timeout has passed.

        Otherwise the first messages would return to the queue, and be received again and again.

        :param most: At most about so many messages.
        :param visibility_timeout: Seconds for which nobody else receives them.
        :raises LightlyQueueError: There is no such queue.
        :raises LightlyAccessError: AWS denied the request.
        """
        found: dict[str, Message] = {}
        n_changes = n_bytes = 0
        until = time.monotonic() + visibility_timeout * _PART
        lock = threading.Lock()
        # The client must be made before the threads start: making one is not safe in threads.
        client = self._client

        def receive_until_empty() -> None:
            # An empty answer to a long poll means that no server of the queue has a message (AWS docs: SQS developer
            # guide, "Amazon SQS short and long polling").
            nonlocal n_changes, n_bytes
            is_done = False
            while not is_done:
                answer = client.receive_message(
                    QueueUrl=self.url,
                    MaxNumberOfMessages=_MOST_PER_CALL,
                    WaitTimeSeconds=_LONGEST_POLL_S,
                    VisibilityTimeout=visibility_timeout,
                    MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                )
                read = [_message(one) for one in answer.get("Messages", [])]
                with lock:
                    found.update({one.id: one for one in read})
                    n_changes += sum(len(one.changes) for one in read)
                    n_bytes += sum(len(change.key.encode()) for one in read for change in one.changes)
                    is_full = len(found) >= most or n_changes >= _MOST_CHANGES or n_bytes >= _MOST_KEY_BYTES
                is_done = not read or is_full or time.monotonic() >= until

        try:
            with self._explained(), ThreadPoolExecutor(_N_THREADS) as pool:
                for done in [pool.submit(receive_until_empty) for _ in range(_N_THREADS)]:
                    done.result()
        except BaseException:
            self.give_back(list(found.values()))
            raise
        return list(found.values())

    @contextmanager
    def held(self, messages: Sequence[Message], *, visibility_timeout: int) -> Iterator[threading.Event]:
        """
        Extend the messages' visibility timeout while the block runs, so that nobody else receives them.

        Yield an event to set when what they say is stored. If it is not set at the end, the messages are given back,
        because the next try would find none, and succeed.

        :param messages: Messages that were received.
        :param visibility_timeout: Seconds to extend it to, each time that a third of it has passed.
        """
        stop, is_stored = threading.Event(), threading.Event()
        client = self._client

        def extend() -> None:
            began = time.monotonic()
            while not stop.wait(visibility_timeout * _PART):
                if time.monotonic() - began > _LONGEST_VISIBILITY_S - visibility_timeout:
                    return
                for some in _chunks(messages):
                    if stop.is_set():
                        return
                    self._hide(client, some, seconds=visibility_timeout)

        # If an extension fails, the messages are received again, and the next drain only deletes them.
        thread = threading.Thread(target=_quietly, args=(extend,), daemon=True)
        thread.start()
        try:
            yield is_stored
        finally:
            stop.set()
            thread.join()
            if not is_stored.is_set():
                self.give_back(messages)

    def give_back(self, messages: Sequence[Message]) -> None:
        """
        Let messages be received again at once, and not only after their visibility timeout. Never raises.

        :param messages: Messages that were received.
        """

        def show() -> None:
            client = self._client
            with ThreadPoolExecutor(_N_THREADS) as pool:
                for some in _chunks(messages):
                    pool.submit(self._hide, client, some, seconds=0)

        _quietly(show)

    def _hide(self, client: Any, messages: Sequence[Message], *, seconds: int) -> None:
        # A message that was deleted meanwhile is reported as failed, and ignored.
        client.change_message_visibility_batch(
            QueueUrl=self.url,
            Entries=[
                {"Id": str(n), "ReceiptHandle": one.receipt, "VisibilityTimeout": seconds}
                for n, one in enumerate(messages)
            ],
        )

    def delete(self, messages: Sequence[Message]) -> int:
        """
        Delete messages.

        :param messages: Messages that were received.
        :return: How many could not be deleted; they are received again.
        :raises LightlyAccessError: AWS denied the request.
        """
        client = self._client

        def delete(some: Sequence[Message]) -> int:
            entries = [{"Id": str(n), "ReceiptHandle": one.receipt} for n, one in enumerate(some)]
            return len(client.delete_message_batch(QueueUrl=self.url, Entries=entries).get("Failed", []))

        with self._explained(), ThreadPoolExecutor(_N_THREADS) as pool:
            return sum(pool.map(delete, _chunks(messages)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from botocore.exceptions import ClientError

        with refusals_explained(self._connection):
            try:
                yield
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if "NonExistentQueue" not in code and "QueueDoesNotExist" not in code:
                    raise
                raise LightlyQueueError(
                    f"There is no queue {shown(self.url, longest=300)} for {self._connection.name}; check its name, "
                    "its region and its account."
                ) from None


def _message(received: dict[str, Any]) -> Message:
    attributes = received.get("Attributes", {})
    return Message.read(
        received["MessageId"],
        received["ReceiptHandle"],
        received.get("Body", ""),
        sent_ms=int(attributes.get("SentTimestamp", 0)),
        n_receptions=int(attributes.get("ApproximateReceiveCount", 1)),
    )


def _chunks(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    return (messages[at : at + _MOST_PER_CALL] for at in range(0, len(messages), _MOST_PER_CALL))


def _quietly(work: Any) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 - see the caller
        return
