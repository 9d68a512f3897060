"""Distributes work over threads so that it can be monitored and stopped."""

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
# The number of items to take ahead for each thread, so that no thread waits for its next item.
_AHEAD = 3


def spread(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, tick: Callable[[], None]
) -> list[Result]:
    """Do ``work`` on every item in ``threads`` threads.

    Args:
        work: called once per item.
        items: the items. It may be a generator: only the items that the threads need next are taken from it,
            so they need not fit into memory together.
        threads: the number of threads.
        tick: called several times a second in the calling thread. An exception in it ends the work: items
            that have not been started are dropped.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: the first exception of ``work`` or ``tick``.
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
