"""
Measures the export of a large tag to S3: this provider's operator, and the vendor's client returning the filenames.

All read the same tag of the same server, in turn, each in a process of its own: first from a server that answers each
page from memory, then from a sandbox. The vendor's client keeps all filenames in memory, checks none and writes
nothing; so it is compared with our client's reading of the same pages, and the whole operator, which also hashes the
file and uploads it to the sandbox's S3, is shown beside them. Shown are wall time, processor time (imports not counted)
and the growth of memory. Then the operator is killed at ten random pages and started again, and what is in the bucket
is checked.

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

# Targets: our client's times of the vendor's on the server that answers from memory; the operator's MiB over its start.
MOST_WALL, MOST_CPU, MOST_MIB = 1.1, 0.5, 60.0
# Between a tenth of the samples and all of them: a part of the upload, which a tenth does not fill.
MOST_GROWTH_MIB = 16.0
# The pages that the two ask for, the operator's first.
PAGE_SIZES = (25_000, 5_000)
TAG_NAME = "initial-tag"
DATASET_ID, TAG_ID = "a" * 24, "b" * 24
BUCKET = "export-benchmark"
TOKEN = "no-secret"  # noqa: S105
_LONGEST_S = 180.0

_MEASURED = """
import json, os, resource, sys, threading, time

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def measured(work):
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
    pages: dict[int, list[bytes]]
    tag: bytes
    stop_at: Path

    def do_GET(self) -> None:
        """Answer one request; at the page that the file ``stop_at`` names, say so and never answer."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path.endswith("/export/basic/filenames"):
            size = int(query["pageSize"][0])
            number, pages = int(query["pageOffset"][0]) // size, self.pages[size]
            if self.stop_at.exists() and self.stop_at.read_text() == str(number):
                self.stop_at.write_text("reached")
                while self.stop_at.exists():
                    time.sleep(0.05)
                return
            self._answer(pages[number] if number < len(pages) else b"", "text/plain")
        elif parts.path.endswith("/tags"):
            self._answer(b"[" + self.tag + b"]", "application/json")
        elif parts.path.endswith(f"/tags/{TAG_ID}"):
            self._answer(self.tag, "application/json")
        else:
            self._answer(b'"1.5.26"', "application/json")

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
    Memory.pages = {
        size: ["\n".join(names[start : start + size]).encode() for start in range(0, n_samples, size)]
        for size in PAGE_SIZES
    }
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


def side_by_side(exports: Exports, address: str, token: str, dataset_id: str, n_samples: int, rounds: int) -> list[Any]:
    """All three, in turn."""
    operators, readers, vendors = [], [], []
    for _ in range(rounds):
        vendors.append(finished(exports.vendors(address, token, dataset_id)))
        readers.append(finished(exports.ours(address, token, dataset_id, uploads=False)))
        operators.append(finished(exports.ours(address, token, dataset_id)))
        exports.check(n_samples)
    found = [best(operators), best(readers), best(vendors)]
    shown("operator: read, hash, upload to S3", found[0], n_samples)
    shown("its client alone: read and check", found[1], n_samples)
    shown("vendor's client: read", found[2], n_samples)
    return found


def kill_and_retry(exports: Exports, address: str, stop_at: Path, n_samples: int, n_kills: int) -> None:
    """Kill the operator at random pages, start it again each time, and check what is there."""
    pages = random.Random(4711).sample(range(n_samples // PAGE_SIZES[0]), n_kills)  # noqa: S311
    for number in pages:
        stop_at.write_text(str(number))
        process = exports.ours(address, TOKEN, DATASET_ID)
        deadline = time.monotonic() + _LONGEST_S
        while stop_at.read_text() != "reached":
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the operator did not reach page {number}: {process.communicate()[1][-2000:]}")
            time.sleep(0.01)
        process.kill()
        process.communicate()
        stop_at.unlink()
        finished(exports.ours(address, TOKEN, DATASET_ID))
        exports.check(n_samples)
    print(
        f"Killed at the pages {', '.join(map(str, pages))} and started again: complete, right, no upload left behind."
    )


def main() -> int:
    """Print the tables; 1 if a target of ours is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--kills", type=int, default=10, help="times that the operator is killed (default 10)")
    parser.add_argument("--vendor-python", required=True, help="the Python of an environment with lightly 1.5.26")
    arguments = parser.parse_args()
    n_samples = arguments.samples // PAGE_SIZES[0] * PAGE_SIZES[0]
    with tempfile.TemporaryDirectory() as folder:
        stop_at = Path(folder) / "stop-at"
        sandbox = Sandbox(Path(folder))
        try:
            exports = Exports(sandbox, arguments.vendor_python, folder)
            with from_memory(n_samples // 10, stop_at) as address:
                tenth = finished(exports.ours(address, TOKEN, DATASET_ID))
            with from_memory(n_samples, stop_at) as address:
                print(f"{n_samples} filenames, each page from memory", flush=True)
                ours, vendors = side_by_side(exports, address, TOKEN, DATASET_ID, n_samples, arguments.rounds)
                wall, cpu = ours["wall"] / vendors["wall"], ours["cpu"] / vendors["cpu"]
                print(
                    f"  times the vendor's: {wall:.2f} wall (at most {MOST_WALL}), {cpu:.2f} CPU (at most {MOST_CPU})"
                )
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
        wall <= MOST_WALL
        and cpu <= MOST_CPU
        and ours["mib"] <= MOST_MIB
        and ours["mib"] - tenth["mib"] <= MOST_GROWTH_MIB
    )
    print("targets: " + ("kept" if is_kept else "MISSED"))
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
