"""How far images are from each other, by their embeddings. Arrays in, arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS_AT_ONCE = 1024


def nearest_in_set(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance of each image to the nearest other one; nothing for fewer than two images."""
    if len(embeddings) < 2:
        return np.zeros(0)
    return _nearest(embeddings, embeddings, skip_itself=True)


def nearest_among(embeddings: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance of each image to the nearest of ``others``; nothing if there are no others."""
    if not len(others):
        return np.zeros(0)
    return _nearest(embeddings, others, skip_itself=False)


def distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance of each row on the left to each on the right."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    # |a - b|^2 = a^2 + b^2 - 2ab, which rounding can bring a little below zero.
    squares: NDArray[np.float64] = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.sqrt(np.maximum(0.0, squares))


def projected(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each image's position in the plane of the two principal components."""
    if len(embeddings) < 2:
        return np.zeros((len(embeddings), 2))
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    # Use the covariance, whose size depends on the embedding, not on the number of images.
    _, directions = np.linalg.eigh(centred.T @ centred)
    places: NDArray[np.float64] = centred @ directions[:, :-3:-1]
    return places


def random_rows(first: int, end: int, n_rows: int) -> NDArray[np.intp]:
    """Draw ``n_rows`` of the rows from ``first`` to ``end``, the same ones each time."""
    drawn = np.random.default_rng(0).choice(end - first, size=min(n_rows, end - first), replace=False)
    return np.sort(drawn) + first


def _nearest(
    left: NDArray[np.float32], right: NDArray[np.float32], *, skip_itself: bool
) -> NDArray[np.float64]:
    found = np.empty(len(left))
    # Use blocks: the distances between 5,000 images take 200 MB.
    for start in range(0, len(left), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        apart = distances(left[rows], right)
        if skip_itself:
            places = np.arange(len(apart))
            apart[places, places + start] = np.inf
        found[rows] = apart.min(axis=1)
    return found
