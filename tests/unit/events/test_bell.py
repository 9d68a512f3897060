"""When a queue is said to be drained."""

from __future__ import annotations

import pytest

from lightly_provider.events.bell import Bell


def rung(counts: list[int], *, every: float = 1.0, **settings: float) -> list[int]:
    """The looks at which it rang."""
    bell = Bell(**({"quiet_period": 3.0, "longest_wait": 10.0, "cool_down": 20.0} | settings))
    return [look for look, count in enumerate(counts) if bell.rings(count, look * every)]


@pytest.mark.parametrize(
    ("counts", "looks"),
    [
        ([0] * 50, []),
        ([0, 5, 5, 5, 5, 0, 0], [4]),
        ([1, 2, 3, 4, 4, 4, 4, 0], [6]),
        (list(range(1, 25)), [10]),
        ([5] * 50, [3, 23, 43]),
        ([5, 5, 5, 5, 0, 7, 7, 7, 7], [3, 8]),
        ([5, 0, 5, 0, 5, 0, 5, 0, 5], []),
        ([5, 5, 5, 5, *range(6, 30)], [3, 23]),
    ],
    ids=[
        "empty",
        "quiet",
        "a burst",
        "never quiet",
        "left behind",
        "drained and anew",
        "gone at once",
        "during a drain",
    ],
)
def test_it_rings_when_it_is_quiet_or_has_waited_long_enough(counts: list[int], looks: list[int]) -> None:
    assert rung(counts) == looks


def test_a_burst_of_a_minute_rings_once() -> None:
    counts = [*range(0, 10_000, 170), *[10_000] * 100]
    assert len(rung(counts, quiet_period=15, longest_wait=120, cool_down=900)) == 1
