"""Which images to take: the selection objectives, and the engine that weighs them against each other.

Arrays in, indices out. Nothing here knows of files, runs or the platform.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from lightly_mundig import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

OPERATIONS: Mapping[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "SMALLER": operator.lt,
    "SMALLER_EQUAL": operator.le,
    "BIGGER": operator.gt,
    "BIGGER_EQUAL": operator.ge,
}


@dataclass(frozen=True)
class Diversity:
    """Take images that are far from all that are taken already.

    ``minimum_distance`` (Euclidean, between 0 and 2 for normalised embeddings) ends the selection when every
    image that is left is closer than that to a taken one; None never ends it.
    """

    strength: float = 1.0
    minimum_distance: float | None = None


@dataclass(frozen=True)
class Typicality:
    """Take images from dense regions; ``minimum_typicality`` ends the selection below it, None never does."""

    n_nearest_neighbours: int
    strength: float = 1.0
    minimum_typicality: float | None = None


@dataclass(frozen=True)
class Metadata:
    """One number per image, by the key of the measurement."""

    key: str


@dataclass(frozen=True)
class Randomness:
    """One random number per image; the same seed gives the same numbers."""

    seed: int


@dataclass(frozen=True)
class Weights:
    """Take images with large numbers; a negative strength takes those with small ones."""

    source: Metadata | Randomness
    strength: float = 1.0


@dataclass(frozen=True)
class Threshold:
    """Leave out images whose number fails ``operation`` (a key of ``OPERATIONS``) against ``limit``."""

    source: Metadata
    operation: str
    limit: float


Strategy = Diversity | Typicality | Weights | Threshold


@dataclass(frozen=True)
class SelectionRequest:
    """What to select.

    With neither ``n_samples`` nor ``proportion`` only the strategies' stopping conditions end the selection.
    """

    strategies: tuple[Strategy, ...]
    n_samples: int | None = None
    proportion: float | None = None


def select(
    request: SelectionRequest,
    embeddings: NDArray[np.float32],
    metadata: Mapping[str, NDArray[np.float64]],
    n_preselected: int = 0,
) -> list[int]:
    """Select images.

    Args:
        request: how many, and by which objectives.
        embeddings: one row per image; the images that were selected earlier (the datapool) come first.
        metadata: for each key that the request uses, one number per image in the same order.
        n_preselected: how many of the first rows are the datapool. They count as taken, so new images are
            chosen to be far from them; they are neither filtered by thresholds nor returned.

    Returns:
        The rows of the newly selected images, in the order in which they were taken. ``n_samples`` counts
        these alone, and ``proportion`` is a share of the new images before thresholds. (The vendor's
        documentation says neither of the two; both are guesses.) There are fewer when images run out or a
        stopping condition is met.
    """
    n_images = len(embeddings)
    allowed = _passing(request.strategies, metadata, n_images)
    allowed[:n_preselected] = True
    rows = np.flatnonzero(allowed)
    wanted = min(_wanted(request, n_images - n_preselected), len(rows) - n_preselected)
    # The engine pads its answer with zeros when asked for more than there is, and an empty set panics.
    if wanted <= 0:
        return []

    engine = Selection()
    for strategy in request.strategies:
        _add(engine, strategy, embeddings, metadata, rows)
    chosen = engine.run_selection(list(range(n_preselected)), len(rows), n_preselected + wanted)
    return [int(rows[index]) for index in chosen if index >= n_preselected]


def _wanted(request: SelectionRequest, n_new: int) -> int:
    if request.n_samples is not None:
        return request.n_samples
    if request.proportion is not None:
        return round(request.proportion * n_new)
    return n_new


def _passing(
    strategies: Sequence[Strategy], metadata: Mapping[str, NDArray[np.float64]], n_images: int
) -> NDArray[np.bool_]:
    passing = np.ones(n_images, dtype=bool)
    for strategy in strategies:
        if isinstance(strategy, Threshold):
            passing &= OPERATIONS[strategy.operation](metadata[strategy.source.key], strategy.limit)
    return passing


def _add(
    engine: Selection,
    strategy: Strategy,
    embeddings: NDArray[np.float32],
    metadata: Mapping[str, NDArray[np.float64]],
    rows: NDArray[np.intp],
) -> None:
    if isinstance(strategy, Diversity):
        engine.add_diversifying_strategy(embeddings[rows], strategy.strength, strategy.minimum_distance)
    elif isinstance(strategy, Typicality):
        # Each image is its own only part: the engine offers typicality for images made of several objects. It
        # needs at least two of them; one image alone is as typical as can be.
        if len(rows) > 1:
            engine.add_subpart_typicality_strategy(
                embeddings[rows],
                [[index] for index in range(len(rows))],
                strategy.strength,
                strategy.n_nearest_neighbours,
                strategy.minimum_typicality,
            )
    elif isinstance(strategy, Weights):
        engine.add_weighting_strategy(
            _numbers(strategy.source, metadata, len(embeddings))[rows], strategy.strength
        )


def _numbers(
    source: Metadata | Randomness, metadata: Mapping[str, NDArray[np.float64]], n_images: int
) -> NDArray[np.float64]:
    if isinstance(source, Metadata):
        return metadata[source.key]
    return np.random.default_rng(source.seed).random(n_images)
