"""
From 10,000 upload notifications to one DAG run per dataset, and the same while its parts are killed.

Notifications as S3 writes them are sent to the local SQS (ministack, without the sandbox around it, which writes its
whole queue to disk at each request) with ``SendMessageBatch``. A real Airflow (PostgreSQL, Celery, scheduler, two
triggerers: ``tests/system/services.py``) runs ``uploads_dags/router.py``: ``LightlyUploadTrigger`` watches the queue,
the router drains it and starts one DAG run per manifest.

- Undisturbed, the burst must lead to one DAG run per dataset, and each key be in exactly one manifest.
- ``--kills N``: the burst comes in N rounds, in each of which a triggerer, the drain or the scheduler is killed
  (SIGKILL) at a random point; during one of them the router is paused. Each key must be in exactly one manifest, and
  each manifest be handed on to exactly one DAG run.
- ``--drain N [N ...]``: the drain alone, against a server that does nothing but hold a queue: messages per second, and
  the most memory.

Usage, from the repository, in the environment of the system tests (Celery, PostgreSQL's driver):
``python -m benchmarks.uploads [--messages 10000] [--datasets 20] [--seconds 60] [--kills N] [--seed S]``, or
``python -m benchmarks.uploads --drain 10000 50000``. ``LIGHTLY_SANDBOX`` says where lightly-sandbox is; ministack is
beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.system.services import Services

REPOSITORY = Path(__file__).resolve().parents[1]
BUCKET, MANIFESTS = "uploads", "manifests"
REGION, ACCOUNT = "eu-central-1", "123456789012"
# Of the trigger: in a burst that nothing disturbs, and while parts are killed, where a round shall not take minutes.
UNDISTURBED = {"quiet_period": 15, "longest_wait": 120, "poll_interval": 5, "cool_down": 900}
KILLED = {"quiet_period": 3, "longest_wait": 20, "poll_interval": 1, "cool_down": 20}
_BATCH = 10
_LONGEST_START_S = 400.0
_LONGEST_SETTLING_S = 420.0
VICTIMS = ("drain", "triggerer", "scheduler")


# --- notifications --------------------------------------------------------------------------------------------------


def notification(key: str, number: int, *, bucket: str = BUCKET) -> str:
    """A message as S3 sends it (AWS docs: S3 user guide, "Event message structure")."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-11-28T10:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": f"{number:016X}", "x-amz-id-2": "A" * 76},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "lightly-uploads",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A1"}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": 1_234_567,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": f"{number:018X}",
            },
        },
    }
    return json.dumps({"Records": [record]}, separators=(",", ":"))


def keys_of(n: int, datasets: Sequence[str], *, first: int = 0) -> list[str]:
    """Keys that take turns with the datasets."""
    return [f"{datasets[number % len(datasets)]}/photo {number:06d}.jpg" for number in range(first, first + n)]


def send(sqs: Any, queue_url: str, keys: Sequence[str], *, seconds: float = 0, bucket: str = BUCKET) -> None:
    """Announce keys, spread evenly over this time."""
    began = time.monotonic()
    for at in range(0, len(keys), _BATCH):
        if (early := began + seconds * at / len(keys) - time.monotonic()) > 0:
            time.sleep(early)
        entries = [
            {"Id": str(number), "MessageBody": notification(key, at + number, bucket=bucket)}
            for number, key in enumerate(keys[at : at + _BATCH])
        ]
        failed = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries).get("Failed")
        if failed:
            raise RuntimeError(f"SQS did not take {len(failed)} of {len(entries)} messages: {failed[0]}")


def keys_by_manifest(s3: Any, bucket: str, prefix: str = "") -> dict[str, list[str]]:
    """The keys that each manifest in a bucket lists."""
    found: dict[str, list[str]] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if entry["Key"].endswith(".jsonl"):
                body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
                found[f"s3://{bucket}/{entry['Key']}"] = [
                    json.loads(line)["source-ref"].split("/", 3)[3] for line in body.splitlines()
                ]
    return found


