"""
Labelbox: an export of data rows, one JSON object on each line (Labelbox's documentation, "Export image annotations").

Read here and not by labelformat, whose reader leaves out what is no box, refuses a file with an image that nobody has
labeled, and allows no folder in the name of an image, so also not the global keys of this provider's own export
(labelformat 0.1.17, formats/labelbox.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.foreign_text import shown
from lightly_provider.results.formats.labeling import LONGEST_GLOBAL_KEY, global_key
from lightly_provider.results.own_files import parsed
from lightly_provider.results.predictions.reading import LARGEST_FILE, Predicted
from lightly_provider.results.predictions.schema import are_sides
from lightly_provider.results.predictions.text_labels import named_categories

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightly_provider.results.sources import Source

_BOX = "ImageBoundingBox"
_SIDES = ("left", "top", "width", "height")


class LabelboxReader:
    """
    Reads an export of Labelbox. A row that nobody has labeled, classifications and relationships are left out.

    :param source: The file.
    :param categories: Names of the categories, whose ids are their places from 0.
    :param dataset_id: Id of the dataset, with which the global keys of this provider's own export begin.
    """

    def __init__(self, source: Source, categories: Sequence[str], dataset_id: str) -> None:
        self._source = source
        self._dataset_id = dataset_id
        self.schema = named_categories(categories)
        self._ids = {category.name: category.id for category in self.schema.categories.values()}

    def files(self) -> Iterator[Predicted]:
        """
        Yield the predictions of each image.

        :raises LightlyInvalidFilesError: A line is too long.
        """
        number = 0
        with self._source.file().open() as file:
            while line := file.readline(LARGEST_FILE + 1):
                number += 1
                if len(line) > LARGEST_FILE:
                    raise LightlyInvalidFilesError(
                        f"Line {number} of {self._source.uri} is longer than {LARGEST_FILE // 2**20} MiB; export the "
                        "labels as NDJSON, with one data row on each line."
                    )
                if line.strip():
                    place = f"line {number}"
                    try:
                        row = _object(parsed(line), "the line")
                        of_row = _object(row.get("data_row"), "data_row")
                        key = of_row.get("global_key")
                        if not isinstance(key, str) or not key:
                            raise ValueError("its data row has no global_key, which is the name of the image")
                        place = key
                        objects = _objects(row)
                        if objects is not None:
                            entries = [self._entry(_object(one, "an object")) for one in objects]
                            yield Predicted(key, self._name(key, of_row.get("row_data")), entries, size=_size(row))
                    except ValueError as error:
                        yield Predicted(place, None, fault=str(error))

    def _name(self, key: str, address: Any) -> str:
        """The name of the image in the input."""
        own = f"{self._dataset_id}/"
        if not self._dataset_id or not key.startswith(own):
            return key
        if len(key) < LONGEST_GLOBAL_KEY or not re.search("-[0-9a-f]{32}$", key):
            return key.removeprefix(own)
        # The digest in a shortened key shows which end of the object's path is the name.
        parts = unquote(urlsplit(address).path).lstrip("/").split("/") if isinstance(address, str) else []
        names = ("/".join(parts[number:]) for number in range(len(parts)))
        found = next((name for name in names if global_key(self._dataset_id, name) == key), None)
        if found is None:
            raise ValueError(
                "its global_key was shortened, and its row_data is not the address of the image, so that its name is "
                "not known"
            )
        return found

    def _entry(self, one: dict[str, Any]) -> dict[str, Any]:
        kind, name = one.get("annotation_kind"), one.get("name")
        if kind != _BOX:
            raise ValueError(f"it has an object of the kind {shown(repr(kind), longest=100)}, and only boxes are read")
        if not isinstance(name, str) or name not in self._ids:
            raise ValueError(
                f"it has an object {shown(repr(name), longest=100)}, which is none of the categories "
                f"{', '.join(map(repr, self._ids))}"
            )
        box = _object(one.get("bounding_box"), "bounding_box")
        return {"category_id": self._ids[name], "bbox": [box.get(side) for side in _SIDES]}


def _objects(row: dict[str, Any]) -> list[Any] | None:
    """The objects of a data row; None: nobody has labeled it."""
    projects = list(_object(row.get("projects"), "projects").values())
    labels = [label for project in projects for label in _list(_object(project, "a project"), "labels")]
    labels = [label for label in map(_label, labels) if label is not None]
    if not labels:
        return None
    if len(labels) > 1:
        raise ValueError(f"it has {len(labels)} labels; export one project, and of a consensus only the best label")
    if "frames" in labels[0]:
        raise ValueError("it is a video, of whose labels nothing is read")
    return _list(labels[0], "objects")


def _label(label: Any) -> dict[str, Any] | None:
    """The annotations of a label; None: the image was skipped."""
    label = _object(label, "a label")
    details = label.get("performance_details")
    is_skipped = isinstance(details, dict) and details.get("skipped") is True
    return None if is_skipped else _object(label.get("annotations"), "annotations")


def _size(row: dict[str, Any]) -> tuple[int, int] | None:
    media = row.get("media_attributes")
    width, height = (media.get("width"), media.get("height")) if isinstance(media, dict) else (None, None)
    if width is None or height is None:
        return None
    if not are_sides((width, height)):
        raise ValueError("its width or height is impossible")
    return width, height


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no JSON object, so it is no data row of an export of Labelbox")
    return value


def _list(value: dict[str, Any], member: str) -> list[Any]:
    found = value.get(member)
    if not isinstance(found, list):
        raise ValueError(f"{member} is no list, so it is no data row of an export of Labelbox")
    return found
