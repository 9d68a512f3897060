"""Embeds the objects in images: predictions of a model, or the parts that an auto task cuts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lightly_sandbox.selection.request import AutoTask
from lightly_sandbox.worker.embedding import DIMENSIONS, describe
from lightly_sandbox.worker.material import Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from lightly_sandbox.worker.predictions import TaskPredictions

Box = tuple[float, float, float, float]

OfEach = Callable[[Callable[[str, "Image.Image"], list[Any]]], list[list[Any]]]
"""Calls a function with the name and the picture of each image, and returns its results in order."""


def embed_objects(task: AutoTask | TaskPredictions, of_each: OfEach) -> Objects:
    """Embed each object of each image separately.

    Args:
        task: the same parts of every image, or predictions; a prediction without a box is skipped.
        of_each: decodes the images.
    """

    def embed(name: str, image: Image.Image) -> list[NDArray[np.float32]]:
        return [describe(crop(image, box)) for box in _boxes(task, name, image)]

    embedded = of_each(embed)
    of_image, start = [], 0
    for own in embedded:
        of_image.append(range(start, start + len(own)))
        start += len(own)
    joined = [embedding for own in embedded for embedding in own]
    return Objects(np.array(joined, dtype=np.float32).reshape(-1, DIMENSIONS), of_image)


def _boxes(task: AutoTask | TaskPredictions, name: str, image: Image.Image) -> list[Box]:
    if isinstance(task, AutoTask):
        width, height = image.size
        return [
            (part.left * width, part.top * height, part.width * width, part.height * height)
            for part in task.boxes
        ]
    return [prediction.box for prediction in task.of(name) if prediction.box is not None]


def crop(image: Image.Image, box: Box) -> Image.Image:
    """Cut a box out of an image, limited to the image and at least one pixel large."""
    left = min(max(0, int(box[0])), image.width - 1)
    top = min(max(0, int(box[1])), image.height - 1)
    right = min(max(left + 1, round(box[0] + box[2])), image.width)
    bottom = min(max(top + 1, round(box[1] + box[3])), image.height)
    return image.crop((left, top, right, bottom))
