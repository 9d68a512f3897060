from __future__ import annotations

from typing import Any

import pytest

from lightly_sandbox.selection.schemas import parse_metadata_schema
from lightly_sandbox.worker.custom_metadata import CustomMetadata, parse_metadata

SCHEMA = [
    {"name": "Scene", "path": "scene", "defaultValue": "nowhere", "valueDataType": "CATEGORICAL_STRING"},
    {"name": "Id", "path": "vehicle", "defaultValue": 0, "valueDataType": "CATEGORICAL_INT"},
    {"name": "Rain", "path": "weather.rain", "defaultValue": False, "valueDataType": "CATEGORICAL_BOOLEAN"},
    {"name": "T", "path": "weather.temperature", "defaultValue": 0.5, "valueDataType": "NUMERIC_FLOAT"},
    {"name": "P", "path": "pressure", "valueDataType": "NUMERICAL_INT"},
]
NAMES = ["a.jpg", "dir/b.png", "c.jpg"]


def metadata(**of_file: Any) -> CustomMetadata:
    return CustomMetadata(
        parse_metadata_schema(SCHEMA), {f"{name.replace('__', '/')}.json": of for name, of in of_file.items()}
    )


def test_types_decide_what_an_entry_is_good_for() -> None:
    entries = parse_metadata_schema(SCHEMA)
    assert [path for path, entry in entries.items() if entry.is_numeric] == [
        "weather.temperature",
        "pressure",
    ]
    assert [path for path, entry in entries.items() if entry.is_categorical] == [
        "scene",
        "vehicle",
        "weather.rain",
    ]


@pytest.mark.parametrize("content", [{"scene": "city"}, [{"path": "scene"}], [7]])
def test_a_schema_that_is_none_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match=r"not a JSON list|no path"):
        parse_metadata_schema(content)


@pytest.mark.parametrize("content", [[], {"file_name": "a.jpg"}, {"file_name": "a.jpg", "metadata": [1]}])
def test_a_file_without_metadata_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="no file_name and metadata"):
        parse_metadata(content)


def test_numbers_are_found_by_their_path_with_the_default_where_there_are_none() -> None:
    custom = metadata(a={"weather": {"temperature": -3}}, dir__b={"weather": "fine"})
    assert custom.numbers(NAMES, "weather.temperature").tolist() == [-3.0, 0.5, 0.5]


def test_what_is_said_of_a_video_holds_for_frames_of_which_nothing_is_said() -> None:
    custom = CustomMetadata(
        parse_metadata_schema(SCHEMA), {"a/v.json": {"pressure": 7}, "a/v-02-mp4.json": {"pressure": 9}}
    )
    assert custom.numbers(["a/v-01-mp4.png", "a/v-02-mp4.png"], "pressure").tolist() == [7.0, 9.0]


@pytest.mark.parametrize("value", ["warm", True, None, float("nan"), [1]])
def test_what_is_no_number_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"weather\.temperature of a\.jpg is .*not a number"):
        metadata(a={"weather": {"temperature": value}}).numbers(NAMES, "weather.temperature")


def test_a_missing_number_without_a_default_is_named() -> None:
    with pytest.raises(ValueError, match=r"pressure of a\.jpg is None"):
        metadata().numbers(NAMES, "pressure")


@pytest.mark.parametrize(
    ("path", "value", "labels"),
    [
        ("scene", "city", ("city", "nowhere")),
        ("vehicle", 321, ("0", "321")),
        ("weather.rain", True, ("false", "true")),
    ],
)
def test_classes_are_named_as_in_json(path: str, value: Any, labels: tuple[str, ...]) -> None:
    content = {"weather": {"rain": value}} if "." in path else {path: value}
    table = metadata(dir__b=content).class_table(NAMES, path)
    assert table.labels == labels
    assert table.amounts.sum(axis=1).tolist() == [1.0, 1.0, 1.0]
    assert table.amounts[1, labels.index(str(value).lower())] == 1


def test_what_is_no_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"scene of a\.jpg is \['city'\], which is no category"):
        metadata(a={"scene": ["city"]}).class_table(NAMES, "scene")
