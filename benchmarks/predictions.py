"""
Measures an upload of predictions to S3, beside plain boto3 with the same number of threads, in one run.

The rate: the same files are written to the same local S3 (a sandbox on this machine): by the provider, from one COCO
file of which it checks, stages and matches everything, and by boto3's ``put_object`` in a thread pool, which checks
nothing and makes the contents up. Then the provider once more, when all is there.

The memory: the provider uploads from a COCO file of ``--images``, and from one of a tenth of that. The input has
only the first thousand of these images: to write one file for each takes the local S3 a quarter of an hour, and
the memory in which they wait is the same. ``--files 100000`` writes as many nevertheless.

All run in processes of their own, whose processor time and peak of memory the operating system counts. Needs
``lightly-sandbox`` (where LIGHTLY_SANDBOX says, or on the PATH).
Usage: ``python benchmarks/predictions.py [--images 100000] [--files 10000] [--threads 16]``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Targets: the rate of plain boto3, and memory over that of a tenth of the images.
LEAST_RATE, MOST_GROWTH_MIB = 0.8, 16.0
_LONGEST_START_S = 120.0
_INPUT, _OURS, _PLAIN = "input/", "ours/", "plain/"
_TASK = "boxes"
# Of the images whose predictions are read for the figures of memory, so many are in the input.
_MATCHED = 1_000


class Sandbox:
    """
    A running sandbox without workers.

    :param folder: For its state.
    """

    def __init__(self, folder: Path) -> None:
        ready = folder / "ready.json"
        options = ["--port", "0", "--aws-port", "0", "--workers", "0", "--ready-file", str(ready)]
        command = [os.environ.get("LIGHTLY_SANDBOX", "lightly-sandbox"), "up", "--state-dir", str(folder / "state")]
        self._log = (folder / "sandbox.log").open("w")
        self._process = subprocess.Popen([*command, *options], stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + _LONGEST_START_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("The sandbox did not start; is LIGHTLY_SANDBOX set?")
            time.sleep(0.05)
        self.at: dict[str, Any] = json.loads(ready.read_text())

    def stop(self) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        self._log.close()


def _s3(at: dict[str, Any], threads: int) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=at["aws_url"],
        region_name=at["region"],
        aws_access_key_id=at["aws_access_key_id"],
        aws_secret_access_key=at["aws_secret_access_key"],
        config=Config(max_pool_connections=threads),
    )


def _name(number: int) -> str:
    return f"drive-{number // 1000:04d}/frame-{number:07d}"


def write_coco(path: Path, images: int) -> None:
    """Write a COCO file with three boxes for each image; the annotations come before the images."""
    with path.open("w") as file:
        file.write('{"categories": [{"id": 0, "name": "car"}, {"id": 1, "name": "bus"}], "annotations": [')
        for number in range(images * 3):
            box = [number % 500, number % 300, 40.5, 30.25]
            one = {"image_id": number // 3, "category_id": number % 2, "bbox": box, "score": 0.5 + number % 50 / 100}
            file.write(("," if number else "") + json.dumps(one))
        file.write('], "images": [')
        for number in range(images):
            one = {"id": number, "file_name": f"{_name(number)}.jpg", "width": 1920, "height": 1080}
            file.write(("," if number else "") + json.dumps(one))
        file.write("]}")


def _connect(at: dict[str, Any]) -> None:
    connection = {
        "conn_type": "aws",
        "login": at["aws_access_key_id"],
        "password": at["aws_secret_access_key"],
        "extra": {"endpoint_url": at["aws_url"]},
    }
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)


class _ListedInput:
    """The names in the input, without a listing of that many objects that nobody needs to have."""

    def __init__(self, images: int) -> None:
        self.images = images

    def __call__(self) -> Any:
        return (f"{_name(number)}.jpg" for number in range(self.images))


def ours(at: dict[str, Any], bucket: str, images: int, coco: Path, threads: int) -> dict[str, Any]:
    """Upload with the provider, to a dataset with so many images."""
    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.results import lightly_folder
    from lightly_provider.results.own_files import PREDICTIONS
    from lightly_provider.results.predictions.formats import PredictionFormat
    from lightly_provider.results.predictions.uploading import upload_predictions
    from lightly_provider.results.sources import Source

    _connect(at)
    lightly_folder.BucketFolder.threads = threads
    input_datasource, own = (
        Datasource.model_validate(
            {"purpose": purpose, "type": "S3", "fullPath": f"s3://{bucket}/{prefix}", "s3Region": at["region"]}
        )
        for purpose, prefix in (("INPUT", _INPUT), ("LIGHTLY", _OURS))
    )
    folder = lightly_folder.BucketFolder(
        PREDICTIONS,
        connection=AwsConnection("aws_default"),
        input_datasource=input_datasource,
        own=own,
        dataset_type="Images",
    )
    folder.input_files = _ListedInput(images)  # type: ignore[method-assign]
    folder.read("tasks.json")  # imports and connects
    before, start, cpu = _peak_mib(), time.perf_counter(), time.process_time()
    outcome = upload_predictions(
        folder,
        Source.parse(str(coco), aws_conn_id=None),
        task_name=_TASK,
        source_format=PredictionFormat.COCO,
        log=logging.getLogger("benchmark"),
    )
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "written": outcome.written,
        "unchanged": outcome.unchanged,
        "memory_mib": _peak_mib() - before,
    }


def plain(at: dict[str, Any], bucket: str, images: int, threads: int) -> dict[str, Any]:
    """Write files of the same contents with boto3 in threads."""
    from concurrent.futures import ThreadPoolExecutor

    s3 = _s3(at, threads)
    s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    boxes = [{"category_id": n % 2, "bbox": [n % 500, n % 300, 40.5, 30.25], "score": 0.5} for n in range(3)]

    def put(number: int) -> None:
        content = json.dumps({"file_name": f"{_name(number)}.jpg", "predictions": boxes}).encode()
        s3.put_object(Bucket=bucket, Key=f"{_PLAIN}{_name(number)}.json", Body=content, ContentType="application/json")

    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        # In batches: a million futures at once are memory that nobody needs.
        for first in range(0, images, 10_000):
            for _ in pool.map(put, range(first, min(first + 10_000, images))):
                pass
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "written": images}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(what: str, arguments: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", what, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    """Measure, print, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000, help="in the COCO file that the memory is measured with")
    parser.add_argument("--files", type=int, default=10_000, help="written for the rate")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, given = options.child[0], json.loads(options.child[1])
        result = plain(**given) if what == "plain" else ours(coco=Path(given.pop("coco")), **given)
        print(json.dumps(result))
        return 0
    with tempfile.TemporaryDirectory() as name:
        sandbox = Sandbox(Path(name))
        try:
            missed = _compare_rates(sandbox.at, Path(name), options.files, options.threads)
            missed += _compare_memory(sandbox.at, Path(name), options.images, options.threads)
        finally:
            sandbox.stop()
    for one in missed:
        print(f"MISSED: {one}")
    return 1 if missed else 0


