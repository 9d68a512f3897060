"""Listing a datasource: the images or videos below its path, page by page, each with a URL to read it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from lightly_sandbox.platform.enums import DatasetType

if TYPE_CHECKING:
    from lightly_sandbox.platform.s3_access import Place

PAGE_KEYS = 1000

# docs.lightly.ai, Input types: the formats that the worker reads.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tiff", ".tif", ".bmp", ".webp"})
VIDEO_SUFFIXES = frozenset({".mov", ".mp4", ".avi", ".mkv"})
OWN_FILES = ".lightly/"


class Cursor(BaseModel):
    """Where a listing goes on; opaque to the client."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_seconds: int = 0
    to_seconds: int | None = None
    after: str = ""

    def encode(self) -> str:
        """The cursor as text."""
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor that an earlier page gave.

        Raises:
            ValueError: it is none.
        """
        try:
            return cls.model_validate_json(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
        except (ValidationError, binascii.Error, UnicodeError) as wrong:
            raise ValueError("is no cursor of this listing") from wrong


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of file names relative to the datasource's path, and the cursor of the next page."""

    file_names: tuple[str, ...]
    has_more: bool
    cursor: Cursor


def is_input(file_name: str, dataset_type: str) -> bool:
    """Whether a dataset of this type takes the file."""
    suffixes = VIDEO_SUFFIXES if dataset_type == DatasetType.VIDEOS else IMAGE_SUFFIXES
    return PurePosixPath(file_name).suffix.lower() in suffixes and not file_name.startswith(OWN_FILES)


def list_page(place: Place, dataset_type: str, cursor: Cursor) -> Listed:
    """List one page after ``cursor``: the files last modified within its seconds, both ends included.

    Raises:
        ClientError: AWS refuses.
    """
    prefix = place.location.prefix
    answer = place.client.list_objects_v2(
        Bucket=place.location.bucket,
        Prefix=prefix,
        MaxKeys=PAGE_KEYS,
        StartAfter=cursor.after,
    )
    entries = answer.get("Contents", [])
    names = []
    for entry in entries:
        modified = int(entry["LastModified"].timestamp())
        late = cursor.to_seconds is not None and modified > cursor.to_seconds
        file_name = entry["Key"].removeprefix(prefix)
        if modified >= cursor.from_seconds and not late and is_input(file_name, dataset_type):
            names.append(file_name)
    last = entries[-1]["Key"] if entries else cursor.after
    return Listed(tuple(names), bool(answer.get("IsTruncated")), cursor.model_copy(update={"after": last}))
