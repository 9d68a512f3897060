"""A queue that gives out the same messages again and again."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.events.queue import Queue
from tests.hostile.hostile_server import answer

if TYPE_CHECKING:
    from tests.hostile.hostile_server import HostileServer


def messages(n_records: int, key: str) -> dict[str, Any]:
    """What SQS answers: ten messages, each time the same ones."""
    entry = {"bucket": {"name": "photos"}, "object": {"key": key}}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": entry}
    body = json.dumps({"Records": [record] * n_records})
    return {
        "Messages": [
            {"MessageId": f"m{number}", "ReceiptHandle": "r", "Body": body, "Attributes": {"SentTimestamp": "1"}}
            for number in range(10)
        ]
    }


@pytest.fixture
def queue(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> Queue:
    connection = {
        "conn_type": "aws",
        "login": "AKIAIOSFODNN7EXAMPLE",
        "password": "p" * 40,
        "extra": {"endpoint_url": server.address, "region_name": "eu-central-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", json.dumps(connection))
    return Queue(f"{server.address}/123456789012/uploads", aws_conn_id="aws_queue")


def test_receiving_ends_before_the_messages_return_to_the_queue(server: HostileServer, queue: Queue) -> None:
    server.answers(answer(json.dumps(messages(1, "a.jpg")).encode()))
    began = time.monotonic()
    assert len(queue.receive(most=50_000, visibility_timeout=2)) == 10
    assert time.monotonic() - began < 60
