"""
Measures what it costs one process to wait for many worker runs: this provider's trigger beside the two usual forms.

Each form is driven in one event loop, as in a triggerer, in a process of its own, in the same run and against the same
server on this machine, which has a process of its own, too: what it takes is not counted.

- ``LightlyRunTrigger``, all of which share one poll
- one aiohttp session per poll and trigger
- requests, one call in a thread per poll and trigger

The usual forms ask one question per poll, without TLS, and read of the answer the state alone: less than they would do
in earnest. Processor time and requests are those of one interval: of one poll of every waiting run. Lag is by how much
a pause of 50 ms took longer than that. Memory is what was added at the peak, by waiting run. Nobody calls the garbage
collector or holds it off: one full collection among Airflow's many objects takes as long as several polls of ours, so
there are enough intervals to have each form's collections in them as often as it causes them.

Usage: ``python benchmarks/waiting.py [--waiting 1000 5000] [--interval 3] [--intervals 10]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Targets of ours: requests per interval, for any number of runs, and how much less processor time than the others.
MOST_REQUESTS, LEAST_RATIO = 3.0, 10.0
OURS, SESSIONS, THREADS = "our trigger", "an aiohttp session per poll", "requests in a thread per poll"
DATASET, CONFIG, USER = "a" * 24, "f" * 24, "auth0|" + "1" * 24
_LAG_PAUSE = 0.05
_LONGEST_S = 900.0


def scheduled_id(number: int) -> str:
    """Id of the scheduled run of this number."""
    return f"{number:024x}"


# --- the platform ------------------------------------------------------------------------------------------------


class Platform:
    """
    The answers to what is asked about ``n`` scheduled runs, every other of which a worker has taken.

    Their members are those of the contract (lightly 1.5.26, models/docker_run_scheduled_data.py, docker_run_data.py).
    """

    def __init__(self, n: int) -> None:
        self._runs = {scheduled_id(number): _run(number) for number in range(n) if number % 2}
        entries = [_entry(number) for number in range(n) if not number % 2]
        self._open = json.dumps(entries).encode()
        self._listed = json.dumps([*self._runs.values()]).encode()
        self._single = {key: json.dumps(run).encode() for key, run in self._runs.items()}

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        match path.split("/")[2:]:
            case ["docker", "worker", "schedule"]:
                return 200, self._open
            case ["docker", "runs"]:
                return 200, self._listed
            case ["docker", "runs", "schedule", key] if key in self._single:
                return 200, self._single[key]
            case ["docker", "runs", _, "logs"]:
                return 200, b'{"cursor": 0, "logs": []}'
        return 404, b'{"code": "DOCKER_RUN_UNKNOWN", "error": "not picked up yet"}'


def _entry(number: int) -> dict[str, Any]:
    return {
        "id": scheduled_id(number),
        "datasetId": DATASET,
        "userId": USER,
        "configId": CONFIG,
        "priority": "MID",
        "runsOn": [],
        "state": "OPEN",
        "createdAt": 1767225600000 + number,
        "lastModifiedAt": 1767225600000 + number,
        "owner": USER,
    }


def _run(number: int) -> dict[str, Any]:
    return {
        "id": scheduled_id(number + 1_000_000),
        "userId": USER,
        "dockerVersion": "2.11.0",
        "state": "EMBEDDING",
        "datasetId": DATASET,
        "configId": CONFIG,
        "scheduledId": scheduled_id(number),
        "createdAt": 1767225600000 + number,
        "lastModifiedAt": 1767225600000 + number,
        "message": "",
        "artifacts": [],
    }


class Connection(asyncio.Protocol):
    """One connection to the platform. As plain as can be, so that it is no brake on those who are measured."""

    def __init__(self, platform: Platform, counts: Any) -> None:
        self._platform = platform
        self._counts = counts
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request whose head is complete; none has a body."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            path = head.split(b" ", 2)[1].split(b"?")[0].decode()
            self._counts[0] += 1
            self._counts[1] += path.endswith("/docker/worker/schedule")
            status, body = self._platform.answer(path)
            assert isinstance(self._transport, asyncio.WriteTransport)  # noqa: S101  (for the type checker)
            self._transport.write(
                b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
                + body
            )


def serve(n: int, counts: Any, ready: Any) -> None:
    """The platform's process. ``counts``: requests, and those among them for the listing of open runs."""

    async def forever() -> None:
        platform = Platform(n)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(platform, counts), "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


