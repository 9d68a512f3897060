"""Lists a datasource: the files of one type below a folder, page by page, in one or several shards."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from lightly_sandbox.contract.enums import DatasetType
from lightly_sandbox.selection.schemas import OWN_FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_sandbox.platform.s3_access import Place

PAGE_KEYS = 1000

# docs.lightly.ai/docs/cloud-storage, "Supported File Types" (png, jpg/jpeg, bmp, gif, tiff), with WebP; and
# docs.lightly.ai/docs/videos-as-input, "Supported Formats": its list of extensions is exhaustive, and case is
# ignored. The provider has the same lists; its tests compare them with what is listed here.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".hevc", ".mpg", ".mpeg", ".avi", ".mov", ".webm"})


class Cursor(BaseModel):
    """Where a listing continues; opaque to the client.

    It covers the keys after ``after`` up to and including ``until``, and contains the relevant-filenames file
    of the listing: the name of a customer's file, or the run and its artifact.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_seconds: int = 0
    to_seconds: int | None = None
    after: str = ""
    until: str | None = None
    relevant_filenames: str | None = None
    relevant_run_id: str | None = None
    relevant_artifact_id: str | None = None

    def encode(self) -> str:
        """Return the cursor as text."""
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Parse a cursor of an earlier page.

        Raises:
            ValueError: it is not a cursor.
        """
        try:
            return cls.model_validate_json(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
        except (ValidationError, binascii.Error, UnicodeError) as wrong:
            raise ValueError("is no cursor of this listing") from wrong


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of file names relative to the listed folder, and the cursor of the next page."""

    file_names: tuple[str, ...]
    has_more: bool
    cursor: Cursor


def is_input(file_name: str, dataset_type: str) -> bool:
    """Whether a dataset of this type takes the file."""
    suffixes = VIDEO_SUFFIXES if dataset_type == DatasetType.VIDEOS else IMAGE_SUFFIXES
    return PurePosixPath(file_name).suffix.lower() in suffixes and not file_name.startswith(OWN_FILES)


def list_page(place: Place, folder: str, wanted: Callable[[str], bool], cursor: Cursor) -> Listed:
    """List one page after ``cursor``: the files last modified within its seconds, both ends included.

    ``folder``: relative to the datasource's path; empty or ending with a slash. The names that ``wanted``
    gets and that are returned are relative to it.

    Raises:
        ClientError: AWS refuses.
    """
    prefix = place.location.key(folder)
    answer = place.client.list_objects_v2(
        Bucket=place.location.bucket,
        Prefix=prefix,
        MaxKeys=PAGE_KEYS,
        StartAfter=cursor.after,
    )
    entries = answer.get("Contents", [])
    within = [entry for entry in entries if cursor.until is None or entry["Key"] <= cursor.until]
    names = []
    for entry in within:
        modified = int(entry["LastModified"].timestamp())
        late = cursor.to_seconds is not None and modified > cursor.to_seconds
        file_name = entry["Key"].removeprefix(prefix)
        if modified >= cursor.from_seconds and not late and wanted(file_name):
            names.append(file_name)
    last = within[-1]["Key"] if within else cursor.after
    has_more = bool(answer.get("IsTruncated")) and len(within) == len(entries)
    return Listed(tuple(names), has_more, cursor.model_copy(update={"after": last}))


def shard(place: Place, folder: str, cursor: Cursor, shards: int) -> list[Cursor]:
    """Split ``cursor`` into at most ``shards`` cursors that cover the same keys, each once.

    The bounds are files and folders of the highest level that has more than one. So the shards are as uneven
    as the folders, and few if there are few folders.

    Raises:
        ClientError: AWS refuses.
    """
    if shards == 1:
        return [cursor]
    keys = _first_fork(place, place.location.key(folder))
    # A key is in the shard of the first bound that is not before it. Keys below the folder "a/" sort after
    # "a/" and so are in the next one.
    n_bounds = min(shards, len(keys)) - 1
    bounds = sorted({keys[(number + 1) * len(keys) // (n_bounds + 1) - 1] for number in range(n_bounds)})
    return [
        cursor.model_copy(update={"after": after, "until": until})
        for after, until in zip(["", *bounds], [*bounds, None], strict=True)
    ]


def _first_fork(place: Place, prefix: str) -> list[str]:
    """Return at most a page of the files and folders of the first level that has more than one folder."""
    while True:
        answer = place.client.list_objects_v2(
            Bucket=place.location.bucket, Prefix=prefix, Delimiter="/", MaxKeys=PAGE_KEYS
        )
        folders = [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]
        files = [entry["Key"] for entry in answer.get("Contents", []) if entry["Key"] != prefix]
        if len(folders) != 1 or files:
            return sorted(folders + files)
        prefix = folders[0]
