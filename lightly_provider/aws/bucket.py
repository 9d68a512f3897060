"""
List a location, and count its files by kind.

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

PAGE_SIZE = 1000  # maximum of one response (AWS docs: S3 API reference, ListObjectsV2)


@dataclass(frozen=True)
class Listed:
    """One page of a listing: keys with their sizes, folders if requested, and the token of the next page."""

    objects: list[tuple[str, int]]
    folders: list[str] = field(default_factory=list)
    next_token: str | None = None
    archived: frozenset[str] = frozenset()


# Archived objects must be restored before they can be read (AWS docs: S3 user guide, "Understanding archived objects").
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def is_archived(entry: Any) -> bool:
    """Return whether a listed object is archived, and therefore cannot be read."""
    return entry.get("StorageClass") in _ARCHIVES


class Lister(Protocol):
    """Lists a bucket, one page per call."""

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """Return the next page; ``by_folder`` groups the keys below the next slash into folders."""


class S3Lister:
    """
    Lists a bucket through boto3.

    :param s3: boto3 S3 client; clients are thread-safe.
    :param bucket: Bucket name.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """See :class:`Lister`. Raises botocore's ``ClientError`` if AWS denies the request."""
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
# Lightly's own files, which are not input.
_OWN_FILES = ".lightly/"
# Ranges per thread: more than one, so that a single large folder does not hold up the others.
_UNITS_PER_WORKER = 4
_SPLIT_REQUESTS = 64
# From this share on, the larger kind decides, and the other counts as accidental (a cover picture beside videos); below
# it, the content is ambiguous.
_CLEAR_SHARE = 2 / 3


class MediaType(StrEnum):
    """The kind of a file, by its extension; the first two are also dataset types of the platform."""

    IMAGES = "Images"
    VIDEOS = "Videos"
    OTHER = "other"


@dataclass
class Inventory:
    """
    The counted files of a location.

    :param counts: Number of files by kind, without empty images and videos.
    :param empty: Number of empty image and video files, which cannot be read.
    :param archived: Number of counted files in an archive, by kind.
    :param bytes: Total size of the counted files, in bytes.
    :param is_complete: Whether all files were counted; False: there are more.
    :param examples: First key of each kind.
    """

    counts: Counter[MediaType] = field(default_factory=Counter)
    archived: Counter[MediaType] = field(default_factory=Counter)
    empty: int = 0
    bytes: int = 0
    is_complete: bool = True
    examples: dict[MediaType, str] = field(default_factory=dict)

    @property
    def n_objects(self) -> int:
        """Number of all files."""
        return self.counts.total() + self.empty

    def count(self, prefix: str, objects: list[tuple[str, int]], archived: frozenset[str] = frozenset()) -> None:
        """Count the files of a page, without folder markers and Lightly's own files."""
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
        """Add the counts of another inventory."""
        self.counts.update(other.counts)
        self.archived.update(other.archived)
        self.empty += other.empty
        self.bytes += other.bytes
        self.is_complete = self.is_complete and other.is_complete
        self.examples = {**other.examples, **self.examples}

    def describe(self) -> str:
        """Return the counts as text, e.g. ``214 objects, 203 images``."""
        more = "" if self.is_complete else " or more"
        parts = [f"{self.n_objects}{more} {'object' if self.n_objects == 1 else 'objects'}"]
        names = {MediaType.IMAGES: "images", MediaType.VIDEOS: "videos", MediaType.OTHER: "of other types"}
        parts += [f"{self.counts[kind]} {name}" for kind, name in names.items() if self.counts[kind]]
        if self.empty:
            parts.append(f"{self.empty} without content")
        return ", ".join(parts)

    def numbers(self) -> dict[str, int]:
        """Return the counts in JSON types."""
        return {
            "objects": self.n_objects,
            "images": self.counts[MediaType.IMAGES],
            "videos": self.counts[MediaType.VIDEOS],
            "other": self.counts[MediaType.OTHER],
            "empty": self.empty,
        }


class UnclearContentError(ValueError):
    """The content does not determine whether the dataset type is images or videos."""


def media_type(key: str) -> MediaType:
    """Return the kind of a file, by its extension."""
    _, dot, suffix = key.rpartition("/")[2].rpartition(".")
    suffix = suffix.lower() if dot else ""
    if suffix in _IMAGE_SUFFIXES:
        return MediaType.IMAGES
    return MediaType.VIDEOS if suffix in _VIDEO_SUFFIXES else MediaType.OTHER


def survey(lister: Lister, location: S3Location, *, pages: int = 1) -> Inventory:
    """
    Count only the first pages; the cost does not depend on the size of the bucket.

    :param lister: Lists the bucket.
    :param location: Location to count.
    :param pages: Maximum number of pages of 1000 keys. Default: 1.
    :return: The counts, with ``is_complete`` if there were no more pages.
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
    """The keys with a prefix, after ``start_after`` and before ``before``."""

    prefix: str
    start_after: str | None = None
    before: str | None = None


def count_all(lister: Lister, location: S3Location, *, workers: int = 16) -> Inventory:
    """
    Count all files, listing folders in parallel. No keys are stored, so memory use is independent of the bucket's size.

    :param lister: Lists the bucket; several threads use it.
    :param location: Location to count.
    :param workers: Number of parallel listings. Default: 16. A prefix without folders is listed by a single worker,
        page by page.
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
    """Split the prefix into ranges that together contain all keys, except those that are counted during the split."""
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
            # More than one page of names: split between the folders on the first page; the rest is one range. A range
            # starts after its first folder's marker, which is not counted.
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
    Return the dataset type that fits the content.

    :param inventory: The counted files.
    :param location: The location, for the message.
    :raises UnclearContentError: There are no images or videos, or both, and neither kind reaches two thirds of them.
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
    """Return the kind of files in a dataset of this type; crops are images."""
    return MediaType.VIDEOS if dataset_type == "Videos" else MediaType.IMAGES