def faults_of(sent: Sequence[str], manifests: dict[str, list[str]], handed_on: Sequence[str]) -> list[str]:
    """What is wrong: keys that are in no manifest or in several, manifests that nobody got or somebody got twice."""
    listed = Counter(key for keys in manifests.values() for key in keys)
    runs = Counter(handed_on)
    counts = {
        "keys in no manifest": len(set(sent) - set(listed)),
        "keys in several manifests": sum(1 for n in listed.values() if n > 1),
        "keys that nobody sent": len(set(listed) - set(sent)),
        "manifests that were not handed on": len(set(manifests) - set(runs)),
        "manifests that were handed on twice": sum(1 for n in runs.values() if n > 1),
        "DAG runs without a manifest": len(set(runs) - set(manifests)),
    }
    return [f"{what}: {n:,}" for what, n in counts.items() if n]


# --- the local AWS --------------------------------------------------------------------------------------------------


class LocalAws:
    """
    Context manager: S3 and SQS on this machine, without a disk.

    :param folder: For its log.
    """

    def __init__(self, folder: Path) -> None:
        from tests.system.services import free_ports

        (self._port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = folder / "aws.log"
        program = Path(os.environ.get("LIGHTLY_SANDBOX") or shutil.which("lightly-sandbox") or "lightly-sandbox")
        environment = {
            **os.environ,
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "SERVICES": "s3,sqs,sts",
            "PERSIST_STATE": "0",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "LOG_LEVEL": "WARNING",
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [program.with_name("ministack")], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )

    def __enter__(self) -> LocalAws:
        from tests.system.services import _reachable

        until("the local AWS", lambda: _reachable(self._port), 60)
        for bucket in (BUCKET, MANIFESTS):
            self.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def client(self, service: str) -> Any:
        """A client of it."""
        import boto3

        keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "none"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **keys)

    def connection(self, **service_config: str) -> str:
        """The Airflow connection to it; a service may have another endpoint."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": ACCOUNT,
                "password": "none",
                "extra": {
                    "endpoint_url": self.url,
                    "region_name": REGION,
                    "service_config": {name: {"endpoint_url": url} for name, url in service_config.items()},
                },
            }
        )


def until(what: str, condition: Callable[[], object], within: float, every: float = 0.2) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {within:g} s")
        time.sleep(every)


# --- with Airflow ---------------------------------------------------------------------------------------------------


class Dags:
    """
    What Airflow has of the two DAGs.

    :param url: Its API server.
    """

    def __init__(self, url: str) -> None:
        import requests

        self._url = f"{url}/api/v2/dags"
        self._session = requests.Session()
        token = self._session.get(f"{url}/auth/token", timeout=60).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def wait_until_parsed(self) -> None:
        """Wait until Airflow knows both."""
        names = ("uploads_router", "uploads_consumer")
        until("the DAGs", lambda: all(self._session.get(f"{self._url}/{one}", timeout=60).ok for one in names), 180)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All DAG runs of one."""
        found: list[dict[str, Any]] = []
        while True:
            query: dict[str, str | int] = {"limit": 100, "offset": len(found), "order_by": "id"}
            answer = self._session.get(f"{self._url}/{dag_id}/dagRuns", params=query, timeout=60).json()
            found += answer["dag_runs"]
            if len(found) >= answer["total_entries"] or not answer["dag_runs"]:
                return found

    def pause(self, *, is_paused: bool) -> None:
        """Pause the router, or go on."""
        self._session.patch(f"{self._url}/uploads_router", json={"is_paused": is_paused}, timeout=60).raise_for_status()


