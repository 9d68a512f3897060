"""Work on many files in threads, with a bounded number of them in memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")

# Pending items per thread: enough that a slow one does not leave the other threads without work.
_AHEAD = 4


def spread(work: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Iterator[Result]:
    """
    Call a function for each item in threads, and yield the results in the order of the items.

    The items are taken one by one, in the caller's thread. After an exception, of the function or of the caller, no
    further item is taken, and the calls in progress are awaited.

    :param work: Function; called in several threads at once.
    :param items: Items.
    :param threads: Number of threads.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="lightly-files") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads * _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
