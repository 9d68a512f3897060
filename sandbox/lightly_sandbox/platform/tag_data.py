"""Tags as the API represents them, and their bit masks."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

from lightly_sandbox.platform.models.tags import TagChangeEntry, TagData

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_sandbox.platform.tables import Tag


def tag_data(tag: Tag) -> TagData:
    """Return the tag as the API represents it."""
    return TagData(
        id=tag.id,
        dataset_id=tag.dataset_id,
        prev_tag_id=tag.prev_tag_id,
        query_tag_id=tag.query_tag_id,
        preselected_tag_id=tag.preselected_tag_id,
        name=tag.name,
        bit_mask_data=tag.bit_mask,
        tot_size=tag.tot_size,
        created_at=tag.created_at,
        last_modified_at=tag.last_modified_at,
        changes=[TagChangeEntry.model_validate(entry, strict=False) for entry in tag.changes],
        run_id=tag.run_id,
    )


def all_bits(size: int) -> str:
    """Return the bit mask with the first ``size`` samples."""
    return hex((1 << size) - 1)


def positions(bit_mask: str) -> list[int]:
    """Return the positions of the samples in the bit mask, ascending."""
    bits = bin(int(bit_mask, 16))[:1:-1]
    return [position for position, bit in enumerate(bits) if bit == "1"]


def count(bit_mask: str) -> int:
    """Return how many samples the bit mask has."""
    return int(bit_mask, 16).bit_count()


class PositionsOfTags:
    """The positions of the samples in the tags that were read last.

    A page of an export must not cost more the larger its tag is, so the bit mask is not read for each page.
    """

    _MOST = 8

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], array[int]] = OrderedDict()

    def of(self, tag_id: str, version: int, bit_mask: Callable[[], str]) -> array[int]:
        """Return the positions of a tag's samples, ascending.

        Args:
            tag_id: the tag.
            version: when it was modified last; no two versions of a tag have the same.
            bit_mask: reads its bit mask.
        """
        key = (tag_id, version)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = array("L", positions(bit_mask()))
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > self._MOST:
                self._kept.popitem(last=False)
        return found
