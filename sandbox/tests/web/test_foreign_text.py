from __future__ import annotations

import pytest

from lightly_sandbox.web.foreign_text import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b c.jpg", "a/b c.jpg"),
        ("ünïcode 日本 🚲.jpg", "ünïcode 日本 🚲.jpg"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("bell\x07 escape\x1b[31m", "bell\\x07 escape\\x1b[31m"),
        ("line\u2028separator", "line\\u2028separator"),
        ("\udce4 is half of a pair", "\\udce4 is half of a pair"),
    ],
)
def test_what_a_reader_cannot_see_is_written_out(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_text_without_end_is_cut_off_and_its_length_said() -> None:
    assert shown("x" * 5000, 10) == "xxxxxxxxxx… (5,000 characters)"
    assert shown("x" * 10, 10) == "x" * 10
