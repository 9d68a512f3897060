"""The files at an address: local files and folders, patterns, and addresses that are refused."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlySourceError
from lightly_provider.results.sources import Source

if TYPE_CHECKING:
    from pathlib import Path


def source(address: str) -> Source:
    return Source.parse(address, aws_conn_id=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.json", "b.TXT", "sub/c.json", "sub/deeper/d [1].json", "ein ordner/e#1.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return tmp_path


def names(found: Source, *suffixes: str) -> list[str]:
    return sorted(file.name for file in found.files(*suffixes))


def test_a_folder_is_listed_with_the_folders_below_it(folder: Path) -> None:
    every = ["a.json", "b.TXT", "ein ordner/e#1.json", "sub/c.json", "sub/deeper/d [1].json"]
    assert names(source(str(folder))) == every
    assert names(source(f"file://{folder}/")) == every
    assert names(source(str(folder)), ".txt") == ["b.TXT"]


def test_a_pattern_takes_the_names_in_its_folder_or_also_below(folder: Path) -> None:
    assert names(source(f"{folder}/*.json")) == ["a.json"]
    assert names(source(f"{folder}/**/*.json")) == [
        "a.json",
        "ein ordner/e#1.json",
        "sub/c.json",
        "sub/deeper/d [1].json",
    ]
    assert names(source(f"{folder}/sub/deeper/d [*].json")) == ["d [1].json"]


def test_a_file_is_read_whatever_its_name(folder: Path) -> None:
    file = source(f"{folder}/sub/deeper/d [1].json").file()
    assert file.name == "d [1].json"
    assert file.read(most=1000) == b"content of sub/deeper/d [1].json"
    assert names(source(f"{folder}/b.TXT"), ".json") == ["b.TXT"]
    assert source(str(folder)).at("sub/c.json").file().size == len("content of sub/c.json")


def test_a_file_of_a_folder_that_cannot_be_read_is_named_and_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "link.json").symlink_to(folder / "a.json")
    assert source(f"{folder}/link.json").file().read(most=99) == b"content of a.json"

    (folder / "lost.json").symlink_to(folder / "missing")
    with pytest.raises(LightlySourceError, match=r"lost\.json cannot be read: No such file or directory; check that"):
        names(source(str(folder)))

    (folder / "lost.json").unlink()
    os.mkfifo(folder / "pipe.json")
    with pytest.raises(LightlySourceError, match=r"pipe\.json is a device or a pipe"):
        names(source(str(folder)))


def test_a_linked_folder_is_named_and_not_left_out(folder: Path) -> None:
    (folder / "ein ordner/more").symlink_to(folder / "sub", target_is_directory=True)
    for address in (folder, f"{folder}/**/*.json"):
        with pytest.raises(LightlySourceError, match=r"ein ordner/more is a link to a folder, which is not followed"):
            names(source(str(address)))
    # Folders do not count here; and the address itself may be a link.
    assert names(source(f"{folder}/*.json")) == ["a.json"]
    (folder / "link").symlink_to(folder / "sub", target_is_directory=True)
    assert names(source(f"{folder}/link")) == ["c.json", "deeper/d [1].json"]


def test_a_folder_that_cannot_be_listed_is_not_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def forbidding(path: Any) -> Any:
        if str(path).endswith("deeper"):
            # The superuser, who often runs these tests, may list all.
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    with pytest.raises(LightlySourceError, match="sub/deeper cannot be read: Permission denied"):
        names(source(str(folder)))


def test_a_file_is_not_read_beyond_its_limit(folder: Path) -> None:
    with pytest.raises(LightlySourceError, match="larger than"):
        source(f"{folder}/a.json").file().read(most=5)
    assert source(f"{folder}/a.json").file().read(most=17) == b"content of a.json"


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(LightlySourceError, match=r"There is nothing at .*missing; check the address"):
        names(source(f"{folder}/missing"))
    with pytest.raises(LightlySourceError, match="has several files, and one is needed"):
        source(str(folder)).file()
    with pytest.raises(LightlySourceError, match=r"There is no file at .*\*\.parquet"):
        source(f"{folder}/*.parquet").file()


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("", "give the address"),
        ("relative/path", "write an absolute path"),
        ("file://host/path", "a file of another host"),
        ("https://bucket.s3.amazonaws.com/key?X-Amz-Signature=CANARY", "a web address"),
        ("s3:///key", "no bucket"),
        ("s3://UPPER/key", "lower-case"),
        ("s3://key:CANARY@bucket/key", "neither credentials nor a port"),
        (f"s3://bucket/{'k' * 1025}", "at most 1024 bytes"),
        ("s3://bucket/\x00", "give the address"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused(address: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refused:
        Source.parse(address, aws_conn_id="my_aws", argument="source")
    assert str(refused.value).startswith("source")
    assert "CANARY" not in str(refused.value)


def test_another_object_storage_is_listed_and_read(storage: Any) -> None:
    for name in ("a.json", "sub/b #1.json", "c.txt"):
        storage.pipe_file(f"/bucket/folder/{name}", name.encode())

    every = ["a.json", "c.txt", "sub/b #1.json"]
    for address in ("memory://bucket/folder/", "memory://my_store@bucket/folder"):
        found = list(source(address).files())
        assert sorted(file.name for file in found) == every
        assert sorted(file.read(most=100).decode() for file in found) == every
    assert names(source("memory://bucket/folder/*.json")) == ["a.json"]
    assert source("memory://bucket/folder/a.json").file().read(most=10) == b"a.json"
    assert source("memory://bucket/folder").at("c.txt").file().name == "c.txt"
    with pytest.raises(LightlySourceError, match="There is nothing at memory://bucket/missing"):
        names(source("memory://bucket/missing"))


def test_a_storage_that_airflow_does_not_know_is_refused_with_its_name() -> None:
    with pytest.raises(LightlySourceError, match="install the Airflow provider of this storage"):
        names(source("nosuch://bucket/folder"))
