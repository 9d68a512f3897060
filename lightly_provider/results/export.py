"""An export of a tag: from the pages of the platform to the bytes of a file, without more than a page in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from lightly_provider.exceptions import LightlyExtraMissingError, LightlyResponseError
from lightly_provider.results.formats import labeling, records, text
from lightly_provider.results.samples import ExportedSample, SampleFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightly_provider.api.models.dataset import Dataset, Tag
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.hooks.tag_selection import TagSelection
    from lightly_provider.hooks.verbs.tags import TaggedFile

Item = TypeVar("Item")

_IMAGES = "Images"
# The packages that formats need, with the extra of this provider that installs each.
_EXTRAS = {"parquet": ("pyarrow", "parquet")}


def check_installed(format: str) -> None:  # noqa: A002  (the operator's argument is called so)
    """
    Check that what a format needs is installed.

    :param format: One of :data:`~lightly_provider.results.formats.FORMATS`.
    :raises LightlyExtraMissingError: A package is missing; with the extra that installs it.
    """
    package, extra = _EXTRAS.get(format, (None, None))
    if package is not None and find_spec(package) is None:
        raise LightlyExtraMissingError(
            f"format is {format!r}, which needs the package {package}; install airflow-provider-lightly[{extra}] where "
            "the task runs, or choose another format."
        )


@dataclass
class Export:
    """
    The content of one export.

    :param hook: The hook.
    :param selection: The samples.
    :param format: One of :data:`~lightly_provider.results.formats.FORMATS`.
    :param expire_in: Life of read addresses, in seconds.
    :param connection: AWS connection that may look whether frames and crops have files.
    :ivar count: Number of samples so far.
    """

    hook: LightlyHook
    selection: TagSelection
    format: str
    expire_in: int
    connection: AwsConnection
    count: int = 0

    def names(self) -> Iterator[str]:
        """
        Yield the filenames or addresses, for a format of :data:`~lightly_provider.results.formats.NAME_FORMATS`.

        :raises LightlyResponseError: After the last one, if the tag has another number of samples.
        """
        pages = self._filenames() if self.format == "filenames" else self._uris()
        yield from chain.from_iterable(pages)
        self._check_count()

    def content(self) -> Iterator[bytes]:
        """
        Yield the file's content in pieces.

        :raises LightlyResponseError: After the last one, if the tag has another number of samples.
        """
        yield from self._encoded()
        self._check_count()

    def _encoded(self) -> Iterator[bytes]:
        dataset_id = self.selection.dataset_id
        match self.format:
            case "filenames":
                return text.lines(self._filenames())
            case "uris":
                return text.lines(self._uris())
            case "manifest":
                return records.manifest(self._counted(self._samples()), dataset_id=dataset_id)
            case "parquet":
                from lightly_provider.results.formats.parquet import parquet

                return parquet(self._counted(self._samples()), dataset_id=dataset_id)
            case "label-studio":
                return labeling.label_studio(self._counted(self._samples()), dataset_id=dataset_id)
            case "labelbox":
                regions = self._files.regions()
                return labeling.labelbox(self._counted(self._samples()), dataset_id=dataset_id, regions=regions)
            case "sama":
                return labeling.sama(self._counted(self._sama_tasks()))
            case _:
                return records.read_urls(self._counted(self._read_urls()))

    def _filenames(self) -> Iterator[Sequence[str]]:
        return self._counted(self.hook.filename_pages(self.selection))

    def _uris(self) -> Iterator[Sequence[str]]:
        if self._is_of_images:
            return text.checked_uris(self._counted(self.hook.uri_pages(self.selection)))
        return text.uris(self._counted(self._samples()))

    def _samples(self) -> Iterator[tuple[Tag, Sequence[ExportedSample]]]:
        if self._is_of_images:
            for tag, files in self.hook.address_pages(self.selection):
                yield tag, [ExportedSample(file.filename, file.address, tag.name, tag.run_id) for file in files]
        else:
            for tag, page in self.hook.sample_pages(self.selection):
                yield tag, self._files.samples(tag, page)

    def _sama_tasks(self) -> Iterator[tuple[Tag, Sequence[tuple[ExportedSample, dict[str, Any]]]]]:
        pages = self.hook.sample_and_sama_task_pages(self.selection, expire_in=self.expire_in)
        for tag, page in pages:
            samples = self._files.samples(tag, [one for one, _ in page])
            yield tag, list(zip(samples, (made for _, made in page), strict=True))

    def _read_urls(self) -> Iterator[tuple[Tag, Sequence[TaggedFile]]]:
        from lightly_provider.hooks.verbs.tags import TaggedFile

        if self._is_of_images:
            yield from self.hook.read_url_pages(self.selection, expire_in=self.expire_in)
            return
        pages = self.hook.sample_and_read_url_pages(self.selection, expire_in=self.expire_in)
        for tag, page in pages:
            self._files.check_saved([one for one, _ in page])
            yield tag, [TaggedFile(one.sample.file_name, url) for one, url in page]

    @property
    def _is_of_images(self) -> bool:
        return self._dataset.type == _IMAGES

    @cached_property
    def _dataset(self) -> Dataset:
        return self.hook.get_dataset(self.selection.dataset_id)

    @cached_property
    def _files(self) -> SampleFiles:
        return SampleFiles(self.hook, self._dataset, self.connection)

    def _counted(self, pages: Iterator[tuple[Tag, Sequence[Item]]]) -> Iterator[Sequence[Item]]:
        for _, page in pages:
            self.count += len(page)
            yield page

    def _check_count(self) -> None:
        if self.count != self.selection.n_selected:
            raise LightlyResponseError(
                f"{self.count} samples of dataset {self.selection.dataset_id} were exported, and its tags have "
                f"{self.selection.n_selected}; run the task again once nobody changes the tags.",
                operation="export_tag_to_basic_filenames",
            )
