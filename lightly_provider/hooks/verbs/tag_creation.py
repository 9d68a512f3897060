"""Hook methods that create and delete tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyConflictError, LightlyNotFoundError, LightlyResponseError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.connection import LightlyBaseHook
from lightly_provider.hooks.tag_selection import combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lightly_provider.api.models.dataset import Tag


@dataclass(frozen=True, kw_only=True)
class TagOutcome:
    """
    The result of creating a tag.

    :param tag_id: Id of the tag.
    :param n_selected: Number of its samples.
    :param created: Whether the call created it; False: an equal tag existed.
    """

    tag_id: str
    n_selected: int
    created: bool


class TagCreationVerbs(LightlyBaseHook):
    """The hook's methods that create and delete tags."""

    def get_sample_names(self, dataset_id: str) -> Iterator[str]:
        """
        Yield the filenames of all samples of a dataset, page by page, in the order of the bits of the tags' masks.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        before: list[str] = []
        offset = 0
        # A page that is not full may not be the last: the platform may have a smaller limit.
        while page := self.client.send(calls.get_sample_names(dataset_id, page_offset=offset)):
            if page == before:
                raise LightlyResponseError(
                    f"The platform repeats the same file names of dataset {dataset_id} from {offset} on, so the list "
                    "cannot be completed.",
                    operation="get_sample_mappings_by_dataset_id",
                )
            yield from page
            offset += len(page)
            before = page

    def create_tag_from_filenames(self, dataset_id: str, tag_name: str, filenames: Iterable[str]) -> TagOutcome:
        """
        Create a tag of the samples with these filenames, or find the tag of this name that has exactly these samples.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :param filenames: Filenames as the platform has them: relative to the input datasource's path. A name that is
            given twice counts once.
        :raises LightlyNotFoundError: The dataset has no tag yet, or a filename is not in it. Nothing was created.
        :raises LightlyConflictError: The dataset has a tag of this name with other samples.
        """
        first = self._first_tag(dataset_id)
        wanted = set(filenames)
        missing = set(wanted)
        bits = bytearray()
        n_samples = 0
        an_example = ""
        for position, name in enumerate(self.get_sample_names(dataset_id)):
            n_samples = position + 1
            an_example = an_example or name
            if position % 8 == 0:
                bits.append(0)
            if name in wanted:
                bits[-1] |= 1 << position % 8
                missing.discard(name)
        if missing:
            some = ", ".join(repr(shown(name, longest=200)) for name in sorted(missing)[:3])
            raise LightlyNotFoundError(
                f"Dataset {dataset_id} has no sample for {len(missing)} of {len(wanted)} filenames, e.g. {some}; give "
                "them as the platform has them, relative to the input datasource's path, e.g. "
                f"{shown(an_example, longest=200)!r}; no tag was created.",
                operation="get_sample_mappings_by_dataset_id",
            )
        mask = int.from_bytes(bits, "little")
        return self._create_tag(dataset_id, tag_name, mask, previous=first, n_samples=n_samples)

    def create_tag_from_tags(
        self,
        dataset_id: str,
        tag_name: str,
        *,
        from_tag: str,
        union_with: Sequence[str] = (),
        intersect_with: Sequence[str] = (),
        subtract: Sequence[str] = (),
    ) -> TagOutcome:
        """
        Create a tag from other tags, or find the tag of this name that has exactly these samples.

        The samples are those of ``from_tag`` and of any of ``union_with``, of these those that are in all of
        ``intersect_with``, and of these those that are in none of ``subtract``.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :param from_tag: Name of the tag to begin with.
        :param union_with: Names of the tags whose samples to add.
        :param intersect_with: Names of the tags that a sample must be in.
        :param subtract: Names of the tags whose samples to leave out.
        :raises LightlyNotFoundError: The dataset has no such tag, or no sample is left. Nothing was created.
        :raises LightlyConflictError: The dataset has a tag of this name with other samples.
        """
        tags = self._tags_of(dataset_id)
        selection = combine(
            dataset_id,
            tags,
            from_tag,
            union_with=union_with,
            intersect_with=intersect_with,
            subtract=subtract,
        )
        n_samples = max(tag.tot_size for tag in tags)
        return self._create_tag(dataset_id, tag_name, selection.bits, previous=selection.tags[0], n_samples=n_samples)

    def delete_tag(self, dataset_id: str, tag_name: str) -> bool:
        """
        Delete a tag. The platform refuses this for the first tag and for one from which another tag was made.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :return: Whether it existed.
        """
        from lightly_provider.api import calls

        tag = next((tag for tag in self._tags_of(dataset_id) if tag.name == tag_name), None)
        if tag is None:
            return False
        try:
            self.client.send(calls.delete_tag(dataset_id, tag.id))
        except LightlyNotFoundError:
            self.log.info("Tag %r of dataset %s is gone already.", tag_name, dataset_id)
        return True

    def _create_tag(self, dataset_id: str, tag_name: str, mask: int, *, previous: Tag, n_samples: int) -> TagOutcome:
        from lightly_provider.api import calls
        from lightly_provider.api.models.dataset import TagCreateRequest

        if not mask:
            raise LightlyNotFoundError(
                f"No sample of dataset {dataset_id} would be in tag {tag_name!r}, so it was not created.",
                operation="create_tag_by_dataset_id",
            )
        if (outcome := self._equal_tag(dataset_id, tag_name, mask)) is not None:
            return outcome
        request = TagCreateRequest(name=tag_name, prev_tag_id=previous.id, bit_mask_data=hex(mask), tot_size=n_samples)
        try:
            tag_id = self.client.send(calls.create_tag(dataset_id, request))
        except LightlyConflictError:
            # Another task may have created it meanwhile, or the answer to the first attempt was lost.
            if (outcome := self._equal_tag(dataset_id, tag_name, mask)) is None:
                raise
            return outcome
        return TagOutcome(tag_id=tag_id, n_selected=mask.bit_count(), created=True)

    def _equal_tag(self, dataset_id: str, tag_name: str, mask: int) -> TagOutcome | None:
        tag = next((tag for tag in self._tags_of(dataset_id) if tag.name == tag_name), None)
        if tag is None:
            return None
        if tag.bits != mask:
            raise LightlyConflictError(
                f"Dataset {dataset_id} has a tag {tag_name!r} already, whose {tag.n_selected} samples are not the "
                f"{mask.bit_count()} wanted; choose another tag_name, or delete that tag.",
                operation="create_tag_by_dataset_id",
            )
        return TagOutcome(tag_id=tag.id, n_selected=tag.n_selected, created=False)

    def _first_tag(self, dataset_id: str) -> Tag:
        tags = self._tags_of(dataset_id)
        if not tags:
            raise LightlyNotFoundError(
                f"Dataset {dataset_id} has no tag yet, because no run has filled it; run the worker first.",
                operation="get_tags_by_dataset_id",
            )
        return next((tag for tag in tags if tag.prev_tag_id is None), tags[0])

    def _tags_of(self, dataset_id: str) -> list[Tag]:
        from lightly_provider.api import calls

        return self.client.send(calls.get_tags(dataset_id))