@dataclass
class Measurement:
    """A queue whose uploads a running Airflow turns into DAG runs."""

    aws: LocalAws
    services: Services
    dags: Dags
    queue_url: str
    folder: Path
    sent: list[str] = field(default_factory=list)

    def n_waiting(self) -> int:
        """The messages that are not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.aws.client("sqs").get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def send(self, keys: Sequence[str], seconds: float) -> Thread:
        """Begin to announce keys."""
        self.sent += keys
        thread = Thread(target=send, args=(self.aws.client("sqs"), self.queue_url, keys), kwargs={"seconds": seconds})
        thread.start()
        return thread

    def settle(self) -> float:
        """Wait until nothing is left to do; when that was first so."""
        first: float | None = None
        said = ""

        def is_settled() -> bool:
            nonlocal first, said
            routers, consumers = self.dags.runs("uploads_router"), self.dags.runs("uploads_consumer")
            n_waiting = self.n_waiting()
            n_manifests = len(keys_by_manifest(self.aws.client("s3"), MANIFESTS))
            over = [run["state"] in ("success", "failed") for run in (*routers, *consumers)]
            done = n_waiting == 0 and consumers and all(over) and n_manifests <= len(consumers)
            now = (
                f"messages {n_waiting:,}, manifests {n_manifests}, DAG runs {len(routers)} + {len(consumers)}, "
                f"over {sum(over)}"
            )
            if now != said:
                print(f"  {now}", file=sys.stderr, flush=True)
                said = now
            first = (first or time.monotonic()) if done else None
            return first is not None and time.monotonic() - first > 10

        try:
            until("Airflow to have done all", is_settled, _LONGEST_SETTLING_S, every=1)
        except RuntimeError as error:
            print(f"{error}; {self.n_waiting():,} messages wait", flush=True)
        return first or time.monotonic()

    def faults(self) -> list[str]:
        """What is wrong in the end."""
        consumers = self.dags.runs("uploads_consumer")
        handed_on = [run["conf"]["manifest"] for run in consumers if run["state"] == "success"]
        faults = faults_of(self.sent, keys_by_manifest(self.aws.client("s3"), MANIFESTS), handed_on)
        not_well = Counter(f"{run['dag_id']} {run['state']}" for run in consumers if run["state"] != "success")
        return [*faults, *(f"DAG runs {what}: {n}" for what, n in not_well.items())]

    def kill_drain(self, chance: random.Random, within: float) -> str:
        """Kill the next drain, at a random moment of it."""
        path = self.folder / "drain.pid"
        path.unlink(missing_ok=True)
        try:
            until("a drain", path.exists, within, every=0.01)
        except RuntimeError:
            return "no drain came"
        pause = chance.uniform(0, 1.5)
        time.sleep(pause)
        with suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)
            return f"the drain was killed {pause:.2f} s after it began"
        return f"the drain was over within {pause:.2f} s"


@contextmanager
def measurement(
    folder: Path, datasets: Sequence[str], trigger: dict[str, Any], visibility: int
) -> Iterator[Measurement]:
    """The local AWS and an Airflow that watches a queue in it."""
    from tests.system.services import Services

    with LocalAws(folder) as aws:
        queue_url = aws.client("sqs").create_queue(QueueName=f"uploads-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        settings = {
            "queue_url": queue_url,
            "datasets": {name: f"s3://{BUCKET}/{name}/" for name in datasets},
            "manifest_prefix": f"s3://{MANIFESTS}/",
            "trigger": trigger,
            "visibility_timeout": visibility,
            "folder": str(folder),
        }
        environment = {"UPLOADS_BENCHMARK": json.dumps(settings), "AIRFLOW_CONN_AWS_DEFAULT": aws.connection()}
        home = folder / "airflow"
        home.mkdir()
        dags_folder = Path(__file__).parent / "uploads_dags"
        with Services(home, dags_folder, environment, start_deadline=_LONGEST_START_S) as services:
            dags = Dags(services.url)
            dags.wait_until_parsed()
            yield Measurement(aws, services, dags, queue_url, folder)


def undisturbed(folder: Path, arguments: argparse.Namespace) -> int:
    """One burst, one DAG run per dataset."""
    datasets = [f"dataset-{number:02d}" for number in range(arguments.datasets)]
    with measurement(folder, datasets, UNDISTURBED, 300) as running:
        began = time.monotonic()
        running.send(keys_of(arguments.messages, datasets), arguments.seconds).join()
        sent = time.monotonic()
        done = running.settle()
        n_runs = len(running.dags.runs("uploads_consumer"))
        n_routers = len(running.dags.runs("uploads_router"))
        faults = running.faults()
        if n_runs != len(datasets):
            faults.append(f"DAG runs: {n_runs}, for {len(datasets)} datasets")
        print(
            f"{arguments.messages:,} notifications in {sent - began:.0f} s for {len(datasets)} datasets: {n_runs} DAG "
            f"runs, all done {done - sent:.0f} s after the last notification (quiet period "
            f"{UNDISTURBED['quiet_period']} s); runs of the router: {n_routers}"
        )
    return _verdict(faults)


def killed(folder: Path, arguments: argparse.Namespace) -> int:
    """Bursts, in each of which something is killed."""
    chance = random.Random(arguments.seed)  # noqa: S311
    datasets = [f"dataset-{number:02d}" for number in range(arguments.datasets)]
    per_round = arguments.messages // arguments.kills
    paused = chance.randrange(arguments.kills)
    with measurement(folder, datasets, KILLED, 20) as running:
        for number in range(arguments.kills):
            victim = VICTIMS[number % len(VICTIMS)]
            what = ""
            if number == paused:
                running.dags.pause(is_paused=True)
                what = "the router was paused; "
            sending = running.send(keys_of(per_round, datasets, first=number * per_round), arguments.seconds / 10)
            if number == paused:
                sending.join()
                # The watcher rings meanwhile, and nobody hears it.
                time.sleep(2 * KILLED["quiet_period"])
                running.dags.pause(is_paused=False)
            if victim == "drain":
                what += running.kill_drain(chance, 90)
            else:
                name = chance.choice(("triggerer-1", "triggerer-2")) if victim == "triggerer" else victim
                pause = chance.uniform(0, 20)
                time.sleep(pause)
                running.services.kill(name)
                running.services.start(name)
                what += f"{name} was killed {pause:.1f} s after the burst began"
            sending.join()
            running.services.start_again_what_ended()
            print(f"round {number + 1}: {what}", flush=True)
        running.settle()
        consumers = running.dags.runs("uploads_consumer")
        routers = running.dags.runs("uploads_router")
        print(
            f"{len(running.sent):,} notifications, {arguments.kills} rounds: {len(consumers)} DAG runs for "
            f"{len(datasets)} datasets; runs of the router: {len(routers)}"
        )
        faults = running.faults()
    return _verdict(faults)


def _verdict(faults: Sequence[str]) -> int:
    for fault in faults:
        print(f"MISSED: {fault}")
    if not faults:
        print("each key is in exactly one manifest, and each manifest was handed on to exactly one DAG run: kept")
    return int(bool(faults))


# --- the drain alone ------------------------------------------------------------------------------------------------


def serve_queue(n: int, port_file: Path) -> None:
    """Hold a queue of so many messages, and do nothing else: SQS's JSON protocol, as far as the drain needs it."""
    keys = keys_of(n, [f"dataset-{number:02d}" for number in range(20)])
    waiting = deque((str(uuid.uuid4()), notification(key, number)) for number, key in enumerate(keys))

    def answer(action: str, body: dict[str, Any]) -> dict[str, Any]:
        if action == "ReceiveMessage":
            taken = [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
            attributes = {"SentTimestamp": "1795860000000", "ApproximateReceiveCount": "1"}
            return {
                "Messages": [
                    {"MessageId": id_, "ReceiptHandle": f"{id_}{'A' * 380}", "Body": text, "Attributes": attributes}
                    for id_, text in taken
                ]
            }
        if action == "GetQueueAttributes":
            return {"Attributes": {"ApproximateNumberOfMessages": str(len(waiting))}}
        return {"Successful": [{"Id": entry["Id"]} for entry in body.get("Entries", ())], "Failed": []}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = (line.partition(": ") for line in head.split("\r\n")[1:])
                members = {name.lower(): value for name, _, value in lines}
                body = await reader.readexactly(int(members.get("content-length", "0")))
                action = members.get("x-amz-target", "").rpartition(".")[2]
                content = json.dumps(answer(action, json.loads(body or b"{}"))).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: "
                    + str(len(content)).encode()
                    + b"\r\n\r\n"
                    + content
                )
                await writer.drain()

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**22)
        new = port_file.with_suffix(".new")
        new.write_text(str(server.sockets[0].getsockname()[1]))
        new.replace(port_file)
        await server.serve_forever()

    asyncio.run(serve())


