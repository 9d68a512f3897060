"""
YOLO and KITTI: a text file for each image, with one object on each line.

Read here and not by labelformat, whose readers need the images beside the labels, leave out each YOLO line that has a
confidence, and take a KITTI score for one of the numbers before it (labelformat 0.1.17, formats/yolov8.py, kitti.py).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.foreign_text import shown
from lightly_provider.results.own_files import own_name
from lightly_provider.results.parallel import spread
from lightly_provider.results.predictions.reading import LARGEST_FILE, Predicted
from lightly_provider.results.predictions.schema import Category, SchemaError, TaskSchema, TaskType
from lightly_provider.results.sources import READ_THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightly_provider.results.sources import Source, SourceFile

# By so much a model's box may leave the image, as a part of its side.
_EDGE = 0.01
_YOLO_CONFIGURATIONS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_KITTI_NUMBERS = 14  # after the name; a result has its score as the fifteenth (KITTI object development kit, readme)
_KITTI_IGNORED = "DontCare"


def named_categories(names: Sequence[str]) -> TaskSchema:
    """
    Return the schema of an object detection with these categories, whose ids are their places from 0.

    :raises LightlyInvalidFilesError: Two names are the same.
    """
    try:
        return TaskSchema.of(TaskType.OBJECT_DETECTION, [Category(number, name) for number, name in enumerate(names)])
    except SchemaError as error:
        raise LightlyInvalidFilesError(f"The categories cannot be used: {error}.") from None


class YoloReader:
    """
    Reads YOLO's text files: ``class x y width height [confidence]``, with the box's centre, as parts of the image.

    :param source: Folder of the text files; if it has YOLO's ``data.yaml``, also the names of the categories.
    :param categories: Names of the categories in the order of their ids; None: those of ``data.yaml``.
    :param configuration: Finds a file in the folder by name; None: there is no such file.
    """

    def __init__(
        self,
        source: Source,
        categories: Sequence[str] | None,
        configuration: Callable[[str], SourceFile | None],
    ) -> None:
        self._source = source
        self._categories = categories
        self._configuration = configuration

    @cached_property
    def schema(self) -> TaskSchema:
        """
        The categories.

        :raises LightlyInvalidFilesError: They are not known.
        """
        if self._categories:
            return named_categories(self._categories)
        file = next(filter(None, map(self._configuration, _YOLO_CONFIGURATIONS)), None)
        if file is None:
            raise LightlyInvalidFilesError(
                f"The names of the categories are not known: {self._source.uri} has no data.yaml; set categories to the"
                " names in the order of their ids."
            )
        return named_categories(_names_of(file))

    def files(self) -> Iterator[Predicted]:
        """Yield the predictions of each image, by its name without the extension."""
        return spread(
            lambda file: _read_lines(file, _yolo_line, is_relative=True),
            _label_files(self._source),
            threads=READ_THREADS,
        )


class KittiReader:
    """
    Reads KITTI's text files: the category, 14 numbers, and the score of a result.

    :param source: Folder of the text files.
    :param categories: Names of the categories, whose ids are their places from 0.
    """

    def __init__(self, source: Source, categories: Sequence[str]) -> None:
        self._source = source
        self.schema = named_categories(categories)
        self._ids = {category.name: category.id for category in self.schema.categories.values()}

    def files(self) -> Iterator[Predicted]:
        """Yield the predictions of each image, by its name without the extension."""
        return spread(lambda file: _read_lines(file, self._line), _label_files(self._source), threads=READ_THREADS)

    def _line(self, line: str) -> dict[str, Any] | None:
        words = line.split()
        # A category may have blanks in its name, and so the numbers are counted from the end.
        for n_numbers in (_KITTI_NUMBERS + 1, _KITTI_NUMBERS):
            name = " ".join(words[:-n_numbers])
            if name == _KITTI_IGNORED:
                return None
            if name in self._ids:
                values = _numbers(words[-n_numbers:])
                left, top, right, bottom = values[3:7]
                score = {"score": values[14]} if n_numbers > _KITTI_NUMBERS else {}
                return {"category_id": self._ids[name], "bbox": [left, top, right - left, bottom - top], **score}
        raise ValueError(
            f"it is not a KITTI object of one of the categories {', '.join(map(repr, self._ids))}: "
            f"{shown(line.strip(), longest=200)!r}"
        )


def _label_files(source: Source) -> Iterator[SourceFile]:
    # YOLO's tools write this list beside the labels.
    return (file for file in source.files(".txt") if file.name.rpartition("/")[2] != "classes.txt")


def _read_lines(
    file: SourceFile, entry_of: Callable[[str], dict[str, Any] | None], *, is_relative: bool = False
) -> Predicted:
    try:
        lines = file.read(most=LARGEST_FILE).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        return Predicted(file.name, None, fault=f"it is not UTF-8 at byte {error.start}")
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = entry_of(line)
        except ValueError as error:
            return Predicted(file.name, None, fault=f"line {number}: {error}")
        if entry is not None:
            entries.append(entry)
    stem = own_name(file.name).removesuffix(".json")
    return Predicted(file.name, None, entries, stem=stem, is_relative=is_relative)


def _yolo_line(line: str) -> dict[str, Any]:
    words = line.split()
    if len(words) not in (5, 6) or not re.fullmatch(r"[0-9]{1,9}", words[0]):
        raise ValueError(
            "a YOLO detection is 'class x y width height confidence', and this is "
            f"{shown(line.strip(), longest=200)!r} (masks and keypoints cannot be read from YOLO files; write COCO)"
        )
    x, y, width, height, *confidence = _numbers(words[1:])
    sides = [_cut(x - width / 2), _cut(y - height / 2), _cut(x + width / 2), _cut(y + height / 2)]
    box = [sides[0], sides[1], sides[2] - sides[0], sides[3] - sides[1]]
    return {"category_id": int(words[0]), "bbox": box, **({"score": confidence[0]} if confidence else {})}


def _cut(value: float) -> float:
    if not -_EDGE <= value <= 1 + _EDGE:
        raise ValueError("its box leaves the image (YOLO's numbers are parts of the image from 0 to 1, and no pixels)")
    return min(max(value, 0.0), 1.0)


def _numbers(words: list[str]) -> list[float]:
    try:
        # Python reads 0_5 as 5.
        return [float(word if "_" not in word else "") for word in words]
    except ValueError:
        raise ValueError(f"{shown(' '.join(words), longest=200)!r} are not all numbers") from None


def _names_of(file: SourceFile) -> list[str]:
    import yaml

    try:
        content = yaml.safe_load(file.read(most=2**20))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise LightlyInvalidFilesError(f"{shown(file.uri)} is not YAML; repair it, or set categories.") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise LightlyInvalidFilesError(
            f"{shown(file.uri)} has no names of the categories from 0 on; repair it, or set categories."
        )
    return names


def in_pixels(content: str, width: int, height: int) -> str:
    """
    Return the staged content of a file with the boxes in pixels.

    :param content: JSON text whose boxes are parts of the image.
    :param width: Width of the image, in pixels.
    :param height: Height of the image, in pixels.
    """
    import json

    from lightly_provider.results.own_files import encoded

    predictions = json.loads(f"{{{content}}}")["predictions"]
    for prediction in predictions:
        x, y, w, h = prediction["bbox"]
        prediction["bbox"] = [round(value, 3) for value in (x * width, y * height, w * width, h * height)]
    return f'"predictions":{encoded(predictions)}'
