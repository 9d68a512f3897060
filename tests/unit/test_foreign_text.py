"""What comes from outside is shown on one line, and stored only as what can be stored."""

from __future__ import annotations

import json

import pytest

from lightly_provider.foreign_text import is_storable, shown, shown_error, storable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photos/ü 猫 1.jpg", "photos/ü 猫 1.jpg"),
        ("a\nwrite PASS", r"a\nwrite PASS"),
        ("a\r\tb", r"a\r\tb"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x9b2J", r"\x9b2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("nul \x00 byte", r"nul \x00 byte"),
        ("lone \ud800", r"lone \ud800"),
        ("evil\u202egpj.exe", r"evil\u202egpj.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028separator", r"line\u2028separator"),
        ("no\xa0break", r"no\xa0break"),
        ("x ::group::Details", r"x \x3a\x3agroup::Details"),
        ("::endgroup::", r"\x3a\x3aendgroup::"),
        ("##[group]x ##[endgroup]", r"\x23\x23[group]x \x23\x23[endgroup]"),
        ("arn:aws:s3:::group", "arn:aws:s3:::group"),
        (r"C:\new", r"C:\new"),
        (17, "17"),
        (None, "None"),
    ],
)
def test_foreign_text_is_shown_on_one_line(text: object, expected: str) -> None:
    assert shown(text) == expected
    assert shown(shown(text)) == expected
    shown(text).encode()


@pytest.mark.parametrize(
    "login",
    [
        "http://joe:CANARY@my_minio:9000/a?b=c",
        "HTTPS://CANARY@host",
        "http://:CANARY@[::1]:9000",
        "http://joe:CAN/CANARY@host:99999",
        "http://joe:CAN@CANARY?x#y@host",
        "http://joe:1CANARY/@host",
        "socks5h://joe:CANARY@host",
        f"http://joe:{'x' * 50}CANARY@host",
    ],
)
def test_a_login_in_an_address_is_not_shown_wherever_the_text_is_cut(login: str) -> None:
    text = f'Failed to connect: "{login}", then http://joe:CANARY@host'
    for longest in (30, 40, 60, 2000):
        assert "CANARY" not in shown(text, longest=longest)
        assert "CANARY" not in shown_error(text, longest=longest)
    assert "://***@" in shown(text)
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9000/photos/a@b.jpg",
        "http://[::1]:9000/a@b",
        "https://host:443",
        "https://host/a:b@c?d=e",
        "gs://my_conn@bucket/a:b@c",
        "s3://bucket/a@b:c",
        "joe@example.com: //x",
    ],
)
def test_an_address_without_a_login_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_the_error_of_another_library_is_shown_without_queries() -> None:
    error = OSError('Could not connect to "https://bkt.s3.amazonaws.com/?X-Amz-Credential=CANARY&a=b"; is it up?')
    assert shown_error(error) == 'Could not connect to "https://bkt.s3.amazonaws.com/?***"; is it up?'
    shown_error("http://a:" * 10_000 + "@")  # ends soon


def test_of_a_long_error_only_the_beginning_is_searched() -> None:
    said = shown_error(f"http://joe:CANARY@host?{'a' * 1_000_000}CANARY", longest=50)
    assert said == "http://***@host?***"


def test_a_long_text_is_cut_with_its_length() -> None:
    assert shown("x" * 40, longest=5) == "xxxxx… (40 characters)"
    assert shown("x" * 5, longest=5) == "xxxxx"
    assert len(shown("\n" * 10_000_000)) < 5000


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("two\n\tlines\r\n", "two\n\tlines\r\n"),
        ("nul \x00 byte", r"nul \x00 byte"),
        ("\x1b[31m", r"\x1b[31m"),
        ("lone \udfff", r"lone \udfff"),
        ("\x85\x9b", r"\x85\x9b"),
        ("😀 ü", "😀 ü"),
    ],
)
def test_text_is_stored_without_what_postgresql_and_utf8_refuse(text: str, stored: str) -> None:
    assert storable(text) == stored
    assert is_storable(stored)
    assert is_storable(text) is not any(sign in text for sign in "\x00\udfff")
    assert "\\u0000" not in json.dumps(stored)
    stored.encode()
