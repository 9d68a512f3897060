from __future__ import annotations

import pytest

from lightly_sandbox.platform.tag_data import all_bits, positions


@pytest.mark.parametrize(("size", "mask"), [(0, "0x0"), (1, "0x1"), (3, "0x7"), (8, "0xff"), (9, "0x1ff")])
def test_all_bits_are_as_many_as_samples(size: int, mask: str) -> None:
    assert all_bits(size) == mask
    assert positions(mask) == list(range(size))


def test_bit_k_is_the_kth_sample() -> None:
    assert positions("0x101") == [0, 8]
