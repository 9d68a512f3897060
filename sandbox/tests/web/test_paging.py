from __future__ import annotations

import pytest

from lightly_sandbox.web.paging import Part


@pytest.mark.parametrize(
    ("number", "total", "start", "end", "numbers"),
    [
        (1, 0, 0, 0, [1]),
        (1, 10, 0, 10, [1]),
        (2, 11, 10, 11, [1, 2]),
        (99, 11, 10, 11, [1, 2]),
        (0, 11, 0, 10, [1, 2]),
        (1, 1000, 0, 10, [1, 2, 3, None, 100]),
        (50, 1000, 490, 500, [1, None, 48, 49, 50, 51, 52, None, 100]),
        (100, 1000, 990, 1000, [1, None, 98, 99, 100]),
    ],
)
def test_a_page_is_within_the_list_and_links_its_neighbours(
    number: int, total: int, start: int, end: int, numbers: list[int | None]
) -> None:
    part = Part.of(number, 10, total)
    assert (part.start, part.end, part.numbers) == (start, end, numbers)
