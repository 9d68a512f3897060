"""
The content of a location: a bucket's listing, and the number of files of each kind.

The first page answers most questions with a single request. A full count lists folders in parallel, because S3 returns
each listing page by page, and stores no keys (AWS docs: S3 user guide, "Optimizing Amazon S3 performance").
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightly_provider.aws.location import S3Location

PAGE_SIZE = 1000  # AWS docs: S3 API reference, ListObjectsV2, the most that one answer holds


@dataclass(frozen=True)
class Listed:
    """One page of a listing: keys with their sizes, folders if requested, and the token of the next page."""

    objects: list[tuple[str, int]]
    folders: list[str] = field(default_factory=list)
    next_token: str | None = None
    archived: frozenset[str] = frozenset()


# AWS docs: S3 user guide, "Understanding archived objects"; what lies there must be restored before it is read.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def is_archived(entry: Any) -> bool:
    """Whether an entry of a listing lies in an archive, so that nothing can read it now."""
    return entry.get("StorageClass") in _ARCHIVES


class Lister(Protocol):
    """Lists a bucket, one page a call."""

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """The next page; ``by_folder`` stops at the next slash and names the folders instead."""


class S3Lister:
    """
    Lists a bucket through boto3.

    :param s3: A boto3 S3 client; clients may be used by several threads.
    :param bucket: The bucket.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """See :class:`Lister`. Raises botocore's ``ClientError`` where AWS refuses."""
        options: dict[str, Any] = {}
        if token:
            options["ContinuationToken"] = token
        if start_after:
            options["StartAfter"] = start_after
        if by_folder:
            options["Delimiter"] = "/"
        answer = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=PAGE_SIZE, **options)
        entries = answer.get("Contents", ())
        return Listed(
            objects=[(entry["Key"], entry["Size"]) for entry in entries],
            archived=frozenset(entry["Key"] for entry in entries if is_archived(entry)),
            folders=[entry["Prefix"] for entry in answer.get("CommonPrefixes", ())],
            next_token=answer.get("NextContinuationToken"),
        )


# docs.lightly.ai/docs/cloud-storage, "Supported File Types" (png, jpg/jpeg, bmp, gif, tiff), with WebP; and
# docs.lightly.ai/docs/videos-as-input, "Supported Formats": its list of extensions is exhaustive, and case is ignored.
_IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp"})
_VIDEO_SUFFIXES = frozenset({"mp4", "m4v", "hevc", "mpg", "mpeg", "avi", "mov", "webm"})
# What Lightly stores for itself; it is no input.
_OWN_FILES = ".lightly/"
# Folders to split into beyond the number of threads, so that one big one does not keep all others waiting.
_UNITS_PER_WORKER = 4
_SPLIT_REQUESTS = 64
# From this share on the rarer kind counts as an accident (a cover picture beside videos), and below it as a tie.
_CLEAR_SHARE = 2 / 3


class MediaType(StrEnum):
    """What a file is, by its name; the first two are dataset types of the platform too."""

    IMAGES = "Images"
    VIDEOS = "Videos"
    OTHER = "other"


@dataclass
class Inventory:
    """
    What was counted.

    :param counts: Files by kind, those without content left out.
    :param empty: Files of images and videos without content, which nothing can be read from.
    :param archived: Of those that are counted, how many lie in an archive.
    :param bytes: The size of all that was counted.
    :param is_complete: Whether all was seen; False: there is more than what was looked at.
    :param examples: The first key of each kind.
    """

    counts: Counter[MediaType] = field(default_factory=Counter)
    archived: Counter[MediaType] = field(default_factory=Counter)
    empty: int = 0
    bytes: int = 0
    is_complete: bool = True
    examples: dict[MediaType, str] = field(default_factory=dict)

    @property
    def n_objects(self) -> int:
        """All files."""
        return self.counts.total() + self.empty

    def count(self, prefix: str, objects: list[tuple[str, int]], archived: frozenset[str] = frozenset()) -> None:
        """Take a page's files into account, folders' own markers and Lightly's own files aside."""
        own, counts = f"{prefix}{_OWN_FILES}", self.counts
        for key, size in objects:
            if key.endswith("/") or key.startswith(own):
                continue
            kind = media_type(key)
            if not size and kind is not MediaType.OTHER:
                self.empty += 1
                continue
            counts[kind] += 1
            if key in archived:
                self.archived[kind] += 1
            self.bytes += size
            if kind not in self.examples:
                self.examples[kind] = key

    def add(self, other: Inventory) -> None:
        """Take what was counted elsewhere into account."""
        self.counts.update(other.counts)
        self.archived.update(other.archived)
        self.empty += other.empty
        self.bytes += other.bytes
        self.is_complete = self.is_complete and other.is_complete
        self.examples = {**other.examples, **self.examples}

    def describe(self) -> str:
        """The counts as a text, e.g. ``214 objects, 203 images``."""
        more = "" if self.is_complete else " or more"
        parts = [f"{self.n_objects}{more} {'object' if self.n_objects == 1 else 'objects'}"]
        names = {MediaType.IMAGES: "images", MediaType.VIDEOS: "videos", MediaType.OTHER: "of other types"}
        parts += [f"{self.counts[kind]} {name}" for kind, name in names.items() if self.counts[kind]]
        if self.empty:
            parts.append(f"{self.empty} without content")
        return ", ".join(parts)

    def numbers(self) -> dict[str, int]:
        """The counts in JSON's own types."""
        return {
            "objects": self.n_objects,
            "images": self.counts[MediaType.IMAGES],
            "videos": self.counts[MediaType.VIDEOS],
            "other": self.counts[MediaType.OTHER],
            "empty": self.empty,
        }