# --- the forms ---------------------------------------------------------------------------------------------------


def _our_triggers(n: int, interval: float) -> list[Any]:
    from lightly_provider.triggers.worker import LightlyRunTrigger

    return [
        LightlyRunTrigger(
            lightly_conn_id="lightly_default",
            dataset_id=DATASET,
            scheduled_run_id=scheduled_id(number),
            poll_interval=interval,
            deadline=time.time() + 86400,
        )
        for number in range(n)
    ]


async def wait_with_our_triggers(n: int, interval: float, _: str) -> None:
    """Our trigger as the triggerer runs it."""

    async def wait(trigger: Any) -> None:
        async for _event in trigger.run():
            return

    await asyncio.gather(*map(wait, _our_triggers(n, interval)))


async def wait_with_sessions(n: int, interval: float, address: str) -> None:
    """One aiohttp session per poll."""
    import aiohttp

    async def wait(number: int) -> None:
        await asyncio.sleep(random.random() * interval)  # noqa: S311  (no secret: they are not deferred all at once)
        state = ""
        while state != "COMPLETED":
            # With thousands at once some find no connection in time; those ask again an interval later.
            with suppress(aiohttp.ClientError, OSError):
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(_question(address, number), params={"token": "x"}) as response,
                ):
                    state = (await response.json()).get("state", "")
            await asyncio.sleep(interval)

    await asyncio.gather(*map(wait, range(n)))


async def wait_in_threads(n: int, interval: float, address: str) -> None:
    """One call of requests in a thread per poll."""
    import requests

    def ask(number: int) -> str:
        try:
            response = requests.get(_question(address, number), params={"token": "x"}, timeout=60)
        except requests.RequestException:  # as above
            return ""
        return str(response.json().get("state", ""))

    async def wait(number: int) -> None:
        await asyncio.sleep(random.random() * interval)  # noqa: S311  (no secret: they are not deferred all at once)
        while await asyncio.to_thread(ask, number) != "COMPLETED":
            await asyncio.sleep(interval)

    await asyncio.gather(*map(wait, range(n)))


def _question(address: str, number: int) -> str:
    return f"{address}/v1/docker/runs/schedule/{scheduled_id(number)}"


FORMS: dict[str, Callable[[int, float, str], Any]] = {
    OURS: wait_with_our_triggers,
    SESSIONS: wait_with_sessions,
    THREADS: wait_in_threads,
}


# --- measuring ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What waiting took: per interval, and by waiting run."""

    requests: float
    cpu_s: float
    kib: float
    lag_p50_ms: float
    lag_p99_ms: float


def _resident_kib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


