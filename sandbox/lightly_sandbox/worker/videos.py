"""Reads videos and decodes their frames one after the other: a whole video would not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.reading import READ_THREADS, Unreadable, store
from lightly_sandbox.worker.sources import Candidate, FrameTime

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from PIL import Image

    from lightly_sandbox.worker.input_expiration import InputExpiration
    from lightly_sandbox.worker.reading import RemoteFile
    from lightly_sandbox.worker.sources import Load, Tick
    from lightly_sandbox.worker.transfer import Transfer

# FFmpeg detects the format from the content. Do not allow playlists and similar formats, which make it open
# other files and URLs, whatever the file name is.
_FORMATS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc"
# These formats have a table of all frames, so that truncated files can be detected.
_FORMATS_WITH_A_TABLE = "mov"


class Undecodable(Exception):
    """The file is not a video, or incomplete. The text describes the problem."""


@dataclass(frozen=True, eq=False)
class LocalVideo:
    """A video that was read and can be decoded completely. It stays on disk.

    Attributes:
        name: the file's name, relative to the datasource's path.
        path: its path on disk.
        size_in_bytes: the file's size.
        frames: when each frame is shown.
        damaged: the positions of frames that the decoder could only guess.
        frame_format: the ending that frames get as image files.
    """

    name: str
    path: Path
    size_in_bytes: int
    frames: tuple[FrameTime, ...]
    damaged: frozenset[int]
    frame_format: str

    def candidates(self) -> Sequence[Candidate]:
        """Return every frame that is not damaged."""
        return [
            Candidate(
                frame_name(self.name, position, len(self.frames), self.frame_format), self, position, time
            )
            for position, time in enumerate(self.frames)
            if position not in self.damaged
        ]

    def damaged_names(self) -> list[str]:
        """Return the names that the damaged frames would have."""
        n_frames = len(self.frames)
        return [
            frame_name(self.name, position, n_frames, self.frame_format) for position in sorted(self.damaged)
        ]

    def pictures(self, positions: Collection[int], tick: Tick) -> Iterator[tuple[int, Load]]:
        """Decode the video from its beginning, and yield the frames at these positions."""
        last = max(positions, default=-1)
        # Count frames instead of seeking, which is inexact in many formats.
        for position, frame in enumerate(_decode(self.path, tick)):
            if position in positions:
                yield position, _Picture(frame)
            if position >= last:
                return


@dataclass(frozen=True)
class _Picture:
    frame: Any

    def __call__(self) -> Image.Image:
        image: Image.Image = self.frame.to_image()
        # Cameras that are held upright store the unrotated picture and the rotation in degrees
        # counterclockwise, as in Pillow.
        turned = self.frame.rotation % 360
        return image.rotate(turned, expand=True) if turned else image


def frame_name(video_name: str, position: int, n_frames: int, frame_format: str) -> str:
    """Return the file name of a frame, such as ``street-0153-mp4.png`` for the frame 153 of ``street.mp4``.

    The form is the vendor's (lightly 1.5.26, data/_video.py): the number has as many digits as the count.
    """
    stem, dot, extension = video_name.rpartition(".")
    stem, extension = (stem, extension) if dot else (video_name, "")
    return f"{stem}-{position:0{len(str(n_frames))}}-{extension}.{frame_format}"


def read_videos(
    transfer: Transfer,
    files: Sequence[RemoteFile],
    folder: Path,
    frame_format: str,
    tick: Tick,
    expiration: InputExpiration | None = None,
) -> tuple[list[LocalVideo], list[Unreadable]]:
    """Read videos and decode each once from its beginning to its end.

    Args:
        transfer: reads the URLs.
        files: what to read.
        folder: an empty or non-existing folder for the files' contents.
        frame_format: the ending that frames get as image files.
        tick: called repeatedly during the work.
        expiration: what to do with files that expire; None to read them like others.

    Returns:
        Those that can be decoded, in the order of ``files``, and the others.

    Raises:
        RunFailed: a file cannot be read for a reason that is unrelated to the file itself, or it expires and
            the config does not handle this.
        RunAborted: a file expires soon, and the config ends the run in this case.
    """
    folder.mkdir(exist_ok=True)
    # Use numbers, because an object's key may not be a valid file name.
    numbered = [(file, folder / str(number)) for number, file in enumerate(files)]
    sizes = spread(lambda job: store(transfer, *job, expiration), numbered, threads=READ_THREADS, tick=tick)
    videos: list[LocalVideo] = []
    unreadable: list[Unreadable] = []
    for (file, path), size in zip(numbered, sizes, strict=True):
        if isinstance(size, Unreadable):
            unreadable.append(size)
            continue
        try:
            videos.append(_checked(file.name, path, size, frame_format, tick))
        except Undecodable as wrong:
            path.unlink()
            unreadable.append(Unreadable(file.name, str(wrong), is_corrupt=True))
    return videos, unreadable


def _checked(name: str, path: Path, size_in_bytes: int, frame_format: str, tick: Tick) -> LocalVideo:
    times, damaged = [], set()
    for position, frame in enumerate(_decode(path, tick)):
        times.append(FrameTime(frame.pts, None if frame.time is None else float(frame.time)))
        if frame.is_corrupt:
            damaged.add(position)
    if not times:
        raise Undecodable("it holds no frame")
    if len(damaged) == len(times):
        raise Undecodable(f"each of its {len(times)} frames is damaged")
    return LocalVideo(name, path, size_in_bytes, tuple(times), frozenset(damaged), frame_format)


def _decode(path: Path, tick: Tick) -> Iterator[Any]:
    """Yield the frames.

    Raises:
        Undecodable: there are no frames, or some are missing.
    """
    # FFmpeg is large, so load it only when there is a video.
    import av

    if path.stat().st_size == 0:
        raise Undecodable("it is empty")
    n_frames = n_packets = 0
    try:
        with av.open(str(path), options={"format_whitelist": _FORMATS}) as container:
            stream = _video_stream(container)
            for packet in container.demux(stream):
                tick()
                # The last packet is empty: it flushes the decoder.
                n_packets += packet.dts is not None or packet.size > 0
                for frame in packet.decode():
                    yield frame
                    n_frames += 1
            if _FORMATS_WITH_A_TABLE in container.format.name.split(",") and n_packets < stream.frames:
                raise Undecodable(f"it is cut off: it has {n_packets} of its {stream.frames} frames")
    except av.error.FFmpegError as error:
        raise Undecodable(f"it cannot be decoded after {n_frames} frames: {error.strerror}") from error


def _video_stream(container: Any) -> Any:
    from av.stream import Disposition

    # An album cover is a stream of one frame, not a video.
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise Undecodable(f"it holds no video, only {kinds}")
