"""What is wrong in a fleet's file, and where."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_SHOWN = 50


@dataclass(frozen=True, order=True)
class Place:
    """
    A place in a file.

    :param line: Line, from 1.
    :param column: Column, from 1; 0: the line as a whole.
    """

    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"


@dataclass(frozen=True, order=True)
class Fault:
    """
    One fault of a file.

    :param place: Where it is.
    :param message: What is wrong, and what to do, as a sentence.
    """

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def described(path: str, faults: list[Fault]) -> str:
    """
    Return the message about all faults of a file, each with its line.

    :param path: Path of the file, as it was given.
    :param faults: The faults, at least one.
    """
    ordered = sorted(set(faults))
    count = "a fault" if len(ordered) == 1 else f"{len(ordered)} faults"
    lines = [f"{path} has {count}, so nothing was started:", *map(str, ordered[:_MOST_SHOWN])]
    if len(ordered) > _MOST_SHOWN:
        lines.append(f"… and {len(ordered) - _MOST_SHOWN} more; correct these first.")
    return "\n".join(lines)
