"""One network in every mode: each setting of TLS, proxies, ~/.netrc and redirects, with each client that there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api import calls
from lightly_provider.api.async_client import AsyncLightlyClient
from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.network import UnusableSettingError, ca_bundle_for, passwords_in, proxies_for
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from pathlib import Path

StartPlatform = Callable[..., ScriptedPlatform]
SECRET = "CANARY-of-the-connection"
CA, OTHER_CA = "«own authorities»", "«other authorities»"
PROXY, DEAD_PROXY = "«the proxy»", "http://127.0.0.1:9"


@dataclass(frozen=True)
class Connection:
    """Where a client goes, and what its connection says of the way."""

    host: str
    ca_bundle: str | None = None
    proxies: Mapping[str, str] | None = None


def waiting(connection: Connection, _: pytest.MonkeyPatch) -> None:
    settings = ClientSettings(
        host=connection.host,
        token=SECRET,
        ca_bundle=connection.ca_bundle,
        proxies=connection.proxies,
        max_attempts=1,
    )
    with closing(LightlyClient(settings)) as client:
        client.send(calls.list_workers())


def deferred(connection: Connection, _: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        settings = ClientSettings(
            host=connection.host,
            token=SECRET,
            ca_bundle=connection.ca_bundle,
            proxies=connection.proxies,
            max_attempts=1,
        )
        async with AsyncLightlyClient(settings) as client:
            await client.send(calls.list_workers())

    asyncio.run(scene())


def airflows_api(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightly_provider.access.stores import ApiConnectionStore

    fields = {"conn_type": "http", "host": connection.host, "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps(fields))
    ApiConnectionStore("kept", "airflow_api").remove()


def boto3(connection: Connection, _: pytest.MonkeyPatch) -> None:
    from lightly_provider.hooks.aws import AwsConnection

    config: dict[str, Any] = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 10}
    extra: dict[str, Any] = {"endpoint_url": connection.host, "region_name": "us-east-1", "config_kwargs": config}
    if connection.ca_bundle:
        extra["verify"] = connection.ca_bundle
    if connection.proxies:
        config["proxies"] = dict(connection.proxies)
    fields = {"conn_type": "aws", "login": "AKIAIOSFODNN7EXAMPLE", "password": SECRET, "extra": extra}
    AwsConnection("own", fields=fields).client("s3").list_buckets()


MODES: dict[str, Callable[[Connection, pytest.MonkeyPatch], None]] = {
    "waiting": waiting,
    "deferred": deferred,
    "airflow's API": airflows_api,
    "boto3": boto3,
}


@dataclass(frozen=True)
class Setting:
    """
    One setting, and where a request ends with it.

    :param ends: ``server``, ``proxy``, or ``nowhere`` with an exception.
    :param environment: Variables of the environment.
    :param tls: Whether the server speaks TLS, with a certificate of its own.
    :param ca_bundle: The connection's.
    :param proxies: The connection's.
    """

    ends: str
    environment: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    ca_bundle: str | None = None
    proxies: Mapping[str, str] | None = None

    @property
    def needs_own(self) -> bool:
        """Whether it is one of the connection's own, which that to Airflow's API does not have."""
        return bool(self.ca_bundle or self.proxies)


SETTINGS: dict[str, Setting] = {
    "nothing": Setting("server"),
    "TLS of nobody who is known": Setting("nowhere", tls=True),
    "ca_bundle of the connection": Setting("server", tls=True, ca_bundle=CA),
    "ca_bundle of the connection before the environment's": Setting(
        "server", {"REQUESTS_CA_BUNDLE": OTHER_CA}, tls=True, ca_bundle=CA
    ),
    "REQUESTS_CA_BUNDLE": Setting("server", {"REQUESTS_CA_BUNDLE": CA}, tls=True),
    "CURL_CA_BUNDLE": Setting("server", {"CURL_CA_BUNDLE": CA}, tls=True),
    "SSL_CERT_FILE": Setting("server", {"SSL_CERT_FILE": CA}, tls=True),
    "REQUESTS_CA_BUNDLE before SSL_CERT_FILE": Setting(
        "nowhere", {"REQUESTS_CA_BUNDLE": OTHER_CA, "SSL_CERT_FILE": CA}, tls=True
    ),
    "HTTP_PROXY": Setting("proxy", {"HTTP_PROXY": PROXY}),
    "http_proxy": Setting("proxy", {"http_proxy": PROXY}),
    "HTTPS_PROXY is for https": Setting("server", {"HTTPS_PROXY": DEAD_PROXY}),
    "NO_PROXY with the address": Setting("server", {"HTTP_PROXY": DEAD_PROXY, "NO_PROXY": "10.0.0.1, 127.0.0.1"}),
    "NO_PROXY with a network": Setting("server", {"HTTP_PROXY": DEAD_PROXY, "NO_PROXY": "127.0.0.0/8"}),
    "no_proxy with a network": Setting("server", {"http_proxy": DEAD_PROXY, "no_proxy": "10.0.0.0/8,127.0.0.0/8"}),
    "NO_PROXY with another network": Setting("proxy", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}),
    "NO_PROXY with everything": Setting("server", {"HTTP_PROXY": DEAD_PROXY, "NO_PROXY": "*"}),
    "proxies of the connection": Setting("proxy", proxies={"http": PROXY}),
    "proxies of the connection before the environment's": Setting(
        "proxy", {"HTTP_PROXY": DEAD_PROXY}, proxies={"http": PROXY}
    ),
    "proxies of the connection in spite of NO_PROXY": Setting(
        "proxy", {"NO_PROXY": "127.0.0.0/8"}, proxies={"http": PROXY}
    ),
}
# What boto3 does differently where its own Config says it, and not the environment: it takes the whole mapping.
ONLY_OURS: dict[str, Setting] = {
    "partial proxies of the connection": Setting("proxy", {"HTTP_PROXY": PROXY}, proxies={"https": DEAD_PROXY}),
    "ALL_PROXY": Setting("proxy", {"ALL_PROXY": PROXY}),
    "no_proxy of the connection": Setting("server", proxies={"http": DEAD_PROXY, "no_proxy": "127.0.0.0/8"}),
    "no_proxy of the connection for the environment's": Setting(
        "server", {"HTTP_PROXY": DEAD_PROXY}, proxies={"https": DEAD_PROXY, "no_proxy": "127.0.0.1"}
    ),
}
CASES = [
    *(
        (name, mode)
        for name, setting in SETTINGS.items()
        for mode in MODES
        if not (setting.needs_own and "API" in mode)
    ),
    *((name, mode) for name, setting in ONLY_OURS.items() for mode in MODES if mode in ("waiting", "deferred")),
    ("ALL_PROXY", "airflow's API"),
]


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_setting_means_the_same_in_every_mode(
    platform: StartPlatform, tls: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: str
) -> None:
    import certifi

    setting = (SETTINGS | ONLY_OURS)[name]
    listed = Answer(200, b"<ListAllMyBucketsResult/>" if mode == "boto3" else b"[]")
    server, proxy = platform(listed, tls=tls if setting.tls else None), platform(listed)
    named = {CA: str(certificate), OTHER_CA: certifi.where(), PROXY: proxy.address}
    for variable in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in setting.environment.items():
        monkeypatch.setenv(variable, named.get(value, value))
    connection = Connection(
        server.address,
        ca_bundle=named.get(setting.ca_bundle or ""),
        proxies={scheme: named.get(value, value) for scheme, value in (setting.proxies or {}).items()} or None,
    )
    if setting.ends == "nowhere":
        with pytest.raises(Exception, match=r"TLS|SSL|certificate"):
            MODES[mode](connection, monkeypatch)
    else:
        MODES[mode](connection, monkeypatch)
    assert bool(server.received) is (setting.ends == "server")
    assert bool(proxy.received) is (setting.ends == "proxy")


@pytest.mark.parametrize("mode", ["waiting", "deferred", "airflow's API"])
def test_netrc_is_never_read(
    platform: StartPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = platform(Answer(200, b"[]"))
    MODES[mode](Connection(server.address), monkeypatch)
    expected = f"Bearer {SECRET}" if "API" in mode else None
    assert [received.headers.get("Authorization") for received in server.received] == [expected]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("mode", ["waiting", "deferred", "airflow's API"])
def test_a_redirect_takes_no_secret_anywhere(
    platform: StartPlatform, monkeypatch: pytest.MonkeyPatch, mode: str, status: int
) -> None:
    elsewhere = platform(Answer(200, b"[]"))
    server = platform(Answer(status, headers={"Location": f"{elsewhere.address}/"}))
    with pytest.raises(Exception, match=str(status)):
        MODES[mode](Connection(server.address), monkeypatch)
    assert elsewhere.received == []


def test_the_password_of_airflows_user_is_not_redirected_either(
    platform: StartPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightly_provider.access.stores import ApiConnectionStore
    from lightly_provider.exceptions import LightlyAccessError

    elsewhere = platform(Answer(201, {"access_token": "t"}))
    server = platform(Answer(307, headers={"Location": f"{elsewhere.address}/auth/token"}))
    fields = {"conn_type": "http", "host": server.address, "login": "editor", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps(fields))
    with pytest.raises(LightlyAccessError, match="refused the login with status 307"):
        ApiConnectionStore("kept", "airflow_api").remove()
    assert elsewhere.received == []


@pytest.mark.parametrize(
    "answer", [b"<html>", b"{}", b"[]", b'{"access_token": 1}', b'{"access_token": "a\\nb"}', b"[" * 9999]
)
def test_a_login_without_a_token_says_so(
    platform: StartPlatform, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    from lightly_provider.access.stores import ApiConnectionStore
    from lightly_provider.exceptions import LightlyAccessError

    fields = {"conn_type": "http", "host": platform(Answer(201, answer)).address, "login": "e", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps(fields))
    with pytest.raises(LightlyAccessError, match="answered the login without a token"):
        ApiConnectionStore("kept", "airflow_api").remove()


@pytest.mark.parametrize(("schema", "scheme"), [(None, "https"), ("", "https"), ("https", "https"), ("http", "http")])
def test_a_host_without_a_scheme_means_https(monkeypatch: pytest.MonkeyPatch, schema: str | None, scheme: str) -> None:
    from lightly_provider.access.stores import ApiConnectionStore
    from lightly_provider.exceptions import LightlyAccessError

    fields = {"conn_type": "http", "host": "127.0.0.1", "port": 9, "password": SECRET, "schema": schema}
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps(fields))
    with pytest.raises(LightlyAccessError, match=f"Airflow's API at {scheme}://127.0.0.1:9 "):
        ApiConnectionStore("kept", "airflow_api").remove()


# --- the rules themselves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_exempt"),
    [
        ("127.0.0.0/8", "127.9.9.9", True),
        ("127.0.0.1/8", "127.9.9.9", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("10.0.0.0/8", "10.example.com", False),
        ("fd00::/8", "[fd12::1]", True),
        ("::1", "[::1]", True),
        ("[::1]", "[::1]", True),
        ("::1/128", "127.0.0.1", False),
        ("[::1]:443", "[::1]", True),
        ("[::1]:8443", "[::1]", False),
        ("[::1", "[::1]", True),
        ("127.0.0.0/8:443", "127.9.9.9", True),
        ("127.0.0.0/8:8443", "127.9.9.9", False),
        ("example.com", "example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "api.example.com", True),
        ("*.example.com", "api.example.com", True),
        ("EXAMPLE.com", "api.Example.COM", True),
        ("example.com", "notexample.com", False),
        ("example.com.", "api.example.com", True),
        ("example.com:443", "api.example.com", True),
        ("example.com:8443", "api.example.com", False),
        ("a.test, b.test ,c.test", "b.test", True),
        ("a.test b.test", "b.test", True),
        ("*", "anything.test", True),
        ("", "example.com", False),
        (",, ,", "example.com", False),
        (".", "example.com", False),
        ("not/a/network", "example.com", False),
        ("300.0.0.0/8", "127.0.0.1", False),
    ],
)
def test_what_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, is_exempt: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    port = ":443" if ":443" in no_proxy or ":8443" in no_proxy else ""
    assert proxies_for(f"https://{host}{port}/v1") == ({} if is_exempt else {"https": "http://proxy:3128"})


@pytest.mark.parametrize(
    ("own", "chosen"),
    [
        ({"https": "proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS": "https://proxy:3128"}, "https://proxy:3128"),
        ({"https://api.test": "http://a:1", "https": "http://b:1"}, "http://a:1"),
        ({"all": "http://c:1"}, "http://c:1"),
        ({"all://api.test": "http://e:1", "all": "http://c:1"}, "http://e:1"),
        ({"https": " http://f:1 "}, "http://f:1"),
        ({"http": "http://d:1"}, None),
    ],
)
def test_the_connections_proxy_for_an_address(own: dict[str, str], chosen: str | None) -> None:
    assert proxies_for("https://api.test", own) == ({"https": chosen} if chosen else {})


@pytest.mark.parametrize("proxy", ["socks5://proxy:1", "ftp://proxy:1", "socks4a://u:CANARY@proxy:1"])
def test_a_proxy_of_another_kind_is_refused_without_its_address(proxy: str) -> None:
    with pytest.raises(UnusableSettingError) as refused:
        proxies_for("https://api.test", {"https": proxy})
    assert "proxy:1" not in str(refused.value)


@pytest.mark.parametrize("proxy", ["//proxy:1", "proxy:99999", "http://pro\nxy:1", "http://", "http://[::1", "a b"])
def test_an_address_that_is_no_proxys_is_named_as_such(proxy: str) -> None:
    with pytest.raises(UnusableSettingError, match="a proxy's address is not valid"):
        proxies_for("https://api.test", {"https": proxy})


@pytest.mark.parametrize(
    ("address", "passwords"),
    [
        ("http://u:p%2Fw@proxy:1", {"p%2Fw", "p/w"}),
        ("u:pw@proxy:1", {"pw"}),
        ("proxy:1", set()),
        ("http://u@proxy", set()),
        ("http://u:pw@[x", set()),
    ],
)
def test_a_password_is_found_without_a_scheme_too(address: str, passwords: set[str]) -> None:
    assert passwords_in(address) == passwords


def test_the_authorities_of_the_environment_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert ca_bundle_for(None) is None
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, f"/{name}.pem")
        assert ca_bundle_for(None) == f"/{name}.pem"
    assert ca_bundle_for("/own.pem") == "/own.pem"
