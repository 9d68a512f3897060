"""Measurements on a single image: the platform's metadata of a sample."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ImageStat

from lightly_sandbox.selection.request import MEASURED_KEYS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# A row counts as uniform when its brightest and its darkest pixel differ by no more than this, of 255.
_UNIFORM_ROW_RANGE = 2
_BAND_ROWS = 64


@dataclass(frozen=True)
class Measurement:
    """The measurements that the platform has fields for (lightly 1.5.26, models/sample_meta_data.py).

    The vendor publishes no formulas for them; comments at the computation explain each number.
    """

    size_in_bytes: int
    shape: tuple[int, int, int]
    sharpness: float
    luminance: float
    snr: float
    uniform_row_ratio: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_wire(self) -> dict[str, Any]:
        """Return the measurements in the platform's spelling."""
        wire = {_camel(name): value for name, value in asdict(self).items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in wire.items()}

    def number(self, key: str) -> float:
        """Return a measurement by its key in a selection config, one of ``METADATA_KEYS``."""
        return float(getattr(self, METADATA_KEYS[key]))


def measure(image: Image.Image, size_in_bytes: int) -> Measurement:
    """Measure one image.

    Args:
        image: the decoded image, of any mode.
        size_in_bytes: the file's size.
    """
    grey_image = image.convert("L")
    greys = ImageStat.Stat(grey_image)
    colours = ImageStat.Stat(image if image.mode == "RGB" else image.convert("RGB"))
    brightness, spread = greys.mean[0], greys.stddev[0]
    grey = np.asarray(grey_image)
    return Measurement(
        size_in_bytes=size_in_bytes,
        shape=(image.height, image.width, len(image.getbands())),
        sharpness=_sharpness(grey),
        # In per cent of white.
        luminance=min(100.0, brightness / 2.55),
        # Mean brightness divided by its spread. An image of a single colour has no spread, and no noise.
        snr=brightness / spread if spread > 0 else 0.0,
        uniform_row_ratio=float((np.ptp(grey, axis=1) <= _UNIFORM_ROW_RANGE).mean()),
        mean=tuple(value / 255 for value in colours.mean),
        std=tuple(value / 255 for value in colours.stddev),
    )


def _sharpness(grey: NDArray[np.uint8]) -> float:
    """Return the standard deviation of the Laplacian: 0 for an image without any edge."""
    height, width = grey.shape
    if min(height, width) < 3:
        return 0.0
    total = squares = 0.0
    # A band of rows at a time stays in the processor's cache.
    for top in range(0, height - 2, _BAND_ROWS):
        # The Laplacian is at most four times 255, for which 16 bits are sufficient.
        band = grey[top : top + _BAND_ROWS + 2].astype(np.int16)
        laplacian = band[1:-1, 1:-1] * np.int16(-4)
        for neighbours in (band[:-2, 1:-1], band[2:, 1:-1], band[1:-1, :-2], band[1:-1, 2:]):
            laplacian += neighbours
        values = laplacian.ravel().astype(np.float32)
        total += float(values.sum(dtype=np.float64))
        squares += float(np.dot(values, values))
    n_values = (height - 2) * (width - 2)
    variance = squares / n_values - (total / n_values) ** 2
    return math.sqrt(max(0.0, variance))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


METADATA_KEYS = {key: _snake(key.removeprefix("lightly.")) for key in MEASURED_KEYS}
"""The measurements by which a selection may weigh or filter."""
