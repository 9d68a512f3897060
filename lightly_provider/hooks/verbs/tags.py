"""Hook methods for tags: list those of a run or a dataset, and the filenames of a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyNotFoundError, LightlyResponseError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from lightly_provider.api.models.dataset import Tag


class TagVerbs(LightlyBaseHook):
    """The hook's methods for tags."""

    def get_run_tags(self, run_id: str, dataset_id: str) -> list[Tag]:
        """Return the tags that a run created in this dataset, newest first."""
        from lightly_provider.api import calls

        # A run may create tags in several datasets: its object crops have their own dataset.
        return [tag for tag in self.client.send(calls.get_run_tags(run_id)) if tag.dataset_id == dataset_id]

    def get_tags(self, dataset_id: str) -> list[Tag]:
        """Return all tags of a dataset, oldest first."""
        from lightly_provider.api import calls

        tags = self.client.send(calls.get_tags(dataset_id))
        return sorted(tags, key=lambda tag: tag.created_at)

    def get_filenames(self, dataset_id: str, tag_name: str) -> list[str]:
        """
        Return the filenames of a tag's samples, exactly as in the bucket.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :return: Names relative to the input datasource's path.
        :raises LightlyNotFoundError: The dataset has no such tag.
        :raises LightlyResponseError: The number of names differs from the tag's number of samples, or a name is not a
            valid S3 key.
        """
        from lightly_provider.api import calls

        tags = self.get_tags(dataset_id)
        tag = next((t for t in tags if t.name == tag_name), None)
        if tag is None:
            names = ", ".join(shown(t.name, longest=100) for t in tags[:20]) or "none"
            raise LightlyNotFoundError(
                f"Dataset {dataset_id} has no tag {tag_name!r}; its tags: {names}.",
                operation="get_tags_by_dataset_id",
            )
        filenames: list[str] = []
        page: list[str] | None = None
        while len(filenames) < tag.n_selected or (page and len(page) >= calls.PAGE_SIZE):
            before, call = page, calls.export_filenames(dataset_id, tag.id, page_offset=len(filenames))
            page = self.client.send(call)
            if not page:
                break
            filenames.extend(page)
            # A platform that ignores paging would send the same page forever.
            if page == before or len(filenames) > tag.n_selected:
                break
        if len(filenames) != tag.n_selected:
            raise LightlyResponseError(
                f"The platform returned {len(filenames)} file names for tag {shown(tag_name)!r} of dataset "
                f"{dataset_id}, which has {tag.n_selected} samples; retry the task later, and "
                "report it to the platform's support if this does not change.",
                operation="export_tag_to_basic_filenames",
            )
        return filenames
