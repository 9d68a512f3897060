"""From uploads in the local S3, through its notifications in the local SQS, to one manifest per dataset."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from benchmarks.uploads import faults_of, keys_by_manifest, keys_of, send
from lightly_provider.aws.location import S3Location
from lightly_provider.events.batches import owner_of
from lightly_provider.events.drain import drain
from lightly_provider.events.queue import Queue
from lightly_provider.events.routing import Routes
from lightly_provider.events.store import BatchStore
from lightly_provider.exceptions import LightlyAccessError, LightlyQueueError
from lightly_provider.sensors.events import LightlyUploadSensor
from lightly_provider.triggers.events import LightlyUploadTrigger
from tests.integration.airflow_run import run_own_dag
from tests.integration.sandbox import REPOSITORY
from tests.thinning import thinned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("in_the_sandboxs_region")


def announce_uploads(sandbox: Sandbox, bucket: str) -> str:
    """Let S3 announce a bucket's uploads in a new queue; its URL."""
    sqs = sandbox.aws("sqs")
    queue_url: str = sqs.create_queue(QueueName=f"uploads-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attributes["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})
    configuration = {"QueueArn": attributes["QueueArn"], "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    sandbox.aws("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )
    return queue_url


class Uploads:
    """A bucket whose uploads are announced in a queue."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.bucket = sandbox, sandbox.bucket()
        self.sqs = sandbox.aws("sqs")
        self.queue_url = announce_uploads(sandbox, self.bucket)
        self.datasets = {name: f"s3://{self.bucket}/{name}/" for name in ("day", "night und ü")}
        # In another bucket, as the manifests are no uploads.
        self.manifest_prefix = f"s3://{sandbox.bucket()}/manifests/"

    def put(self, *keys: str) -> None:
        for key in keys:
            self.sandbox.aws("s3").put_object(Bucket=self.bucket, Key=key, Body=b"content")

    def drain(self, run_id: str, succeeded: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Drain as a task of this DAG run, to which the tasks of these DAG runs have succeeded."""
        return drained(self.queue_url, self.datasets, self.manifest_prefix, run_id, succeeded)

    def wait_until_visible(self) -> None:
        """Wait until the messages that a killed process had received can be received again."""
        names = ["ApproximateNumberOfMessagesNotVisible"]
        deadline = time.monotonic() + 60
        while (
            self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"][names[0]] != "0"
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def keys_in(self, manifests: list[dict[str, Any]]) -> list[str]:
        """The keys that the manifests list."""
        found = []
        for manifest in manifests:
            location = manifest["manifest"].removeprefix("s3://").partition("/")
            body = self.sandbox.aws("s3").get_object(Bucket=location[0], Key=location[2])["Body"].read().decode()
            found += [json.loads(line)["source-ref"].split("/", 3)[3] for line in body.splitlines()]
        return found


def drained(
    queue_url: str,
    datasets: dict[str, str],
    manifest_prefix: str,
    run_id: str,
    succeeded: Any = (),
    *,
    visibility_timeout: int = 60,
) -> list[dict[str, Any]]:
    """Drain a queue, as the operator does in a task."""
    manifests = drain(
        Queue(queue_url, aws_conn_id="aws_default"),
        BatchStore(S3Location.parse(manifest_prefix, argument="manifest_prefix"), aws_conn_id="aws_default"),
        Routes.of(datasets, argument="datasets"),
        owner=owner_of("router", run_id, "drain", None),
        was_handed_on=lambda owner: owner["run_id"] in succeeded,
        most_messages=1000,
        visibility_timeout=visibility_timeout,
        log=logging.getLogger("test"),
    )
    return [manifest.as_dict() for manifest in manifests]


@pytest.fixture
def uploads(lightly: Sandbox) -> Uploads:
    return Uploads(lightly)


def test_each_upload_is_in_one_manifest_and_what_is_done_is_not_handed_on_again(uploads: Uploads) -> None:
    uploads.put("day/a b+ü.jpg", "day/.lightly/own.jpg", "elsewhere/c.jpg", "night und ü/d.jpg", "day/gone.jpg")
    uploads.sandbox.aws("s3").delete_object(Bucket=uploads.bucket, Key="day/gone.jpg")
    uploads.sqs.send_message(QueueUrl=uploads.queue_url, MessageBody="poison")

    first = uploads.drain("run 1")

    assert [(one["dataset"], one["n_files"]) for one in first] == [("day", 1), ("night und ü", 1)]
    assert sorted(uploads.keys_in(first)) == ["day/a b+ü.jpg", "night und ü/d.jpg"]
    assert len({one["run_id"] for one in first}) == 2

    # The task was killed before Airflow stored what it returned: its next try and the next DAG run hand it on again.
    assert uploads.drain("run 1") == first
    assert uploads.drain("run 2") == first
    uploads.put("day/e.jpg")
    (new,) = uploads.drain("run 3", succeeded=("run 2",))
    assert uploads.keys_in([new]) == ["day/e.jpg"]
    # The task of run 2 was cleared.
    assert uploads.drain("run 2", succeeded=("run 3",)) == first
    assert uploads.drain("run 4", succeeded=("run 3",)) == []


_KILLED = """
import json, os, signal, sys
from botocore.client import BaseClient
from tests.integration.test_uploads_drained import drained

call, left = BaseClient._make_api_call, [int(sys.argv[1])]

def counted(client, operation, arguments):
    answer = call(client, operation, arguments)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

BaseClient._make_api_call = counted
drained(*json.loads(sys.argv[2]), visibility_timeout=2)
"""


# Every third of its 39 requests: all of them take a quarter of an hour.
@pytest.mark.parametrize("n_calls", thinned(range(1, 40, 3), keep=1, seed=1))
def test_killed_after_any_request_each_upload_is_in_one_manifest(uploads: Uploads, n_calls: int) -> None:
    keys = [f"day/{n}.jpg" for n in range(15)] + [f"night und ü/{n}.jpg" for n in range(15)]
    uploads.put(*keys)
    arguments = json.dumps([uploads.queue_url, uploads.datasets, uploads.manifest_prefix, "killed"])
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(n_calls), arguments], cwd=REPOSITORY, check=False)
    assert killed.returncode in (-signal.SIGKILL, 0)

    uploads.wait_until_visible()
    handed_on = uploads.drain("next")
    handed_on += uploads.drain("last", succeeded=("next",))

    assert Counter(uploads.keys_in(handed_on)) == Counter(keys)


