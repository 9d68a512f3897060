"""Which videos decode, frame by frame, without a platform."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops, ImageStat

from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.reading import RemoteFile
from lightly_sandbox.worker.sources import loads
from lightly_sandbox.worker.videos import LocalVideo, frame_name, read_videos
from tests.lab.video import FRAMES_PER_SECOND, film, pictures, silence, turned

if TYPE_CHECKING:
    from pathlib import Path

    from lightly_sandbox.worker.reading import Unreadable

N_FRAMES = 12


def untroubled() -> None:
    """A tick of a worker that nobody tells to stop."""


class Bucket:
    """What the worker reads from, without a network: URLs are names."""

    def __init__(self, **files: bytes) -> None:
        self._files = files

    def read(self, url: str, path: Path, _look: object = None) -> int:
        return path.write_bytes(self._files[url])


def read(folder: Path, content: bytes) -> LocalVideo | Unreadable:
    transfer = Bucket(it=content)
    files = [RemoteFile("street.mp4", "it")]
    read, unreadable = read_videos(transfer, files, folder / "read", "png", untroubled)  # type: ignore[arg-type]
    return (*read, *unreadable)[0]


def video(folder: Path, content: bytes) -> LocalVideo:
    found = read(folder, content)
    assert isinstance(found, LocalVideo), found
    return found


def reason(folder: Path, content: bytes) -> str:
    found = read(folder, content)
    assert not isinstance(found, LocalVideo)
    assert found.is_corrupt
    assert found.name == "street.mp4"
    assert list((folder / "read").iterdir()) == []
    return found.reason


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(ImageStat.Stat(ImageChops.difference(one.convert("L"), other.convert("L"))).mean[0])


@pytest.mark.parametrize(
    ("container", "codec", "pixel_format"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mov", "libx264", "yuv420p"),
        ("webm", "libvpx", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("mpeg", "mpeg1video", "yuv420p"),
    ],
)
def test_every_frame_is_decoded_in_order(
    tmp_path: Path, container: str, codec: str, pixel_format: str
) -> None:
    shown = pictures(N_FRAMES)
    rate = 25 if codec == "mpeg1video" else FRAMES_PER_SECOND
    content = film(
        tmp_path / "film", shown, container=container, codec=codec, pixel_format=pixel_format, rate=rate
    )
    found = video(tmp_path, content)
    assert len(found.frames) == N_FRAMES
    assert not found.damaged
    candidates = found.candidates()
    assert [candidate.position for candidate in candidates] == list(range(N_FRAMES))
    for candidate, load in loads(candidates, untroubled):
        differences = [difference(load(), picture) for picture in shown]
        assert min(differences) == differences[candidate.position]
        assert differences[candidate.position] < 20


def test_only_the_frames_asked_for_are_given(tmp_path: Path) -> None:
    shown = pictures(N_FRAMES)
    found = video(tmp_path, film(tmp_path / "film", shown))
    given = [(position, load().size) for position, load in found.pictures({2, 7}, untroubled)]
    assert given == [(2, shown[0].size), (7, shown[0].size)]


def test_a_frame_is_named_after_its_video_its_number_and_the_format() -> None:
    assert frame_name("a/street.mp4", 7, 1000, "png") == "a/street-0007-mp4.png"
    assert frame_name("no-ending", 0, 9, "jpg") == "no-ending-0-.jpg"


def test_times_are_the_containers_own_also_when_they_are_irregular(tmp_path: Path) -> None:
    times = [0, 1, 5, 6, 30]
    found = video(tmp_path, film(tmp_path / "film", pictures(5), times=times))
    assert [frame.seconds for frame in found.frames] == pytest.approx(
        [time / FRAMES_PER_SECOND for time in times]
    )
    data = found.candidates()[2].video_frame_data()
    assert data == {
        "sourceVideo": "street.mp4",
        "sourceVideoFrameIndex": 2,
        "sourceVideoFrameTimestamp": pytest.approx(1 / 3),
    }


def test_a_video_of_a_camera_held_upright_is_turned(tmp_path: Path) -> None:
    shown = pictures(2)
    found = video(tmp_path, turned(film(tmp_path / "film", shown)))
    ((_, load),) = found.pictures({0}, untroubled)
    upright = load()
    assert upright.size == (shown[0].height, shown[0].width)
    assert difference(upright, shown[0].transpose(Image.Transpose.ROTATE_270)) < 8


def test_a_video_that_ends_before_its_table_is_corrupt(tmp_path: Path) -> None:
    # The table is at the end of an ordinary MP4 file, and at its beginning if it is made for streaming.
    ordinary = film(tmp_path / "film", pictures(N_FRAMES))
    assert "cannot be decoded after 0 frames" in reason(tmp_path, ordinary[: len(ordinary) // 2])
    streamed = film(tmp_path / "film", pictures(N_FRAMES), movflags="faststart")
    assert "after" in reason(tmp_path, streamed[: len(streamed) // 2])
    assert isinstance(read(tmp_path, streamed), LocalVideo)


def test_a_frame_that_can_only_be_guessed_is_left_out(tmp_path: Path) -> None:
    content = bytearray(film(tmp_path / "film", pictures(N_FRAMES), movflags="faststart"))
    middle = len(content) // 2
    for place in range(middle, middle + 600, 7):
        content[place] ^= 0x5A
    found = video(tmp_path, bytes(content))
    assert 0 < len(found.damaged) < N_FRAMES == len(found.frames)
    left = {candidate.position for candidate in found.candidates()}
    assert left == set(range(N_FRAMES)) - found.damaged


def test_an_empty_file_is_corrupt(tmp_path: Path) -> None:
    assert reason(tmp_path, b"") == "it is empty"


def test_sound_without_a_picture_is_corrupt(tmp_path: Path) -> None:
    assert reason(tmp_path, silence()) == "it holds no video, only audio"


def test_the_picture_of_an_image_file_is_no_video(tmp_path: Path) -> None:
    content = io.BytesIO()
    pictures(1)[0].save(content, "JPEG")
    assert "cannot be decoded" in reason(tmp_path, content.getvalue())


def test_a_playlist_does_not_lead_to_another_file(tmp_path: Path) -> None:
    film(tmp_path / "other.mp4", pictures(N_FRAMES))
    playlist = f"ffconcat version 1.0\nfile 'file:{tmp_path}/other.mp4'\n"
    assert "cannot be decoded after 0 frames" in reason(tmp_path, playlist.encode())


def test_the_others_are_read_when_one_is_corrupt(tmp_path: Path) -> None:
    transfer = Bucket(good=film(tmp_path / "film", pictures(3)), bad=b"no video")
    files = [RemoteFile("a.mp4", "good"), RemoteFile("b.mp4", "bad"), RemoteFile("c.mp4", "good")]
    found, unreadable = read_videos(transfer, files, tmp_path / "read", "png", untroubled)  # type: ignore[arg-type]
    assert [video.name for video in found] == ["a.mp4", "c.mp4"]
    assert [file.name for file in unreadable] == ["b.mp4"]


def test_a_video_that_has_changed_since_it_was_checked_ends_the_run(tmp_path: Path) -> None:
    found = video(tmp_path, film(tmp_path / "film", pictures(N_FRAMES)))
    found.path.write_bytes(film(tmp_path / "film", pictures(3)))
    with pytest.raises(RunFailed, match=r"street\.mp4 gave 12 pictures .* and 3 later"):
        list(loads(found.candidates(), untroubled))


def test_a_tick_that_raises_ends_the_reading(tmp_path: Path) -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks > 5:
            raise KeyboardInterrupt

    transfer = Bucket(it=film(tmp_path / "film", pictures(N_FRAMES)))
    with pytest.raises(KeyboardInterrupt):
        read_videos(transfer, [RemoteFile("a.mp4", "it")], tmp_path / "read", "png", tick)  # type: ignore[arg-type]


def test_a_tick_that_raises_ends_the_way_to_a_late_frame(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    found = video(tmp_path, film(tmp_path / "film", pictures(N_FRAMES)))
    with pytest.raises(KeyboardInterrupt):
        list(loads(found.candidates()[-1:], stop))
