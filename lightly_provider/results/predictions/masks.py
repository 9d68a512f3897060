"""
Masks of COCO as the platform has them: run lengths row by row, beginning with those of the background.

COCO has polygons, or run lengths column by column, as a list or compressed into a text (cocoapi, common/maskApi.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightly_provider.results.predictions.schema import Size

_MOST_PIXELS = 2**28
_MOST_BITS = 30  # of a run length of such a mask, its sign included
# PIL counts pixels in C's int.
_FARTHEST_POINT = 10**6


def row_wise_runs(segmentation: Any, size: Size | None) -> list[int]:
    """
    Return the run lengths of a COCO segmentation.

    :param segmentation: A list of polygons, or an object with ``counts`` and ``size``.
    :param size: Width and height of the image; polygons need it.
    :raises ValueError: It is neither, or does not fit.
    """
    import numpy

    if isinstance(segmentation, dict):
        mask = _of_runs(segmentation)
    elif isinstance(segmentation, list) and segmentation and size:
        mask = _of_polygons(segmentation, (int(size[0]), int(size[1])))
    else:
        raise ValueError(
            "its segmentation is neither polygons nor an object with counts and size"
            if size
            else "its image has no width and height"
        )
    flat = mask.ravel()
    ends = numpy.flatnonzero(flat[1:] != flat[:-1]) + 1
    # A mask that begins with the object has an empty first run.
    begin = [0, 0] if flat[0] else [0]
    return [int(run) for run in numpy.diff(numpy.concatenate((begin, ends, [len(flat)])))]


def bounding_box(runs: list[int], size: Size) -> list[float]:
    """Return x, y, width and height of the mask of these run lengths."""
    import numpy

    if sum(runs) != size[0] * size[1]:
        raise ValueError(f"its segmentation covers {sum(runs)} pixels, and its image has {size[0] * size[1]:g}")
    mask = _repeated(runs).reshape(int(size[1]), int(size[0]))
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("its segmentation is empty")
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _of_runs(segmentation: dict[str, Any]) -> Any:
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError("its segmentation has no size [height, width]")
    height, width = size
    if isinstance(counts, str):
        counts = _uncompressed(counts)
    if not isinstance(counts, list) or not all(type(run) is int and run >= 0 for run in counts):
        raise ValueError("its segmentation has no counts")
    if height * width > _MOST_PIXELS or sum(counts) != height * width:
        raise ValueError(f"its segmentation covers {sum(counts)} pixels, and its size is {width} x {height}")
    return _repeated(counts).reshape(width, height).T


def _repeated(runs: list[int]) -> Any:
    """Return the pixels of run lengths, a byte for each: an image has millions."""
    import numpy

    return numpy.repeat(numpy.arange(len(runs)) % 2 == 1, runs)


def _uncompressed(text: str) -> list[int]:
    """Return the run lengths of a compressed text: 5 bits in each character, differences from the third on."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text):
                raise ValueError("its segmentation's compressed counts are cut short")
            bits = ord(text[position]) - 48
            if not 0 <= bits < 64:
                raise ValueError("its segmentation has counts that are not compressed as COCO does")
            if shift > _MOST_BITS:
                raise ValueError("its segmentation has a count that is larger than any mask")
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            position, shift = position + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
    return counts


def _of_polygons(polygons: list[Any], size: tuple[int, int]) -> Any:
    import numpy
    from PIL import Image, ImageDraw

    if size[0] * size[1] > _MOST_PIXELS:
        raise ValueError("its image is too large for a mask")
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not all(type(value) in (int, float) and abs(value) <= _FARTHEST_POINT for value in polygon)
        ):
            raise ValueError("its segmentation has a polygon that is not a list of at least 3 points near the image")
        draw.polygon(list(zip(polygon[::2], polygon[1::2], strict=True)), fill=1, outline=1)
    return numpy.asarray(image, dtype=bool)
