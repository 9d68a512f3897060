"""Hook methods for tags: list those of a run or a dataset, and read the samples of one tag or of several combined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lightly_provider.exceptions import LightlyBadRequestError, LightlyError, LightlyResponseError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.connection import LightlyBaseHook
from lightly_provider.hooks.lineage import dataset_asset, report_lineage
from lightly_provider.hooks.tag_selection import TagSelection, combine, find, flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightly_provider.api.models.dataset import Tag
    from lightly_provider.api.models.sample import LocatedSample, Sample

Item = TypeVar("Item")


class TaggedFile(NamedTuple):
    """
    A sample of a tag.

    :param filename: Its name, relative to the input datasource.
    :param address: Where its file is: an address in the cloud, or one at the platform that leads there.
    """

    filename: str
    address: str


class TagVerbs(LightlyBaseHook):
    """The hook's methods for tags."""

    def get_run_tags(self, run_id: str, dataset_id: str) -> list[Tag]:
        """
        Return the tags that a run created in this dataset, newest first.

        :param run_id: Id of the run.
        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        # A run may create tags in several datasets: its object crops have their own dataset.
        return [tag for tag in self.client.send(calls.get_run_tags(run_id)) if tag.dataset_id == dataset_id]

    def get_tags(self, dataset_id: str) -> list[Tag]:
        """
        Return all tags of a dataset, oldest first.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        tags = self.client.send(calls.get_tags(dataset_id))
        return sorted(tags, key=lambda tag: tag.created_at)

    def get_tag(self, dataset_id: str, tag_name: str) -> Tag:
        """
        Return a tag by its name.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :raises LightlyNotFoundError: The dataset has no such tag; with the names that are near.
        """
        return find(dataset_id, self.get_tags(dataset_id), tag_name)

    def select_samples(
        self,
        dataset_id: str,
        tag_name: str,
        *,
        since_tag: str | None = None,
        union_with: Sequence[str] = (),
        intersect_with: Sequence[str] = (),
        subtract: Sequence[str] = (),
    ) -> TagSelection:
        """
        Find the samples of a tag, or of several tags combined. Sends one request, and changes nothing on the platform.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :param since_tag: Name of an earlier tag: only what it does not have. Default: None, everything.
        :param union_with: And the samples of these tags. Default: none.
        :param intersect_with: Only what each of these tags has, too. Default: none.
        :param subtract: Without the samples of these tags. Default: none.
        :raises LightlyNotFoundError: The dataset has no such tag; with the names that are near.
        """
        return combine(
            dataset_id,
            self.get_tags(dataset_id),
            tag_name,
            since_tag=since_tag,
            union_with=union_with,
            intersect_with=intersect_with,
            subtract=subtract,
        )

    def get_filenames(self, dataset_id: str, tag_name: str) -> list[str]:
        """
        Return the filenames of a tag's samples, exactly as in the bucket; for many, see :meth:`iter_filenames`.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :return: Names relative to the input datasource's path.
        :raises LightlyNotFoundError: The dataset has no such tag.
        :raises LightlyResponseError: The number of names differs from the tag's number of samples, or a name is not a
            valid S3 key.
        """
        return list(self.iter_filenames(dataset_id, tag_name))

    def iter_filenames(self, dataset_id: str, tag_name: str, **combined: Any) -> Iterator[str]:
        """
        Yield the filenames of a tag's samples, exactly as in the bucket; a page is in memory at a time.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :param combined: ``since_tag``, ``union_with``, ``intersect_with``, ``subtract``; see :meth:`select_samples`.
        :raises LightlyNotFoundError: The dataset has no such tag.
        :raises LightlyResponseError: After the last name, if their number differs from the tag's number of samples.
        """
        for _, names in self.filename_pages(self._reported_selection(dataset_id, tag_name, **combined)):
            yield from names

    def iter_uris(self, dataset_id: str, tag_name: str, **combined: Any) -> Iterator[str]:
        """
        Yield the addresses of a tag's samples in the cloud, e.g. ``s3://…``.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :param combined: See :meth:`iter_filenames`.
        """
        for _, uris in self.uri_pages(self._reported_selection(dataset_id, tag_name, **combined)):
            yield from uris

    def iter_read_urls(
        self, dataset_id: str, tag_name: str, *, expire_in: int | None, **combined: Any
    ) -> Iterator[TaggedFile]:
        """
        Yield the filenames of a tag's samples with addresses at which anybody can read them: these are secrets.

        :param dataset_id: Id of the dataset.
        :param tag_name: Name of the tag.
        :param expire_in: Life of the addresses, in seconds; None: unlimited.
        :param combined: See :meth:`iter_filenames`.
        """
        selection = self._reported_selection(dataset_id, tag_name, **combined)
        for _, files in self.read_url_pages(selection, expire_in=expire_in):
            yield from files

    def _reported_selection(self, dataset_id: str, tag_name: str, **combined: Any) -> TagSelection:
        """Find samples that are about to leave the platform, and report their tags as what was read."""
        selection = self.select_samples(dataset_id, tag_name, **combined)
        read = [uri for tag in selection.tags for uri in dataset_asset(self, dataset_id, tag.name)]
        report_lineage(self, read=read)
        return selection

    def get_sample(self, dataset_id: str, sample_id: str) -> Sample:
        """
        Return a sample by id.

        :param dataset_id: Id of the dataset.
        :param sample_id: Id of the sample.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_sample(dataset_id, sample_id))

    # --- pages of a selection: each with the tag in which its samples are -----------------------------------------

    def filename_pages(self, selection: TagSelection) -> Iterator[tuple[Tag, Sequence[str]]]:
        """
        Yield the filenames of a selection's samples.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.api.calls import PAGE_SIZE

        return self._pages(selection, self._many_names(selection.dataset_id), lambda name: name, PAGE_SIZE)

    def uri_pages(self, selection: TagSelection) -> Iterator[tuple[Tag, Sequence[str]]]:
        """
        Yield the addresses of a selection's samples in the cloud, e.g. ``s3://…``.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.api.calls import PAGE_SIZE
        from lightly_provider.contract import FileNameFormat

        if all(own == tag.bits for tag, own in selection.parts()):
            fetch = self._many_names(selection.dataset_id, name_format=FileNameFormat.DATASOURCE_FULL)
            yield from self._pages(selection, fetch, lambda uri: uri, PAGE_SIZE)
        else:
            # Only names show which samples of a tag are meant; see _chosen.
            for tag, files in self.address_pages(selection):
                yield tag, [file.address for file in files]

    def address_pages(self, selection: TagSelection) -> Iterator[tuple[Tag, Sequence[TaggedFile]]]:
        """
        Yield the filenames and addresses of a selection's samples.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.contract import FileNameFormat

        return self._files(selection, name_format=FileNameFormat.DATASOURCE_FULL)

    def read_url_pages(
        self, selection: TagSelection, *, expire_in: int | None
    ) -> Iterator[tuple[Tag, Sequence[TaggedFile]]]:
        """
        Yield the filenames and read addresses of a selection's samples; see :meth:`iter_read_urls`.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :param expire_in: Life of the addresses, in seconds; None: unlimited.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.contract import FileNameFormat

        return self._files(selection, name_format=FileNameFormat.REDIRECTED_READ_URL, expires_in=expire_in)

    def sample_pages(self, selection: TagSelection) -> Iterator[tuple[Tag, Sequence[LocatedSample]]]:
        """
        Yield all that the platform knows of a selection's samples, with their addresses in the cloud.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.api.calls import TASKS_PAGE_SIZE

        located = self._located(selection.dataset_id)
        return self._pages(selection, located, lambda one: one.sample.file_name, TASKS_PAGE_SIZE)

    def sample_and_read_url_pages(
        self, selection: TagSelection, *, expire_in: int | None
    ) -> Iterator[tuple[Tag, Sequence[tuple[LocatedSample, str]]]]:
        """
        Yield what :meth:`sample_pages` yields, each with a read address; see :meth:`iter_read_urls`.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :param expire_in: Life of the addresses, in seconds; None: unlimited.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.api.calls import TASKS_PAGE_SIZE
        from lightly_provider.contract import FileNameFormat

        urls = self._names(
            selection.dataset_id,
            page_size=TASKS_PAGE_SIZE,
            name_format=FileNameFormat.REDIRECTED_READ_URL,
            expires_in=expire_in,
        )
        fetch = _beside(self._located(selection.dataset_id), urls)
        return self._pages(selection, fetch, lambda pair: pair[0].sample.file_name, TASKS_PAGE_SIZE)

    def sample_and_sama_task_pages(
        self, selection: TagSelection, *, expire_in: int | None
    ) -> Iterator[tuple[Tag, Sequence[tuple[LocatedSample, dict[str, Any]]]]]:
        """
        Yield what :meth:`sample_pages` yields, each with the platform's task for Sama.

        :param selection: Selection, as :meth:`select_samples` returns it.
        :param expire_in: Life of the read address in the task, in seconds; None: unlimited.
        :return: Pages, each with the tag in which its samples are.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.calls import TASKS_PAGE_SIZE

        def sama(tag: Tag, offset: int) -> list[dict[str, Any]]:
            call = calls.export_sama_tasks(selection.dataset_id, tag.id, page_offset=offset, expires_in=expire_in)
            return self.client.send(call)

        fetch = _beside(self._located(selection.dataset_id), sama)
        return self._pages(selection, fetch, lambda pair: pair[0].sample.file_name, TASKS_PAGE_SIZE)

    def _files(self, selection: TagSelection, **query: Any) -> Iterator[tuple[Tag, Sequence[TaggedFile]]]:
        from lightly_provider.api.calls import PAGE_SIZE

        pairs = _beside(self._names(selection.dataset_id), self._names(selection.dataset_id, **query))

        def files(tag: Tag, offset: int) -> list[TaggedFile]:
            return [TaggedFile(*pair) for pair in pairs(tag, offset)]

        return self._pages(selection, files, lambda file: file.filename, PAGE_SIZE)

    def _names(self, dataset_id: str, **query: Any) -> Callable[[Tag, int], Sequence[str]]:
        from lightly_provider.api import calls

        return lambda tag, offset: self.client.send(
            calls.export_filenames(dataset_id, tag.id, page_offset=offset, **query)
        )

    def _many_names(self, dataset_id: str, **query: Any) -> Callable[[Tag, int], Sequence[str]]:
        """
        Return what fetches pages of names that are as large as the platform allows, which is not documented.

        The first page has the size that the vendor's client asks for elsewhere. If the platform fills it, larger ones
        follow: each is requested once, and after a failure of any kind the size of the first one remains.
        """
        from lightly_provider.api import calls

        sizes = [calls.PAGE_SIZE, calls.NAMES_PAGE_SIZE]
        is_filled, is_refused = False, False

        def fetch(tag: Tag, offset: int) -> Sequence[str]:
            nonlocal is_filled, is_refused
            if is_filled and not is_refused:
                size = calls.LARGEST_NAMES_PAGE_SIZE
                large = calls.export_filenames(dataset_id, tag.id, page_offset=offset, page_size=size, **query)
                try:
                    return self.client.attempt(large)
                except LightlyError:
                    is_refused = True
            try:
                page = self._names(dataset_id, page_size=sizes[-1], **query)(tag, offset)
            except LightlyBadRequestError:
                if sizes.pop() == calls.PAGE_SIZE:
                    raise
                return fetch(tag, offset)
            is_filled = len(page) >= calls.NAMES_PAGE_SIZE
            return page

        return fetch

    def _located(self, dataset_id: str) -> Callable[[Tag, int], list[LocatedSample]]:
        from lightly_provider.api import calls
        from lightly_provider.api.models.sample import LocatedSample

        def fetch(tag: Tag, offset: int) -> list[LocatedSample]:
            tasks = self.client.send(calls.export_samples(dataset_id, tag.id, page_offset=offset))
            located = [
                LocatedSample(sample, task.data.image) for task in tasks if (sample := task.data.lightly_meta_info)
            ]
            if len(located) != len(tasks):
                raise LightlyResponseError(
                    f"The platform returned samples of tag {shown(tag.name)!r} without what it knows of them "
                    "(lightlyMetaInfo), so that their files cannot be found; export the format 'filenames'.",
                    operation="export_tag_to_label_studio_tasks",
                )
            return located

        return fetch

    def _pages(
        self,
        selection: TagSelection,
        fetch: Callable[[Tag, int], Sequence[Item]],
        name_of: Callable[[Item], str],
        page_size: int,
    ) -> Iterator[tuple[Tag, Sequence[Item]]]:
        for tag, own in selection.parts():
            pages = self._pages_of_tag(selection.dataset_id, tag, fetch, name_of, page_size)
            if own != tag.bits:
                pages = self._chosen(selection.dataset_id, tag, own, pages, name_of)
            for page in pages:
                yield tag, page

    def _pages_of_tag(
        self,
        dataset_id: str,
        tag: Tag,
        fetch: Callable[[Tag, int], Sequence[Item]],
        name_of: Callable[[Item], str],
        page_size: int,
    ) -> Iterator[Sequence[Item]]:
        """Yield what the platform returns for a tag, until it is complete."""
        n_selected = tag.n_selected
        n_found = 0
        page: Sequence[Item] = []
        firsts = set[str]()
        # A full page may not be the last one.
        while n_found < n_selected or len(page) >= page_size:
            page = fetch(tag, n_found)
            if not page:
                break
            first = name_of(page[0])
            # A platform that ignores paging would send the same page forever; a name is in a dataset once.
            if first in firsts:
                raise LightlyResponseError(
                    f"The platform returned the page of file names that begins with {shown(first, longest=200)!r} "
                    f"twice for tag {shown(tag.name)!r} of dataset {dataset_id}, so others are missing; retry the task "
                    "later, and report it to the platform's support if this does not change.",
                    operation="export_tag_to_basic_filenames",
                )
            firsts.add(first)
            n_found += len(page)
            if n_found > n_selected:
                break
            yield page
        if n_found != n_selected:
            raise LightlyResponseError(
                f"The platform returned {n_found} file names for tag {shown(tag.name)!r} of dataset "
                f"{dataset_id}, which has {n_selected} samples (a name with a line break in it counts as two); retry "
                "the task later, and report it to the platform's support if this does not change.",
                operation="export_tag_to_basic_filenames",
            )

    def _chosen(
        self,
        dataset_id: str,
        tag: Tag,
        own: int,
        pages: Iterator[Sequence[Item]],
        name_of: Callable[[Item], str],
    ) -> Iterator[Sequence[Item]]:
        """
        Yield those samples of a tag whose bits are in ``own``.

        That an export has the order of the bits is not documented; that the mappings have it is (see ``Tag.bits``). So
        each sample is compared with the name that belongs to its bit.
        """
        names = self._names_of_bits(dataset_id, tag.bits, own)
        for page in pages:
            chosen = []
            for item in page:
                name, is_chosen = next(names, ("", False))
                if name != name_of(item):
                    raise LightlyResponseError(
                        f"The platform lists the samples of tag {shown(tag.name)!r} of dataset {dataset_id} in another "
                        f"order than its bits ({shown(name_of(item), longest=200)!r} where "
                        f"{shown(name, longest=200)!r} was expected), so that tags cannot be combined; create the "
                        "combined tag on the platform, and export that.",
                        operation="get_sample_mappings_by_dataset_id",
                    )
                if is_chosen:
                    chosen.append(item)
            if chosen:
                yield chosen

    def _names_of_bits(self, dataset_id: str, bits: int, own: int) -> Iterator[tuple[str, bool]]:
        """Yield the name of each sample in ``bits``, in order, and whether ``own`` has it, too."""
        from lightly_provider.api import calls

        start = 0
        while bits >> start:
            page = self.client.send(calls.get_sample_names(dataset_id, page_offset=start))
            if not page:
                return
            yield from (
                (name, is_own == "1")
                for name, is_in, is_own in zip(
                    page, flags(bits, start, len(page)), flags(own, start, len(page)), strict=True
                )
                if is_in == "1"
            )
            start += len(page)


Other = TypeVar("Other")


def _beside(
    first: Callable[[Tag, int], Sequence[Item]], second: Callable[[Tag, int], Sequence[Other]]
) -> Callable[[Tag, int], list[tuple[Item, Other]]]:
    """Return what fetches the same page of two exports, whose order is the same (see ``calls.export_filenames``)."""

    def fetch(tag: Tag, offset: int) -> list[tuple[Item, Other]]:
        items, others = first(tag, offset), second(tag, offset)
        if len(items) != len(others):
            raise LightlyResponseError(
                f"The platform returned {len(items)} and then {len(others)} samples for the same page of tag "
                f"{shown(tag.name)!r}; retry the task once nobody changes the tag.",
                operation="export_tag_to_basic_filenames",
            )
        return list(zip(items, others, strict=True))

    return fetch
