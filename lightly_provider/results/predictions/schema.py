"""
A prediction task's schema, and the rules that a prediction must keep. Pure decisions.

Sources: docs.lightly.ai/docs/prediction-format; lightly-ai/lightly, docs/source/docker/advanced/
datasource_predictions.rst; the bounds of the values: lightly 1.5.26, models/prediction_singleton_*.py and
prediction_task_schema_category*.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import RESOURCE_NAME_PATTERN
from lightly_provider.foreign_text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Rounding of a model's output: by so much a box may leave its image (pixels), and probabilities may miss 1.
_BOX_TOLERANCE = 1.0
_SUM_TOLERANCE = 0.01
_MOST_CATEGORIES = 100_000
_LONGEST_NAME = 1000
_LONGEST_SIDE = 10**9  # of an image, in pixels
_LARGEST = 1e15  # of a number in a prediction; a sum of such numbers is finite, too


class TaskType(StrEnum):
    """The types of prediction tasks, as ``schema.json`` names them."""

    CLASSIFICATION = "classification"
    OBJECT_DETECTION = "object-detection"
    SEMANTIC_SEGMENTATION = "semantic-segmentation"
    INSTANCE_SEGMENTATION = "instance-segmentation"
    KEYPOINT_DETECTION = "keypoint-detection"


class SchemaError(ValueError):
    """A schema breaks a rule."""


@dataclass(frozen=True)
class Category:
    """
    A category of a task.

    :param id: Id that the predictions refer to.
    :param name: Name that the platform shows.
    :param keypoint_names: Names of the keypoints of an object of this category. Default: none.
    :param keypoint_skeleton: Pairs of connected keypoints, by index from 0. Default: none.
    """

    id: int
    name: str
    keypoint_names: tuple[str, ...] = ()
    keypoint_skeleton: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class TaskSchema:
    """
    The schema of a prediction task.

    :param type: Type of the task.
    :param categories: Categories by id.
    :raises SchemaError: A rule is broken.
    """

    type: TaskType
    categories: Mapping[int, Category] = field(repr=False)

    @classmethod
    def of(cls, task_type: TaskType, categories: Sequence[Category]) -> TaskSchema:
        """
        Return the schema of these categories.

        :raises SchemaError: There are none, or two have the same id or name.
        """
        if not categories:
            raise SchemaError("it has no categories")
        by_id, names = dict[int, Category](), set[str]()
        for one in categories:
            if one.id in by_id:
                raise SchemaError(
                    f"the category id {one.id} is that of {shown(by_id[one.id].name, longest=100)!r} and of "
                    f"{shown(one.name, longest=100)!r}; give each category an id of its own"
                )
            if one.name in names:
                raise SchemaError(f"two categories are called {shown(one.name, longest=100)!r}; rename one")
            by_id[one.id] = one
            names.add(one.name)
        return cls(task_type, dict(sorted(by_id.items())))

    @classmethod
    def read(cls, content: Any) -> TaskSchema:
        """
        Read the parsed JSON of a ``schema.json``.

        :raises SchemaError: It is not a schema.
        """
        if not isinstance(content, dict):
            raise SchemaError("it is not a JSON object")
        # Up to worker 2.5, the member was called task_description.
        kind = content.get("task_type", content.get("task_description"))
        if kind not in list(TaskType):
            raise SchemaError(f"its task_type is {shown(repr(kind), longest=100)}; allowed: {', '.join(TaskType)}")
        return cls.of(TaskType(kind), read_categories(content.get("categories")))

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``schema.json``."""
        return {"task_type": str(self.type), "categories": [_category_json(one) for one in self.categories.values()]}

    def differences(self, other: TaskSchema) -> str | None:
        """Return what makes predictions of the other schema mean something else in this one; None: nothing."""
        if self.type is not other.type:
            return f"its type is {other.type} and not {self.type}"
        for number in sorted({*self.categories, *other.categories}):
            mine, theirs = self.categories.get(number), other.categories.get(number)
            if mine is None or theirs is None or mine.name != theirs.name:
                named = [shown(one.name, longest=100) if one else "not there" for one in (theirs, mine)]
                return f"its category {number} is {named[0]} and not {named[1]}"
            if mine.keypoint_names != theirs.keypoint_names:
                return f"the keypoints of its category {number} have other names, or another order"
        return None


