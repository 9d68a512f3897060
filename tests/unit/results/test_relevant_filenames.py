"""Relevant filenames: what may be given, what the worker gets, and what is refused."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.models.datasource import Datasource
from lightly_provider.aws.location import S3Location
from lightly_provider.exceptions import LightlyDatasourceError
from lightly_provider.results import relevant_filenames
from lightly_provider.results.relevant_filenames import RelevantFilenames, entries_of_file, location_of

if TYPE_CHECKING:
    from pathlib import Path

INPUT = S3Location("bucket", "raw/")


def given(*entries: str) -> RelevantFilenames:
    """What becomes of a list."""
    return RelevantFilenames.read(list(entries), input_location=INPUT, aws_conn_id=None, argument="relevant_filenames")


def in_a_file(content: bytes | str, folder: Path, location: S3Location = INPUT) -> RelevantFilenames:
    """What becomes of a file."""
    path = folder / "names"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return RelevantFilenames.read(str(path), input_location=location, aws_conn_id=None, argument="relevant_filenames")


def test_names_patterns_and_addresses_become_lines_in_their_order_and_once_each() -> None:
    found = given("b.jpg", "a/ä \u2028.jpg", "s3://bucket/raw/a/c.jpg", "b.jpg", "2026-*/*", "a/c.jpg")

    assert found.lines == ("b.jpg", "a/ä \u2028.jpg", "a/c.jpg", "2026-*/*")
    assert found.n_duplicates == 2
    assert found.content == "b.jpg\na/ä \u2028.jpg\na/c.jpg\n2026-*/*\n".encode()


def test_an_address_means_exactly_its_file_whatever_signs_are_in_it() -> None:
    assert given("s3://bucket/raw/a[1]*?.jpg").lines == ("a[[]1][*][?].jpg",)


def test_equal_content_has_the_same_file_and_other_content_another() -> None:
    names = {given("a.jpg", "b.jpg").file_name, given("a.jpg", "b.jpg", "a.jpg").file_name}
    assert len(names) == 1
    assert names.pop().startswith(".lightly/relevant_filenames/")
    assert given("b.jpg").file_name != given("a.jpg").file_name


@pytest.mark.parametrize(
    "content",
    [
        "a.jpg\nb c.jpg\n",
        "a.jpg\r\n\r\nb c.jpg",
        "\ufeffa.jpg\n  \nb c.jpg\n",
        "s3://bucket/raw/a.jpg\nb c.jpg\n",
        '{"source-ref": "s3://bucket/raw/a.jpg", "b": "b"}\n{"b": [1], "source-ref": "s3://bucket/raw/b c.jpg"}\n',
        '\ufeff\n{"source-ref":"s3://bucket/raw/a.jpg"}\n\n{"source-ref":"s3://bucket/raw/b c.jpg"}',
    ],
)
def test_a_file_has_names_addresses_or_a_manifest(content: str, tmp_path: Path) -> None:
    assert in_a_file(content, tmp_path).lines == ("a.jpg", "b c.jpg")


def test_a_name_may_begin_with_a_brace(tmp_path: Path) -> None:
    assert in_a_file("{a}.jpg\n", tmp_path).lines == ("{a}.jpg",)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("/a.jpg", "not relative"),
        ("./a.jpg", "not relative"),
        ("../a.jpg", "not relative"),
        ("a/../b.jpg", "not relative"),
        ("s3://bucket/raw/../b.jpg", "not relative"),
        ("", "names no file"),
        ("  ", "names no file"),
        ("a\nb.jpg", "line break"),
        ("a\rb.jpg", "line break"),
        ("a\0.jpg", "no text file can hold"),
        ("a\ud800.jpg", "no text file can hold"),
        ("a" * 2000, "longer than the 1024 bytes"),
        ("s3://other/raw/a.jpg", "not a file in the dataset's input s3://bucket/raw/"),
        ("s3://bucket/lightly/.lightly/frames/a.png", "not a file in the dataset's input"),
        ("s3://bucket/raw/", "not a file in the dataset's input"),
    ],
)
def test_an_entry_that_the_worker_would_not_find_is_refused_with_its_place(entry: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r"^relevant_filenames\[1\] is '.*" + fault) as refused:
        given("a.jpg", entry)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a.jpg\n\xff.jpg\n", "Line 2 of .*names is not UTF-8"),
        ("a.jpg\n" + "b" * 70_000, "Line 2 of .* more than 65,536 bytes"),
        ('{"source-ref": "s3://bucket/raw/a.jpg"}\n{"source-ref": "s3://bu', "Line 2 .*not a JSON object.*source-ref"),
        ('{"source-ref": "s3://bu', "Line 1 .*not a JSON object"),
        ('{"source-ref": 3}\n', "Line 1 .*not a JSON object"),
        ('{"source-ref": "s3://bucket/raw/a.jpg"}\nb.jpg\n', "Line 2 .*not a JSON object"),
        ('{"filename": "a.jpg"}\n', "Line 1 .*not a JSON object"),
        ('{"source-ref": ' + "[" * 5000 + "\n", "Line 1 .*not a JSON object"),
        ("\n \n", "names has no file name"),
        ("a.jpg\n../b.jpg\n", r"Line 2 of .* is '\.\./b\.jpg'"),
    ],
)
def test_a_file_that_is_no_list_of_names_is_refused_with_its_line(
    content: bytes | str, fault: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=fault):
        in_a_file(content, tmp_path)


def test_there_is_a_limit_to_how_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relevant_filenames, "MOST_NAMES", 3)

    assert len(given("a", "b", "c", "a").lines) == 3
    with pytest.raises(ValueError, match="more than 3 file names; name folders"):
        given("a", "b", "c", "d")


def test_a_file_is_read_line_by_line() -> None:
    class Endless(io.RawIOBase):
        def readline(self, size: int | None = -1) -> bytes:
            return b"a.jpg\n"

    entries = entries_of_file(Endless(), address="s3://bucket/names")  # type: ignore[arg-type]

    assert [next(entries) for _ in range(2)] == [
        ("Line 1 of s3://bucket/names", "a.jpg"),
        ("Line 2 of s3://bucket/names", "a.jpg"),
    ]


def test_a_datasource_elsewhere_than_in_s3_is_refused() -> None:
    members: dict[str, Any] = {"purpose": "LIGHTLY", "type": "GCS", "fullPath": "gs://bucket/lightly"}

    with pytest.raises(LightlyDatasourceError, match=r"for LIGHTLY is of the type GCS.*relevant_filenames_file"):
        location_of(Datasource.model_validate(members))
    assert location_of(Datasource.model_validate(members | {"fullPath": "s3://b/l"})) == S3Location("b", "l/")


def test_the_exports_manifest_is_one(tmp_path: Path) -> None:
    line = {
        "source-ref": "s3://bucket/raw/a.jpg",
        "filename": "a.jpg",
        "dataset_id": "d",
        "tag_name": "t",
        "run_id": "r",
    }

    assert in_a_file(f"{json.dumps(line)}\n", tmp_path).lines == ("a.jpg",)
