"""The sources of a selection: images, and the frames of videos, which must be decoded in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from lightly_sandbox.worker.outcome import RunFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

Load = Callable[[], Image.Image]
"""Gives a picture; to be called in the thread that needs it, and soon."""


Tick = Callable[[], None]
"""Called several times a second while something takes long; what it raises ends that."""


class Source(Protocol):
    """A file of the input that was read and can be decoded."""

    @property
    def name(self) -> str:
        """The file's name, relative to the datasource's path."""

    @property
    def size_in_bytes(self) -> int:
        """The file's size."""

    def candidates(self) -> Sequence[Candidate]:
        """Return the candidates of the file, in order."""

    def pictures(self, positions: Collection[int], tick: Tick) -> Iterator[tuple[int, Load]]:
        """Yield the pictures at these positions, in order, each before the next one is decoded."""


@dataclass(frozen=True)
class FrameTime:
    """A frame's presentation time: in the container's units, and in seconds. None if it has none."""

    pts: int | None
    seconds: float | None


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image, or one frame of a video.

    ``name`` is the file name that it has as a sample. ``position`` is its place in the source, counted from
    0. ``time`` is None for an image.
    """

    name: str
    source: Source
    position: int = 0
    time: FrameTime | None = None

    @property
    def is_frame(self) -> bool:
        """Whether it is a frame of a video, of which there is no file yet."""
        return self.time is not None

    def size_of(self, image: Image.Image) -> int:
        """Return the size in bytes: of the file, or of a frame's decoded pixels."""
        return image.width * image.height * 3 if self.is_frame else self.source.size_in_bytes

    def video_frame_data(self) -> dict[str, Any] | None:
        """Return a frame's origin in the platform's form (lightly 1.5.26, models/video_frame_data.py).

        None for an image.
        """
        if self.time is None:
            return None
        wire: dict[str, Any] = {"sourceVideo": self.source.name, "sourceVideoFrameIndex": self.position}
        if self.time.seconds is not None:
            wire["sourceVideoFrameTimestamp"] = self.time.seconds
        return wire


def loads(candidates: Iterable[Candidate], tick: Tick) -> Iterator[tuple[Candidate, Load]]:
    """Yield each candidate with its picture.

    Args:
        candidates: those of one source must be adjacent and in the order of their positions, because the
            source is decoded once, from its start.
        tick: also called for the frames in between.

    Raises:
        RunFailed: a source does not decode as it did before.
    """
    for _, group in itertools.groupby(candidates, key=lambda candidate: id(candidate.source)):
        wanted = {candidate.position: candidate for candidate in group}
        source = next(iter(wanted.values())).source
        n_given = 0
        for position, load in source.pictures(wanted, tick):
            yield wanted[position], load
            n_given += 1
        if n_given < len(wanted):
            raise RunFailed(
                f"{source.name} gave {len(wanted)} pictures when it was checked and {n_given} later: the"
                " worker's copy of it has changed. Schedule the run again."
            )
