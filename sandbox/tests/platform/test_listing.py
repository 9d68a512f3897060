from __future__ import annotations

import pytest

from lightly_sandbox.platform.listing import Cursor, is_input


def test_a_cursor_survives_the_way_to_the_client_and_back() -> None:
    cursor = Cursor(from_seconds=5, to_seconds=9, after="a/ü.jpg")
    assert Cursor.decode(cursor.encode()) == cursor


@pytest.mark.parametrize("text", ["", "{}", "e30=x", "bm90IGpzb24=", "eyJhIjogMX0="])
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        Cursor.decode(text)


@pytest.mark.parametrize(
    ("name", "kind", "taken"),
    [
        ("a.jpg", "Images", True),
        ("a.JPEG", "Images", True),
        ("a.mp4", "Images", False),
        ("a.mp4", "Videos", True),
        ("a.jpg", "Videos", False),
        (".lightly/thumbnails/a.jpg", "Images", False),
        ("jpg", "Images", False),
    ],
)
def test_a_dataset_takes_the_files_of_its_kind(name: str, kind: str, taken: bool) -> None:
    assert is_input(name, kind) is taken
