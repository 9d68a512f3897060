from __future__ import annotations

import logging
import time

import pytest

from lightly_provider.api.answers import Secrets, keep_secrets_out_of_urllib3_logs


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a S+/= b", "a *** b"),
        ("a S%2B%2F%3D b", "a *** b"),
        ("a S%2B/%3D b", "a *** b"),
        ("a S%2b%2f%3d b", "a *** b"),
        ("a %53%252B%25252f= b", "a *** b"),
        (r'{"t": "S+\/="} ', '{"t": "***"} '),
        (r"\u0053+\\/\u003D", "***"),
        ("/v1?a=1&token=abc&b=2", "/v1?a=1&token=***&b=2"),
        ("publicToken=abc secret=def", "publicToken=*** secret=***"),
        ("X-Amz-Signature=abc&X-Amz-Security-Token=def&x=1", "X-Amz-Signature=***&X-Amz-Security-Token=***&x=1"),
        ("https://blob/?sv=1&sig=abc%2B", "https://blob/?sv=1&sig=***"),
        ("design=abc", "design=abc"),
        ("tokens are fine", "tokens are fine"),
    ],
)
def test_secrets_are_replaced_in_any_spelling(value: str, expected: str) -> None:
    assert Secrets("S+/=").redacted_address(value) == expected


def test_a_secret_that_is_added_later_is_replaced_in_any_spelling() -> None:
    secrets = Secrets("S+/=")
    assert secrets.redacted("S%2B/= K%2F1") == "*** K%2F1"
    secrets.add("K/1")
    assert secrets.redacted("S%2B/= K%2F1") == "*** ***"


def test_a_space_is_found_as_a_form_has_it() -> None:
    secrets = Secrets("a b")
    secrets.add("c+d")
    assert secrets.redacted("x a+b a%20b y+z c+d c%2Bd") == "x *** *** y+z *** ***"
    assert secrets.occur_in_bytes(b"x a+b y")
    assert not secrets.occur_in_bytes(b"x a+c%20b y")


def test_looking_for_a_secret_takes_no_longer_than_the_text_deserves() -> None:
    secrets = Secrets("S+/=" * 10)
    began = time.process_time()
    for endless in ("\\" * 300_000, "%25" * 100_000, "S%2B" * 75_000, "S\\" * 150_000):
        assert secrets.redacted(endless) == endless
    assert time.process_time() - began < 3


def test_an_empty_secret_replaces_nothing() -> None:
    assert Secrets("", "b").redacted("abc") == "a***c"


def test_a_secret_that_contains_another_is_replaced_as_a_whole() -> None:
    assert Secrets("abc", "abcdef").redacted("xabcdefx abc") == "x***x ***"


def test_urllib3s_log_lines_keep_all_but_the_secrets(caplog: pytest.LogCaptureFixture) -> None:
    keep_secrets_out_of_urllib3_logs()
    keep_secrets_out_of_urllib3_logs()
    logger = logging.getLogger("urllib3.connectionpool")
    with caplog.at_level(logging.DEBUG, logger="urllib3.connectionpool"):
        logger.debug(
            '%s://%s:%s "%s %s %s" %s %s', "https", "api", 443, "GET", "/v1/x?token=abc&a=1", "HTTP/1.1", 200, 9
        )
        logger.debug("Resetting dropped connection: %s", "api")
    assert [record.getMessage() for record in caplog.records] == [
        'https://api:443 "GET /v1/x?token=***&a=1 HTTP/1.1" 200 9',
        "Resetting dropped connection: api",
    ]
    assert len(logger.filters) == 1
