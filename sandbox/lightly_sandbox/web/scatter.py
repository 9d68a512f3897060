"""The embedding as a picture: points in the plane become the paths of an SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Point = tuple[float, float]

WIDTH, HEIGHT, MARGIN = 1000, 600, 20
"""The size of the picture in its own units; a page shows it as wide as there is room."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How points become places in the picture: with the same scale both ways."""

    scale: float
    left: float
    top: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> Frame:
        """Return the frame in which all of the points fit."""
        if not points:
            return cls(1.0, 0.0, 0.0)
        xs, ys = [x for x, _ in points], [y for _, y in points]
        width, height = max(xs) - min(xs), max(ys) - min(ys)
        room = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
        scales = [space / extent for space, extent in zip(room, (width, height), strict=True) if extent > 0]
        scale = min(scales, default=1.0)
        return cls(
            scale,
            WIDTH / 2 - scale * (min(xs) + width / 2),
            HEIGHT / 2 + scale * (min(ys) + height / 2),
        )

    def place(self, point: Point) -> tuple[int, int]:
        """Return where a point is in the picture; up is up."""
        return round(self.left + self.scale * point[0]), round(self.top - self.scale * point[1])

    def path(self, points: Iterable[Point]) -> str:
        """Return one path with a dot for each point: a line without length, which gets round caps.

        Points at the same place of the picture are one dot. Ten bytes a point, where a circle takes fifty.
        """
        places = dict.fromkeys(map(self.place, points))
        return "".join(f"M{x} {y}h0" for x, y in places)
