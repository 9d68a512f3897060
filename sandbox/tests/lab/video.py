"""Small real videos of many kinds, made of the seeded videos' frames."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from lightly_sandbox.seeding.photos import FRAME_SIZE, SCENES, view

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from PIL import Image

FRAMES_PER_SECOND = 15


def pictures(n_frames: int, scene: int = 0) -> list[Image.Image]:
    """What a camera sees that moves over one of the seed's photographs."""
    return [view(SCENES[scene].sources[0], 50_000 + index) for index in range(n_frames)]


def film(
    path: Path,
    frames: Iterable[Image.Image],
    *,
    container: str = "mp4",
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int = FRAMES_PER_SECOND,
    times: Iterable[int] | None = None,
    **muxer_options: str,
) -> bytes:
    """Encode frames, shown at ``times`` (in 1/15 s; one after the other by default), and return the file."""
    with av.open(str(path), "w", format=container, options=muxer_options) as output:
        options = {"preset": "ultrafast", "crf": "23"} if codec == "libx264" else {}
        stream: Any = output.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1
        stream.width, stream.height = FRAME_SIZE
        for image, time in zip(frames, times or itertools.count(), strict=False):
            frame = av.VideoFrame.from_image(image)
            frame.pts = time
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path.read_bytes()


def silence() -> bytes:
    """An MP4 file with a second of sound and no picture."""
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as output:
        stream: Any = output.add_stream("aac", rate=44100, layout="mono")
        for index in range(40):
            samples = np.zeros((1, 1024), dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, index * 1024
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return content.getvalue()


def turned(mp4: bytes) -> bytes:
    """The same MP4 file as of a camera that was held upright: to be shown turned by 90 degrees clockwise."""
    # ISO/IEC 14496-12: the box tkhd ends with a matrix of nine numbers and then width and height. In its
    # first six (a, b, u, c, d, v; 16.16 fixed point), a quarter turn is (0, 1, 0, -1, 0, 0).
    start = mp4.index(b"tkhd") - 4
    matrix = start + int.from_bytes(mp4[start : start + 4], "big") - 8 - 36
    quarter = b"".join(number.to_bytes(4, "big", signed=True) for number in (0, 0x10000, 0, -0x10000, 0, 0))
    return mp4[:matrix] + quarter + mp4[matrix + len(quarter) :]
