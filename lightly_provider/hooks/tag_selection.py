"""Which samples are meant: those of a tag, or of several tags combined. Pure decisions on the tags' bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyNotFoundError
from lightly_provider.foreign_text import shown
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightly_provider.api.models.dataset import Tag

_MOST_NAMED = 20


@dataclass(frozen=True)
class TagSelection:
    """
    Some of a dataset's samples.

    :param dataset_id: The dataset.
    :param tags: The tags in which the samples are, in order; the first one is the tag that was asked for.
    :param bits: The samples: bit k is the dataset's sample k.
    """

    dataset_id: str
    tags: tuple[Tag, ...]
    bits: int

    @property
    def n_selected(self) -> int:
        """Number of samples."""
        return self.bits.bit_count()

    def parts(self) -> Iterator[tuple[Tag, int]]:
        """Yield each tag that has samples of the selection, with those that no earlier tag has."""
        left = self.bits
        for tag in self.tags:
            if own := left & tag.bits:
                yield tag, own
                left &= ~own


def combine(
    dataset_id: str,
    tags: Sequence[Tag],
    tag_name: str,
    *,
    since_tag: str | None = None,
    union_with: Sequence[str] = (),
    intersect_with: Sequence[str] = (),
    subtract: Sequence[str] = (),
) -> TagSelection:
    """
    Combine tags by name: the union first, then the intersections, then what is taken away.

    :param dataset_id: The dataset.
    :param tags: All its tags.
    :param tag_name: The tag.
    :param since_tag: Only what this earlier tag does not have. Default: None, everything.
    :param union_with: And the samples of these tags. Default: none.
    :param intersect_with: Only what each of these tags has, too. Default: none.
    :param subtract: Without the samples of these tags. Default: none.
    :raises LightlyNotFoundError: A tag is not there; with the names that are near.
    """
    first, *others = (find(dataset_id, tags, name) for name in dict.fromkeys((tag_name, *union_with)))
    bits = first.bits
    for tag in others:
        bits |= tag.bits
    for name in intersect_with:
        bits &= find(dataset_id, tags, name).bits
    for name in (*subtract, *([since_tag] if since_tag else [])):
        bits &= ~find(dataset_id, tags, name).bits
    return TagSelection(dataset_id, (first, *others), bits)


def find(dataset_id: str, tags: Sequence[Tag], name: str) -> Tag:
    """
    Find a tag by its name.

    :raises LightlyNotFoundError: It is not there; with the names that are near, or else with all.
    """
    found = next((tag for tag in tags if tag.name == name), None)
    if found is not None:
        return found
    names = [tag.name for tag in tags]
    listed = ", ".join(shown(one, longest=100) for one in names[:_MOST_NAMED]) or "none"
    all_tags = f"its tags: {listed}{' …' if len(names) > _MOST_NAMED else ''}."
    hint = did_you_mean(name, names, n=3, otherwise=all_tags)
    raise LightlyNotFoundError(
        f"Dataset {dataset_id} has no tag {shown(name, longest=200)!r}; {hint}", operation="get_tags_by_dataset_id"
    )


def flags(bits: int, start: int, count: int) -> str:
    """Return for each of ``count`` samples from ``start`` on whether it is meant: ``1`` or ``0``."""
    return f"{(bits >> start) & ((1 << count) - 1):0{count}b}"[::-1]
