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
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from benchmarks.uploads import faults_of, keys_by_manifest, keys_of, send
from lightly_provider.aws.location import S3Location
from lightly_provider.events import queue, store
from lightly_provider.events.batches import Batch, owner_of
from lightly_provider.events.drain import drain
from lightly_provider.events.queue import Queue
from lightly_provider.events.routing import Routes
from lightly_provider.events.store import BatchStore
from lightly_provider.exceptions import LightlyAccessError, LightlyQueueError
from lightly_provider.operators.events import DrainUploadsOperator
from lightly_provider.sensors.events import LightlyUploadSensor
from lightly_provider.triggers.events import LightlyUploadTrigger
from tests.integration.airflow_run import mark_success, run_own_dag
from tests.integration.sandbox import REPOSITORY
from tests.thinning import thinned

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.providers.common.compat.sdk import Context

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

    def n_waiting(self, queue_url: str = "") -> int:
        """How many messages can be received now."""
        names = ["ApproximateNumberOfMessages"]
        queue_url = queue_url or self.queue_url
        answer = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
        return int(answer["Attributes"][names[0]])

    def move_after(self, n_receptions: int) -> str:
        """Let SQS move what was received so often to another queue; its URL."""
        queue_url: str = self.sqs.create_queue(QueueName=f"moved-{uuid.uuid4().hex[:12]}")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
        policy = {"deadLetterTargetArn": attributes["QueueArn"], "maxReceiveCount": n_receptions}
        self.sqs.set_queue_attributes(QueueUrl=self.queue_url, Attributes={"RedrivePolicy": json.dumps(policy)})
        return queue_url

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
    most_manifests: int = 1000,
) -> list[dict[str, Any]]:
    """Drain a queue, as the operator does in a task."""
    manifests = drain(
        Queue(queue_url, aws_conn_id="aws_default"),
        BatchStore(S3Location.parse(manifest_prefix, argument="manifest_prefix"), aws_conn_id="aws_default"),
        Routes.of(datasets, argument="datasets"),
        owner=owner_of("router", run_id, "drain", None),
        was_handed_on=lambda batch: batch.owner["run_id"] in succeeded and batch.id in _RETURNED[batch.owner["run_id"]],
        most_messages=1000,
        most_manifests=most_manifests,
        visibility_timeout=visibility_timeout,
        log=logging.getLogger("test"),
    )
    _RETURNED[run_id] = {manifest.batch_id for manifest in manifests}
    return [manifest.as_dict() for manifest in manifests]


# What Airflow has stored of the tasks that returned: the batches, by DAG run.
_RETURNED: defaultdict[str, set[str]] = defaultdict(set)


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


def test_what_is_no_batch_below_the_prefix_stops_the_drain_and_nothing_is_lost(uploads: Uploads) -> None:
    uploads.put("day/a.jpg", "day/b\nc.jpg")
    bucket, _, prefix = uploads.manifest_prefix.removeprefix("s3://").partition("/")
    s3 = uploads.sandbox.aws("s3")
    batch = Batch(["m"], {"day": ["day/forged.jpg"]}, {"day": uploads.bucket}, (1, 2), owner_of("d", "r", "t", None))
    for name, content in (
        ("finished/notes.json", b"{}"),
        ("open/notes.json", b"{}"),
        # Another name, under which it would be handed on for ever.
        ("open/copy.json", batch.to_json()),
    ):
        key = f"{prefix}batches/{name}"
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        with pytest.raises(LightlyQueueError, match=rf"{name} is not a batch of uploads: .*no message was deleted"):
            uploads.drain("run 1")
        s3.delete_object(Bucket=bucket, Key=key)
    # The name with a line break would let the run on the whole manifest be refused.
    assert uploads.keys_in(uploads.drain("run 1")) == ["day/a.jpg"]


def test_a_drain_takes_no_more_than_its_batch_may_hold_and_the_next_one_goes_on(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"day/{number:02}.jpg" for number in range(25)]
    send(uploads.sqs, uploads.queue_url, keys, bucket=uploads.bucket)
    monkeypatch.setattr(queue, "_N_THREADS", 1)
    found: list[str] = []
    for run, bound in enumerate(({"_MOST_CHANGES": 1}, {"_MOST_KEY_BYTES": 1}, {})):
        with monkeypatch.context() as bounded:
            for name, value in bound.items():
                bounded.setattr(queue, name, value)
            some = uploads.keys_in(uploads.drain(f"run {run}", succeeded=(f"run {run - 1}",)))
        assert some
        assert len(some) <= 10 or not bound
        found += some
    assert sorted(found) == keys


