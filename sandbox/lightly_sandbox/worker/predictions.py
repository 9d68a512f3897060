"""The predictions of a task from the customer's files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightly_sandbox.selection.schemas import TaskType, own_file_name
from lightly_sandbox.worker.material import ClassTable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from lightly_sandbox.selection.schemas import PredictionSchema


@dataclass(frozen=True)
class Prediction:
    """A model's prediction: the index of its category in the schema, and the model's confidence.

    ``probabilities`` has those of all categories in the order of their ids; ``box`` is left, top, width and
    height in pixels.
    """

    category: int
    score: float | None = None
    probabilities: tuple[float, ...] | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class TaskPredictions:
    """A task's predictions for a set of images; an image without a file has none."""

    task: str
    schema: PredictionSchema
    of_file: Mapping[str, tuple[Prediction, ...]]

    def of(self, image_name: str) -> tuple[Prediction, ...]:
        """Return the predictions for an image."""
        return self.of_file.get(own_file_name(image_name), ())

    def class_table(self, image_names: Sequence[str]) -> ClassTable:
        """Return the amount of each category in the images: the sum of the probabilities of all objects.

        This follows the vendor's page (lightly-ai/lightly, docs/source/docker/getting_started/selection.rst).
        A prediction without probabilities counts as certain: a guess.
        """
        amounts = np.zeros((len(image_names), len(self.schema.categories)))
        for row, name in enumerate(image_names):
            for prediction in self.of(name):
                if prediction.probabilities is None:
                    amounts[row, prediction.category] += 1
                else:
                    amounts[row] += prediction.probabilities
        return ClassTable(tuple(self.schema.categories.values()), amounts)

    def counts(self, image_names: Sequence[str], categories: Collection[str]) -> NDArray[np.float64]:
        """Return the images' numbers of predictions of these categories, or of all if none are given."""
        names = list(self.schema.categories.values())
        return np.array(
            [
                sum(not categories or names[found.category] in categories for found in self.of(name))
                for name in image_names
            ],
            dtype=np.float64,
        )

    def scores(self, image_names: Sequence[str], name: str) -> NDArray[np.float64]:
        """Return the images' active-learning scores (docs.lightly.ai, Active learning scorers).

        Raises:
            ValueError: a prediction lacks data for the score; the text names the image.
        """
        compute = _SCORES[name]
        scores = []
        for image_name in image_names:
            try:
                scores.append(compute(self.of(image_name)))
            except _LackError as lack:
                raise ValueError(
                    f"the score {name} of the task {self.task} needs the {lack} of every prediction, and"
                    f" those of {image_name} have none"
                ) from None
        return np.array(scores, dtype=np.float64)


class _LackError(Exception):
    """A prediction lacks an optional member of its file."""


def parse_predictions(content: Any, own_name: str, schema: PredictionSchema) -> tuple[Prediction, ...]:
    """Read the JSON of one image's file.

    Args:
        content: the file's content.
        own_name: the file's name, relative to the task's folder.
        schema: the task's schema.

    Raises:
        ValueError: it does not match the schema.
    """
    match content:
        case {"file_name": str(file_name), "predictions": [*found]}:
            pass
        case _:
            raise ValueError("it has no file_name and list of predictions")
    if own_file_name(file_name) != own_name:
        raise ValueError(f"its file_name is {file_name!r}, whose predictions belong elsewhere")
    if schema.type is TaskType.CLASSIFICATION and len(found) > 1:
        raise ValueError("it has several predictions, where a classification has one")
    return tuple(_prediction(entry, schema) for entry in found)


def _prediction(entry: Any, schema: PredictionSchema) -> Prediction:
    if not isinstance(entry, dict):
        raise ValueError(f"its prediction {entry!r} is not a JSON object")
    ids = list(schema.categories)
    category = entry.get("category_id")
    if category not in ids:
        raise ValueError(f"the schema has no category with the category_id {category!r}")
    probabilities, box, score = entry.get("probabilities"), entry.get("bbox"), entry.get("score")
    if probabilities is not None and not _are_numbers(probabilities, len(ids), most=1.0):
        raise ValueError(f"its probabilities {probabilities!r} are no {len(ids)} numbers from 0 to 1")
    if box is not None and not _are_numbers(box, 4):
        raise ValueError(f"its bbox {box!r} is no x, y, width and height")
    if schema.type is TaskType.OBJECT_DETECTION and box is None:
        raise ValueError("a prediction has no bbox, which an object detection must have")
    if score is not None and not _are_numbers([score], 1, most=1.0):
        raise ValueError(f"its score {score!r} is not a number from 0 to 1")
    return Prediction(
        ids.index(category),
        score,
        None if probabilities is None else tuple(probabilities),
        None if box is None else (box[0], box[1], box[2], box[3]),
    )


def _are_numbers(values: Any, count: int, most: float = math.inf) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        and all(0 <= value <= most and math.isfinite(value) for value in values)
    )


def _of_probabilities(
    uncertainty: Callable[[NDArray[np.float64]], float],
) -> Callable[[Sequence[Prediction]], float]:
    """Return an image's score: that of its most uncertain object; without objects it is certain."""

    def compute(predictions: Sequence[Prediction]) -> float:
        scores = [0.0]
        for prediction in predictions:
            if prediction.probabilities is None:
                raise _LackError("probabilities")
            scores.append(uncertainty(np.array(prediction.probabilities)))
        return max(scores)

    return compute


# The three scores are 1 if all categories are equally probable and 0 for a certain one (docs.lightly.ai,
# Active learning scorers). With only one category nothing is uncertain.


def _least_confidence(probabilities: NDArray[np.float64]) -> float:
    n = len(probabilities)
    return float(1.0 - probabilities.max()) / (1.0 - 1.0 / n) if n > 1 else 0.0


def _margin(probabilities: NDArray[np.float64]) -> float:
    if len(probabilities) < 2:
        return 0.0
    second, first = np.sort(probabilities)[-2:]
    return float(1.0 - (first - second))


def _entropy(probabilities: NDArray[np.float64]) -> float:
    n, possible = len(probabilities), probabilities[probabilities > 0]
    return float(-(possible * np.log2(possible)).sum() / np.log2(n)) if n > 1 else 0.0


def _unsure_of_objects(predictions: Sequence[Prediction]) -> float:
    scores = [prediction.score for prediction in predictions]
    if None in scores:
        raise _LackError("score")
    return 1.0 - sum(score for score in scores if score is not None) / len(scores) if scores else 0.0


_SCORES: Mapping[str, Callable[[Sequence[Prediction]], float]] = {
    "uncertainty_least_confidence": _of_probabilities(_least_confidence),
    "uncertainty_margin": _of_probabilities(_margin),
    "uncertainty_entropy": _of_probabilities(_entropy),
    # The number of objects: the vendor's page excludes images with fewer than two objects with a threshold of
    # 2 (lightly-ai/lightly, docs/source/docker/getting_started/selection.rst, "Score Thresholding").
    "object_frequency": lambda predictions: float(len(predictions)),
    "objectness_least_confidence": _unsure_of_objects,
}
