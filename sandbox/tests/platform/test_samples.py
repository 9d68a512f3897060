from __future__ import annotations

from lightly_sandbox.platform.routes.samples import thumbnail_name


def test_a_thumbnail_has_its_place_by_the_pattern() -> None:
    pattern = ".lightly/thumbnails/[filename]_thumb.[extension]"
    assert thumbnail_name("a/b.c.JPG", pattern) == ".lightly/thumbnails/a/b.c_thumb.JPG"
