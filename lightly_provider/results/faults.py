"""Collect what is wrong with the files of a source, so that one message names the first of many faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.foreign_text import shown

N_NAMED = 10  # faults, or files, that a message names


@dataclass
class Faults:
    """
    What is wrong with the files of a source: the number of faults, and the first of them.

    :param source: Address of the source, for the message.
    :param what: What the files hold: ``predictions`` or ``metadata``.
    """

    source: str
    what: str
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: str, fault: str) -> None:
        """Add a fault."""
        self.count += 1
        if len(self.first) < N_NAMED:
            self.first.append(f"{shown(place, longest=200)}: {shown(fault, longest=500)}")

    def raise_any(self) -> None:
        """
        Raise the faults.

        :raises LightlyInvalidFilesError: There is at least one.
        """
        if not self.count:
            return
        number = "One fault" if self.count == 1 else f"{self.count} faults"
        listed = "; ".join(self.first) + ("; …" if self.count > len(self.first) else "")
        raise LightlyInvalidFilesError(
            f"{number} in the {self.what} of {self.source}, so nothing was written: {listed}."
        )
