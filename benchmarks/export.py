"""
Measures the export of a large tag to S3: this provider's operator, and the vendor's client returning the filenames.

All read the same tag of the same server, in turn, each in a process of its own: first from a server that answers each
page from memory, then from a sandbox. Shown are wall time, processor time (imports not counted) and the growth of
memory of

- the operator, which checks every page, hashes the file and uploads it to the sandbox's S3;
- our client alone, which reads and checks the pages;
- the vendor's client, which keeps all filenames in memory, checks none and writes nothing;
- the bare requests: a boto3 client, the pages by ``http.client``, one SHA-256, the upload of the same parts by boto3,
  one after another, without a check or a retry. That is the floor for whatever hashes and uploads.

Asked for was an operator that takes at most half of the vendor's processor time and 1.1 times its wall time, although
it uploads. The client alone is held to that. The operator cannot keep it: boto3 alone takes more than all of the
vendor's processor time for 34 MB, as a client reads 3 MB of JSON, and over HTTP botocore hashes each part a second time
to sign it (over HTTPS it does not). So the operator is held against the bare requests; how many times the vendor's it
takes is printed.

Then the operator is killed at ten random names and started again, and what is in the bucket is checked.

Needs ``lightly-sandbox`` (where LIGHTLY_SANDBOX says, or on the PATH) and the Python of an environment with the
vendor's client. Usage: ``python benchmarks/export.py --vendor-python .venv-vendor/bin/python [--samples 1000000]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

# What was asked for: the times of the vendor's client, on the server that answers from memory. The client alone keeps
# it.
ASKED_WALL, ASKED_CPU = 1.1, 0.5
# The operator, of the same requests without it, which are a floor. Measured were 1.2 times the processor time, with
# other work on the cores; of the wall time, the sandbox's S3 takes most.
MOST_BARE_WALL, MOST_BARE_CPU = 2.0, 1.6
MOST_MIB = 60.0
# Between a tenth of the samples and all of them: two parts of the upload, of which a tenth does not fill one, and a
# larger page.
MOST_GROWTH_MIB = 16.0
# The platform's answers are made of blocks of this many names; the pages that are asked for are multiples of it.
BLOCK = 5_000
# The first page that the operator asks for, and the later ones.
PAGE_SIZES = (25_000, 100_000)
TAG_NAME = "initial-tag"
DATASET_ID, TAG_ID = "a" * 24, "b" * 24
BUCKET = "export-benchmark"
PART_SIZE = 5 * 2**20  # the operator's
# As long as a token of the platform: each page is searched for it.
TOKEN = secrets.token_hex(20)
_LONGEST_S = 180.0

_MEASURED = """
import gc, json, os, resource, sys, threading, time

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def measured(work):
    gc.collect()  # what the imports left, which is not counted either
    start, peak, done = rss(), [0.0], threading.Event()
    def watch():
        while not done.wait(0.01):
            peak[0] = max(peak[0], rss())
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done.set()
    watcher.join()
    return {"wall": wall, "cpu": cpu, "mib": max(peak[0], rss()) - start, "result": result}
"""

_OURS = (
    _MEASURED
    + """
import logging
logging.disable(logging.CRITICAL)
import airflow.sdk
from lightly_provider.operators.results import ExportLightlyTagOperator

class TaskInstance:
    map_index = -1
    def xcom_push(self, key, value): pass

def export():
    what = dict(dataset_id=sys.argv[1], tag_name=sys.argv[2], destination=sys.argv[3])
    return ExportLightlyTagOperator(task_id="export", **what).execute({"ti": TaskInstance()})

def read():
    from lightly_provider.hooks.lightly import LightlyHook
    hook = LightlyHook()
    pages = hook.filename_pages(hook.select_samples(sys.argv[1], sys.argv[2]))
    return sum(len(page) for _, page in pages)

def warm_up():  # what every task of Airflow has loaded that talks to a platform and to AWS
    import boto3, requests, tenacity, urllib3
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.api import calls, client
    import lightly_provider.results.destinations, lightly_provider.results.export
    LightlyHook().client
    AwsConnection("aws_default").client("s3")

