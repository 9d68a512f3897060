from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.worker.parallel import spread

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            first_may_end.wait(10)
        else:
            first_may_end.set()
        return item * item

    assert spread(work, range(5), threads=2, tick=lambda: None) == [0, 1, 4, 9, 16]


def test_no_more_items_are_taken_than_the_threads_need_next() -> None:
    taken, done, most = 0, 0, 0
    count = threading.Lock()

    def items() -> Iterator[int]:
        nonlocal taken, most
        for item in range(200):
            with count:
                taken += 1
                most = max(most, taken - done)
            yield item

    def work(item: int) -> None:
        nonlocal done
        with count:
            done += 1

    spread(work, items(), threads=2, tick=lambda: None)
    assert taken == 200
    assert most <= 10


def test_a_tick_that_raises_ends_the_work_while_an_item_hangs() -> None:
    hangs, released = threading.Event(), threading.Event()
    done = []

    def work(item: int) -> None:
        hangs.set()
        released.wait(10)
        done.append(item)

    def tick() -> None:
        if hangs.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spread(work, range(100), threads=1, tick=tick)
    released.set()
    assert len(done) <= 1


def test_the_first_error_comes_out() -> None:
    def work(item: int) -> int:
        return 1 // item

    with pytest.raises(ZeroDivisionError):
        spread(work, [1, 0, 2], threads=2, tick=lambda: None)
