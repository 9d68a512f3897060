from __future__ import annotations

import hashlib
import io
from collections import Counter

import pytest
from PIL import Image

from lightly_sandbox.seeding.photos import FRAME_SIZE, MAX_PHOTOS, frames, scene_of


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    return dict(frames(160))


def test_every_frame_has_its_own_name_and_its_own_content(photos: dict[str, bytes]) -> None:
    assert len(photos) == 160
    assert len({hashlib.sha256(content).digest() for content in photos.values()}) == 160


def test_frames_are_the_same_every_time(photos: dict[str, bytes]) -> None:
    assert dict(frames(160)) == photos


def test_asking_for_more_only_adds_frames(photos: dict[str, bytes]) -> None:
    more = list(frames(170))
    assert more[:160] == list(photos.items())


def test_frames_decode_to_real_pictures(photos: dict[str, bytes]) -> None:
    for name, content in photos.items():
        image = Image.open(io.BytesIO(content))
        image.load()
        assert (image.format, image.size) == ("JPEG", FRAME_SIZE), name
        darkest, brightest = image.convert("L").getextrema()
        assert brightest - darkest > 60, f"{name} shows next to nothing"


def test_scenes_are_many_and_of_very_different_length(photos: dict[str, bytes]) -> None:
    lengths = Counter(scene_of(name) for name in photos)
    assert len(lengths) >= 10
    assert max(lengths.values()) >= 10 * min(lengths.values())


def test_consecutive_frames_are_near_duplicates_and_scenes_are_not(photos: dict[str, bytes]) -> None:
    def grey(name: str) -> list[int]:
        return list(Image.open(io.BytesIO(photos[name])).convert("L").resize((32, 24)).tobytes())

    def difference(one: str, other: str) -> float:
        return sum(abs(a - b) for a, b in zip(grey(one), grey(other), strict=True)) / (32 * 24)

    for name in ("coffee", "rocket", "astronaut"):
        neighbours = difference(f"{name}/frame_0004.jpg", f"{name}/frame_0005.jpg")
        assert 0 < neighbours < 0.25 * difference(f"{name}/frame_0004.jpg", "moon/frame_0000.jpg")


@pytest.mark.parametrize("n_photos", [-1, 0, MAX_PHOTOS + 1])
def test_a_number_that_cannot_be_met_is_refused_at_once(n_photos: int) -> None:
    with pytest.raises(ValueError, match=f"n_photos is {n_photos}.* between 1 and {MAX_PHOTOS}"):
        frames(n_photos)


def test_the_scene_is_found_below_any_prefix() -> None:
    assert scene_of("coffee/frame_0007.jpg") == "coffee"
    assert scene_of("a/prefix/moon/frame_0000.jpg") == "moon"


@pytest.mark.parametrize("name", ["frame_0007.jpg", "tea/frame_0007.jpg", "coffee"])
def test_a_file_that_is_no_frame_has_no_scene(name: str) -> None:
    with pytest.raises(ValueError, match="names no scene"):
        scene_of(name)
