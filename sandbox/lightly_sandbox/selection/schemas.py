"""The customer's files below ``.lightly/``, and the schemas of predictions and custom metadata."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

OWN_FILES = ".lightly/"
PREDICTIONS = f"{OWN_FILES}predictions/"
METADATA = f"{OWN_FILES}metadata/"
EMBEDDINGS = f"{OWN_FILES}embeddings/"
TASKS_FILE = "tasks.json"
SCHEMA_FILE = "schema.json"


class TaskType(StrEnum):
    """The type of a task's predictions (docs.lightly.ai, Prediction format).

    Semantic segmentation is not among them: the sandbox does not decode its masks.
    """

    CLASSIFICATION = "classification"
    OBJECT_DETECTION = "object-detection"
    INSTANCE_SEGMENTATION = "instance-segmentation"
    KEYPOINT_DETECTION = "keypoint-detection"

    @property
    def has_objects(self) -> bool:
        """Whether an image can have any number of predictions, each with a position."""
        return self is not TaskType.CLASSIFICATION


_UNCERTAINTIES = ("uncertainty_least_confidence", "uncertainty_margin", "uncertainty_entropy")
SCORES = {
    TaskType.CLASSIFICATION: _UNCERTAINTIES,
    TaskType.OBJECT_DETECTION: (*_UNCERTAINTIES, "object_frequency", "objectness_least_confidence"),
}
"""The scores of a task by its type (docs.lightly.ai, Active learning scorers); other types have none here."""


@dataclass(frozen=True)
class PredictionSchema:
    """A prediction task: its type, and its categories by their ids, in the order of the probabilities."""

    type: TaskType
    categories: dict[int, str]

    @classmethod
    def parse(cls, content: Any) -> PredictionSchema:
        """Read the JSON of ``.lightly/predictions/TASK/schema.json``.

        Raises:
            ValueError: it is not a schema, or that of an unsupported task type.
        """
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        # Until worker 2.5 the member was task_description (lightly-ai/lightly,
        # docs/source/docker/advanced/datasource_predictions.rst).
        kind = content.get("task_type", content.get("task_description"))
        if kind not in list(TaskType):
            raise ValueError(f"its task_type is {kind!r}; the sandbox knows {', '.join(TaskType)}")
        entries = content.get("categories")
        if not isinstance(entries, list) or not entries:
            raise ValueError("it has no list of categories")
        categories: dict[int, str] = {}
        for entry in entries:
            match entry:
                case {"id": int(number), "name": str(name)} if name:
                    categories[number] = name
                case _:
                    raise ValueError(f"its category {entry!r} has no id (a whole number) and name")
        if len(categories) != len(entries) or len(set(categories.values())) != len(entries):
            raise ValueError("its categories are not unique")
        return cls(TaskType(kind), dict(sorted(categories.items())))


def parse_tasks(content: Any) -> frozenset[str]:
    """Read the JSON of ``.lightly/predictions/tasks.json``.

    Raises:
        ValueError: it is not a list of names.
    """
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ValueError("it is not a JSON list of the tasks' names")
    return frozenset(content)


@dataclass(frozen=True)
class MetadataEntry:
    """An item of custom metadata: its path in a sample's file, and its default value."""

    path: str
    default: Any
    is_numeric: bool
    is_categorical: bool


def parse_metadata_schema(content: Any) -> dict[str, MetadataEntry]:
    """Read the JSON of ``.lightly/metadata/schema.json``: its entries by their paths.

    Raises:
        ValueError: it is not such a list.
    """
    if not isinstance(content, list):
        raise ValueError("it is not a JSON list of entries")
    found = {}
    for entry in content:
        match entry:
            case {"path": str(path), "valueDataType": str(kind)}:
                # The contract says NUMERIC (lightly 1.5.26, models/configuration_value_data_type.py), the
                # page on metadata NUMERICAL.
                is_numeric = kind.startswith(("NUMERIC_", "NUMERICAL_"))
                categorical = kind.startswith("CATEGORICAL_")
                found[path] = MetadataEntry(path, entry.get("defaultValue"), is_numeric, categorical)
            case _:
                raise ValueError(f"its entry {entry!r} has no path and valueDataType")
    return found


def own_file_name(file_name: str) -> str:
    """Return the name of a sample's file of predictions or metadata, relative to their folder."""
    folder, slash, name = file_name.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot else name}.json"


def video_of(own_name: str) -> str:
    """Return the video of a frame's file: ``a/b-099-mp4.json`` belongs to ``a/b.mp4``."""
    stem, _, extension = own_name.removesuffix(".json").rpartition("-")
    return f"{stem.rpartition('-')[0]}.{extension}"
