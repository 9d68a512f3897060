"""From the fields of a connection to settings."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.exceptions import LightlyConnectionConfigError, LightlyError
from lightly_provider.hooks.connection import LightlyConnection, parse_connection

CANARY = "CANARY"


def parse(
    host: str | None = None, port: int | None = None, password: str | None = "a token", **extra: Any
) -> LightlyConnection:
    return parse_connection("my_conn", host=host, port=port, password=password, extra=extra)


def refusal(**fields: Any) -> str:
    with pytest.raises(LightlyConnectionConfigError) as refused:
        parse(**fields)
    text = str(refused.value)
    assert isinstance(refused.value, LightlyError)
    assert refused.value.__cause__ is None
    assert "'my_conn'" in text
    assert CANARY not in text
    return text


def test_a_token_alone_means_the_public_platform() -> None:
    connection = parse()
    assert connection.settings.host == "https://api.lightly.ai"
    assert connection.web_url == "https://app.lightly.ai"
    assert (connection.is_local, connection.warnings) == (False, ())
    settings = connection.settings
    assert (settings.connect_timeout, settings.read_timeout) == (10.0, 45.0)
    assert (settings.ca_bundle, settings.proxies) == (None, None)


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("", None, "https://api.lightly.ai"),
        ("api.test", None, "https://api.test"),
        ("api.test/", None, "https://api.test"),
        (" https://api.test/ ", None, "https://api.test"),
        ("https://api.test", 443, "https://api.test:443"),
        ("api.test", 8443, "https://api.test:8443"),
        ("api.test:9000", 8443, "https://api.test:9000"),
        ("https://api.test/gateway/", 8443, "https://api.test:8443/gateway"),
        ("http://127.0.0.1", 8420, "http://127.0.0.1:8420"),
        ("http://[::1]", 8420, "http://[::1]:8420"),
        ("[::1]:8420", None, "https://[::1]:8420"),
        (None, 8443, "https://api.lightly.ai:8443"),
    ],
)
def test_host_and_port_become_one_address(host: str | None, port: int | None, address: str) -> None:
    assert parse(host, port).settings.host == address


@pytest.mark.parametrize(
    "host",
    [
        "ftp://api.test",
        "https://",
        "https:///v1",
        "//api.test",
        "https:/api.test",
        "https://https://api.test",
        "https://api.test:abc",
        "https://api.test:99999",
        "https://api.test:0",
        "api.test:",
        "https://[::1",
        "::1",
        "https://api test",
        "https://api.test\n.evil.test",
        "https://api.test/?x=1",
        "https://api.test#x",
        "https:\\\\api.test",
        f"https://user:{CANARY}@api.test",
        f"user:{CANARY}@api.test",
        f"https://api.test?token={CANARY}",
        f"https://api.test/{CANARY} x",
    ],
)
def test_what_is_no_address_of_a_web_server_is_refused(host: str) -> None:
    assert "has a host that is no address of a web server; write it like https://api.lightly.ai" in refusal(host=host)
    assert "extra web_url that is no address" in refusal(web_url=host)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("http://127.0.0.1:8420", True),
        ("http://localhost:8420", True),
        ("http://LOCALHOST:8420", True),
        ("http://[::1]:8420", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("https://api.lightly.ai", False),
    ],
)
def test_only_this_machine_is_local(host: str, local: bool) -> None:
    assert parse(host).is_local is local


@pytest.mark.parametrize("host", ["http://api.test", "HTTP://api.test:80"])
def test_a_far_platform_without_tls_is_warned_of(host: str) -> None:
    (warning,) = parse(host).warnings
    assert "without TLS: the API token and AWS keys travel in clear" in warning


@pytest.mark.parametrize("host", ["http://127.0.0.1:8420", "https://api.test"])
def test_a_near_platform_or_one_with_tls_is_not(host: str) -> None:
    assert parse(host).warnings == ()


@pytest.mark.parametrize("password", [None, "", "  ", "\n"])
def test_a_missing_token_is_refused_with_the_place_to_put_it(password: str | None) -> None:
    assert "has no API token; put the one of the platform's preferences page into its password field" in refusal(
        password=password
    )


def test_blanks_around_a_token_are_a_slip_of_copying() -> None:
    assert parse(password=" token\n").settings.token == "token"


def test_every_extra_of_the_form_is_read() -> None:
    connection = parse(
        web_url="https://app.test/",
        ca_bundle="/etc/ca.pem",
        proxies='{"https": "http://proxy:3128"}',
        connect_timeout=5,
        read_timeout="60.5",
    )
    assert connection.web_url == "https://app.test"
    settings = connection.settings
    assert settings.ca_bundle == "/etc/ca.pem"
    assert settings.proxies == {"https": "http://proxy:3128"}
    assert (settings.connect_timeout, settings.read_timeout) == (5.0, 60.5)
    assert connection.warnings == ()


def test_empty_extras_mean_the_defaults() -> None:
    empty = parse(web_url="", ca_bundle="", proxies="", connect_timeout="", read_timeout=None)
    assert empty == parse()


def test_an_extra_that_nothing_reads_is_warned_of_without_its_value() -> None:
    (warning,) = parse(read_timout=CANARY, zzz=CANARY).warnings
    assert "extra fields that nothing reads: read_timout, zzz; known are web_url, ca_bundle, proxies" in warning
    assert CANARY not in warning


@pytest.mark.parametrize("field", ["connect_timeout", "read_timeout"])
@pytest.mark.parametrize("value", [0, -1, "soon", "nan", "inf", [], {}, 86400])
def test_what_is_no_number_of_seconds_is_refused(field: str, value: Any) -> None:
    assert f"{field}={value!r} in its extra; it must be a number of seconds above 0" in refusal(**{field: value})


@pytest.mark.parametrize("value", [{"https": "http://proxy:3128"}, '{"https": "proxy:3128", "http": "socks5://p:1"}'])
def test_proxies_are_a_mapping_or_json(value: Any) -> None:
    assert parse(proxies=value).settings.proxies


@pytest.mark.parametrize(
    "value",
    [
        f"http://u:{CANARY}@proxy",
        f'["{CANARY}"]',
        "{",
        17,
        {"https": 17},
        {"https": ""},
        {"https": f"http://u:{CANARY}@"},
        {"https": f"http://u:{CANARY}@[x"},
    ],
)
def test_proxies_of_another_form_are_refused_without_repeating_them(value: Any) -> None:
    assert 'write them like {"https": "http://proxy:3128"}' in refusal(proxies=value)


def test_a_connection_shows_neither_token_nor_proxies() -> None:
    shown = parse(password=f"{CANARY}1", proxies={"https": f"http://u:{CANARY}2@p"})
    assert CANARY not in repr(shown) + str(shown)
