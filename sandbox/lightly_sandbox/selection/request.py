"""A selection request: inputs, strategies, and the number of images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """How a threshold compares (lightly 1.5.26, models/selection_strategy_threshold_operation.py)."""

    SMALLER = "SMALLER"
    SMALLER_EQUAL = "SMALLER_EQUAL"
    BIGGER = "BIGGER"
    BIGGER_EQUAL = "BIGGER_EQUAL"


class Distribution(StrEnum):
    """The target of a balance (lightly 1.5.26, models/selection_config_v4_entry_strategy.py)."""

    TARGET = "TARGET"
    UNIFORM = "UNIFORM"
    INPUT = "INPUT"


MEASURED_KEYS = (
    "lightly.sizeInBytes",
    "lightly.sharpness",
    "lightly.luminance",
    "lightly.snr",
    "lightly.uniformRowRatio",
)
"""The metadata that the worker measures: the numbers among the platform's own fields (lightly 1.5.26,
models/sample_meta_data.py). The vendor's examples name the first two and the signal-to-noise ratio."""


@dataclass(frozen=True)
class Metadata:
    """One value per image: ``lightly.…`` is measured, everything else is custom metadata by its path."""

    key: str

    @property
    def is_measured(self) -> bool:
        """Whether the worker measures it; otherwise it is read from ``.lightly/metadata/``."""
        return self.key.startswith("lightly.")

    def __str__(self) -> str:
        return f"METADATA {self.key}"


@dataclass(frozen=True)
class Score:
    """One active-learning score per image, computed from the predictions of a task."""

    task: str
    name: str

    def __str__(self) -> str:
        return f"SCORES {self.name} of {self.task}"


@dataclass(frozen=True)
class CategoryCount:
    """An image's number of predictions of a task; only of these categories, or of all if none are given."""

    task: str
    categories: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"PREDICTIONS {', '.join(sorted(self.categories)) or 'of all categories'} of {self.task}"


@dataclass(frozen=True)
class Randomness:
    """One random number per image; the same seed gives the same numbers."""

    seed: int

    def __str__(self) -> str:
        return f"RANDOM {self.seed}"


@dataclass(frozen=True)
class ClassDistribution:
    """An image's amount of each category of a task."""

    task: str


@dataclass(frozen=True)
class Query:
    """The images of a tag, in another dataset or (``dataset_id`` None) in the run's dataset."""

    tag_name: str
    dataset_id: str | None = None


Numbers = Metadata | Score | CategoryCount | Randomness
Classes = Metadata | ClassDistribution


@dataclass(frozen=True)
class Diversity:
    """Select images that are far from all images selected so far.

    ``minimum_distance`` (Euclidean, between 0 and 2 for normalised embeddings) ends the selection when every
    remaining image is closer than that to a selected one; None never ends it. With a ``task`` the distances
    are those of the objects in the images.
    """

    strength: float = 1.0
    minimum_distance: float | None = None
    task: str | None = None


@dataclass(frozen=True)
class Typicality:
    """Take images from dense regions; ``minimum_typicality`` ends the selection below it, None never does."""

    n_nearest_neighbours: int
    strength: float = 1.0
    minimum_typicality: float | None = None
    task: str | None = None


@dataclass(frozen=True)
class Similarity:
    """Select images that are near to one of the query's images."""

    query: Query
    strength: float = 1.0
    task: str | None = None


@dataclass(frozen=True)
class SumRange:
    """The range for the sum of the selected images' numbers; None leaves a side open."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Weights:
    """Select images with large numbers; with a negative strength, those with small ones.

    ``maximum_sum`` ends the selection before the sum of the selected numbers exceeds it. With a ``target``,
    images that would exceed its maximum are skipped.
    """

    source: Numbers
    strength: float = 1.0
    maximum_sum: float | None = None
    target: SumRange | None = None


@dataclass(frozen=True)
class Threshold:
    """Exclude images whose number fails the comparison with ``limit``."""

    source: Numbers
    operation: Operation
    limit: float


@dataclass(frozen=True)
class Balance:
    """Select images so that their classes approximate a distribution.

    ``target`` has the shares for TARGET, in the given order; the remainder to 1 is for all other classes
    together.
    """

    source: Classes
    distribution: Distribution
    target: tuple[tuple[str, float], ...] = ()
    strength: float = 1.0


Strategy = Diversity | Typicality | Similarity | Weights | Threshold | Balance


@dataclass(frozen=True)
class Box:
    """A part of an image, from 0 to 1 of its width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class AutoTask:
    """The same parts of every image, used like predicted objects."""

    name: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class SelectionRequest:
    """What to select.

    With neither ``n_samples`` nor ``proportion`` only the strategies' stopping conditions end the selection.
    """

    strategies: tuple[Strategy, ...]
    n_samples: int | None = None
    proportion: float | None = None
    auto_tasks: tuple[AutoTask, ...] = ()

    @property
    def weights_and_thresholds(self) -> tuple[Weights | Threshold, ...]:
        """The strategies that need a number per image."""
        return tuple(strategy for strategy in self.strategies if isinstance(strategy, Weights | Threshold))

    @property
    def balances(self) -> tuple[Balance, ...]:
        """The strategies that need classes."""
        return tuple(strategy for strategy in self.strategies if isinstance(strategy, Balance))

    @property
    def sources(self) -> frozenset[Numbers | Classes]:
        """The numbers and classes that the strategies need."""
        return frozenset(strategy.source for strategy in (*self.weights_and_thresholds, *self.balances))

    @property
    def queries(self) -> frozenset[Query]:
        """The query images that the selected ones must be similar to."""
        return frozenset(strategy.query for strategy in self.strategies if isinstance(strategy, Similarity))

    @property
    def object_tasks(self) -> frozenset[str]:
        """The tasks whose objects are embedded, auto tasks among them."""
        return frozenset(
            strategy.task
            for strategy in self.strategies
            if isinstance(strategy, Diversity | Typicality | Similarity) and strategy.task is not None
        )

    @property
    def prediction_tasks(self) -> frozenset[str]:
        """The tasks whose predictions must be in the bucket."""
        used = {
            source.task
            for source in self.sources
            if isinstance(source, Score | CategoryCount | ClassDistribution)
        }
        return frozenset((used | self.object_tasks) - {task.name for task in self.auto_tasks})
