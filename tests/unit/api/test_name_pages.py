"""A page of names is checked as a whole: what is handed on, what is refused, and where the fault is said to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightly_provider.api.answers import Secrets, read_answer
from lightly_provider.exceptions import LightlyResponseError
from lightly_provider.network import RawAnswer
from tests.contract.example_calls import EXAMPLES

TEXT, JSON = "text/plain", "application/json"
NAMES = [f"straße/{number:05}.jpg" for number in range(3000)]
PLACES = [1, 1500, len(NAMES)]
TOO_LONG = "is longer than an S3 key can be"
NO_TEXT = "has NUL in it, or is not UTF-8"
# Names that a bucket can have: as long as a key can be, and with what others take for the end of a line.
ODD = ["x" * 1024, "ä" * 512, "a\rb.jpg", "a\u2028b\x85c\x0cd.jpg", "a+b%20c.jpg", " ", '"a"', "\ufeffa.jpg"]


def read(example: str, content: bytes, content_type: str = TEXT) -> Any:
    answer = RawAnswer(status=200, content=content, content_type=content_type)
    return read_answer(EXAMPLES[example], answer, Secrets("a secret token"))


def page_with(name: Any, place: int) -> list[Any]:
    return [*NAMES[: place - 1], name, *NAMES[place:]]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("fault", "wording"),
    [
        (b"a\xffb.jpg", rf"{NO_TEXT}: a\\udcffb\.jpg"),
        (b"half a character \xc3", NO_TEXT),
        (b"a surrogate \xed\xa0\x80", NO_TEXT),
        (b"a\0b.jpg", rf"{NO_TEXT}: a\\x00b\.jpg"),
        (b"x" * 1025, TOO_LONG),
        ("ä".encode() * 512 + b"x", TOO_LONG),
    ],
)
def test_the_name_with_a_fault_is_found_in_a_page_of_lines(fault: bytes, wording: str, place: int) -> None:
    lines = b"\n".join(name if isinstance(name, bytes) else name.encode() for name in page_with(fault, place))

    with pytest.raises(LightlyResponseError, match=f"file name {5000 + place} {wording}"):
        read("export_filenames", lines)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("fault", "wording"), [("\ud800", NO_TEXT), ("a\0b", NO_TEXT), ("x" * 1025, TOO_LONG), ("ä" * 513, TOO_LONG)]
)
def test_the_name_with_a_fault_is_found_in_json(fault: str, wording: str, place: int) -> None:
    names = page_with(fault, place)

    with pytest.raises(LightlyResponseError, match=f"file name {5000 + place} {wording}"):
        read("export_filenames", json.dumps("\n".join(names)).encode(), JSON)
    with pytest.raises(LightlyResponseError, match=f"file name {25_000 + place} {wording}"):
        read("get_sample_names", json.dumps(names).encode(), JSON)


def test_names_are_handed_on_exactly() -> None:
    names = [*NAMES, *ODD, *NAMES]
    lines = "\n".join(names).encode()

    for page in read("export_filenames", lines), read("export_filenames", json.dumps(lines.decode()).encode(), JSON):
        assert (page.lines, len(page), list(page)) == (lines, len(names), names)
    assert read("get_sample_names", json.dumps(names).encode(), JSON) == names


def test_a_line_break_in_a_name_is_kept_where_the_page_is_a_list() -> None:
    assert read("get_sample_names", rb'["a\nb.jpg", "c\r\n.jpg"]', JSON) == ["a\nb.jpg", "c\r\n.jpg"]
    assert len(read("export_filenames", rb'"a\nb.jpg"', JSON)) == 2, "a page of lines cannot show it; its count can"
