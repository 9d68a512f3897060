from __future__ import annotations

import io

import pytest
from PIL import Image, ImageFilter

from lightly_sandbox.seeding.photos import frames
from lightly_sandbox.worker.measurement import METADATA_KEYS, measure


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    _, content = next(frames(1))
    return Image.open(io.BytesIO(content))


def test_a_blurred_photo_is_less_sharp(photo: Image.Image) -> None:
    blurred = photo.filter(ImageFilter.GaussianBlur(2))
    assert measure(blurred, 1).sharpness < 0.5 * measure(photo, 1).sharpness


def test_luminance_is_a_percentage_of_white() -> None:
    assert measure(Image.new("RGB", (8, 8), "white"), 1).luminance == 100.0
    assert measure(Image.new("RGB", (8, 8), "black"), 1).luminance == 0.0


def test_the_shape_is_height_width_and_channels(photo: Image.Image) -> None:
    assert measure(photo, 1).shape == (240, 320, 3)
    assert measure(photo.convert("L"), 1).shape == (240, 320, 1)


def test_uniform_rows_are_counted() -> None:
    image = Image.new("L", (10, 4), 255)
    image.putpixel((3, 0), 0)
    assert measure(image, 1).uniform_row_ratio == 0.75


def test_an_image_of_one_pixel_can_be_measured() -> None:
    assert measure(Image.new("RGB", (1, 1)), 1).sharpness == 0.0


def test_each_key_of_a_selection_config_has_its_number(photo: Image.Image) -> None:
    measured = measure(photo, 4711)
    assert measured.number("lightly.sizeInBytes") == 4711
    assert all(measured.number(key) >= 0 for key in METADATA_KEYS)


def test_the_wire_has_the_platforms_names(photo: Image.Image) -> None:
    wire = measure(photo, 4711).as_wire()
    assert wire["sizeInBytes"] == 4711
    assert wire["shape"] == [240, 320, 3]
    assert {"sharpness", "luminance", "snr", "uniformRowRatio", "mean", "std"} <= set(wire)
