"""Metadata: the schema that is inferred, what is refused before anything is written, and what is kept."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyExtraMissingError, LightlyInvalidFilesError, LightlySourceError
from lightly_provider.results.metadata.rows import MetadataFormat
from lightly_provider.results.metadata.schema import Kind, kind_of_text
from lightly_provider.results.metadata.uploading import UploadedMetadata, upload_metadata
from lightly_provider.results.sources import Source
from tests.unit.results.prediction_files import MemoryFolder

if TYPE_CHECKING:
    from pathlib import Path

INPUT = ("a.jpg", "sub/b ü#.png", "c.jpg")
CSV = (
    "\ufefffile_name,sky,weather.temperature,weather.wind,id,night,note\r\n"
    'a.jpg,"clear, blue",20.5,3,007,true,\r\n'
    "sub/b ü#.png,clear,-1e1,4,008,FALSE,x\r\n"
)


@pytest.fixture
def folder() -> MemoryFolder:
    return MemoryFolder(INPUT)


def upload(folder: MemoryFolder, source: Any, kind: str | None = None, **arguments: Any) -> UploadedMetadata:
    return upload_metadata(
        folder,
        source if kind is None else Source.parse(str(source), aws_conn_id=None),
        source_format=None if kind is None else MetadataFormat(kind),
        log=logging.getLogger(__name__),
        **arguments,
    )


def refused(folder: MemoryFolder, source: Any, kind: str | None = None, **arguments: Any) -> str:
    with pytest.raises((LightlyInvalidFilesError, LightlySourceError)) as caught:
        upload(folder, source, kind, **arguments)
    assert folder.writes == []
    return str(caught.value)


def types(folder: MemoryFolder) -> dict[str, str]:
    return {entry["path"]: entry["valueDataType"] for entry in folder.json("schema.json")}


def test_csv_becomes_typed_values_and_a_schema_that_is_written_last(
    folder: MemoryFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "m.csv").write_text(CSV, encoding="utf-8")

    done = upload(folder, tmp_path / "m.csv", "csv")

    assert folder.json("sub/b ü#.json") == {
        "file_name": "sub/b ü#.png",
        "type": "image",
        "metadata": {
            "sky": "clear",
            "weather": {"temperature": -10.0, "wind": 4},
            "id": "008",
            "night": False,
            "note": "x",
        },
    }
    assert "note" not in folder.json("a.json")["metadata"]
    assert folder.json("schema.json") == [
        {"name": "sky", "path": "sky", "defaultValue": "undefined", "valueDataType": "CATEGORICAL_STRING"},
        {
            "name": "weather.temperature",
            "path": "weather.temperature",
            "defaultValue": 0.0,
            "valueDataType": "NUMERIC_FLOAT",
        },
        {"name": "weather.wind", "path": "weather.wind", "defaultValue": 0, "valueDataType": "NUMERIC_INT"},
        {"name": "id", "path": "id", "defaultValue": "undefined", "valueDataType": "CATEGORICAL_STRING"},
        {"name": "night", "path": "night", "defaultValue": False, "valueDataType": "CATEGORICAL_BOOLEAN"},
        {"name": "note", "path": "note", "defaultValue": "undefined", "valueDataType": "CATEGORICAL_STRING"},
    ]
    assert folder.writes[-1] == "schema.json"
    assert (done.files, done.written, done.schema_written) == (2, 2, True)
    assert "weather.wind: NUMERIC_INT, default 0, e.g. '4'" in caplog.text
    assert "1 files have none, and count as the default" in caplog.text


def test_a_second_upload_writes_only_what_has_changed(folder: MemoryFolder) -> None:
    values = {"a.jpg": {"speed": 1, "sky": {"cover": 0.5}}, "c.jpg": {"speed": 2}}
    upload(folder, values)
    folder.writes.clear()

    assert upload(folder, values).unchanged == 2
    assert folder.writes == []

    upload(folder, values | {"c.jpg": {"speed": 3}})
    assert folder.writes == ["c.json"]


def test_json_lines_and_parquet_keep_their_types(folder: MemoryFolder, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    moment = datetime(2026, 11, 27, 13, 5, 7, 250_000, tzinfo=UTC)
    rows = [
        {"image": "a.jpg", "n": 1, "x": 1.0, "at": moment, "text": "7", "inner": {"deep": True}, "gone": None},
        {"image": "c.jpg", "n": 2, "x": 2.0, "at": moment, "text": "8", "inner": {"deep": False}, "gone": None},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "m.parquet")
    upload(folder, tmp_path / "m.parquet", "parquet", file_name_column="image")
    expected = {
        "n": "NUMERIC_INT",
        "x": "NUMERIC_FLOAT",
        "at": "CATEGORICAL_DATETIME",
        "text": "CATEGORICAL_STRING",
        "inner.deep": "CATEGORICAL_BOOLEAN",
    }
    assert types(folder) == expected
    found = folder.json("a.json")["metadata"]
    assert found == {"n": 1, "x": 1.0, "at": "2026-11-27T13:05:07.250Z", "text": "7", "inner": {"deep": True}}

    other = MemoryFolder(INPUT)
    lines = [json.dumps({k: v for k, v in row.items() if k != "at"}) for row in rows]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n\n")
    upload(other, tmp_path / "m.jsonl", "jsonl", file_name_column="image")
    assert types(other) == {path: kind for path, kind in expected.items() if path != "at"}


def test_the_user_decides_what_is_not_to_be_inferred(folder: MemoryFolder) -> None:
    upload(
        folder,
        {"a.jpg": {"vehicle": 7, "t": 1}, "c.jpg": {"vehicle": 9, "t": 2}},
        schema={"vehicle": "CATEGORICAL_INT", "t": {"type": "NUMERIC_FLOAT", "name": "Temperature", "default": 15.5}},
    )
    assert folder.json("schema.json") == [
        {"name": "vehicle", "path": "vehicle", "defaultValue": 0, "valueDataType": "CATEGORICAL_INT"},
        {"name": "Temperature", "path": "t", "defaultValue": 15.5, "valueDataType": "NUMERIC_FLOAT"},
    ]
    assert folder.json("a.json")["metadata"] == {"vehicle": 7, "t": 1.0}


def test_entries_for_other_paths_are_kept_and_another_type_is_refused(folder: MemoryFolder) -> None:
    upload(folder, {"a.jpg": {"speed": 1}})
    upload(folder, {"c.jpg": {"sky": "blue"}})
    assert types(folder) == {"speed": "NUMERIC_INT", "sky": "CATEGORICAL_STRING"}
    folder.writes.clear()

    assert "it says NUMERIC_INT for 'speed', and the values to upload are CATEGORICAL_STRING" in refused(
        folder, {"a.jpg": {"speed": "fast"}}
    )
    upload(folder, {"a.jpg": {"speed": "fast"}}, replace_schema=True)
    assert types(folder) == {"sky": "CATEGORICAL_STRING", "speed": "CATEGORICAL_STRING"}


def test_a_row_about_a_video_or_a_frame_says_so() -> None:
    folder = MemoryFolder(["sub/v.mp4"])
    upload(folder, {"sub/v.mp4": {"sky": "blue"}, "sub/v-007-mp4.png": {"sky": "grey"}}, has_frames=True)
    assert folder.json("sub/v.json")["type"] == "video"
    assert folder.json("sub/v-007-mp4.json")["type"] == "frame"


@pytest.mark.parametrize(
    ("values", "arguments", "fault"),
    [
        ({"a.jpg": {"x": 1}, "c.jpg": {"x": "one"}}, {}, "'x' has texts and whole numbers; make them of one kind"),
        ({"a.jpg": {"x": [1]}}, {}, "a value of the kind list has no place in metadata"),
        ({"a.jpg": {"x": float("nan")}}, {}, "nan is not a JSON number"),
        ({"a.jpg": {"x": 2**70}}, {}, "is too large"),
        ({"a.jpg": {"x": "nul\0"}}, {}, "has a character that no file can"),
        ({"a.jpg": {"lightly": 1}}, {}, "begins with 'lightly'"),
        ({"a.jpg": {"x": 1, "x.y": 2}}, {}, "'x' is a value, and 'x.y' is inside it"),
        ({"a.jpg": {"": 1}}, {}, "a member is called ''"),
        ({"a.jpg": {"x.y": 1, "x": {"y": 2}}}, {}, "it has 'x.y' twice"),
        ({"a.jpg": 5}, {}, "its metadata is not a mapping"),
        ({"/a.jpg": {"x": 1}}, {}, "is not relative to the input datasource"),
        ({"schema.jpg": {"x": 1}}, {}, "which is the schema's"),
        ({"a.jpg": {"x": 1}, "a.png": {"x": 1}}, {}, "another row is about the same file"),
        ({"a.jpg": {}}, {}, "There are no values in the mapping"),
        ({"a.jpg": {"sky": "blue"}}, {"schema": {"sly": "OTHER_STRING"}}, "did you mean 'sky'?"),
        (
            {"a.jpg": {"sky": "blue"}},
            {"schema": {"sky": "NUMERIC_INT"}},
            "schema says NUMERIC_INT for 'sky', which has",
        ),
        ({"a.jpg": {"sky": "blue"}}, {"schema": {"sky": "TEXT"}}, "which is not a type; use one of NUMERIC_INT,"),
        ({"a.jpg": {"x": 1}}, {"schema": {"x": {"default": "none"}}}, "the default 'none' for 'x'"),
        ({"a.jpg": {"x": 1}}, {"columns": ["y"]}, "'y' is not there"),
        ({"a.jpg": {"x": 1}}, {"columns": ["x", "y"]}, "'y' is not there, or has no values"),
        ({"z.jpg": {"x": 1}}, {}, "1 of 1 files of metadata are about files that are not in the datasource: z.jpg"),
    ],
)
def test_metadata_that_break_a_rule_are_named_before_the_first_byte(
    values: dict[str, Any], arguments: dict[str, Any], fault: str, folder: MemoryFolder
) -> None:
    assert fault in refused(folder, values, **arguments)


@pytest.mark.parametrize(
    ("text", "kind", "fault"),
    [
        ("name,x\na.jpg,1\n", "csv", "it has no 'file_name', the file's name, but 'name', 'x'; set file_name_column"),
        ("file_name;x\na.jpg;1\n", "csv", "but 'file_name;x'; set file_name_column"),
        ("file_name,x\na.jpg,nul\0\n", "csv", "m.txt, line 2: the text 'nul\\\\x00' is too long, or has a character"),
        ("file_name,x\na.jpg," + "x" * 10_001 + "\n", "csv", "is too long"),
        ("file_name,x\na.jpg," + "x," * 600_000 + "\n", "csv", "line 2 is longer than 1 MiB"),
        ('{"file_name": "a.jpg", "x": 1e999}\n', "jsonl", "inf is not a JSON number"),
        ('{"file_name": "a.jpg", "x": ' + "9" * 5000 + "}\n", "jsonl", "line 1: it has a number of 5000 digits"),
        ('{"file_name": "a.jpg", "x": "' + "x" * 10_000_000 + '"}\n', "jsonl", "line 1 is longer than 1 MiB"),
        ("file_name,x\na.jpg,1,2\n", "csv", "m.txt, line 2: it has another number of columns than the 2 of"),
        ("file_name,x\na.jpg\n", "csv", "another number of columns"),
        ("file_name,x,x\na.jpg,1,2\n", "csv", "two columns have the same name, 'x'"),
        ('file_name,x\n"a.jpg,1\n', "csv", "cannot be read"),
        ('{"file_name": "a.jpg", "x": 1}\n[1]\n', "jsonl", "line 2: it is not a JSON object"),
        ('{"file_name": "a.jpg", "x": 1\n', "jsonl", "line 1: it is not JSON"),
        ('{"file_name": 7, "x": 1}\n', "jsonl", "it has no file name"),
        ("no parquet at all", "parquet", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    text: str, kind: str, fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    (tmp_path / "m.txt").write_text(text)
    assert fault in refused(folder, tmp_path / "m.txt", kind)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([[1, 2]], "a value of the kind list has no place in metadata"),
        ([b"x"], "a value of the kind bytes has no place in metadata"),
        ([[("a", 1)]], "a value of the kind list has no place in metadata"),
    ],
)
def test_nested_types_of_parquet_have_no_place(
    values: list[Any], fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.map_(pa.string(), pa.int64()) if isinstance(values[0], list) and values[0][0] == ("a", 1) else None
    table = pa.table({"file_name": ["a.jpg"], "x": pa.array(values, type=kind)})
    pq.write_table(table, tmp_path / "m.parquet")
    assert f"m.parquet, row 1: {fault}" in refused(folder, tmp_path / "m.parquet", "parquet")


def test_columns_of_one_name_in_parquet_are_refused_and_long_texts_take_little_memory(
    folder: MemoryFolder, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "m.parquet"
    twice = pa.Table.from_arrays([pa.array(["a.jpg"]), pa.array([1]), pa.array([2])], names=["file_name", "x", "x"])
    pq.write_table(twice, path)
    assert "two columns have the same name, 'x'" in refused(folder, path, "parquet")

    # One text of 1 MiB, which each row repeats: a file of a few KiB.
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), ["x" * 2**20])
    pq.write_table(pa.table({"file_name": [f"{n}.jpg" for n in range(3000)], "x": texts}), path, compression="zstd")
    assert path.stat().st_size < 2**20
    before = pa.total_allocated_bytes()
    assert "3000 faults in the metadata" in refused(folder, path, "parquet")
    assert pa.default_memory_pool().max_memory() - before < 400 * 2**20


def test_a_time_that_python_cannot_hold_and_a_damaged_page_are_named(folder: MemoryFolder, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "m.parquet"
    far = pa.array([2**62], type=pa.timestamp("us"))
    pq.write_table(pa.table({"file_name": ["a.jpg"], "x": far}), path)
    assert f"{path} cannot be read as Parquet" in refused(folder, path, "parquet")

    pq.write_table(pa.table({"file_name": ["a.jpg"] * 9, "x": ["text"] * 9}), path, compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    assert f"{path} cannot be read as Parquet" in refused(folder, path, "parquet")


def test_a_schema_that_is_no_list_is_not_overwritten(folder: MemoryFolder) -> None:
    folder.files["schema.json"] = b'{"a": 1}'
    assert "cannot be extended: it is not a list of entries" in refused(folder, {"a.jpg": {"x": 1}})


def test_parquet_without_pyarrow_is_one_sentence(
    folder: MemoryFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LightlyExtraMissingError, match=r"install airflow-provider-lightly\[parquet\]"):
        upload(folder, tmp_path, "parquet")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", Kind.WHOLE),
        ("-12", Kind.WHOLE),
        ("007", Kind.TEXT),
        (str(2**53), Kind.WHOLE),
        (str(2**53 + 1), Kind.TEXT),
        ("1" * 40, Kind.TEXT),
        ("=1+1", Kind.TEXT),
        ("1.5", Kind.NUMBER),
        (".5", Kind.NUMBER),
        ("1e-3", Kind.NUMBER),
        ("1e999", Kind.TEXT),
        ("nan", Kind.TEXT),
        ("1.2.3", Kind.TEXT),
        ("-", Kind.TEXT),
        ("e5", Kind.TEXT),
        ("True", Kind.BOOLEAN),
        ("1 ", Kind.TEXT),
    ],
)
def test_what_a_text_in_a_csv_file_is(text: str, kind: Kind) -> None:
    assert kind_of_text(text) is kind
