"""Parts of long lists, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One page of a list of ``total`` items; ``number`` counts from 1 and is within the list."""

    number: int
    size: int
    total: int

    @classmethod
    def of(cls, number: int, size: int, total: int) -> Part:
        """Return the page with this number, or the nearest one that exists."""
        return cls(min(max(1, number), max(1, -(-total // size))), size, total)

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(1, -(-self.total // self.size))

    @property
    def start(self) -> int:
        """How many items come before this page."""
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        """How many items there are up to the end of this page."""
        return min(self.start + self.size, self.total)

    @property
    def numbers(self) -> list[int | None]:
        """The pages to link: the first, the last and those nearby; None stands for pages left out."""
        near = {1, self.last, *range(self.number - 2, self.number + 3)}
        wanted = sorted(number for number in near if 1 <= number <= self.last)
        linked: list[int | None] = []
        for number in wanted:
            if linked and linked[-1] is not None and number > linked[-1] + 1:
                linked.append(None)
            linked.append(number)
        return linked
