"""What the sandbox costs and gives: start, memory, polls a second, and photos from schedule to COMPLETED.

    make benchmarks            or, alone:  .venv-sandbox/bin/python benchmarks/sandbox.py [--large]

Each figure is beside its budget. CPU seconds of the sandbox's processes are shown too: on a machine that does other
things as well, they say what the clock cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from lightly_sandbox.platform.database import Database, new_id, now_ms
from lightly_sandbox.platform.tables import Run, Sample, ScheduledRun
from lightly_sandbox.seeding.seed import seed
from sqlalchemy import insert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

START_SECONDS, IDLE_MIB, POLLS_A_SECOND, PHOTOS_SECONDS, LARGE_SECONDS = 4.0, 350.0, 1000.0, 15.0, 240.0
PAGE_MS, WEB_MS = 500.0, 2000.0
STORED_RUNS, STORED_SAMPLES, CONNECTIONS, POLL_SECONDS, STARTS = 10_000, 100_000, 16, 5.0, 3
PHOTOS, LARGE_PHOTOS = 200, 5000
PATIENCE_SECONDS = 900.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One line of the table; ``more_is_better`` says on which side of the budget it should be."""

    what: str
    value: float
    unit: str
    budget: float
    cpu_seconds: float
    more_is_better: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the figure is within the budget."""
        return self.value >= self.budget if self.more_is_better else self.value <= self.budget

    def line(self) -> str:
        """The figure in columns."""
        side, kept = (">=" if self.more_is_better else "<"), ("kept" if self.is_kept else "EXCEEDED")
        budget = f"{side} {self.budget:g} {self.unit}"
        return f"{self.what:<52}{self.value:>9.1f} {self.unit:<6}{budget:>14}  {kept:<9}{self.cpu_seconds:>8.1f} s"


class Sandbox:
    """A sandbox of its own, in processes of its own."""

    def __init__(self, state: Path, workers: int) -> None:
        self.state = state
        command = [sys.executable, "-m", "lightly_sandbox", "up", "--state-dir", str(state)]
        began = time.perf_counter()
        self._ready_file = state.parent / f"{state.name}.json"
        self._popen = subprocess.Popen(
            [*command, "--workers", str(workers), "--ready-file", str(self._ready_file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        wait_until(self._is_ready, 0.005)
        self.start_seconds = time.perf_counter() - began
        self.ready: dict[str, Any] = json.loads(self._ready_file.read_text())

    def _is_ready(self) -> bool:
        if self._popen.poll() is not None:
            sys.exit(f"The sandbox did not start: {self._popen.communicate()[0].decode().strip()}")
        return self._ready_file.exists()

    def processes(self) -> list[int]:
        """The supervisor and its children."""
        supervisor = self._popen.pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [supervisor, *map(int, children)]

    def idle_mib(self) -> float:
        """What its processes hold of the memory, what they share counted once (PSS)."""
        total = 0
        for process in self.processes():
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
        return total / 1024

    def cpu_seconds(self) -> float:
        """What its processes have used of the processors so far."""
        total = 0
        for process in self.processes():
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def api(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer's JSON."""
        token = {"token": self.ready["token"], **query}
        answer = requests.request(method, self.ready["lightly_url"] + path, params=token, json=body, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def stop(self) -> None:
        """End it."""
        self._popen.terminate()
        self._popen.communicate()


def wait_until(condition: Callable[[], object], pause: float) -> None:
    """Wait until ``condition`` holds, looking at it every ``pause`` seconds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"Nothing came of it in {PATIENCE_SECONDS:.0f} s.")
        time.sleep(pause)


@contextlib.contextmanager
def sandbox(workers: int, folder: str = "state") -> Iterator[Sandbox]:
    """A sandbox in a folder that is taken away again."""
    with tempfile.TemporaryDirectory() as root:
        running = Sandbox(Path(root) / folder, workers)
        try:
            yield running
        finally:
            running.stop()


@functools.cache
def _bytecode() -> str:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return folder


def _environment() -> dict[str, str]:
    """The environment of the sandboxes, which find their modules compiled as an installed package's are."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": _bytecode()}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def start_and_idle() -> Iterator[Figure]:
    """From the command to the ready file, the fastest of some starts; then the memory with one worker."""
    taken = []
    with sandbox(workers=1):
        pass  # bytecode and file cache, unmeasured
    for _ in range(STARTS):
        with sandbox(workers=1) as one:
            taken.append((one.start_seconds, one.cpu_seconds(), one.idle_mib()))
    seconds, cpu, mib = (min(values) for values in zip(*taken, strict=True))
    yield Figure("start to ready, 1 worker", seconds, "s", START_SECONDS, cpu)
    yield Figure("memory of all processes when idle, 1 worker", mib, "MiB", IDLE_MIB, cpu)


def polls() -> Iterator[Figure]:
    """GET of the run of a scheduled run, of many stored, by some connections at once."""
    with sandbox(workers=0) as one:
        dataset_id = one.api("POST", "/v1/datasets", {"name": "benchmark", "type": "Images"})["id"]
        user_id = one.api("GET", f"/v1/datasets/{dataset_id}")["userId"]
        ids = store_runs(one.state / "platform.sqlite", dataset_id, user_id)
        address = urlsplit(one.ready["lightly_url"])
        token = one.ready["token"]
        paths = [f"/v1/docker/runs/schedule/{scheduled_id}?token={token}" for scheduled_id in ids]
        generator = subprocess.Popen(
            [sys.executable, __file__, "--poll", str(address.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        before = one.cpu_seconds()
        answered = json.loads(generator.communicate(json.dumps(paths).encode())[0])
        cpu = one.cpu_seconds() - before
    yield Figure(
        f"GET of a run by its scheduled run, {STORED_RUNS:,} stored",
        answered["count"] / answered["seconds"],
        "/s",
        POLLS_A_SECOND,
        cpu,
        more_is_better=True,
    )
    # Of the same requests, had the platform a processor for itself all the time.
    of_a_core = answered["count"] / cpu
    yield Figure("   the same per CPU second", of_a_core, "/s", POLLS_A_SECOND, cpu, more_is_better=True)


def pages() -> Iterator[Figure]:
    """The slowest of some pages of a large dataset and of a long list of runs."""
    with sandbox(workers=0) as one:
        dataset_id = one.api("POST", "/v1/datasets", {"name": "benchmark", "type": "Images"})["id"]
        store_runs(one.state / "platform.sqlite", dataset_id, one.api("GET", f"/v1/datasets/{dataset_id}")["userId"])
        store_samples(one.state / "platform.sqlite", dataset_id)
        last, of = {"pageSize": 1000, "pageOffset": STORED_SAMPLES - 1000}, f"/v1/datasets/{dataset_id}"
        asked: list[tuple[str, dict[str, Any]]] = [
            (of, {}),
            ("/v1/datasets/enriched", {}),
            (f"{of}/mappings", {"field": "fileName", **last}),
            (f"{of}/samples", last),
            (f"{of}/samples", {"fileName": f"{STORED_SAMPLES - 1}.jpg"}),
            ("/v1/docker/runs", {"pageSize": 100, "pageOffset": STORED_RUNS - 100}),
            (f"/v1/docker/runs/query/datasetId/{dataset_id}", {"pageSize": 100, "pageOffset": STORED_RUNS - 100}),
        ]
        slowest, before = 0.0, one.cpu_seconds()
        for path, query in asked:
            began = time.perf_counter()
            one.api("GET", path, **query)
            slowest = max(slowest, time.perf_counter() - began)
        cpu = one.cpu_seconds() - before
        page, before = 0.0, one.cpu_seconds()
        for path in ("/web", f"/web/dataset/{dataset_id}", f"/web/dataset/{dataset_id}?page=1500", "/web/compute/runs"):
            began = time.perf_counter()
            requests.get(one.ready["lightly_url"] + path, timeout=60).raise_for_status()
            page = max(page, time.perf_counter() - began)
        page_cpu = one.cpu_seconds() - before
    yield Figure(f"slowest page for a browser, {STORED_SAMPLES:,} samples", page * 1000, "ms", WEB_MS, page_cpu)
    what = f"slowest page, {STORED_SAMPLES:,} samples, {STORED_RUNS:,} runs"
    yield Figure(what, slowest * 1000, "ms", PAGE_MS, cpu)


def store_samples(path: Path, dataset_id: str) -> None:
    """Put the samples of a large dataset straight into the database."""
    now = now_ms()
    common = {"dataset_id": dataset_id, "type": "IMAGES", "details": {}, "size_in_bytes": 50_000}
    times = {"created_at": now, "last_modified_at": now}
    database = Database(path)
    with database.session(writes=True) as session:
        session.execute(
            insert(Sample),
            [
                {**common, **times, "id": new_id(), "file_name": f"{place}.jpg", "position": place}
                for place in range(STORED_SAMPLES)
            ],
        )
        session.commit()
    database.close()


def store_runs(path: Path, dataset_id: str, user_id: str) -> list[str]:
    """Put runs straight into the database, as they are when they are over, and return their scheduled runs."""
    now = now_ms()
    ids = [new_id() for _ in range(STORED_RUNS)]
    times = {"created_at": now, "last_modified_at": now, "user_id": user_id, "dataset_id": dataset_id}
    database = Database(path)
    with database.session(writes=True) as session:
        session.execute(
            insert(ScheduledRun),
            [{**times, "id": one, "config_id": one, "priority": "MID", "runs_on": [], "state": "DONE"} for one in ids],
        )
        session.execute(
            insert(Run),
            [
                {**times, "id": new_id(), "scheduled_id": one, "docker_version": "2.13", "state": "COMPLETED"}
                for one in ids
            ],
        )
        session.commit()
    database.close()
    return ids


def photos(n_photos: int, workers: int, budget: float) -> Iterator[Figure]:
    """From schedule to COMPLETED: list, read, embed, select, thumbnails, samples, tags and report."""
    with sandbox(workers=workers) as one:
        datasets = _datasets(one, n_photos, workers)
        before, began = one.cpu_seconds(), time.perf_counter()
        for dataset_id in datasets:
            _schedule(one, dataset_id, n_photos // workers)
        for dataset_id in datasets:
            wait_until(functools.partial(_is_completed, one, dataset_id), 0.1)
        seconds, cpu = time.perf_counter() - began, one.cpu_seconds() - before
    many = "1 worker" if workers == 1 else f"{workers} workers"
    yield Figure(f"{n_photos:,} photos, schedule to COMPLETED, {many}", seconds, "s", budget, cpu)


def _datasets(one: Sandbox, n_photos: int, workers: int) -> list[str]:
    """A dataset for each worker, as a dataset has one run at a time; together they have all photos."""
    keys = {
        "s3Region": one.ready["region"],
        "s3AccessKeyId": one.ready["aws_access_key_id"],
        "s3SecretAccessKey": one.ready["aws_secret_access_key"],
        "thumbSuffix": ".lightly/thumbnails/[filename]_thumb.[extension]",
    }
    made = []
    for number in range(workers):
        seed(f"s3://benchmark/photos-{number}", one.ready, n_photos // workers)
        body = {"name": f"benchmark {number}", "type": "Images"}
        made.append(str(one.api("POST", "/v1/datasets", body)["id"]))
        for purpose, folder in (("INPUT", "photos"), ("LIGHTLY", "lightly")):
            path = f"s3://benchmark/{folder}-{number}"
            body = {"type": "S3", "purpose": purpose, "fullPath": path, **keys}
            one.api("PUT", f"/v1/datasets/{made[-1]}/datasource", body)
    return made


def _schedule(one: Sandbox, dataset_id: str, n_photos: int) -> None:
    diversity = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
    selection = {"nSamples": n_photos // 10, "strategies": [diversity]}
    config = {"workerType": "FULL", "docker": {}, "selection": selection}
    body = {"version": "V4", "creator": "USER_PIP", "config": config}
    config_id = one.api("POST", "/v1/docker/worker/config/vX", body)["id"]
    scheduled = {"configId": config_id, "priority": "MID", "runsOn": []}
    one.api("POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", scheduled)


def _is_completed(one: Sandbox, dataset_id: str) -> bool:
    runs = one.api("GET", f"/v1/docker/runs/query/datasetId/{dataset_id}")
    if runs and runs[0]["state"] in ("FAILED", "CRASHED", "ABORTED"):
        sys.exit(f"The run ended as {runs[0]['state']}: {runs[0].get('message')}")
    return bool(runs) and runs[0]["state"] == "COMPLETED"


async def generate(port: int, paths: Sequence[str]) -> dict[str, float]:
    """Ask for the paths in turn over some connections that stay open, for some seconds, and count the answers."""
    ends, asked = time.perf_counter() + POLL_SECONDS, 0

    async def ask() -> int:
        nonlocal asked
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = 0
        while time.perf_counter() < ends:
            path, asked = paths[asked % len(paths)], asked + 1
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                sys.exit(f"The platform answered {head.partition(chr(13).encode())[0].decode()}")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            answers += 1
        writer.close()
        return answers

    began = time.perf_counter()
    counts = await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return {"count": sum(counts), "seconds": time.perf_counter() - began}


def main() -> int:
    """Print the table; 1 if a figure is not within its budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help=f"also {LARGE_PHOTOS:,} photos with 2 workers")
    parser.add_argument(
        "--only", choices=("start", "polls", "pages", "photos", "large"), help="one of the measurements alone"
    )
    parser.add_argument("--poll", type=int, metavar="PORT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.poll is not None:
        print(json.dumps(asyncio.run(generate(asked.poll, json.load(sys.stdin)))))
        return 0
    measurements: dict[str, Callable[[], Iterator[Figure]]] = {
        "start": start_and_idle,
        "polls": polls,
        "pages": pages,
        "photos": lambda: photos(PHOTOS, 1, PHOTOS_SECONDS),
        "large": lambda: photos(LARGE_PHOTOS, 2, LARGE_SECONDS),
    }
    if not asked.large and asked.only != "large":
        del measurements["large"]
    print(f"{'lightly-sandbox':<52}{'measured':>16}{'budget':>14}{'':<11}{'CPU':>8}")
    kept = True
    for name, measure in measurements.items():
        if asked.only in (None, name):
            for figure in measure():
                print(figure.line(), flush=True)
                kept &= figure.is_kept
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
