"""Real photographs for the sandbox's bucket, cut into frames as a moving camera would have recorded them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from PIL import Image

from lightly_sandbox.seeding.uploading import upload_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAME_SIZE = (320, 240)
JPEG_QUALITY = 85
MAX_PHOTOS = 20_000


@dataclass(frozen=True)
class Scene:
    """A place that the camera recorded.

    ``sources`` are files in scikit-image's ``data`` folder; several files are alternating views of the same
    place (a stereo pair). ``share`` is the weight of the scene in the number of frames.
    """

    name: str
    sources: tuple[str, ...]
    share: int


# The photographs in scikit-image 0.26's wheel. Its drawings (color, horse, logo, phantom), renderings (cell,
# chessboard, clock_motion) and tiny files are excluded. The shares are deliberately unequal: a camera that
# stands still for long fills most of a bucket with near-duplicates, and a random choice selects mostly those.
SCENES = (
    Scene("motorcycle", ("motorcycle_left.png", "motorcycle_right.png"), 34),
    Scene("coffee", ("coffee.png",), 26),
    Scene("rocket", ("rocket.jpg",), 20),
    Scene("astronaut", ("astronaut.png",), 16),
    Scene("chelsea", ("chelsea.png",), 12),
    Scene("camera", ("camera.png",), 10),
    Scene("brick", ("brick.png",), 8),
    Scene("retina", ("retina.jpg",), 7),
    Scene("ihc", ("ihc.png",), 6),
    Scene("grass", ("grass.png",), 5),
    Scene("hubble", ("hubble_deep_field.jpg",), 4),
    Scene("moon", ("moon.png",), 4),
    Scene("coins", ("coins.png",), 3),
    Scene("gravel", ("gravel.png",), 2),
    Scene("page", ("page.png",), 2),
    Scene("text", ("text.png",), 1),
)


def frames(n_photos: int) -> Iterator[tuple[str, bytes]]:
    """Generate the first ``n_photos`` frames, always the same ones in the same order.

    A longer series starts with the shorter one, so that a larger number only adds photos.

    Args:
        n_photos: how many frames; at least 1 and at most ``MAX_PHOTOS``.

    Yields:
        The name, such as ``coffee/frame_0007.jpg``, and the JPEG file's bytes.

    Raises:
        ValueError: at once, if ``n_photos`` is out of range.
    """
    if not 1 <= n_photos <= MAX_PHOTOS:
        raise ValueError(
            f"n_photos is {n_photos}, but the sandbox can cut between 1 and {MAX_PHOTOS} different frames"
            " from its photographs. Ask for a number in that range."
        )
    return (_frame(scene, index) for scene, index in _schedule(n_photos))


def scene_of(filename: str) -> str:
    """Return the scene that a frame shows.

    Args:
        filename: a name from ``frames``, with or without folders before it.

    Raises:
        ValueError: if no scene of the sandbox's photographs is in the name.
    """
    folders = filename.split("/")[:-1]
    if folders and folders[-1] in {scene.name for scene in SCENES}:
        return folders[-1]
    raise ValueError(
        f"The file {filename!r} is not one of the sandbox's photographs: the folder it lies in names no"
        " scene."
    )


def seed(s3_client: Any, bucket: str, prefix: str, n_photos: int) -> list[str]:
    """Upload frames to an S3 bucket; objects that are already there with the same content are left alone.

    Args:
        s3_client: a boto3 or botocore S3 client that may list and write under the prefix.
        bucket: an existing bucket.
        prefix: where the scenes' folders go, such as ``photos/``; the slash at its end may be left out, and
            an empty prefix means the bucket's root.
        n_photos: how many frames; see ``frames``.

    Returns:
        The keys of all ``n_photos`` objects, in the order of ``frames``.

    Raises:
        ValueError: if ``n_photos`` is out of range.
        botocore.exceptions.ClientError: if S3 refuses to list or to write.
    """
    return upload_missing(s3_client, bucket, prefix, frames(n_photos), "image/jpeg")


def view(source: str, moment: float) -> Image.Image:
    """Return what the camera sees of a scene at one moment, as an RGB image of ``FRAME_SIZE``.

    Args:
        source: one of the sources of a scene.
        moment: the time; consecutive whole numbers are near-duplicates; fractions are allowed.
    """
    photograph = _photograph(source)
    return photograph.resize(FRAME_SIZE, Image.Resampling.BICUBIC, box=_window(photograph.size, moment))


def _schedule(n_photos: int) -> Iterator[tuple[Scene, int]]:
    """Distribute the frames over the scenes by Webster's method: no scene loses one when the total grows."""
    taken = dict.fromkeys(SCENES, 0)
    for _ in range(n_photos):
        scene = max(SCENES, key=lambda candidate: candidate.share / (2 * taken[candidate] + 1))
        yield scene, taken[scene]
        taken[scene] += 1


def _frame(scene: Scene, index: int) -> tuple[str, bytes]:
    content = io.BytesIO()
    source = scene.sources[index % len(scene.sources)]
    view(source, index).save(content, "JPEG", quality=JPEG_QUALITY)
    return f"{scene.name}/frame_{index:04d}.jpg", content.getvalue()


@cache
def _photograph(file_name: str) -> Image.Image:
    # Read the installed package's file: skimage.data's functions would download what the wheel lacks.
    with (
        resources.as_file(resources.files("skimage").joinpath("data", file_name)) as path,
        Image.open(path) as image,
    ):
        return image.convert("RGB")


def _window(size: tuple[int, int], index: float) -> tuple[float, float, float, float]:
    """Return the camera's window for a frame: it moves and zooms slowly and never repeats.

    The three frequencies have no common period, so the path does not close; the window moves by about one per
    cent of the photograph's width per frame, with subpixel precision.
    """
    width, height = size
    aspect = FRAME_SIZE[0] / FRAME_SIZE[1]
    zoom = 0.80 + 0.08 * math.sin(0.173 * index)
    window_width = zoom * min(width, height * aspect)
    window_height = window_width / aspect
    left = (width - window_width) * (0.5 + 0.5 * math.sin(0.097 * index))
    top = (height - window_height) * (0.5 - 0.5 * math.cos(0.061 * math.sqrt(2) * index))
    return left, top, left + window_width, top + window_height
