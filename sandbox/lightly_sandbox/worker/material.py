"""The data for a selection's strategies: one row per image, the datapool's first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lightly_sandbox.selection.request import Classes, Numbers, Query


@dataclass(frozen=True)
class ClassTable:
    """How much of each class each image has: one row per image, one column per label."""

    labels: tuple[str, ...]
    amounts: NDArray[np.float64]


@dataclass(frozen=True)
class Objects:
    """The objects of a task in all images: an embedding for each, and the rows of each image's objects."""

    embeddings: NDArray[np.float32]
    of_image: Sequence[Sequence[int]]

    def among(self, rows: NDArray[np.intp]) -> Objects:
        """Return the objects of these images only."""
        kept = [number for row in rows for number in self.of_image[row]]
        start, of_image = 0, []
        for row in rows:
            end = start + len(self.of_image[row])
            of_image.append(range(start, end))
            start = end
        return Objects(self.embeddings[kept], of_image)


@dataclass(frozen=True)
class Material:
    """All data that a request needs.

    ``embeddings`` has one row per image, ``numbers`` one number per image (except for RANDOM, which needs
    none), ``classes`` one table per source, ``queries`` the embeddings of each query's images, and
    ``objects`` the embeddings of each task whose objects are compared.
    """

    embeddings: NDArray[np.float32]
    numbers: Mapping[Numbers, NDArray[np.float64]] = field(default_factory=dict)
    classes: Mapping[Classes, ClassTable] = field(default_factory=dict)
    queries: Mapping[Query, NDArray[np.float32]] = field(default_factory=dict)
    objects: Mapping[str, Objects] = field(default_factory=dict)

    def joined(self, groups: Sequence[Sequence[int]]) -> Material:
        """Return the material for groups of images that are selected together, one row per group.

        A group's numbers, classes and embedding are the means over its images; it has the objects of all.
        """

        def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
            shape = (len(groups), *values.shape[1:])
            return np.array([values[list(group)].mean(axis=0) for group in groups]).reshape(shape)

        embeddings = means(self.embeddings.astype(np.float64))
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return Material(
            (embeddings / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32),
            {source: means(numbers) for source, numbers in self.numbers.items()},
            {
                source: ClassTable(table.labels, means(table.amounts))
                for source, table in self.classes.items()
            },
            self.queries,
            {
                task: Objects(
                    objects.embeddings,
                    [[row for of in group for row in objects.of_image[of]] for group in groups],
                )
                for task, objects in self.objects.items()
            },
        )
