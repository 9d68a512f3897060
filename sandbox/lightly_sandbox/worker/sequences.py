"""Selects sequences of a video's frames instead of single frames."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightly_sandbox.selection.request import SelectionRequest
    from lightly_sandbox.worker.sources import Candidate


@dataclass(frozen=True)
class Sequences:
    """Rows that are selected together or not at all. Each of the datapool's first rows is a separate group.

    The vendor documents that a video is split into sequences of one length, that the embeddings of their
    frames are averaged, and that the selection is made among the averages (lightly-ai/lightly,
    docs/source/docker/advanced/sequence_selection.rst). It does not document what happens to the rest of a
    video that is shorter than a sequence; here it is skipped, as is a sequence with a damaged frame or a
    frame of the datapool.
    """

    groups: tuple[tuple[int, ...], ...]
    length: int

    @classmethod
    def of(cls, candidates: Sequence[Candidate], n_datapool: int, length: int) -> Sequences:
        """Split the candidates after the datapool's into sequences of ``length`` frames, in their order."""

        def place(row: int) -> tuple[int, int]:
            return id(candidates[row].source), candidates[row].position // length

        alone = [(row,) for row in range(n_datapool)]
        rows = range(n_datapool, len(candidates))
        found = [tuple(group) for _, group in itertools.groupby(rows, key=place)]
        return cls((*alone, *(group for group in found if len(group) == length)), length)

    def request(self, request: SelectionRequest) -> SelectionRequest:
        """Convert the owner's request for frames into one for sequences."""
        if request.n_samples is None:
            return request
        return replace(request, n_samples=request.n_samples // self.length)

    def rows(self, selected: Iterable[int]) -> list[int]:
        """Return the frames' rows of selected sequences."""
        return [row for group in selected for row in self.groups[group]]


def sequence_information(selected: Sequence[Candidate], length: int) -> list[dict[str, Any]]:
    """Return the content of the run's artifact SEQUENCE_INFORMATION for the selected sequences.

    Its members are those of the vendor's documentation (see ``Sequences``); with them the sequences can be
    cut out of the videos.
    """
    return [
        {
            "video_name": frames[0].source.name,
            "frame_names": [frame.name for frame in frames],
            "frame_timestamps_pts": [frame.time.pts if frame.time else None for frame in frames],
            "frame_indices": [frame.position for frame in frames],
        }
        for frames in (selected[start : start + length] for start in range(0, len(selected), length))
    ]