@pytest.mark.exhaustive(sample="test_killed_after_any_request_each_upload_is_in_one_manifest")
@pytest.mark.parametrize("n_calls", [9, 25])
def test_a_burst_during_which_the_drain_is_killed_is_accounted_for(uploads: Uploads, n_calls: int) -> None:
    """A small form of ``benchmarks/uploads.py``: 200 notifications for 3 datasets, without Airflow's services."""
    names = ["dataset-0", "dataset-1", "dataset-2"]
    datasets = {name: f"s3://{uploads.bucket}/{name}/" for name in names}
    keys = keys_of(200, names)
    # The second half arrives while the first is drained.
    send(uploads.sqs, uploads.queue_url, keys[:100], bucket=uploads.bucket)
    arguments = json.dumps([uploads.queue_url, datasets, uploads.manifest_prefix, "run 0"])
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, uploads.sqs, uploads.queue_url, keys[100:], seconds=3, bucket=uploads.bucket)
        killed = subprocess.run([sys.executable, "-c", _KILLED, str(n_calls), arguments], cwd=REPOSITORY, check=False)
        assert killed.returncode in (-signal.SIGKILL, 0)
        sending.result()
    uploads.wait_until_visible()
    handed_on: dict[str, str] = {}
    for number in (1, 2):
        done = drained(
            uploads.queue_url, datasets, uploads.manifest_prefix, f"run {number}", (f"run {number - 1}",) * (number > 1)
        )
        handed_on |= {one["run_id"]: one["manifest"] for one in done}

    location = S3Location.parse(uploads.manifest_prefix, argument="manifest_prefix")
    manifests = keys_by_manifest(uploads.sandbox.aws("s3"), location.bucket, location.prefix)
    assert faults_of(keys, manifests, list(handed_on.values())) == []
    assert len(handed_on) <= 2 * len(names)


def test_a_queue_that_is_not_there_and_one_that_is_denied_are_sentences(
    uploads: Uploads, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LightlyQueueError, match=r"There is no queue .*-nowhere for AWS connection 'aws_default'"):
        Queue(f"{uploads.queue_url}-nowhere", aws_conn_id="aws_default").count()
    elsewhere = lightly.aws("sqs", "eu-west-1").create_queue(QueueName=f"elsewhere-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    with pytest.raises(LightlyQueueError, match="check its name, its region and its account"):
        Queue(elsewhere, aws_conn_id="aws_default").receive(most=1, visibility_timeout=1)
    nobody = lightly.aws_connection(lightly.user(), region_name=lightly.region)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", nobody)
    with pytest.raises(LightlyAccessError, match="AWS refused ReceiveMessage"):
        Queue(uploads.queue_url, aws_conn_id="aws_default").receive(most=1, visibility_timeout=1)


def test_the_trigger_fires_while_uploads_wait_and_goes_on_after_errors(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads.put("day/a.jpg")
    working = os.environ["AIRFLOW_CONN_AWS_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", uploads.sandbox.aws_connection(uploads.sandbox.user()))
    settings = {"quiet_period": 0.1, "poll_interval": 0.1, "cool_down": 0.2}
    trigger = LightlyUploadTrigger(queue_url=uploads.queue_url, **settings)

    async def fired() -> None:
        events = trigger.run()
        event = asyncio.ensure_future(anext(events))
        await asyncio.wait([event], timeout=1)
        assert not event.done(), "the queue is denied"
        # The key was replaced.
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", working)
        # S3's test event, and the upload; neither was received, so it fires again.
        payload = {"queue_url": uploads.queue_url, "count": 2}
        assert (await asyncio.wait_for(event, 60)).payload == payload
        assert (await asyncio.wait_for(anext(events), 60)).payload == payload

    asyncio.run(fired())


@pytest.mark.exhaustive(sample="test_the_trigger_fires_while_uploads_wait_and_goes_on_after_errors")
@pytest.mark.parametrize("deferrable", [True, False])
def test_the_sensor_waits_in_the_triggerer_or_in_its_task(uploads: Uploads, database: Path, deferrable: bool) -> None:
    uploads.put("day/a.jpg")
    with DAG(f"uploads_{deferrable}".lower(), schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        LightlyUploadSensor(
            task_id="wait",
            queue_url=uploads.queue_url,
            deferrable=deferrable,
            poke_interval=0.2,
            quiet_period=0.5,
            timeout=120,
        )
    # S3's test event, and the upload.
    assert run_own_dag(dag, database).xcoms["wait", "return_value"] == 2
