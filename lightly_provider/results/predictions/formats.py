"""The formats of predictions, and what each of them needs and has."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyExtraMissingError, LightlySourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.predictions.schema import TaskType

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from lightly_provider.results.predictions.reading import Reader
    from lightly_provider.results.sources import Source, SourceFile


class PredictionFormat(StrEnum):
    """The formats."""

    LIGHTLY = "lightly"
    COCO = "coco"
    YOLO = "yolo"
    KITTI = "kitti"
    PASCAL_VOC = "pascalvoc"
    CVAT = "cvat"
    LABELBOX = "labelbox"


_NAMED_BY_THE_USER = (PredictionFormat.KITTI, PredictionFormat.PASCAL_VOC, PredictionFormat.LABELBOX)
_BY_LABELFORMAT = (PredictionFormat.PASCAL_VOC, PredictionFormat.CVAT)
_WITHOUT_SCORES = (*_BY_LABELFORMAT, PredictionFormat.LABELBOX)
_MASKS = (TaskType.INSTANCE_SEGMENTATION, TaskType.SEMANTIC_SEGMENTATION)


def check_format(
    chosen: PredictionFormat,
    *,
    task_type: TaskType | None,
    categories: Sequence[str] | None,
    missing_score: float | None,
    writes_through_platform: bool,
) -> None:
    """
    Reject arguments that a format cannot use, without reading anything.

    :raises ValueError: The message names the arguments and the next step.
    """
    if chosen is PredictionFormat.LIGHTLY and task_type is not None:
        raise ValueError("format is 'lightly' with prediction_type, which its schema.json has; leave it out.")
    if chosen not in (PredictionFormat.LIGHTLY, PredictionFormat.COCO) and task_type not in (
        None,
        TaskType.OBJECT_DETECTION,
    ):
        raise ValueError(
            f"prediction_type is {str(task_type)!r}, and of the format {str(chosen)!r} only boxes are read; write the "
            "predictions as 'coco' or 'lightly'."
        )
    if chosen in _NAMED_BY_THE_USER and not categories:
        raise ValueError(
            f"format is {str(chosen)!r} without categories; list their names in the order of their ids, from 0."
        )
    if categories and chosen not in (*_NAMED_BY_THE_USER, PredictionFormat.YOLO):
        raise ValueError(
            f"categories is {shown(repr(list(categories)), longest=200)}, and the files of format {str(chosen)!r} have "
            "their own; leave it out."
        )
    if categories and chosen in _BY_LABELFORMAT and any("," in name for name in categories):
        raise ValueError(
            f"categories is {shown(repr(list(categories)), longest=200)}, and in the format {str(chosen)!r} a name has "
            "no comma; rename it."
        )
    if chosen in _WITHOUT_SCORES and missing_score is None:
        raise ValueError(
            f"format is {str(chosen)!r}, whose files have no scores, and a score of 0 would read as most uncertain; "
            "set missing_score (1.0 for labels that are certain)."
        )
    if chosen is PredictionFormat.YOLO and writes_through_platform:
        raise ValueError(
            "format is 'yolo' with write_through='platform', and the sizes of the images, which YOLO's files lack, are "
            "read from the bucket; use write_through='bucket', or write the predictions as 'coco'."
        )


def check_extra(chosen: PredictionFormat, task_type: TaskType | None) -> None:
    """
    Reject a format whose packages are missing.

    :raises LightlyExtraMissingError: The message names the extra.
    """
    with_masks = chosen is PredictionFormat.COCO and task_type in _MASKS
    needed = ["labelformat"] if chosen in _BY_LABELFORMAT else []
    needed += ["PIL"] if chosen is PredictionFormat.YOLO or with_masks else []
    needed += ["numpy"] if with_masks else []
    if not all(map(find_spec, needed)):
        what = f"The format {str(chosen)!r}" + (f" with {task_type}" if with_masks else "")
        raise LightlyExtraMissingError(
            f"{what} needs the extra labelformat; install airflow-provider-lightly[labelformat] where the task runs."
        )


@contextmanager
def reader_of(
    source: Source,
    chosen: PredictionFormat,
    *,
    task_type: TaskType | None,
    categories: Sequence[str] | None,
    dataset_id: str,
    database: sqlite3.Connection,
) -> Iterator[Reader]:
    """
    Open the reader of a format.

    :param source: The files.
    :param chosen: Their format.
    :param task_type: Type of the task; None: object detection, or what the files say.
    :param categories: Names of the categories, where the format needs them.
    :param dataset_id: Id of the dataset; empty: unknown.
    :param database: Temporary database.
    """
    if chosen is PredictionFormat.LIGHTLY:
        from lightly_provider.results.own_files import SCHEMA_FILE
        from lightly_provider.results.predictions.lightly_format import LightlyReader

        yield LightlyReader(source, source.at(SCHEMA_FILE))
    elif chosen is PredictionFormat.COCO:
        from lightly_provider.results.predictions.coco import CocoReader

        yield CocoReader(source, task_type or TaskType.OBJECT_DETECTION, database)
    elif chosen is PredictionFormat.YOLO:
        from lightly_provider.results.predictions.text_labels import YoloReader

        yield YoloReader(source, categories, lambda name: _file_at(source.at(name)))
    elif chosen is PredictionFormat.KITTI:
        from lightly_provider.results.predictions.text_labels import KittiReader

        yield KittiReader(source, categories or ())
    elif chosen is PredictionFormat.LABELBOX:
        from lightly_provider.results.predictions.labelbox import LabelboxReader

        yield LabelboxReader(source, categories or (), dataset_id)
    else:
        from lightly_provider.results.predictions.converted import LabelformatReader

        with LabelformatReader.opened(source, chosen, categories) as reader:
            yield reader


def _file_at(source: Source) -> SourceFile | None:
    try:
        return source.file()
    except LightlySourceError:
        return None