def _bucket(at: dict[str, Any], name: str) -> str:
    _s3(at, 1).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": at["region"]})
    return name


def _compare_rates(at: dict[str, Any], folder: Path, files: int, threads: int) -> list[str]:
    """Print the rates, and return what was missed."""
    coco = folder / "all.json"
    write_coco(coco, files)
    whole = {"at": at, "threads": threads, "bucket": _bucket(at, "predictions"), "images": files}
    # In halves before and after, because a machine that is busy with something else is so for a while.
    first = _in_a_process("plain", {**whole, "images": files // 2})
    mine = _in_a_process("ours", {**whole, "coco": str(coco)})
    second = _in_a_process("plain", {**whole, "images": files - files // 2})
    again = _in_a_process("ours", {**whole, "coco": str(coco)})
    theirs = files / (first["seconds"] + second["seconds"])
    rate = files / mine["seconds"]
    cpu = (first["cpu"] + second["cpu"]) / files, mine["cpu"] / files
    print(f"{files} files, {threads} threads, COCO file of {coco.stat().st_size / 2**20:.0f} MiB")
    print(f"  plain boto3          {theirs:8.0f} files/s, {cpu[0] * 1000:.2f} ms of processor each (writes only)")
    print(
        f"  the provider         {rate:8.0f} files/s, {cpu[1] * 1000:.2f} ms (reads, checks, matches, compares, writes)"
    )
    print(f"                       {rate / theirs:8.2f} times the rate (at least {LEAST_RATE})")
    print(f"  again, all unchanged {files / again['seconds']:8.0f} files/s ({again['written']} written)", flush=True)
    missed = []
    if rate < LEAST_RATE * theirs:
        missed.append(f"the rate is below {LEAST_RATE} of plain boto3")
    if again["written"] or mine["written"] != files:
        missed.append("not each file was written once")
    return missed


def _compare_memory(at: dict[str, Any], folder: Path, images: int, threads: int) -> list[str]:
    """Print the memory, and return what was missed."""
    peaks = []
    for count in (max(images // 10, 1), images):
        coco = folder / f"{count}.json"
        write_coco(coco, count)
        given = {"at": at, "threads": threads, "bucket": _bucket(at, f"memory-{count}"), "coco": str(coco)}
        peaks.append(_in_a_process("ours", {**given, "images": min(_MATCHED, count)})["memory_mib"])
    growth = peaks[1] - peaks[0]
    print(f"memory over the start: {peaks[0]:.0f} MiB with {max(images // 10, 1)} images,", end=" ")
    print(f"{peaks[1]:.0f} MiB with {images} (at most {MOST_GROWTH_MIB:.0f} more)")
    return [f"memory grew by {growth:.0f} MiB"] if growth > MOST_GROWTH_MIB else []


if __name__ == "__main__":
    sys.exit(main())
