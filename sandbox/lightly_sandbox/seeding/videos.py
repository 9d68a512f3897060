"""Short real videos for the sandbox's bucket: a camera that moves over the photographs of ``photos``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from lightly_sandbox.seeding.photos import FRAME_SIZE, MAX_PHOTOS, SCENES, Scene, view
from lightly_sandbox.seeding.uploading import upload_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from PIL import Image

MAX_VIDEOS = 1000
FRAMES_PER_SECOND = 15
FRAMES_PER_VIDEO = 60
_FRAMES_PER_SCENE = FRAMES_PER_VIDEO // 2
# How far the camera moves from frame to frame, where 1 is the step between two photos.
_MOTION = 0.25
# H.264, which most cameras write, with the encoder's fastest preset.
_ENCODER_OPTIONS = {"preset": "ultrafast", "crf": "23"}


def videos(n_videos: int) -> Iterator[tuple[str, bytes]]:
    """Generate the first ``n_videos`` videos, always the same ones in the same order.

    Each is four seconds long: two scenes of two seconds, with a cut between them. Consecutive frames are
    near-duplicates, as in any video. No two videos show the same moment of a scene, and none shows one that
    ``photos.frames`` cuts.

    Args:
        n_videos: how many; at least 1 and at most ``MAX_VIDEOS``.

    Yields:
        The name, such as ``video-0007.mp4``, and the MP4 file's bytes.

    Raises:
        ValueError: at once, if ``n_videos`` is out of range.
    """
    if not 1 <= n_videos <= MAX_VIDEOS:
        raise ValueError(
            f"n_videos is {n_videos}, but the sandbox can make between 1 and {MAX_VIDEOS} different videos of"
            " its photographs. Ask for a number in that range."
        )
    return ((f"video-{number:04d}.mp4", _encode(_frames(number))) for number in range(1, n_videos + 1))


def scenes_of(number: int) -> tuple[Scene, Scene]:
    """Return the two scenes that the video of this number, counted from 1, shows."""
    round_, pair = divmod(number - 1, len(SCENES) // 2)
    # Their number is even, so an odd step leads to another scene, and each round pairs them differently.
    return SCENES[2 * pair], SCENES[(2 * pair + 1 + 2 * round_) % len(SCENES)]


def seed(s3_client: Any, bucket: str, prefix: str, n_videos: int) -> list[str]:
    """Upload videos to an S3 bucket; objects that are already there with the same content are left alone.

    Args:
        s3_client: a boto3 or botocore S3 client that may list and write under the prefix.
        bucket: an existing bucket.
        prefix: where the videos go, such as ``videos/``; see ``upload_missing``.
        n_videos: how many; see ``videos``.

    Returns:
        The keys of all ``n_videos`` objects, in the order of ``videos``.

    Raises:
        ValueError: if ``n_videos`` is out of range.
        botocore.exceptions.ClientError: if S3 refuses to list or to write.
    """
    return upload_missing(s3_client, bucket, prefix, videos(n_videos), "video/mp4")


def _frames(number: int) -> Iterator[Image.Image]:
    # The photos' moments are below MAX_PHOTOS.
    start = MAX_PHOTOS + number * _FRAMES_PER_SCENE
    for scene in scenes_of(number):
        for index in range(_FRAMES_PER_SCENE):
            yield view(scene.sources[0], start + index * _MOTION)


def _encode(frames: Iterable[Image.Image]) -> bytes:
    import av

    frame_class: Any = av.VideoFrame
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_ENCODER_OPTIONS)
        stream.width, stream.height = FRAME_SIZE
        stream.pix_fmt = "yuv420p"
        # With more threads, the slices of the picture would differ between machines.
        stream.codec_context.thread_count = 1
        for image in frames:
            output.mux(stream.encode(frame_class.from_image(image)))
        output.mux(stream.encode())
    return content.getvalue()
