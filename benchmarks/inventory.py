"""
Measures a full count of many files in S3: this provider's, folder beside folder, and boto3's plain paginator.

Both list the same bucket in the same run: a server on this machine that answers ListObjectsV2 as S3 does, after as
long as S3 takes, for keys that it makes up. Usage: ``python benchmarks/inventory.py [--keys 1000000] [--latency 0.1]``.
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lightly_provider.aws.bucket import PAGE_SIZE, S3Lister, count_all
from lightly_provider.aws.location import S3Location

FOLDERS = 100
_LEAST_RATIO = 3.0


class MadeUpBucket(BaseHTTPRequestHandler):
    """Answers ListObjectsV2 for ``keys`` keys in ``FOLDERS`` folders, each answer after ``latency`` seconds."""

    protocol_version = "HTTP/1.1"
    keys = 0
    latency = 0.0

    def do_GET(self) -> None:
        """One page."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        time.sleep(self.latency)
        body = (self._folders() if "delimiter" in query else self._page(query)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _folders(self) -> str:
        names = "".join(f"<CommonPrefixes><Prefix>raw/{n:03}/</Prefix></CommonPrefixes>" for n in range(FOLDERS))
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{names}</ListBucketResult>"

    def _page(self, query: dict[str, str]) -> str:
        in_folder = self.keys // FOLDERS
        folder = query["prefix"].removeprefix("raw/").rstrip("/")
        first, end = (int(folder) * in_folder, (int(folder) + 1) * in_folder) if folder else (0, self.keys)
        first = int(query.get("continuation-token", first))
        last = min(first + PAGE_SIZE, end)
        contents = "".join(
            f"<Contents><Key>raw/{n // in_folder:03}/{n:09}.jpg</Key><LastModified>2026-01-01T00:00:00.000Z"
            "</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>7</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for n in range(first, last)
        )
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < end else ""
        return (
            f"<ListBucketResult><IsTruncated>{str(last < end).lower()}</IsTruncated>{more}{contents}</ListBucketResult>"
        )

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _client(address: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106  (nobody asks for it)
        config=Config(max_pool_connections=32),
    )


def _serve(keys: int, latency: float, ready: Any) -> None:
    """A process of its own, so that it takes no time from those who are measured but the processor's."""
    MadeUpBucket.keys, MadeUpBucket.latency = keys, latency
    server = ThreadingHTTPServer(("127.0.0.1", 0), MadeUpBucket)
    ready.put(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready.join()


def main() -> int:
    """Measure both, print a table, and fail if the ratio is too small."""
    import multiprocessing

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that S3 takes for a page; default: 0.1")
    parser.add_argument("--workers", type=int, default=16)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ready = context.JoinableQueue()
    server = context.Process(target=_serve, args=(arguments.keys, arguments.latency, ready), daemon=True)
    server.start()
    s3 = _client(f"http://127.0.0.1:{ready.get(timeout=60)}")

    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    ours = count_all(S3Lister(s3, "bucket"), S3Location("bucket", "raw/"), workers=arguments.workers).n_objects
    our_time = time.perf_counter() - started
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before) / 1024

    started = time.perf_counter()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="raw/")
    plain = sum(len(page.get("Contents", ())) for page in pages)
    plain_time = time.perf_counter() - started
    server.terminate()

    if not ours == plain == arguments.keys:
        raise RuntimeError(f"count_all found {ours} keys, boto3's paginator {plain}, and there are {arguments.keys}")
    ratio = plain_time / our_time
    print(f"{arguments.keys} keys in {FOLDERS} folders, {arguments.latency * 1000:.0f} ms for a page")
    print(f"  boto3's paginator   {plain_time:7.1f} s  {plain / plain_time:9.0f} keys/s")
    print(f"  count_all           {our_time:7.1f} s  {ours / our_time:9.0f} keys/s  {memory:.0f} MiB more at the peak")
    print(f"  {ratio:.1f} times the rate")
    return 0 if ratio >= _LEAST_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
