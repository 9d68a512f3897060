from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.platform.listing import Cursor, is_input
from lightly_sandbox.platform.routes.samples import thumbnail_name
from lightly_sandbox.platform.s3_access import S3Location
from lightly_sandbox.platform.tag_data import all_bits, positions
from lightly_sandbox.process.state_dir import StateDir

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b", "bucket", "a/b/"),
        ("s3://bucket/a/b/", "bucket", "a/b/"),
    ],
)
def test_a_location_ends_with_a_slash_or_is_the_whole_bucket(uri: str, bucket: str, prefix: str) -> None:
    assert S3Location.parse(uri) == S3Location(bucket, prefix)


@pytest.mark.parametrize("uri", ["", "bucket/a", "s3:/bucket", "s3:///a", "gs://bucket/a", "S3://bucket"])
def test_another_uri_is_no_location(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        S3Location.parse(uri)


def test_a_thumbnail_has_its_place_by_the_pattern() -> None:
    pattern = ".lightly/thumbnails/[filename]_thumb.[extension]"
    assert thumbnail_name("a/b.c.JPG", pattern) == ".lightly/thumbnails/a/b.c_thumb.JPG"


@pytest.mark.parametrize(("size", "mask"), [(0, "0x0"), (1, "0x1"), (3, "0x7"), (8, "0xff"), (9, "0x1ff")])
def test_all_bits_are_as_many_as_samples(size: int, mask: str) -> None:
    assert all_bits(size) == mask
    assert positions(mask) == list(range(size))


def test_bit_k_is_the_kth_sample() -> None:
    assert positions("0x101") == [0, 8]


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


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    with (
        pytest.raises(SandboxError, match="has 3 MiB free, and the sandbox needs"),
        StateDir(tmp_path).locked(),
    ):
        pass


def test_damaged_credentials_are_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"token": ')
    with pytest.raises(SandboxError, match=r"credentials\.json is damaged; delete"):
        StateDir(tmp_path).credentials()