def _category_json(category: Category) -> dict[str, Any]:
    content: dict[str, Any] = {"id": category.id, "name": category.name}
    if category.keypoint_names:
        content["keypoint_names"] = list(category.keypoint_names)
    if category.keypoint_skeleton:
        content["keypoint_skeleton"] = [list(pair) for pair in category.keypoint_skeleton]
    return content


def read_categories(entries: Any) -> list[Category]:
    """
    Read a list of categories: ``id`` and ``name``, and for keypoints those members of Lightly or of COCO.

    :raises SchemaError: An entry is invalid.
    """
    if not isinstance(entries, list) or not entries:
        raise SchemaError("it has no list of categories")
    if len(entries) > _MOST_CATEGORIES:
        raise SchemaError(f"it has more than {_MOST_CATEGORIES} categories")
    return [_category(entry) for entry in entries]


def _category(entry: Any) -> Category:
    number, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise SchemaError(f"a category has the id {shown(repr(number), longest=100)}; ids are whole numbers from 0")
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or not is_storable(name):
        raise SchemaError(f"the category {number} has no name, or one that cannot be stored")
    names = entry.get("keypoint_names", entry.get("keypoints")) or []
    if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
        raise SchemaError(f"the category {number} has keypoint names that are not texts")
    skeleton = entry.get("keypoint_skeleton")
    if skeleton is None:
        skeleton = entry.get("skeleton") or []
        # COCO counts the keypoints of its skeleton from 1 (cocodataset.org, "Data format", Keypoint Detection).
        if isinstance(skeleton, list):
            skeleton = [[end - 1 for end in pair] if _are_indices(pair) else pair for pair in skeleton]
    if not isinstance(skeleton, list) or not all(
        _are_indices(pair) and len(pair) == 2 and (not names or max(pair) < len(names)) for pair in skeleton
    ):
        raise SchemaError(f"the category {number} has a keypoint skeleton that is not a list of pairs of its keypoints")
    return Category(number, name, tuple(names), tuple((a, b) for a, b in skeleton))


def _are_indices(pair: Any) -> bool:
    return isinstance(pair, list) and all(type(end) is int and end >= 0 for end in pair)


def check_task_name(name: str, *, argument: str = "task_name") -> None:
    """
    Reject a task name that the platform's contract or a folder in S3 does not allow.

    :raises ValueError: The message names the argument and the rule.
    """
    if not name or not re.fullmatch(RESOURCE_NAME_PATTERN, name):
        raise ValueError(
            f"{argument} is {shown(repr(name), longest=200)}, which the platform does not allow; use letters, digits "
            "and '_+=,.@:/-' (no spaces)."
        )
    if {"", ".", ".."} & set(name.split("/")):
        raise ValueError(
            f"{argument} is {name!r}, which is not a folder; leave out '.', '..', '//' and a slash at an end."
        )
    if name == "tasks.json":
        raise ValueError(f"{argument} is 'tasks.json', the platform's own list of tasks; choose another name.")


# --- one prediction ----------------------------------------------------------------------------------------------

Size = tuple[float, float]  # width and height of an image, in pixels


def are_sides(sides: Iterable[Any]) -> bool:
    """Return whether each can be the width or height of an image, in pixels."""
    return all(type(side) in (int, float) and 1 <= side <= _LONGEST_SIDE for side in sides)


