"""Tags as the API represents them, and their bit masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_sandbox.platform.models.tags import TagChangeEntry, TagData

if TYPE_CHECKING:
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
