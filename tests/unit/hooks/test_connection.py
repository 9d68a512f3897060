"""From the fields of a connection to settings."""

from __future__ import annotations

import json
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
        # What Airflow's form stores for the Test button's sake.
        ("http://127.0.0.1:8420", 0, "http://127.0.0.1:8420"),
        (None, 0, "https://api.lightly.ai"),
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
        "https://api.\u200btest",
        "https://api.\ud800.test",
        "https://api.test/\u202egpj",
        "https://api\x9b.test",
        'https://api.test/"><script>',
        f"https://{'a' * 2000}.test",
    ],
)
def test_what_is_no_address_of_a_web_server_is_refused(host: str) -> None:
    assert "has a host that is not the address of a web server; write it like https://api.lightly.ai" in refusal(
        host=host
    )
    assert "extra web_url that is not the address" in refusal(web_url=host)


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


def test_a_proxy_for_no_scheme_that_is_used_is_warned_of() -> None:
    (warning,) = parse(proxies={"hppts": "http://p", "https://api.test": "http://p", "NO_PROXY": "x"}).warnings
    assert "has proxies that nothing reads: hppts; known are http, https, all, no_proxy" in warning


@pytest.mark.parametrize("port", ["0x50", -1, False, 65536, 1.5e6, float("inf"), float("nan"), True, "9" * 5000, []])
def test_what_is_no_port_is_refused(port: Any) -> None:
    assert "it must be a number from 1 to 65535" in refusal(port=port)


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
        {"https": f"http://u:{CANARY}@p:99999"},
        {"https": f"http://u:{CANARY}@p\n:1"},
        {"https": f"http://u:{CANARY}@p\ud800"},
        {"https": f"u {CANARY}"},
        {"https": " "},
    ],
)
def test_proxies_of_another_form_are_refused_without_repeating_them(value: Any) -> None:
    assert 'write them like {"https": "http://proxy:3128"}' in refusal(proxies=value)


def test_a_connection_shows_neither_token_nor_proxies() -> None:
    shown = parse(password=f"{CANARY}1", proxies={"https": f"http://u:{CANARY}2@p"})
    assert CANARY not in repr(shown) + str(shown)


@pytest.mark.parametrize("conn_type", ["aws", "postgres", "http", "generic"])
def test_the_password_of_a_connection_of_another_type_is_no_token(conn_type: str) -> None:
    with pytest.raises(LightlyConnectionConfigError) as refused:
        parse_connection("bucket", host=None, port=None, password=CANARY, extra={}, conn_type=conn_type)
    assert f"'bucket' is of type {conn_type!r}, and 'lightly' is needed; its password was not sent" in str(
        refused.value
    )
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("conn_type", ["lightly", "", None])
def test_a_connection_of_this_type_or_of_none_is_read(conn_type: str | None) -> None:
    parsed = parse_connection("c", host=None, port=None, password="t", extra={}, conn_type=conn_type)
    assert parsed.settings.token == "t"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"extra": [CANARY]}, "has an extra that is not a JSON object"),
        ({"extra": CANARY}, "has an extra that is not a JSON object"),
        ({"extra": None}, "has an extra that is not a JSON object"),
        ({"password": 12345}, "has a password that is not text"),
        ({"password": [CANARY]}, "has a password that is not text"),
        ({"password": f"{CANARY}\n{CANARY}"}, "an API token with a line break"),
        ({"password": f"{CANARY}\x00"}, "an API token with a line break"),
        ({"port": "abc"}, "has the port 'abc'; it must be a number from 1 to 65535"),
        ({"port": -1}, "has the port -1"),
        ({"port": 10**400}, "has the port"),
        ({"port": True}, "has the port True"),
        ({"host": [CANARY]}, "has a host that is not the address"),
        ({"host": True}, "has a host that is not the address"),
        ({"extra": {"ca_bundle": ["x"]}}, "has ca_bundle=['x'] in its extra; it must be a path"),
        ({"extra": {"ca_bundle": "a\x00b"}}, "it must be a path"),
        ({"extra": {"read_timeout": True}}, "has read_timeout=True in its extra"),
        ({"extra": {"read_timeout": 10**400}}, "it must be a number of seconds above 0"),
        ({"extra": {"web_url": 5.5}}, "has a extra web_url that is not the address"),
        ({"extra": {"proxies": "[" * 100_000}}, "has proxies in its extra that are not a JSON object"),
    ],
)
def test_fields_of_wrong_types_are_refused_in_one_sentence(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(LightlyConnectionConfigError) as refused:
        parse_connection("c", **({"host": None, "port": None, "password": "t", "extra": {}} | fields))
    text = str(refused.value)
    assert expected in text
    assert CANARY not in text
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize("port", [8443, "8443", 8443.0])
def test_a_port_may_be_text(port: Any) -> None:
    assert parse("https://api.test", port).settings.host == "https://api.test:8443"


def test_networks_that_need_no_proxy_may_stand_among_the_proxies() -> None:
    given = {"https": "http://proxy:3128", "no_proxy": "10.0.0.0/8, .internal,*"}
    assert parse(proxies=given).settings.proxies == given


@pytest.mark.parametrize("conn_id", [None, "", 17])
def test_a_hook_without_the_id_of_a_connection_says_so(conn_id: Any) -> None:
    from lightly_provider.hooks.lightly import LightlyHook

    with pytest.raises(LightlyConnectionConfigError, match="write the id of an Airflow connection of type lightly"):
        _ = LightlyHook(conn_id).connection


def test_a_hook_on_an_aws_connection_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightly_provider.hooks.lightly import LightlyHook

    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", f"aws://AKIA:{CANARY}@/?region_name=eu-central-1")
    works, message = LightlyHook("lightly_bucket").test_connection()
    assert not works
    assert "is of type 'aws', and 'lightly' is needed" in message
    with pytest.raises(LightlyConnectionConfigError):
        LightlyHook("lightly_bucket").get_conn()


@pytest.mark.parametrize("reads_without_blocking", [True, False])
def test_a_trigger_reads_it_on_every_airflow(monkeypatch: pytest.MonkeyPatch, reads_without_blocking: bool) -> None:
    import asyncio

    from airflow.providers.common.compat.sdk import Connection

    from lightly_provider.hooks.connection import read_connection

    if not reads_without_blocking:
        monkeypatch.delattr(Connection, "aextra_dejson", raising=False)
    value = {"conn_type": "lightly", "password": "token", "extra": {"web_url": "https://web.test"}}
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_ONE", json.dumps(value))

    found = asyncio.run(read_connection("lightly_one"))

    assert (found.settings.token, found.web_url) == ("token", "https://web.test")


def test_a_trigger_does_not_send_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from lightly_provider.hooks.connection import read_connection

    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_BUCKET", f"aws://AKIA:{CANARY}@/?region_name=eu-central-1")
    with pytest.raises(LightlyConnectionConfigError, match="'lightly' is needed"):
        asyncio.run(read_connection("lightly_bucket"))
