"""Samples: images, frames of videos, crops of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from lightly_provider.api.models.wire import Answer, Count, EntityId, Name, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

# A key of S3 has at most 1024 bytes, to which an address adds its bucket.
FileName = Annotated[str, Field(min_length=1, max_length=2000)]


class VideoFrameData(Answer):
    """Where in which video a frame is: its number counts from 0, its time is in seconds."""

    source_video: FileName | None = None
    source_video_frame_index: float | None = None
    source_video_frame_timestamp: float | None = None


class CropData(Answer):
    """Of which prediction in which sample a crop is."""

    parent_id: EntityId
    prediction_index: Count
    prediction_task_name: Name = ""


class Sample(Answer):
    """A sample as the platform returns it."""

    id: EntityId
    type: Word
    file_name: FileName
    video_frame_data: VideoFrameData | None = None
    crop_data: CropData | None = None


class LabelStudioTaskData(Answer):
    """What a task of Label Studio shows."""

    image: FileName
    lightly_meta_info: Sample | None = None


class LabelStudioTask(Answer):
    """A sample as a task of Label Studio."""

    data: LabelStudioTaskData


class LocatedSample(NamedTuple):
    """
    All that the platform knows of a sample, and where it says that its file is.

    :param sample: The sample.
    :param address: The address in the cloud.
    """

    sample: Sample
    address: str


class NamePage(Sequence[str]):
    """
    A page of names as the platform sent it: a line each. The lines are split only where single names are needed.

    :param lines: The lines in UTF-8; empty ones before and after them do not count.
    """

    def __init__(self, lines: bytes) -> None:
        # Only this line end: a name may contain the other characters that splitlines() takes for one, e.g. U+2028.
        self.lines = lines.strip(b"\n")
        self._n_names = self.lines.count(b"\n") + 1 if self.lines else 0

    def __len__(self) -> int:
        return self._n_names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, index: int | slice) -> str | list[str]:  # type: ignore[override]
        if index == 0 and self.lines:
            end = self.lines.find(b"\n")
            return _decoded(self.lines if end < 0 else self.lines[:end])
        return self._names[index]

    def __eq__(self, other: object) -> bool:
        return self.lines == other.lines if isinstance(other, NamePage) else self._names == other

    __hash__ = None  # type: ignore[assignment]

    @property
    def _names(self) -> list[str]:
        return _decoded(self.lines).split("\n") if self.lines else []


def _decoded(lines: bytes) -> str:
    # Invalid UTF-8 becomes lone surrogates, which the call refuses with the position of the name.
    return lines.decode("utf-8", errors="surrogateescape")
