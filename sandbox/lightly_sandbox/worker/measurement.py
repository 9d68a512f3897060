"""What can be measured on one image by itself: the platform's metadata of a sample."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ImageStat

if TYPE_CHECKING:
    from PIL import Image

# A row counts as uniform when its brightest and its darkest pixel differ by no more than this, of 255.
_UNIFORM_ROW_RANGE = 2.0


@dataclass(frozen=True)
class Measurement:
    """The measurements that the platform has fields for (lightly 1.5.26, models/sample_meta_data.py).

    The vendor publishes no formulas for them; what each number is here is written at its computation.
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


METADATA_KEYS = {
    "lightly.sizeInBytes": "size_in_bytes",
    "lightly.sharpness": "sharpness",
    "lightly.luminance": "luminance",
    "lightly.snr": "snr",
    "lightly.uniformRowRatio": "uniform_row_ratio",
}


def measure(image: Image.Image, size_in_bytes: int) -> Measurement:
    """Measure one image.

    Args:
        image: the decoded image, of any mode.
        size_in_bytes: the file's size.
    """
    colours, greys = ImageStat.Stat(image.convert("RGB")), ImageStat.Stat(image.convert("L"))
    brightness, spread = greys.mean[0], greys.stddev[0]
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    return Measurement(
        size_in_bytes=size_in_bytes,
        shape=(image.height, image.width, len(image.getbands())),
        sharpness=_sharpness(grey),
        # Per cent of white.
        luminance=min(100.0, brightness / 2.55),
        # Mean brightness over its spread. An image of one single colour has none, and no noise to speak of
        # either.
        snr=brightness / spread if spread > 0 else 0.0,
        uniform_row_ratio=float((np.ptp(grey, axis=1) <= _UNIFORM_ROW_RANGE).mean()),
        mean=tuple(value / 255 for value in colours.mean),
        std=tuple(value / 255 for value in colours.stddev),
    )


def _sharpness(grey: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Return the standard deviation of the Laplacian: 0 for an image without any edge."""
    if min(grey.shape) < 3:
        return 0.0
    centre = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    return float(laplacian.std())


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
