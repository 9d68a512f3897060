from __future__ import annotations

import pytest

from lightly_sandbox.platform.tag_data import PositionsOfTags, all_bits, positions


@pytest.mark.parametrize(("size", "mask"), [(0, "0x0"), (1, "0x1"), (3, "0x7"), (8, "0xff"), (9, "0x1ff")])
def test_all_bits_are_as_many_as_samples(size: int, mask: str) -> None:
    assert all_bits(size) == mask
    assert positions(mask) == list(range(size))


def test_bit_k_is_the_kth_sample() -> None:
    assert positions("0x101") == [0, 8]


def test_a_bit_mask_is_read_once_for_all_pages_of_a_version() -> None:
    read: list[str] = []

    def bit_mask() -> str:
        read.append("0x5")
        return "0x5"

    kept = PositionsOfTags()
    assert [list(kept.of("a", 1, bit_mask)) for _ in range(3)] == [[0, 2]] * 3
    assert len(read) == 1
    kept.of("a", 2, bit_mask)
    kept.of("b", 1, bit_mask)
    assert len(read) == 3


def test_the_tags_that_were_read_last_are_kept_and_no_others() -> None:
    read: list[str] = []

    def bit_mask() -> str:
        read.append("0x1")
        return "0x1"

    kept = PositionsOfTags()
    for number in range(9):
        kept.of("other", number, bit_mask)
        kept.of("first", 1, bit_mask)
    assert len(read) == 10, "the first tag was read all the time, and is still there"
    kept.of("other", 0, bit_mask)
    assert len(read) == 11
