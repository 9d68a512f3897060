"""The counts of a run's videos, in addition to those of its frames."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from lightly_sandbox.worker.sources import Candidate
    from lightly_sandbox.worker.videos import LocalVideo

_FRAME_NAME = re.compile(r"(?P<stem>.+)-\d+-(?P<extension>[^-]*)\.[^.]+", re.DOTALL)


def video_level_sizes(
    videos: Sequence[LocalVideo],
    n_corrupt: int,
    selected: Iterable[Candidate],
    datapool_names: Iterable[str],
) -> dict[str, int]:
    """Count videos as the report's ``videoLevelSizes`` does (lightly 1.5.26, models/dataset_sizes.py).

    Args:
        videos: the new videos that can be decoded.
        n_corrupt: the number of those that cannot.
        selected: the newly selected frames.
        datapool_names: the names of the frames that earlier runs have selected.
    """
    chosen = {candidate.source.name for candidate in selected}
    before = {video_of(name) for name in datapool_names}
    return {
        "nInput": len(videos) + n_corrupt,
        "nCorrupt": n_corrupt,
        "nDuplicate": len(videos) - len(_contents(videos)),
        "nRemoved": len(videos) - len(chosen),
        "nSelected": len(chosen),
        "nPreselectedDatapool": len(before),
        "nSelectedWithDatapool": len(before | chosen),
    }


def video_of(frame_name: str) -> str:
    """Return the name of a frame's video (see ``videos.frame_name``)."""
    found = _FRAME_NAME.fullmatch(frame_name)
    if found is None:
        return frame_name
    return ".".join(filter(None, (found["stem"], found["extension"])))


def _contents(videos: Iterable[LocalVideo]) -> Collection[bytes]:
    found = set()
    for video in videos:
        with video.path.open("rb") as file:
            found.add(hashlib.file_digest(file, "sha256").digest())
    return found
