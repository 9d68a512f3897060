"""An image descriptor that needs no trained network: colours and edge directions by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 128
_GRID = 4
_COLOUR_BINS = 8
_TONE_BINS = 4
_DIRECTIONS = 9
_CELLS = _GRID * _GRID

DIMENSIONS = _CELLS * (_COLOUR_BINS + 2 * _TONE_BINS + _DIRECTIONS)

_CELL_OF_LINE = np.arange(_SIDE) * _GRID // _SIDE
_CELL_OF_PIXEL = _CELL_OF_LINE[:, None] * _GRID + _CELL_OF_LINE[None, :]
_BIN_OF_VALUE = {bins: np.arange(256) * bins // 256 for bins in (_COLOUR_BINS, _TONE_BINS, _DIRECTIONS)}


def describe(image: Image.Image) -> NDArray[np.float32]:
    """Embed one image.

    The embedding captures the colours (hue weighted by saturation, saturation and brightness) and the edge
    directions in each cell of a 4x4 grid. Frames of one scene are close together and different scenes far
    apart, as a selection for diversity requires.

    It does not capture meaning: the same object at another position, mirrored, rotated or in another light is
    "far", and two different objects with the same colours and textures at the same positions are "near". It
    is no substitute for the self-supervised network of the real worker, and distances differ from that
    network's.

    Args:
        image: any decoded image, of any size and mode.

    Returns:
        ``DIMENSIONS`` numbers, none negative, of Euclidean length 1: two embeddings are between 0 (the same)
        and the square root of 2 apart.
    """
    colours = image if image.mode == "RGB" else image.convert("RGB")
    # First reduce a large picture to at least twice the target size, which takes a fifth of the time.
    small = colours.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    joined = np.concatenate([_unit(_colour_layout(small)), _unit(_edge_directions(small))])
    return _unit(joined).astype(np.float32)


def _colour_layout(small: Image.Image) -> NDArray[np.float64]:
    hue, saturation, value = np.moveaxis(np.asarray(small.convert("HSV")), 2, 0)
    # The hue is meaningless where there is hardly any colour, so weight each pixel by its chroma.
    chroma = saturation.astype(np.float64) * value / (255.0 * 255.0)
    return np.concatenate(
        [
            np.sqrt(_histogram(hue, _COLOUR_BINS, chroma)),
            np.sqrt(_histogram(saturation, _TONE_BINS)),
            np.sqrt(_histogram(value, _TONE_BINS)),
        ]
    )


def _edge_directions(small: Image.Image) -> NDArray[np.float64]:
    grey = np.asarray(small.convert("L"), dtype=np.float32)
    down, right = _slope(grey), _slope(grey.T).T
    strength = np.sqrt(down * down + right * right)
    # Ignore the sign of an edge: dark-to-light and light-to-dark are the same direction, so the angles
    # cover half a turn and wrap around.
    halves = np.arctan2(down, right) * np.float32(1.0 / np.pi)
    direction = ((halves + (halves < 0)) * np.float32(256.0)).astype(np.intp)
    return np.sqrt(_histogram(direction & 255, _DIRECTIONS, strength))


def _slope(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gradient of brightness from row to row: central differences, one-sided at the border."""
    slope = np.empty_like(grey)
    np.subtract(grey[2:], grey[:-2], out=slope[1:-1])
    slope[1:-1] *= 0.5
    slope[0], slope[-1] = grey[1] - grey[0], grey[-1] - grey[-2]
    return slope


def _histogram(values: NDArray[Any], bins: int, weights: Any = None) -> NDArray[np.float64]:
    """Count values from 0 to 255 in ``bins`` bins, separately for each cell of the grid."""
    place = _CELL_OF_PIXEL * bins + _BIN_OF_VALUE[bins][values]
    counts: NDArray[np.float64] = np.bincount(
        place.ravel(), None if weights is None else weights.ravel(), minlength=_CELLS * bins
    ).astype(np.float64)
    return counts / (_SIDE * _SIDE)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
