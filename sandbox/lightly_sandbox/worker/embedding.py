"""A descriptor of an image that needs no trained network: colours and edge directions by place."""

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

    It captures where in the picture which colours lie (hue weighted by saturation, saturation and brightness,
    in a grid of 4x4 cells) and which directions the edges in each cell have. Frames of one scene come out
    close together and different scenes far apart, which is what selecting for diversity needs.

    It does not capture meaning: the same object elsewhere in the picture, mirrored, turned or in another
    light is "far", and two different things with the same colours and textures in the same places are "near".
    It is no substitute for the self-supervised network of the real worker, and distances differ from that
    network's.

    Args:
        image: any decoded image, of any size and mode.

    Returns:
        ``DIMENSIONS`` numbers, none negative, of Euclidean length 1: two embeddings are between 0 (the same)
        and the square root of 2 apart.
    """
    colours = image if image.mode == "RGB" else image.convert("RGB")
    # A large picture is first averaged to at least twice the size, which takes a fifth of the time.
    small = colours.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    joined = np.concatenate([_unit(_colour_layout(small)), _unit(_edge_directions(small))])
    return _unit(joined).astype(np.float32)


def _colour_layout(small: Image.Image) -> NDArray[np.float64]:
    hue, saturation, value = np.moveaxis(np.asarray(small.convert("HSV")), 2, 0)
    # A hue says nothing where there is hardly any colour, so each pixel's vote weighs as much as it is
    # coloured.
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
    # An edge has no sign here: dark-to-light and light-to-dark are the same direction, hence half a turn,
    # whose end is its beginning.
    halves = np.arctan2(down, right) * np.float32(1.0 / np.pi)
    direction = ((halves + (halves < 0)) * np.float32(256.0)).astype(np.intp)
    return np.sqrt(_histogram(direction & 255, _DIRECTIONS, strength))


def _slope(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """How steeply brightness rises from row to row, between both neighbours or, at the border, to one."""
    slope = np.empty_like(grey)
    np.subtract(grey[2:], grey[:-2], out=slope[1:-1])
    slope[1:-1] *= 0.5
    slope[0], slope[-1] = grey[1] - grey[0], grey[-1] - grey[-2]
    return slope


def _histogram(values: NDArray[Any], bins: int, weights: Any = None) -> NDArray[np.float64]:
    """Count values of 0 to 255 into ``bins`` bins, for each cell of the grid by itself."""
    place = _CELL_OF_PIXEL * bins + _BIN_OF_VALUE[bins][values]
    counts: NDArray[np.float64] = np.bincount(
        place.ravel(), None if weights is None else weights.ravel(), minlength=_CELLS * bins
    ).astype(np.float64)
    return counts / (_SIDE * _SIDE)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