def drain_once(queue_url: str, n: int) -> None:
    """Drain a queue in this process, and print what that took, as JSON."""
    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.batches import owner_of
    from lightly_provider.events.drain import drain
    from lightly_provider.events.queue import Queue
    from lightly_provider.events.routing import Routes
    from lightly_provider.events.store import BatchStore

    queue = Queue(queue_url, aws_conn_id="aws_default")
    store = BatchStore(S3Location.parse(f"s3://{MANIFESTS}/", argument="prefix"), aws_conn_id="aws_default")
    routes = Routes.of({f"dataset-{i:02d}": f"s3://{BUCKET}/dataset-{i:02d}/" for i in range(20)}, argument="datasets")
    # boto3 and Airflow are loaded before the clock starts.
    queue.count()
    store.open_batches()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    manifests = drain(
        queue,
        store,
        routes,
        owner=owner_of("router", f"run {n}", "drain", None),
        was_handed_on=lambda _: True,
        most_messages=100_000,
        log=logging.getLogger("drain"),
    )
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "n_files": sum(one.n_files for one in manifests),
                "seconds": seconds,
                "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "before_mib": before.ru_maxrss / 1024,
                "peak_mib": after.ru_maxrss / 1024,
            }
        )
    )


def drains(folder: Path, sizes: Sequence[int]) -> int:
    """Measure the drain alone, in a process of its own for each size."""
    status = 0
    print(f"{'messages':>9}{'seconds':>9}{'CPU s':>8}{'messages/s':>12}{'MiB before':>12}{'MiB at most':>13}")
    with LocalAws(folder) as aws:
        for n in sizes:
            port_file = folder / f"port-{n}"
            me = [sys.executable, "-m", "benchmarks.uploads"]
            server = subprocess.Popen([*me, "--serve-queue", str(n), "--port-file", str(port_file)], cwd=REPOSITORY)
            try:
                until("the queue", port_file.exists, 120)
                endpoint = f"http://127.0.0.1:{port_file.read_text()}"
                done = subprocess.run(
                    [*me, "--drain-once", f"{endpoint}/{ACCOUNT}/uploads", "--messages", str(n)],
                    cwd=REPOSITORY,
                    env={
                        **os.environ,
                        "AIRFLOW_HOME": str(folder / "drain"),
                        "AIRFLOW_CONN_AWS_DEFAULT": aws.connection(sqs=endpoint),
                    },
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
            finally:
                server.terminate()
                server.wait(30)
            found = json.loads(done.stdout.splitlines()[-1])
            status |= found["n_files"] != n
            print(
                f"{found['n_files']:>9,}{found['seconds']:>9.1f}{found['cpu']:>8.1f}{n / found['seconds']:>12,.0f}"
                f"{found['before_mib']:>12.0f}{found['peak_mib']:>13.0f}",
                flush=True,
            )
    return int(status)


def main() -> int:
    """Print what was measured; 1 if something was lost, or handed on twice."""
    parser = argparse.ArgumentParser(description="From upload notifications to one DAG run per dataset.")
    parser.add_argument("--messages", type=int, default=10_000, help="notifications in all (default 10,000)")
    parser.add_argument("--datasets", type=int, default=20, help="datasets (default 20)")
    parser.add_argument("--seconds", type=float, default=60.0, help="in which they are sent (default 60)")
    parser.add_argument("--kills", type=int, default=0, help="rounds in each of which something is killed (default 0)")
    parser.add_argument("--seed", type=int, default=13, help="of the random points (default 13)")
    parser.add_argument("--drain", type=int, nargs="+", metavar="N", help="measure the drain alone, of N messages")
    parser.add_argument("--serve-queue", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port-file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--drain-once", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_queue:
        serve_queue(arguments.serve_queue, arguments.port_file)
        return 0
    if arguments.drain_once:
        drain_once(arguments.drain_once, arguments.messages)
        return 0
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.drain:
            return drains(Path(folder), arguments.drain)
        return killed(Path(folder), arguments) if arguments.kills else undisturbed(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main())