def test_a_batch_that_would_fill_the_memory_is_named(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads.put("day/a.jpg")
    first = uploads.drain("run 1")
    with monkeypatch.context() as bounded:
        bounded.setattr(store, "_LARGEST_BATCH", 100)
        with pytest.raises(LightlyQueueError, match=r"it has more than 100 bytes.*no message was deleted"):
            uploads.drain("run 2")
    assert uploads.drain("run 3") == first


def test_more_manifests_than_a_task_can_be_mapped_over_are_handed_on_one_after_the_other(uploads: Uploads) -> None:
    n_datasets = 9
    uploads.datasets = {f"set-{n}": f"s3://{uploads.bucket}/{n}/" for n in range(n_datasets)}
    uploads.put(*(f"{n}/a.jpg" for n in range(n_datasets)))
    moved = uploads.move_after(3)
    found: list[dict[str, Any]] = []
    for number in range(5):
        last = drained(
            uploads.queue_url,
            uploads.datasets,
            uploads.manifest_prefix,
            f"run {number}",
            (f"run {number - 1}",),
            most_manifests=2,
            visibility_timeout=10,
        )
        assert len(last) <= 2
        found += last
        # The next DAG run is started as long as messages wait.
        assert (uploads.n_waiting() > 0) is (number < 4)
    assert uploads.n_waiting(moved) == 0
    assert sorted(uploads.keys_in(found)) == [f"{n}/a.jpg" for n in range(n_datasets)]


def test_a_drain_that_fails_fails_again_and_the_messages_wait(uploads: Uploads) -> None:
    uploads.put(*(f"day/{n}.jpg" for n in range(12)))
    moved = uploads.move_after(3)
    n_messages = uploads.n_waiting()
    bucket, prefix = uploads.manifest_prefix.removeprefix("s3://").split("/", 1)
    s3 = uploads.sandbox.aws("s3")

    def deny(resource: str) -> None:
        statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject"}
        statement["Resource"] = f"arn:aws:s3:::{bucket}/{prefix}{resource}"
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    deny("batches/open/*")
    for _ in range(2):
        with pytest.raises(LightlyAccessError, match="PutObject"):
            uploads.drain("run 1")
        assert uploads.n_waiting() == n_messages
    deny("*")
    for _ in range(3):
        with pytest.raises(LightlyAccessError, match="PutObject"):
            uploads.drain("run 1")
    s3.delete_bucket_policy(Bucket=bucket)
    assert sorted(uploads.keys_in(uploads.drain("run 1"))) == sorted(f"day/{n}.jpg" for n in range(12))
    assert (uploads.n_waiting(), uploads.n_waiting(moved)) == (0, 0)


def test_a_batch_is_handed_on_until_a_task_has_returned_it(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads.put("day/a.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(Queue, "delete", failing)
        with pytest.raises(ConnectionError):
            uploads.drain("run 1")
    # A person marks the task as success, or a later try of it succeeded with nothing.
    found = uploads.drain("run 2", succeeded=("run 1",))
    assert uploads.keys_in(found) == ["day/a.jpg"]
    # It finishes the batch, and is killed before the open one is deleted.
    finish = BatchStore.finish
    with monkeypatch.context() as patch:
        patch.setattr(BatchStore, "finish", lambda store, batch: (finish(store, batch), store.open(batch)))
        patch.setattr(BatchStore, "forget_old", failing)
        with pytest.raises(ConnectionError):
            uploads.drain("run 3", succeeded=("run 1", "run 2"))
    assert uploads.drain("run 2", succeeded=("run 1",)) == found, "cleared: the same, once"
    assert uploads.drain("run 4", succeeded=("run 1", "run 2")) == []


def failing(*_: Any, **__: Any) -> None:
    raise ConnectionError


class FailingDrain(DrainUploadsOperator):
    """Fails when all is done, if told to: as if it were killed before Airflow knows of its success."""

    fails = False

    def perform(self, context: Context) -> list[dict[str, Any]]:
        """Drain the queue, and fail."""
        found = super().perform(context)
        if self.fails:
            raise RuntimeError(f"killed, with {len(found)} manifests")
        return found


def test_in_airflow_a_drain_that_was_marked_as_success_has_handed_on_nothing(uploads: Uploads, database: Path) -> None:
    with DAG("marked_drain", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        task = FailingDrain(
            task_id="drain",
            queue_url=uploads.queue_url,
            datasets=uploads.datasets,
            manifest_prefix=uploads.manifest_prefix,
        )
    uploads.put("day/a.jpg")
    task.fails = True
    assert run_own_dag(dag, database).state == "failed"
    mark_success(database, "marked_drain", "drain")
    task.fails = False
    runs = [run_own_dag(dag, database).xcoms["drain", "return_value"] for _ in range(2)]
    assert [uploads.keys_in(run) for run in runs] == [["day/a.jpg"], []]


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


# Every third of its 40 requests: all of them take a quarter of an hour.
@pytest.mark.exhaustive(sample="test_each_upload_is_in_one_manifest_and_what_is_done_is_not_handed_on_again")
@pytest.mark.parametrize("n_calls", thinned(range(1, 41, 3), keep=1, seed=1))
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


@pytest.mark.exhaustive(sample="test_each_upload_is_in_one_manifest_and_what_is_done_is_not_handed_on_again")
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
