from __future__ import annotations

import hashlib
import io
import itertools
from typing import TYPE_CHECKING, Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from lightly_sandbox.seeding.photos import FRAME_SIZE, SCENES, frames
from lightly_sandbox.seeding.videos import (
    FRAMES_PER_SECOND,
    FRAMES_PER_VIDEO,
    MAX_VIDEOS,
    scenes_of,
    seed,
    videos,
)

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer


@pytest.fixture(scope="module")
def two() -> dict[str, bytes]:
    return dict(videos(2))


def decoded(content: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(ImageStat.Stat(ImageChops.difference(one.convert("L"), other.convert("L"))).mean[0])


def test_videos_are_the_same_every_time_and_all_different(two: dict[str, bytes]) -> None:
    assert list(two) == ["video-0001.mp4", "video-0002.mp4"]
    three = dict(videos(3))
    assert {name: three[name] for name in two} == two
    assert len({hashlib.sha256(content).digest() for content in three.values()}) == 3


def test_a_video_has_two_scenes_and_between_them_a_cut(two: dict[str, bytes]) -> None:
    shown = decoded(two["video-0001.mp4"])
    assert (len(shown), shown[0].size) == (FRAMES_PER_VIDEO, FRAME_SIZE)
    steps = [difference(one, other) for one, other in itertools.pairwise(shown)]
    cut = steps.pop(FRAMES_PER_VIDEO // 2 - 1)
    assert 0 < max(steps) < cut / 2


def test_a_video_is_an_mp4_of_some_seconds(two: dict[str, bytes]) -> None:
    with av.open(io.BytesIO(two["video-0002.mp4"])) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.average_rate) == ("h264", FRAMES_PER_SECOND)
        assert container.duration == 4_000_000  # microseconds


def test_no_video_shows_a_photo_of_the_same_seed(two: dict[str, bytes]) -> None:
    scene = scenes_of(1)[0].name
    photos = [Image.open(io.BytesIO(content)) for name, content in frames(160) if name.startswith(scene)]
    shown = decoded(two["video-0001.mp4"])[: FRAMES_PER_VIDEO // 2]
    assert min(difference(photo, frame) for photo in photos for frame in shown) > 1


def test_the_scenes_are_paired_differently_in_each_round() -> None:
    rounds = len(SCENES) // 2
    pairs = [frozenset(scene.name for scene in scenes_of(number)) for number in range(1, 3 * rounds + 1)]
    assert all(len(pair) == 2 for pair in pairs)
    assert set.union(*map(set, pairs[:rounds])) == {scene.name for scene in SCENES}
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("n_videos", [0, MAX_VIDEOS + 1])
def test_a_number_of_videos_that_cannot_be_met_is_refused_at_once(n_videos: int) -> None:
    with pytest.raises(ValueError, match=f"n_videos is {n_videos}.* between 1 and {MAX_VIDEOS}"):
        videos(n_videos)


def test_videos_lie_below_the_prefix_beside_what_is_there(customer: Customer, two: dict[str, bytes]) -> None:
    s3: Any = customer.client("s3")
    bucket = customer.bucket("raw/other.txt")
    assert seed(s3, bucket, "raw", 2) == [f"raw/{name}" for name in two]
    found = s3.get_object(Bucket=bucket, Key="raw/video-0001.mp4")
    assert (found["Body"].read(), found["ContentType"]) == (two["video-0001.mp4"], "video/mp4")
    assert "raw/other.txt" in customer.keys(bucket)
