from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyDestinationError
from lightly_provider.results.destinations import Destination

if TYPE_CHECKING:
    from pathlib import Path


def write(destination: Destination, *pieces: bytes) -> tuple[str, int, str]:
    with destination.open() as file:
        for piece in pieces:
            file.write(piece)
    return file.uri, file.bytes, file.sha256


class Stop(BaseException):
    """What ends a task from outside, like SystemExit."""


def stop_after(destination: Destination, content: bytes) -> None:
    """Write the beginning of a file, and be ended."""
    with destination.open() as file:
        file.write(content)
        raise Stop


def test_a_local_file_is_whole_at_its_place_and_nothing_is_beside_it(tmp_path: Path) -> None:
    destination = Destination.parse(f"{tmp_path}/new folder/names.txt")

    destination.check()
    assert os.listdir(tmp_path) == []
    uri, size, sha256 = write(destination, b"a\n", b"b\n")

    assert (tmp_path / "new folder" / "names.txt").read_bytes() == b"a\nb\n"
    assert (uri, size) == (f"file://{tmp_path}/new folder/names.txt", 4)
    assert sha256 == hashlib.sha256(b"a\nb\n").hexdigest()
    assert os.listdir(tmp_path / "new folder") == ["names.txt"]
    assert destination.size() == 4


def test_a_local_file_stays_as_it_was_if_writing_ends_early(tmp_path: Path) -> None:
    destination = Destination.parse(f"file://{tmp_path}/names.txt")
    write(destination, b"before")

    with pytest.raises(Stop):
        stop_after(destination, b"half")

    assert (tmp_path / "names.txt").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["names.txt"]


def test_what_a_killed_try_left_beside_the_file_is_removed_by_the_next(tmp_path: Path) -> None:
    destination = Destination.parse(f"{tmp_path}/names.txt")
    destination.open().__enter__().write(b"killed here")
    (tmp_path / ".names.txt.0123.part").touch()
    (tmp_path / ".other.txt.0123456789abcdef.part").touch()
    assert len(os.listdir(tmp_path)) == 3

    write(destination, b"whole")

    assert sorted(os.listdir(tmp_path)) == [
        ".names.txt.0123.part",
        ".other.txt.0123456789abcdef.part",
        "names.txt",
    ]


def test_a_folder_or_a_place_below_a_file_is_found_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(LightlyDestinationError, match="it is a folder"):
        Destination.parse(str(tmp_path)).check()
    with pytest.raises(LightlyDestinationError, match="Not a directory"):
        Destination.parse(f"{tmp_path}/file/names.txt").check()
    with pytest.raises(LightlyDestinationError, match="cannot be used as a destination on this machine"):
        Destination.parse("/proc/names.txt").check()