def checked(entry: Any, schema: TaskSchema, *, size: Size | None, missing_score: float | None) -> dict[str, Any]:
    """
    Return a prediction as the platform's format has it.

    :param entry: The prediction: ``category_id``, and by the type of the task ``score``, ``probabilities``, ``bbox``,
        ``segmentation``, ``keypoints``. Unknown members are left out.
    :param schema: Schema of its task.
    :param size: Width and height of its image, to check that a box is inside; None: unknown.
    :param missing_score: Score of a prediction that has none; None: refuse it.
    :raises ValueError: It breaks a rule; the message says which.
    """
    if not isinstance(entry, dict):
        raise ValueError("it is not a JSON object")
    category = entry.get("category_id")
    if type(category) is not int or category not in schema.categories:
        raise ValueError(f"its category_id is {shown(repr(category), longest=50)}, which the schema does not have")
    found: dict[str, Any] = {"category_id": category}
    if schema.type in _WITH_BOX or (schema.type is TaskType.KEYPOINT_DETECTION and entry.get("bbox") is not None):
        found["bbox"] = _box(entry.get("bbox"), size)
    if schema.type in (TaskType.INSTANCE_SEGMENTATION, TaskType.SEMANTIC_SEGMENTATION):
        found["segmentation"] = _mask(entry.get("segmentation"), size)
    if schema.type is TaskType.KEYPOINT_DETECTION:
        found["keypoints"] = _keypoints(entry.get("keypoints"), schema.categories[category])
    score, probabilities = entry.get("score"), entry.get("probabilities")
    if score is None and missing_score is not None:
        score = missing_score
    if score is not None:
        if not _is_number(score) or not 0 <= score <= 1:
            raise ValueError(f"its score is {shown(repr(score), longest=50)}, outside 0 to 1")
        found["score"] = score
    elif schema.type is not TaskType.CLASSIFICATION or probabilities is None:
        raise ValueError("it has no score")
    if probabilities is not None:
        found["probabilities"] = _probabilities(probabilities, len(schema.categories))
    return found


_WITH_BOX = (TaskType.OBJECT_DETECTION, TaskType.INSTANCE_SEGMENTATION)


def _is_number(value: Any) -> bool:
    # Neither NaN, nor infinity, nor a whole number that no float can hold is between these.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(map(_is_number, values))


def _box(box: Any, size: Size | None) -> list[float]:
    if not _are_numbers(box) or len(box) != 4:
        raise ValueError("its bbox is not [x, y, width, height]")
    x, y, width, height = box
    if width <= 0 or height <= 0:
        raise ValueError(f"its bbox {_listed(box)} has no area")
    within = size or (math.inf, math.inf)
    ends = (x + width, y + height)
    if min(x, y) < -_BOX_TOLERANCE or any(end > most + _BOX_TOLERANCE for end, most in zip(ends, within, strict=True)):
        image = f"its image of {size[0]:g} x {size[1]:g} pixels" if size else "its image"
        raise ValueError(f"its bbox {_listed(box)} leaves {image}")
    left, top = max(x, 0), max(y, 0)
    right, bottom = (min(end, most) for end, most in zip(ends, within, strict=True))
    if (left, top, right, bottom) == (x, y, *ends):
        return list(box)
    if right <= left or bottom <= top:
        raise ValueError(f"its bbox {_listed(box)} is outside its image")
    return [left, top, right - left, bottom - top]


def _mask(runs: Any, size: Size | None) -> list[int]:
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run <= _LARGEST for run in runs):
        raise ValueError("its segmentation is not a list of run lengths (whole numbers from 0)")
    if size and sum(runs) != size[0] * size[1]:
        raise ValueError(f"its segmentation covers {sum(runs)} pixels, and its image has {size[0] * size[1]:g}")
    return runs


def _keypoints(values: Any, category: Category) -> list[float]:
    if not _are_numbers(values) or not values or len(values) % 3 or any(value < 0 for value in values):
        raise ValueError("its keypoints are not [x1, y1, s1, x2, y2, s2, …] of numbers from 0")
    if category.keypoint_names and len(values) != 3 * len(category.keypoint_names):
        raise ValueError(
            f"it has {len(values) // 3} keypoints, and its category {shown(category.name, longest=100)!r} has "
            f"{len(category.keypoint_names)}"
        )
    return list(values)


def _probabilities(values: Any, count: int) -> list[float]:
    if not _are_numbers(values) or len(values) != count:
        length = len(values) if isinstance(values, list | tuple) else "no list of"
        raise ValueError(f"it has {length} probabilities, and the schema has {count} categories")
    if any(not 0 <= value <= 1 for value in values):
        raise ValueError("one of its probabilities is outside 0 to 1")
    if abs(sum(values) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"its probabilities sum up to {sum(values):.3g} and not to 1")
    return list(values)


def _listed(values: Any) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
