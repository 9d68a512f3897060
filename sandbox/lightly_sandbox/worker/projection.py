"""Shortens embeddings, so that a selection from a large set takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_EXACT = 4000
"""Up to so many embeddings are compared as they are."""

SHORT_DIMENSIONS = 128


Projection = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]


def shortening(embeddings: NDArray[np.float32]) -> Projection:
    """Return the projection onto the directions in which embeddings differ most, if there are many of them.

    It is orthogonal and so increases no distance: a minimum distance after the projection also holds for the
    original embeddings.

    Args:
        embeddings: one per row. Up to ``MAX_EXACT`` rows, or ``SHORT_DIMENSIONS`` numbers per row, they stay
            unchanged.

    Returns:
        A function that shortens these embeddings, and others to compare with them.
    """
    if len(embeddings) <= MAX_EXACT or embeddings.shape[1] <= SHORT_DIMENSIONS:
        return lambda same: same
    centre = embeddings.mean(axis=0)
    centred = embeddings - centre
    # The eigenvalues are in ascending order.
    vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1]
    directions = vectors[:, : -SHORT_DIMENSIONS - 1 : -1].astype(np.float32)
    return lambda others: (others - centre) @ directions
