"""What a selection asks for: inputs, strategies, and how many images."""

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
    """What a balance aims at (lightly 1.5.26, models/selection_config_v4_entry_strategy.py)."""

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
    """How many predictions of a task an image has; only of these categories, or of all if there are none."""

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
    """How much of each category of a task an image has."""

    task: str


@dataclass(frozen=True)
class Query:
    """The images of a tag, in another dataset or (``dataset_id`` None) in the one that the run is on."""

    tag_name: str
    dataset_id: str | None = None


Numbers = Metadata | Score | CategoryCount | Randomness
Classes = Metadata | ClassDistribution


@dataclass(frozen=True)
class Diversity:
    """Take images that are far from all that are taken already.

    ``minimum_distance`` (Euclidean, between 0 and 2 for normalised embeddings) ends the selection when every
    image that is left is closer than that to a taken one; None never ends it. With a ``task`` the distances
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
    """Take images that are near to one of the query's."""

    query: Query
    strength: float = 1.0
    task: str | None = None


@dataclass(frozen=True)
class SumRange:
    """The sum that the numbers of the selected images shall have; None leaves a side open."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Weights:
    """Take images with large numbers; a negative strength takes those with small ones.

    ``maximum_sum`` ends the selection before the sum of the taken numbers exceeds it. With a ``target`` an
    image that would exceed the most is passed over.
    """

    source: Numbers
    strength: float = 1.0
    maximum_sum: float | None = None
    target: SumRange | None = None


@dataclass(frozen=True)
class Threshold:
    """Leave out images whose number fails the comparison with ``limit``."""

    source: Numbers
    operation: Operation
    limit: float


@dataclass(frozen=True)
class Balance:
    """Take images so that their classes come near to a distribution.

    ``target`` has the shares for TARGET, in the order in which they were given; what is missing to 1 is for
    all other classes together.
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
    """The same parts of every image, used as if a model had found objects there."""

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
        """The images that others shall be similar to."""
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
