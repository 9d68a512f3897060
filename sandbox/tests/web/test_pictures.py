from __future__ import annotations

import io

import pytest
from PIL import Image

from lightly_sandbox.web.pictures import SIDE, media_type_of, small


def _file(kind: str, mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (1200, 600)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("GIF", "P")])
def test_every_kind_of_image_becomes_a_small_jpeg(kind: str, mode: str) -> None:
    content = small(_file(kind, mode))
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (SIDE, SIDE // 2))


@pytest.mark.parametrize(
    "content", [b"", b"<html><script>alert(1)</script>", b"<svg onload='alert(1)'/>", _file("PNG")[:200]]
)
def test_what_is_no_picture_is_none(content: bytes) -> None:
    assert small(content) is None


def test_the_kind_of_a_picture_is_what_its_bytes_say() -> None:
    kinds = {kind: media_type_of(_file(kind)) for kind in ("JPEG", "PNG", "WEBP", "GIF")}
    assert kinds == {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": None}
    assert media_type_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>") is None
