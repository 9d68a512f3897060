"""Selects images with the strategies of a request and the engine that combines them.

Arrays in, indices out. This module does not depend on files, runs or the platform.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from lightly_mundig import Selection

from lightly_sandbox.selection.request import (
    Balance,
    Distribution,
    Diversity,
    Numbers,
    Operation,
    Randomness,
    SelectionRequest,
    Similarity,
    Strategy,
    Threshold,
    Typicality,
    Weights,
)
from lightly_sandbox.worker.material import ClassTable, Material, Objects
from lightly_sandbox.worker.projection import Projection, shortening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

COMPARISONS: Mapping[Operation, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    Operation.SMALLER: operator.lt,
    Operation.SMALLER_EQUAL: operator.le,
    Operation.BIGGER: operator.gt,
    Operation.BIGGER_EQUAL: operator.ge,
}


class EngineError(Exception):
    """The selection engine gave up."""


def select(request: SelectionRequest, material: Material, n_preselected: int = 0) -> list[int]:
    """Select images.

    Args:
        request: how many, and by which strategies.
        material: what they work on; the images that were selected earlier (the datapool) come first.
        n_preselected: how many of the first rows are the datapool. They count as selected, so new images are
            far from them; they are neither filtered by thresholds nor returned.

    Returns:
        The rows of the newly selected images, in the order of selection. ``n_samples`` and sums count only
        these, and ``proportion`` is a share of the new images before thresholds. (The vendor does not
        document this; all are guesses.) There are fewer if images run out or a stopping condition is met.

    Raises:
        EngineError: the engine gave up; the text is the reason.
    """
    n_images = len(material.embeddings)
    allowed = _passing(request.strategies, material, n_images)
    allowed[:n_preselected] = True
    rows = np.flatnonzero(allowed)
    n_new = len(rows) - n_preselected
    wanted = min(_wanted(request, n_images - n_preselected), n_new)
    # The engine pads its result with zeros if more is requested than there is, and panics on an empty set.
    if wanted <= 0:
        return []
    # It selects one image after the other, so a longer result begins with the shorter one.
    asked = n_new if any(weights.target is not None for weights in _weights(request)) else wanted
    try:
        engine = Selection()
        compared = _compared(request, material, rows)
        for strategy in request.strategies:
            _add(engine, strategy, material, rows, n_preselected, compared)
        chosen = engine.run_selection(list(range(n_preselected)), len(rows), n_preselected + asked)
    except BaseException as error:
        # A panic of the engine, which is written in Rust, is not a Python Exception: uncaught, it would end
        # the worker.
        if type(error).__name__ != "PanicException":
            raise
        raise EngineError(f"lightly-mundig gave up: {error}") from None
    taken = (int(rows[index]) for index in chosen if index >= n_preselected)
    return _within_sums(taken, request, material)[:wanted]


def shortfalls(request: SelectionRequest, material: Material, selected: Sequence[int]) -> list[str]:
    """Return which target sums the selected images do not reach."""
    return [
        f"the numbers of {weights.source} add up to {total:g}, less than the targetRange's minSum"
        f" {weights.target.least:g}: there were no more images, or the number of samples was reached"
        for weights in _weights(request)
        if weights.target is not None
        and weights.target.least is not None
        and (total := float(_numbers(weights.source, material)[list(selected)].sum())) < weights.target.least
    ]


def _weights(request: SelectionRequest) -> list[Weights]:
    return [strategy for strategy in request.strategies if isinstance(strategy, Weights)]


def _wanted(request: SelectionRequest, n_new: int) -> int:
    if request.n_samples is not None:
        return request.n_samples
    if request.proportion is not None:
        return round(request.proportion * n_new)
    return n_new


def _passing(strategies: Iterable[Strategy], material: Material, n_images: int) -> NDArray[np.bool_]:
    passing = np.ones(n_images, dtype=bool)
    for strategy in strategies:
        if isinstance(strategy, Threshold):
            compare = COMPARISONS[strategy.operation]
            passing &= compare(_numbers(strategy.source, material), strategy.limit)
    return passing


def _within_sums(taken: Iterable[int], request: SelectionRequest, material: Material) -> list[int]:
    """Apply the limits on sums: a maximum ends the selection, a target skips images that would exceed it."""
    bounded = [
        (weights, _numbers(weights.source, material))
        for weights in _weights(request)
        if weights.maximum_sum is not None or weights.target is not None
    ]
    totals = [0.0] * len(bounded)
    kept = []
    for row in taken:
        sums = [total + float(numbers[row]) for total, (_, numbers) in zip(totals, bounded, strict=True)]
        pairs = [(weights, total) for (weights, _), total in zip(bounded, sums, strict=True)]
        if any(weights.maximum_sum is not None and total > weights.maximum_sum for weights, total in pairs):
            break
        if not any(
            weights.target is not None and weights.target.most is not None and total > weights.target.most
            for weights, total in pairs
        ):
            totals = sums
            kept.append(row)
    return kept


@dataclass(frozen=True)
class _Compared:
    """The compared images or objects, with shortened embeddings, and the projection for others."""

    objects: Objects
    project: Projection


def _compared(
    request: SelectionRequest, material: Material, rows: NDArray[np.intp]
) -> dict[str | None, _Compared]:
    """Return it by the task; for None the images, each its own only part."""
    found = {}
    for strategy in request.strategies:
        if isinstance(strategy, Diversity | Typicality | Similarity) and strategy.task not in found:
            if strategy.task is not None:
                objects = material.objects[strategy.task].among(rows)
            else:
                objects = Objects(material.embeddings[rows], [[index] for index in range(len(rows))])
            project = shortening(objects.embeddings)
            found[strategy.task] = _Compared(Objects(project(objects.embeddings), objects.of_image), project)
    return found


def _add(
    engine: Selection,
    strategy: Strategy,
    material: Material,
    rows: NDArray[np.intp],
    n_preselected: int,
    compared: Mapping[str | None, _Compared],
) -> None:
    if isinstance(strategy, Diversity):
        objects = compared[strategy.task].objects
        if strategy.task is None:
            engine.add_diversifying_strategy(objects.embeddings, strategy.strength, strategy.minimum_distance)
        elif len(objects.embeddings):
            engine.add_subpart_diversifying_strategy(
                objects.embeddings, objects.of_image, strategy.strength, strategy.minimum_distance
            )
    elif isinstance(strategy, Typicality):
        objects = compared[strategy.task].objects
        # The engine needs at least two; a single one has the maximum typicality.
        if len(objects.embeddings) > 1:
            engine.add_subpart_typicality_strategy(
                objects.embeddings,
                objects.of_image,
                strategy.strength,
                strategy.n_nearest_neighbours,
                strategy.minimum_typicality,
            )
    elif isinstance(strategy, Similarity):
        objects, project = compared[strategy.task].objects, compared[strategy.task].project
        if len(objects.embeddings):
            query = project(material.queries[strategy.query])
            engine.add_subpart_similarity_strategy(
                objects.embeddings, query, objects.of_image, strategy.strength
            )
    elif isinstance(strategy, Weights):
        numbers = _numbers(strategy.source, material)[rows]
        # The engine multiplies scores, so none may be negative (docs.lightly.ai, Selection Strategy
        # Combination). The real worker's behavior for a temperature below zero is not documented.
        engine.add_weighting_strategy(numbers - min(0.0, float(numbers.min())), strategy.strength)
    elif isinstance(strategy, Balance):
        amounts, target = _balance(strategy, material.classes[strategy.source], n_preselected)
        if target:
            engine.add_balancing_strategy(amounts[rows], target, strategy.strength)


def _numbers(source: Numbers, material: Material) -> NDArray[np.float64]:
    if isinstance(source, Randomness):
        return np.random.default_rng(source.seed).random(len(material.embeddings))
    return material.numbers[source]


def _balance(
    strategy: Balance, table: ClassTable, n_preselected: int
) -> tuple[NDArray[np.float64], list[float]]:
    """Return each image's amount of each target class, and the target distribution."""
    present = table.amounts.sum(axis=0) > 0
    if strategy.distribution is Distribution.UNIFORM:
        return table.amounts[:, present], [1.0 / present.sum()] * int(present.sum())
    if strategy.distribution is Distribution.INPUT:
        of_input = table.amounts[n_preselected:].sum(axis=0)
        return table.amounts, (of_input / of_input.sum()).tolist() if of_input.sum() else []
    columns = [table.labels.index(label) for label, _ in strategy.target]
    shares = [share for _, share in strategy.target]
    others = np.delete(table.amounts, columns, axis=1).sum(axis=1, keepdims=True)
    return np.hstack([table.amounts[:, columns], others]), [*shares, max(0.0, 1.0 - sum(shares))]
