"""
COCO: one file of JSON with images, categories and annotations (cocodataset.org, "Data format" and "Results format").

Read here and not by labelformat, whose reader loads the whole file, and keeps neither class probabilities, nor the
scores of masks, nor keypoints (labelformat 0.1.17, formats/coco.py). The file is read once, from start to end; what is
needed of it waits in a database on disk, because its annotations are in any order.
"""

from __future__ import annotations

import json
import sqlite3
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.foreign_text import shown
from lightly_provider.results.json_stream import JsonStream
from lightly_provider.results.own_files import encoded
from lightly_provider.results.predictions.masks import bounding_box, row_wise_runs
from lightly_provider.results.predictions.reading import Predicted
from lightly_provider.results.predictions.schema import SchemaError, TaskSchema, TaskType, are_sides, read_categories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightly_provider.results.predictions.schema import Size
    from lightly_provider.results.sources import Source

# The members of an annotation that a prediction can have.
_MEMBERS = ("category_id", "bbox", "score", "probabilities", "segmentation", "keypoints")
_MASKS = (TaskType.INSTANCE_SEGMENTATION, TaskType.SEMANTIC_SEGMENTATION)


class CocoReader:
    """
    Reads a COCO file.

    :param source: The file.
    :param task_type: What its annotations are.
    :param database: Temporary database.
    """

    def __init__(self, source: Source, task_type: TaskType, database: sqlite3.Connection) -> None:
        self._source = source
        self._type = task_type
        self._database = database
        self._categories: Any = None
        database.execute("CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT, width, height)")
        database.execute("CREATE TABLE annotations (image TEXT NOT NULL, content TEXT NOT NULL)")

    @cached_property
    def schema(self) -> TaskSchema:
        """
        The schema of the file's categories.

        :raises LightlyInvalidFilesError: The file is invalid.
        """
        with self._source.file().open() as file:
            return self._schema_of(file)

    def _schema_of(self, file: IO[bytes]) -> TaskSchema:
        try:
            self._load(file)
            return TaskSchema.of(self._type, read_categories(self._categories))
        except SchemaError as error:
            raise LightlyInvalidFilesError(f"The COCO file {self._source.uri} is invalid: {error}.") from None
        except ValueError as error:
            raise LightlyInvalidFilesError(f"The COCO file {self._source.uri} cannot be read: {error}.") from None

    def files(self) -> Iterator[Predicted]:
        """Yield the predictions of each image; an image without annotations has none."""
        _ = self.schema
        orphan = self._database.execute(
            "SELECT image, count(*) FROM annotations WHERE image NOT IN (SELECT id FROM images) GROUP BY image LIMIT 1"
        ).fetchone()
        if orphan:
            yield Predicted(
                "annotations", None, fault=f"{orphan[1]} are about the image_id {orphan[0]}, which no image has"
            )
        images = self._database.execute("SELECT id, name, width, height FROM images ORDER BY rowid")
        for number, name, width, height in images:
            size = (width, height) if width and height else None
            rows = self._database.execute("SELECT content FROM annotations WHERE image = ? ORDER BY rowid", (number,))
            try:
                entries = [self._prediction(json.loads(content), size) for (content,) in rows]
            except ValueError as error:
                yield Predicted(str(name), None, fault=str(error))
                continue
            yield Predicted(str(name), name, entries, size=size)

    def _prediction(self, entry: dict[str, Any], size: Size | None) -> dict[str, Any]:
        if self._type in _MASKS:
            runs = row_wise_runs(entry.get("segmentation"), size)
            entry["segmentation"] = runs
            if entry.get("bbox") is None and size:
                entry["bbox"] = bounding_box(runs, size)
        return entry

    def _load(self, file: IO[bytes]) -> None:
        self._database.execute("BEGIN")
        stream = JsonStream(file)
        if stream.peek() == "[":
            raise ValueError(
                "it is a list of COCO results, which has neither images nor categories; write one object with "
                "images and categories, and the results as its annotations"
            )
        for member in stream.members():
            if member == "images":
                self._load_images(stream)
            elif member == "annotations":
                self._load_annotations(stream)
            elif member == "categories":
                self._categories = stream.value()
            else:
                stream.value()
        self._database.execute("CREATE INDEX of_image ON annotations (image)")
        self._database.execute("COMMIT")

    def _load_images(self, stream: JsonStream) -> None:
        for image in stream.elements():
            number, name = (image.get("id"), image.get("file_name")) if isinstance(image, dict) else (None, None)
            if not isinstance(number, int | str) or not isinstance(name, str):
                raise ValueError(f"an image has no id and file_name: {shown(image, longest=200)}")
            width, height = image.get("width"), image.get("height")
            if not are_sides(side for side in (width, height) if side is not None):
                raise ValueError(f"the image {shown(name, longest=200)!r} has an impossible width or height")
            try:
                self._database.execute(
                    "INSERT INTO images VALUES (?, ?, ?, ?)", (json.dumps(number), name, width, height)
                )
            except sqlite3.IntegrityError:
                raise ValueError(
                    f"two images have the id {shown(number, longest=100)}; give each an id of its own"
                ) from None
            except (UnicodeEncodeError, OverflowError):
                raise ValueError(f"the image {shown(name, longest=200)!r} cannot be stored") from None

    def _load_annotations(self, stream: JsonStream) -> None:
        for entry in stream.elements():
            number = entry.get("image_id") if isinstance(entry, dict) else None
            if not isinstance(number, int | str):
                raise ValueError(f"an annotation has no image_id: {shown(entry, longest=200)}")
            content = {member: entry[member] for member in _MEMBERS if entry.get(member) is not None}
            if self._type not in _MASKS:
                content.pop("segmentation", None)
            try:
                self._database.execute("INSERT INTO annotations VALUES (?, ?)", (json.dumps(number), encoded(content)))
            except (ValueError, RecursionError):
                raise ValueError(
                    f"an annotation about the image_id {shown(number, longest=100)} has a number that is too large, a "
                    "text that is not Unicode, or lists nested too deeply"
                ) from None