class UnclearContentError(ValueError):
    """What is there does not decide between images and videos."""


def media_type(key: str) -> MediaType:
    """What a file is, by the end of its name."""
    _, dot, suffix = key.rpartition("/")[2].rpartition(".")
    suffix = suffix.lower() if dot else ""
    if suffix in _IMAGE_SUFFIXES:
        return MediaType.IMAGES
    return MediaType.VIDEOS if suffix in _VIDEO_SUFFIXES else MediaType.OTHER


def survey(lister: Lister, location: S3Location, *, pages: int = 1) -> Inventory:
    """
    Look at the first pages only; one costs the same in a bucket of ten million files.

    :param lister: Lists the bucket.
    :param location: Where.
    :param pages: At most so many pages of 1000 keys. Default: 1.
    :return: The counts, ``is_complete`` if there was no more.
    """
    inventory = Inventory()
    token: str | None = None
    for _ in range(pages):
        page = lister.page(location.prefix, token=token)
        inventory.count(location.prefix, page.objects, page.archived)
        token = page.next_token
        if token is None:
            return inventory
    inventory.is_complete = False
    return inventory


@dataclass(frozen=True)
class _Range:
    """Keys with a prefix, after one key and before another."""

    prefix: str
    start_after: str | None = None
    before: str | None = None


def count_all(lister: Lister, location: S3Location, *, workers: int = 16) -> Inventory:
    """
    Count everything, folder beside folder. No key is kept, so memory does not grow with the bucket.

    :param lister: Lists the bucket; it is used by several threads.
    :param location: Where.
    :param workers: How many listings at the same time. Default: 16. One prefix without folders below it is listed by
        one, page after page.
    """
    from concurrent.futures import ThreadPoolExecutor

    inventory = Inventory()
    ranges = _split(lister, location.prefix, workers * _UNITS_PER_WORKER, inventory)

    def count_range(span: _Range) -> Inventory:
        part = Inventory()
        for objects in _pages(lister, span):
            part.count(location.prefix, objects)
        return part

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for part in pool.map(count_range, ranges):
            inventory.add(part)
    return inventory


def _split(lister: Lister, prefix: str, wanted: int, inventory: Inventory) -> list[_Range]:
    """Ranges that together hold all keys with the prefix, but for those that are counted on the way."""
    folders, ranges = deque([prefix]), list[_Range]()
    for _ in range(_SPLIT_REQUESTS):
        if not folders or len(folders) + len(ranges) >= wanted:
            break
        folder = folders.popleft()
        page = lister.page(folder, by_folder=True)
        if page.next_token is None:
            inventory.count(prefix, page.objects)
            folders.extend(page.folders)
        else:
            # More than a page of names: cut between the folders that it shows, the rest is one range. A range begins
            # after its first folder's own marker, which counts for nothing.
            step = max(1, len(page.folders) // wanted)
            edges: list[str | None] = [None, *page.folders[step::step], None]
            ranges += [_Range(folder, start, end) for start, end in pairwise(edges)]
    return [*ranges, *(_Range(folder) for folder in folders)]


def _pages(lister: Lister, span: _Range) -> Iterator[list[tuple[str, int]]]:
    token: str | None = None
    while True:
        page = lister.page(span.prefix, token=token, start_after=None if token else span.start_after)
        objects = page.objects
        if span.before is not None and objects and objects[-1][0] >= span.before:
            yield [one for one in objects if one[0] < span.before]
            return
        yield objects
        token = page.next_token
        if token is None:
            return


def choose_dataset_type(inventory: Inventory, location: S3Location) -> MediaType:
    """
    Which dataset type fits what is there.

    :param inventory: What was counted.
    :param location: Where, for the message.
    :raises UnclearContentError: There are neither images nor videos, or both and neither is two thirds of them.
    """
    images, videos = inventory.counts[MediaType.IMAGES], inventory.counts[MediaType.VIDEOS]
    if not images and not videos:
        raise UnclearContentError(
            f"There are no images and no videos under {location.uri} ({inventory.describe()}); "
            "check the path, or set dataset_type."
        )
    winner = MediaType.IMAGES if images > videos else MediaType.VIDEOS
    if max(images, videos) < _CLEAR_SHARE * (images + videos):
        raise UnclearContentError(
            f"{location.uri} holds {images} images and {videos} videos, and a dataset takes one of the two; "
            "set dataset_type, or point it at a folder that holds one kind."
        )
    return winner


def expected_kind(dataset_type: str) -> MediaType:
    """What a dataset of this type is made of; crops are images."""
    return MediaType.VIDEOS if dataset_type == "Videos" else MediaType.IMAGES
