"""The trigger for uploads: its stored form, and the arguments that it refuses."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest

from lightly_provider.triggers.events import LightlyUploadTrigger

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"


def test_it_is_the_same_trigger_after_it_was_stored() -> None:
    stored = LightlyUploadTrigger(queue_url=QUEUE, aws_conn_id="team", quiet_period=5, cool_down=60).serialize()
    path, arguments = json.loads(json.dumps(stored))
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name)(**arguments).serialize() == stored


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"queue_url": "arn:aws:sqs:eu-central-1:123456789012:uploads"}, "which is the queue's ARN"),
        ({"queue_url": "https://user:secret@sqs.amazonaws.com/123456789012/uploads"}, "queue's URL"),
        ({"quiet_period": 0}, "quiet_period is 0"),
        ({"poll_interval": "often"}, "poll_interval is 'often'"),
        ({"longest_wait": float("nan")}, "longest_wait is nan"),
        ({"cool_down": 90_000}, "cool_down is 90000"),
        ({"queue_url": None}, "queue_url is None"),
        ({"queue_url": QUEUE.replace("://sqs", "://sq\ns")}, "queue_url is "),
        ({"aws_conn_id": 5}, "aws_conn_id is 5"),
        ({"aws_conn_id": " "}, "aws_conn_id is ' '"),
        ({"aws_conn_id": "{{ params.x }}"}, "renders no template"),
        ({"quiet_period": True}, "quiet_period is True"),
        ({"poll_interval": 10**400}, "poll_interval is 1000"),
        ({"deadline": "soon"}, "deadline is 'soon'"),
        ({"deadline": float("inf")}, "deadline is inf"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LightlyUploadTrigger(**({"queue_url": QUEUE} | arguments))