def test_a_device_or_a_pipe_is_no_destination(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")

    for path in ("/dev/null", tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(LightlyDestinationError, match="it is a device or a pipe, and no file"):
            Destination.parse(str(path)).check()


def test_a_folder_that_appears_at_the_place_meanwhile_is_told_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = Destination.parse(str(tmp_path / "names.txt")).open()
    file.__enter__().write(b"whole")
    (tmp_path / "names.txt").mkdir()

    with pytest.raises(LightlyDestinationError, match=r"names\.txt cannot be used as a destination.*: Is a directory"):
        file.__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]


def test_a_link_to_a_file_is_replaced_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_bytes(b"kept")
    (tmp_path / "names.txt").symlink_to(tmp_path / "kept.txt")

    write(Destination.parse(f"{tmp_path}/names.txt"), b"new")

    assert not (tmp_path / "names.txt").is_symlink()
    assert ((tmp_path / "names.txt").read_bytes(), (tmp_path / "kept.txt").read_bytes()) == (b"new", b"kept")


def test_of_two_tasks_that_write_one_file_the_later_end_is_told(tmp_path: Path) -> None:
    destination = Destination.parse(f"{tmp_path}/names.txt")
    slow = destination.open()
    slow.__enter__().write(b"slow")
    write(destination, b"fast")

    with pytest.raises(LightlyDestinationError, match="was written by another task meanwhile; give each task a dest"):
        slow.__exit__(None, None, None)

    assert os.listdir(tmp_path) == ["names.txt"]
    assert (tmp_path / "names.txt").read_bytes() == b"fast"


def test_an_object_of_another_storage_is_whole_and_nothing_is_beside_it(storage: Any) -> None:
    destination = Destination.parse("memory://my_store@bucket/folder/names.txt")

    destination.check()
    assert list(storage.store) == []
    uri, size, _ = write(destination, b"a\n", b"b\n")

    assert {name: value.getvalue() for name, value in storage.store.items()} == {"/bucket/folder/names.txt": b"a\nb\n"}
    assert (uri, size) == ("memory://bucket/folder/names.txt", 4)
    assert destination.size() == 4


def test_an_object_of_another_storage_stays_as_it_was_if_writing_ends_early(storage: Any) -> None:
    destination = Destination.parse("memory://bucket/names.txt", conn_id="my_store")
    assert destination.size() is None
    write(destination, b"before")

    with pytest.raises(Stop):
        stop_after(destination, b"half")

    assert {name: value.getvalue() for name, value in storage.store.items()} == {"/bucket/names.txt": b"before"}


def test_what_a_killed_try_left_in_another_storage_is_removed_by_the_next(storage: Any) -> None:
    storage.pipe_file("/bucket/.names.txt.0123456789abcdef.part", b"killed here")
    storage.pipe_file("/bucket/.other.txt.0123456789abcdef.part", b"somebody else's")

    write(Destination.parse("memory://bucket/names.txt"), b"whole")

    assert sorted(storage.store) == ["/bucket/.other.txt.0123456789abcdef.part", "/bucket/names.txt"]


def test_a_storage_that_airflow_does_not_know_is_refused_with_its_name() -> None:
    destination = Destination.parse("nosuch://bucket/names.txt")

    with pytest.raises(LightlyDestinationError, match="Airflow provider for nosuch:// is installed"):
        destination.check()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "write s3://bucket/folder/file"),
        ("names.txt", "which is not an absolute path"),
        ("file://names.txt", "which is not an absolute path"),
        ("/data/", "write the file's name, too"),
        ("/data/\0", "not a file name"),
        ("/data/../etc/names.txt", "write the path without '..'"),
        ("s3://bucket", "write the file's name, too"),
        ("s3://my-bucket/", "write the file's name, too"),
        ("s3://my-bucket/folder/", "write the file's name, too"),
        ("s3:/my-bucket/names.txt", "write s3://my-bucket/names.txt"),
        ("s3://My_Bucket/names.txt", "bucket names hold only"),
        ("https://my-bucket.s3.amazonaws.com/names.txt", "is a web address"),
        (
            "s3://my-bucket/my-bucket/names.txt",
            "write s3://my-bucket/names.txt instead; if the file really has this name",
        ),
        ("s3://my-bucket/a?b.txt", "write s3://my-bucket/a instead; if the file really"),
        ("s3://my-bucket/a//b.txt", "write s3://my-bucket/a/b.txt instead; if the file really"),
        ("exact:s3://my-bucket/", "write the file's name, too"),
        ("exact:gs://bucket/names.txt", "gs:// is not the scheme of S3"),
        ("exact:/data/names.txt", "which is not an absolute path"),
        ("gs://bucket", "not the address of a file"),
        ("gs://bucket/folder/", "not the address of a file"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused_without_a_request(address: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Destination.parse(address)


@pytest.mark.parametrize("key", ["my-bucket/names.txt", "a?b.txt", "a//b#.txt", "a*.txt"])
def test_a_name_that_looks_like_a_mistake_is_taken_if_it_is_exact(key: str) -> None:
    with pytest.raises(ValueError, match="if the file really has this name, write exact: before s3://"):
        Destination.parse(f"s3://my-bucket/{key}")
    assert Destination.parse(f"exact:s3://my-bucket/{key}").uri == f"s3://my-bucket/{key}"


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="connection@container") as refused:
        Destination.parse("gs://user:canary-secret@bucket/names.txt")
    assert "canary-secret" not in str(refused.value)
    with pytest.raises(ValueError, match="credentials") as refused:
        Destination.parse("s3://key:canary-secret@bucket/names.txt")
    assert "canary-secret" not in str(refused.value)