async def _measure(form: str, n: int, *, interval: float, intervals: int, address: str, counts: Any) -> Cost:
    # A round of ours is a poll, which lists the open runs once; of the others, one request per waiting run.
    def rounds() -> float:
        return float(counts[1]) if form == OURS else counts[0] / n

    peak = before = _resident_kib()
    give_up = time.monotonic() + _LONGEST_S
    waiting = asyncio.ensure_future(FORMS[form](n, interval, address))
    lags: list[float] = []

    async def until(condition: Callable[[], bool]) -> None:
        nonlocal peak
        while not condition():
            if waiting.done() or time.monotonic() > give_up:
                if waiting.done():
                    raise RuntimeError(f"{form}, {n} runs: the wait ended") from waiting.exception()
                raise RuntimeError(f"{form}, {n} runs: the measurement took more than {_LONGEST_S:g} s")
            paused = time.perf_counter()
            await asyncio.sleep(_LAG_PAUSE)
            lags.append(time.perf_counter() - paused - _LAG_PAUSE)
            peak = max(peak, _resident_kib())

    async def until_midway_after(round_: float) -> None:
        # Between two polls, so that what follows from one is counted with it: in a while without any request.
        await until(lambda: rounds() >= round_)
        last_seen, last_count = time.monotonic(), counts[0]

        def is_quiet() -> bool:
            nonlocal last_seen, last_count
            if counts[0] != last_count:
                last_seen, last_count = time.monotonic(), counts[0]
            return time.monotonic() >= last_seen + interval / 3

        if form == OURS:
            await until(is_quiet)

    await until_midway_after(1)  # all wait, and all that loads on first use is loaded
    lags.clear()
    first_round, first_request, first_cpu = rounds(), counts[0], time.process_time()
    await until_midway_after(first_round + intervals)
    n_rounds, cpu = rounds() - first_round, time.process_time() - first_cpu
    requests = counts[0] - first_request
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    lags.sort()
    return Cost(
        requests=requests / n_rounds,
        cpu_s=cpu / n_rounds,
        kib=(peak - before) / n,
        lag_p50_ms=lags[len(lags) // 2] * 1000,
        lag_p99_ms=lags[len(lags) * 99 // 100] * 1000,
    )


def measured(form: str, n: int, interval: float, intervals: int, address: str, counts: Any, answer: Any) -> None:
    """The measured form's process. What Airflow logs goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # What all of them need is there before, so that memory is that of the waiting.
    import aiohttp  # noqa: F401
    import requests  # noqa: F401

    import lightly_provider.triggers.worker  # noqa: F401

    task = _measure(form, n, interval=interval, intervals=intervals, address=address, counts=counts)
    answer.send(asyncio.run(task))
    # Threads that still ask are of no interest.
    os._exit(0)


def measure(form: str, n: int, *, interval: float, intervals: int) -> Cost:
    """The cost of one form, measured in fresh processes."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    counts = context.RawArray("q", 2)
    port, ready = context.Pipe(duplex=False)
    server = context.Process(target=serve, args=(n, counts, ready), daemon=True)
    server.start()
    cost, answer = context.Pipe(duplex=False)
    try:
        if not port.poll(60):
            raise RuntimeError("The server on this machine did not start within 60 s.")
        address = f"http://127.0.0.1:{port.recv()}"
        os.environ["AIRFLOW_CONN_LIGHTLY_DEFAULT"] = json.dumps(
            {"conn_type": "lightly", "host": address, "password": "x"}
        )
        subject = context.Process(
            target=measured, args=(form, n, interval, intervals, address, counts, answer), daemon=True
        )
        subject.start()
        answer.close()  # so that its end is seen here, too
        try:
            result: Cost = cost.recv()
        except EOFError:
            raise RuntimeError(f"{form}, {n} runs: the measured process ended without a result.") from None
        finally:
            subject.terminate()
        return result
    finally:
        server.terminate()


def main() -> int:
    """Print the table; 1 if ours misses a target."""
    parser = argparse.ArgumentParser(description="What it costs one process to wait for many worker runs.")
    parser.add_argument("--waiting", type=int, nargs="+", default=[1000, 5000], help="runs (default 1000 5000)")
    parser.add_argument("--interval", type=float, default=3.0, help="seconds between two polls (default 3)")
    parser.add_argument("--intervals", type=int, default=10, help="intervals measured (default 10)")
    arguments = parser.parse_args()
    kept = True
    print(f"{'':<37}{'runs':>6}{'requests':>10}{'CPU s':>9}{'KiB/run':>9}{'lag p50':>9}{'p99 ms':>8}{'times ours':>12}")
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        for n in arguments.waiting:
            ours = 0.0
            for form in FORMS:
                cost = measure(form, n, interval=arguments.interval, intervals=arguments.intervals)
                ours = cost.cpu_s if form == OURS else ours
                ratio = cost.cpu_s / ours
                kept = kept and (cost.requests <= MOST_REQUESTS if form == OURS else ratio >= LEAST_RATIO)
                print(
                    f"{form:<37}{n:>6}{cost.requests:>10.1f}{cost.cpu_s:>9.3f}{cost.kib:>9.1f}"
                    f"{cost.lag_p50_ms:>9.1f}{cost.lag_p99_ms:>8.1f}{'' if form == OURS else f'{ratio:.1f}':>12}",
                    flush=True,
                )
    print(
        f"ours: at most {MOST_REQUESTS:g} requests per interval, {LEAST_RATIO:g} times less processor time: "
        f"{'kept' if kept else 'MISSED'}"
    )
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
