"""Spreading work over threads so that it can be watched and stopped."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")

_WATCH_SECONDS = 0.2
# For each thread so many items are taken ahead, so that none waits for the next one.
_AHEAD = 3


def spread(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, tick: Callable[[], None]
) -> list[Result]:
    """Do ``work`` on every item in ``threads`` threads.

    Args:
        work: called once per item.
        items: what to work on. It may be a generator: no more items are taken from it than the threads will
            need next, so that they need not fit into memory together.
        threads: how many at the same time.
        tick: called several times a second in the calling thread. What it raises ends the work: items that
            have not been started are dropped.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: the first that ``work`` or ``tick`` raises.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        coming = iter(items)
        started = deque(pool.submit(work, item) for item in itertools.islice(coming, threads * _AHEAD))
        results = []
        while started:
            tick()
            future = started[0]
            while not wait([future], timeout=_WATCH_SECONDS).done:
                tick()
            results.append(started.popleft().result())
            started.extend(pool.submit(work, item) for item in itertools.islice(coming, 1))
        return results
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
