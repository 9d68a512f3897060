from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.worker.sources import FrameTime
from lightly_sandbox.worker.video_sizes import video_level_sizes, video_of
from lightly_sandbox.worker.videos import LocalVideo, frame_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["a.mp4", "folder/a-b-12.c.mov", "no-ending", "a b.webm"])
def test_a_frames_name_tells_its_video(name: str) -> None:
    assert video_of(frame_name(name, 7, 100, "png")) == name


def test_a_name_that_is_no_frames_is_a_video_of_its_own() -> None:
    assert video_of("photo.png") == "photo.png"


def test_videos_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    videos = []
    for name, content in {"a.mp4": b"one", "b.mp4": b"one", "c.mp4": b"two"}.items():
        (tmp_path / name).write_bytes(content)
        times = (FrameTime(0, 0.0), FrameTime(1, 0.1))
        videos.append(LocalVideo(name, tmp_path / name, 3, times, frozenset(), "png"))
    selected = [*videos[0].candidates(), videos[2].candidates()[0]]
    assert video_level_sizes(videos, 2, selected, ["c-0-mp4.png", "d-1-mp4.png"]) == {
        "nInput": 5,
        "nCorrupt": 2,
        "nDuplicate": 1,
        "nRemoved": 1,
        "nSelected": 2,
        "nPreselectedDatapool": 2,
        "nSelectedWithDatapool": 3,
    }
