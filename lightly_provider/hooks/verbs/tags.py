"""Verbs about tags: those of a run or a dataset, and the filenames of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyNotFoundError
from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from lightly_provider.api.models.dataset import Tag


class TagVerbs(LightlyBaseHook):
    """What the hook does with tags."""

    def get_run_tags(self, run_id: str, dataset_id: str) -> list[Tag]:
        """The tags that a run made in this dataset, newest first."""
        from lightly_provider.api import calls

        # A run's tags may lie in several datasets: that of its object crops is another one.
        return [tag for tag in self.client.send(calls.get_run_tags(run_id)) if tag.dataset_id == dataset_id]

    def get_tags(self, dataset_id: str) -> list[Tag]:
        """All tags of a dataset, oldest first."""
        from lightly_provider.api import calls

        tags = self.client.send(calls.get_tags(dataset_id))
        return sorted(tags, key=lambda tag: tag.created_at)

    def get_filenames(self, dataset_id: str, tag_name: str) -> list[str]:
        """
        The filenames of a tag's samples.

        :param dataset_id: Dataset.
        :param tag_name: The tag's name.
        :return: Names relative to the input datasource's path.
        :raises LightlyNotFoundError: The dataset has no such tag.
        """
        from lightly_provider.api import calls

        tags = self.get_tags(dataset_id)
        tag = next((t for t in tags if t.name == tag_name), None)
        if tag is None:
            names = ", ".join(t.name for t in tags) or "none"
            raise LightlyNotFoundError(
                f"Dataset {dataset_id} has no tag {tag_name!r}; its tags: {names}.",
                operation="get_tags_by_dataset_id",
            )
        filenames: list[str] = []
        while True:
            page = self.client.send(calls.export_filenames(dataset_id, tag.id, page_offset=len(filenames)))
            filenames.extend(page)
            if len(page) < calls.PAGE_SIZE:
                return filenames