warm_up()
print("\\n" + json.dumps(measured(export if sys.argv[3] else read)))
"""
)

_BARE = (
    _MEASURED
    + """
import hashlib, http.client
from urllib.parse import urlsplit
import boto3

address, path, sizes, bucket, aws, part_size = json.loads(sys.argv[1])
server = http.client.HTTPConnection(urlsplit(address).netloc)
clients, pages, parts = [], [], []

def connect():
    clients.append(boto3.session.Session().client("s3", **aws))
    clients[0].head_bucket(Bucket=bucket)

def read():
    offset, size = 0, sizes[0]
    while True:
        server.request("GET", f"{path}?pageSize={size}&pageOffset={offset}")
        page = server.getresponse().read()
        if not page:
            return
        pages.append(page + b"\\n")
        offset, size = offset + size, sizes[1]

def digest():
    found = hashlib.sha256()
    for page in pages:
        found.update(page)
    return found.hexdigest()

def put():
    s3 = clients[0]
    place = {"Bucket": bucket, "Key": "bare.txt"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    sent = [
        {"PartNumber": number, "ETag": s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, start=1)
    ]
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": sent})

boto3.session.Session().client("s3", **aws)  # loads its modules, which are not counted
done = {"connect": measured(connect), "read": measured(read), "hash": measured(digest)}
content = b"".join(pages)
parts += [content[start : start + part_size] for start in range(0, len(content), part_size)]
done["put"] = measured(put)
print("\\n" + json.dumps(done))
"""
)

_VENDOR = (
    _MEASURED
    + """
from lightly.api import ApiWorkflowClient
client = ApiWorkflowClient(token=sys.argv[3], dataset_id=sys.argv[1])
print("\\n" + json.dumps(measured(lambda: len(client.export_filenames_by_tag_name(sys.argv[2])))))
"""
)


def name_of(number: int) -> str:
    """A filename, like those of cameras."""
    return f"camera-{number % 7}/2026-11-27/{number:09}.jpg"


class Memory(BaseHTTPRequestHandler):
    """The platform's answers about one tag, from memory."""

    protocol_version = "HTTP/1.1"
    blocks: list[bytes]
    pages: dict[tuple[int, int], bytes]
    tag: bytes
    stop_at: Path

    def do_GET(self) -> None:
        """Answer one request; at the page that the file ``stop_at`` names, say so and never answer."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path.endswith("/export/basic/filenames"):
            start, size = int(query["pageOffset"][0]), int(query["pageSize"][0])
            # No other name than the digits of the number may be read while it is written.
            asked_to_stop = self.stop_at.read_text() if self.stop_at.exists() else ""
            if asked_to_stop.isdecimal() and start <= int(asked_to_stop) < start + size:
                self.stop_at.write_text("reached")
                while self.stop_at.exists():
                    time.sleep(0.05)
                return
            self._answer(self._page(start // BLOCK, (start + size) // BLOCK), "text/plain")
        elif parts.path.endswith("/tags"):
            self._answer(b"[" + self.tag + b"]", "application/json")
        elif parts.path.endswith(f"/tags/{TAG_ID}"):
            self._answer(self.tag, "application/json")
        else:
            self._answer(b'"1.5.26"', "application/json")

    def _page(self, start: int, end: int) -> bytes:
        if (start, end) not in self.pages:
            self.pages[start, end] = b"\n".join(self.blocks[start:end])
        return self.pages[start, end]

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(n_samples: int, stop_at: str, ready: Any) -> None:
    """A process of its own, so that it costs those who are measured no processor time of theirs."""
    names = [name_of(number) for number in range(n_samples)]
    Memory.blocks = ["\n".join(names[start : start + BLOCK]).encode() for start in range(0, n_samples, BLOCK)]
    Memory.pages = {}
    Memory.stop_at = Path(stop_at)
    tag: dict[str, Any] = {
        "id": TAG_ID,
        "datasetId": DATASET_ID,
        "prevTagId": None,
        "name": TAG_NAME,
        "bitMaskData": hex((1 << n_samples) - 1),
        "totSize": n_samples,
        "createdAt": 1,
        "changes": [],
    }
    Memory.tag = json.dumps(tag).encode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Memory)
    ready.put(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready.join()


@contextmanager
def from_memory(n_samples: int, stop_at: Path) -> Iterator[str]:
    """The address of a server that answers from memory."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ready = context.JoinableQueue()
    server = context.Process(target=serve, args=(n_samples, str(stop_at), ready), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ready.get(timeout=120)}"
    finally:
        server.terminate()
        server.join()


class Sandbox:
    """
    A running sandbox without workers, with a bucket.

    :param folder: For its state.
    """

    def __init__(self, folder: Path) -> None:
        ready = folder / "ready.json"
        command = os.environ.get("LIGHTLY_SANDBOX", "lightly-sandbox")
        options = ["--port", "0", "--aws-port", "0", "--workers", "0", "--ready-file", str(ready)]
        self._state = folder / "state"
        self._log = (folder / "sandbox.log").open("w")
        self._process = subprocess.Popen(
            [command, "up", "--state-dir", str(self._state), *options], stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + 120
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                sys.exit(f"the sandbox did not start: {(folder / 'sandbox.log').read_text()[-2000:]}")
            time.sleep(0.05)
        self.ready: dict[str, Any] = json.loads(ready.read_text())
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": self.ready["region"]})

    @property
    def s3(self) -> Any:
        """A client of the customer's administrator."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.ready["aws_url"],
            region_name=self.ready["region"],
            aws_access_key_id=self.ready["aws_access_key_id"],
            aws_secret_access_key=self.ready["aws_secret_access_key"],
        )

    def dataset_with_tag(self, n_samples: int) -> str:
        """A dataset whose tag has these samples; they are written into the sandbox's database, for speed."""
        import requests

        url, token = self.ready["lightly_url"], {"token": self.ready["token"]}
        body = {"name": f"export {secrets.token_hex(6)}", "type": "Images"}
        dataset_id: str = requests.post(f"{url}/v1/datasets", params=token, json=body, timeout=60).json()["id"]
        with sqlite3.connect(self._state / "platform.sqlite", timeout=60) as database:
            database.executemany(
                "INSERT INTO sample (id, dataset_id, file_name, position, type, details, size_in_bytes, created_at,"
                " last_modified_at) VALUES (?, ?, ?, ?, 'IMAGE', '{}', 0, 1, 1)",
                (
                    (f"{dataset_id[:12]}{number:012x}", dataset_id, name_of(number), number)
                    for number in range(n_samples)
                ),
            )
        answer = requests.post(
            f"{url}/v1/datasets/{dataset_id}/tags/initial", params=token, json={"imgType": "full"}, timeout=120
        )
        answer.raise_for_status()
        return dataset_id

    def stop(self) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        self._log.close()


class Exports:
    """
    Runs both, each in a process of its own.

    :param sandbox: Whose S3 the operator writes to.
    :param vendor_python: The Python with the vendor's client.
    :param home: For Airflow.
    """

    def __init__(self, sandbox: Sandbox, vendor_python: str, home: str) -> None:
        self._sandbox = sandbox
        self._vendor_python = vendor_python
        self._home = home

    def ours(self, address: str, token: str, dataset_id: str, *, uploads: bool = True) -> subprocess.Popen[str]:
        """Start the operator; or only our client's reading of the same pages, which is what the vendor's does."""
        ready = self._sandbox.ready
        extra = {"endpoint_url": ready["aws_url"], "region_name": ready["region"]}
        aws = {
            "conn_type": "aws",
            "login": ready["aws_access_key_id"],
            "password": ready["aws_secret_access_key"],
            "extra": extra,
        }
        environment = {
            **os.environ,
            "AIRFLOW_HOME": self._home,
            "AIRFLOW_CONN_LIGHTLY_DEFAULT": json.dumps({"conn_type": "lightly", "host": address, "password": token}),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        }
        arguments = [dataset_id, TAG_NAME, f"s3://{BUCKET}/names.txt" if uploads else ""]
        return _started([sys.executable, "-c", _OURS, *arguments], environment)

    def bare(self, address: str) -> subprocess.Popen[str]:
        """Start the same requests without the operator: a boto3 client, the pages, one SHA-256, the upload."""
        ready = self._sandbox.ready
        aws = {
            "endpoint_url": ready["aws_url"],
            "region_name": ready["region"],
            "aws_access_key_id": ready["aws_access_key_id"],
            "aws_secret_access_key": ready["aws_secret_access_key"],
        }
        path = f"/v1/datasets/{DATASET_ID}/tags/{TAG_ID}/export/basic/filenames"
        arguments = json.dumps([address, path, PAGE_SIZES, BUCKET, aws, PART_SIZE])
        return _started([sys.executable, "-c", _BARE, arguments], dict(os.environ))

    def vendors(self, address: str, token: str, dataset_id: str) -> subprocess.Popen[str]:
        """Start the vendor's client."""
        environment = {**os.environ, "LIGHTLY_SERVER_LOCATION": address}
        return _started([self._vendor_python, "-c", _VENDOR, dataset_id, TAG_NAME, token], environment)

    def check(self, n_samples: int) -> None:
        """Check that the object in the bucket is right, and that no upload is left."""
        expected = hashlib.sha256()
        for number in range(n_samples):
            expected.update(f"{name_of(number)}\n".encode())
        content = self._sandbox.s3.get_object(Bucket=BUCKET, Key="names.txt")["Body"].read()
        if hashlib.sha256(content).hexdigest() != expected.hexdigest():
            sys.exit("the object in the bucket is not the tag's filenames")
        if left := self._sandbox.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads"):
            sys.exit(f"{len(left)} multipart uploads were left behind")


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the process measured."""
    output, errors = process.communicate(timeout=_LONGEST_S)
    if process.returncode:
        sys.exit(f"{process.args!r:.80} failed: {errors[-2000:]}")
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured


def shown(who: str, measured: dict[str, Any], n_samples: int) -> None:
    """Print one line."""
    rate = n_samples / measured["wall"]
    print(
        f"  {who:<34}{measured['wall']:8.2f} s wall{measured['cpu']:8.2f} s CPU{measured['mib']:8.1f} MiB{rate:12.0f}/s"
    )


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest times of several runs, which other work of the machine disturbed least, and the largest memory."""
    return {name: min(run[name] for run in runs) for name in ("wall", "cpu")} | {"mib": max(run["mib"] for run in runs)}


def side_by_side(
    exports: Exports, address: str, token: str, dataset_id: str, n_samples: int, rounds: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Measure the operator, its client alone and the vendor's client, in turn."""
    operators, readers, vendors = [], [], []
    for _ in range(rounds):
        vendors.append(finished(exports.vendors(address, token, dataset_id)))
        readers.append(finished(exports.ours(address, token, dataset_id, uploads=False)))
        operators.append(finished(exports.ours(address, token, dataset_id)))
        exports.check(n_samples)
    found = best(operators), best(readers), best(vendors)
    shown("operator: read, hash, upload to S3", found[0], n_samples)
    shown("its client alone: read and check", found[1], n_samples)
    shown("vendor's client: read", found[2], n_samples)
    return found


def bare_requests(exports: Exports, address: str, n_samples: int, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure what the operator's own requests and one SHA-256 take without it; the sum without the pages, and with."""
    runs = [finished(exports.bare(address)) for _ in range(rounds)]
    parts = {name: best([run[name] for run in runs]) for name in runs[0]}
    names = {"connect": "a boto3 client", "read": "the pages", "hash": "one SHA-256", "put": "the upload"}
    for name, measured in parts.items():
        shown(f"bare, {names[name]}", measured, n_samples)
    floor, whole = added(parts, "connect", "hash", "put"), added(parts, *parts)
    shown("bare, all of it without the pages", floor, n_samples)
    shown("bare, all of it one after another", whole, n_samples)
    return floor, whole


def added(parts: dict[str, dict[str, Any]], *names: str) -> dict[str, Any]:
    """Return the times of several parts together, and the largest memory of one."""
    chosen = [parts[name] for name in names]
    return {name: sum(part[name] for part in chosen) for name in ("wall", "cpu")} | {
        "mib": max(part["mib"] for part in chosen)
    }


def times(measured: dict[str, Any], other: dict[str, Any]) -> str:
    """Return how many times the other's wall and processor time it took."""
    return f"{measured['wall'] / other['wall']:.2f} wall, {measured['cpu'] / other['cpu']:.2f} CPU"


def kill_and_retry(exports: Exports, address: str, stop_at: Path, n_samples: int, n_kills: int) -> None:
    """Kill the operator at random pages, start it again each time, and check what is there."""
    places = random.Random(4711).sample(range(n_samples), n_kills)  # noqa: S311
    for number in places:
        stop_at.write_text(str(number))
        process = exports.ours(address, TOKEN, DATASET_ID)
        deadline = time.monotonic() + _LONGEST_S
        while stop_at.read_text() != "reached":
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the operator did not reach name {number}: {process.communicate()[1][-2000:]}")
            time.sleep(0.01)
        process.kill()
        process.communicate()
        stop_at.unlink()
        finished(exports.ours(address, TOKEN, DATASET_ID))
        exports.check(n_samples)
    print(
        f"Killed at the pages of the names {', '.join(map(str, places))}, and started again: complete, right, no "
        "upload left behind."
    )


def main() -> int:
    """Print the tables; 1 if a target of ours is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--kills", type=int, default=10, help="times that the operator is killed (default 10)")
    parser.add_argument("--vendor-python", required=True, help="the Python of an environment with lightly 1.5.26")
    arguments = parser.parse_args()
    n_samples = arguments.samples // BLOCK * BLOCK
    with tempfile.TemporaryDirectory() as folder:
        stop_at = Path(folder) / "stop-at"
        sandbox = Sandbox(Path(folder))
        try:
            exports = Exports(sandbox, arguments.vendor_python, folder)
            with from_memory(n_samples // 10, stop_at) as address:
                tenth = finished(exports.ours(address, TOKEN, DATASET_ID))
            with from_memory(n_samples, stop_at) as address:
                print(f"{n_samples} filenames, each page from memory", flush=True)
                ours, client, vendors = side_by_side(exports, address, TOKEN, DATASET_ID, n_samples, arguments.rounds)
                floor, bare = bare_requests(exports, address, n_samples, arguments.rounds)
                print(f"  times the vendor's client (asked for: {ASKED_WALL} wall, {ASKED_CPU} CPU):")
                print(f"    the client alone     {times(client, vendors)}")
                print(f"    the operator         {times(ours, vendors)}; it also hashes and uploads")
                print(f"    boto3's floor        {times(floor, vendors)}: a client, one SHA-256, the upload; no pages")
                print(f"    the bare requests    {times(bare, vendors)}: the same and the pages")
                targets = f"at most {MOST_BARE_WALL} wall, {MOST_BARE_CPU} CPU"
                print(f"  the operator, times the bare requests: {times(ours, bare)} ({targets})")
                print(
                    f"  memory over the start: {tenth['mib']:.1f} MiB for {n_samples // 10}, {ours['mib']:.1f} MiB for "
                    f"{n_samples} (at most {MOST_MIB:g})"
                )
                kill_and_retry(exports, address, stop_at, n_samples, arguments.kills)
            print(f"{n_samples} filenames, from a sandbox", flush=True)
            dataset_id = sandbox.dataset_with_tag(n_samples)
            ready = sandbox.ready
            side_by_side(exports, ready["lightly_url"], ready["token"], dataset_id, n_samples, 1)
        finally:
            sandbox.stop()
    is_kept = (
        client["wall"] <= ASKED_WALL * vendors["wall"]
        and client["cpu"] <= ASKED_CPU * vendors["cpu"]
        and ours["wall"] <= MOST_BARE_WALL * bare["wall"]
        and ours["cpu"] <= MOST_BARE_CPU * bare["cpu"]
        and ours["mib"] <= MOST_MIB
        and ours["mib"] - tenth["mib"] <= MOST_GROWTH_MIB
    )
    print("targets: " + ("kept" if is_kept else "MISSED"))
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
