"""A folder of Lightly's in memory, and files of predictions on disk."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from typing import TYPE_CHECKING, Any

from lightly_provider.results.lightly_folder import FolderBesideImages, LightlyFolder, OwnFile
from lightly_provider.results.predictions.formats import PredictionFormat
from lightly_provider.results.predictions.uploading import UploadedPredictions, upload_predictions
from lightly_provider.results.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class MemoryFolder(FolderBesideImages):
    """
    A store of files that remembers the order of the writes.

    :param input_files: Names in the input.
    :param kms: Whether ETags are no MD5 sums, as with KMS.
    """

    threads = 2
    uri = "memory/.lightly/predictions/"

    def __init__(self, input_files: Iterable[str], *, kms: bool = False) -> None:
        self._input = sorted(input_files)
        self._kms = kms
        self.files: dict[str, bytes] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []

    def input_files(self) -> Iterator[str]:
        """See the base."""
        return iter(self._input)

    def image_start(self, name: str, length: int) -> bytes:
        """See the base; every image is a real one of 640 by 480 pixels."""
        from PIL import Image

        image = io.BytesIO()
        Image.new("RGB", (640, 480)).save(image, "PNG")
        return image.getvalue()[:length]

    def etag(self, content: bytes) -> str:
        """The ETag of a content."""
        digest = hashlib.md5(content + (b"kms" if self._kms else b"")).hexdigest()
        return f'"{digest}"'

    def present(self, folder: str) -> Iterator[tuple[str, int | None, str | None]]:
        """See the base."""
        for name, content in sorted(self.files.items()):
            if name.startswith(folder):
                yield name[len(folder) :], len(content), self.etag(content)

    def read(self, name: str) -> OwnFile | None:
        """See the base."""
        self.reads.append(name)
        content = self.files.get(name)
        return None if content is None else OwnFile(content, self.etag(content))

    def write(self, name: str, content: bytes) -> None:
        """See the base."""
        self.files[name] = content
        self.writes.append(name)

    def replace(self, name: str, content: bytes, before: OwnFile | None) -> bool:
        """See the base."""
        if self.files.get(name) != (before.content if before else None):
            return False
        self.write(name, content)
        return True

    def json(self, name: str) -> Any:
        """The parsed content of a file."""
        return json.loads(self.files[name])


def upload(folder: LightlyFolder, path: Path, kind: str, **arguments: Any) -> UploadedPredictions:
    """Upload predictions of the task ``boxes``."""
    return upload_predictions(
        folder,
        Source.parse(str(path), aws_conn_id=None),
        task_name="boxes",
        source_format=PredictionFormat(kind),
        log=logging.getLogger(__name__),  # type: ignore[arg-type]
        **arguments,
    )


def coco(**changes: Any) -> dict[str, Any]:
    """A COCO file with predictions for two images, and none for a third."""
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 100, "height": 50},
            {"id": 2, "file_name": "sub/b ü#.png", "width": 100, "height": 50},
            {"id": 7, "file_name": "c.jpg", "width": 100, "height": 50},
        ],
        "annotations": [
            {"id": 1, "image_id": 2, "category_id": 3, "bbox": [1, 2, 30, 40], "score": 0.25},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10.5, 10], "score": 1},
            {"id": 3, "image_id": 2, "category_id": 1, "bbox": [5, 5, 5, 5], "score": 0.5},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
        **changes,
    }


INPUT = ("a.jpg", "sub/b ü#.png", "c.jpg", "other.jpg")


def written(path: Path, content: Any) -> Path:
    """Write JSON, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False))
    return path
