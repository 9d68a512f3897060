"""What the client really sends."""

from __future__ import annotations

import platform as python_platform
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api import calls
from lightly_provider.api.client import ClientSettings, LightlyClient, user_agent
from tests.contract.example_calls import DATASET, EXAMPLES, RUN, SCHEDULED_RUN
from tests.contract.schema import assert_fits_contract
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a+token/with=signs&äß"
StartPlatform = Callable[..., ScriptedPlatform]


def send(platform: ScriptedPlatform, call: calls.Call[Any], **settings: Any) -> Any:
    client = LightlyClient(ClientSettings(host=platform.address, token=TOKEN, longest_wait=0.001, **settings))
    try:
        return client.send(call)
    finally:
        client.close()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_call_reaches_the_platform_as_the_contract_has_it(platform: StartPlatform, example: str) -> None:
    # No answer of the contract is a 404 without a body, so every call ends here alike.
    answering = platform(Answer(404))
    with pytest.raises(Exception, match="HTTP 404"):
        send(answering, EXAMPLES[example])
    (received,) = answering.received
    assert_fits_contract(received.method, received.url, received.body)
    assert [value for name, value in received.query if name == "token"] == [TOKEN]
    assert received.headers["Accept"] == "application/json"
    if received.body:
        assert received.headers["Content-Type"] == "application/json"


def test_booleans_and_lists_are_sent_as_the_vendors_client_sends_them(platform: StartPlatform) -> None:
    answering = platform(Answer(body=[]))
    send(answering, calls.find_datasets("my photos"))
    send(answering, calls.get_scheduled_runs(DATASET, ["OPEN", "DONE"]))
    by_name, scheduled = answering.received
    assert by_name.url.startswith("/v1/datasets/query/name/my%20photos?")
    assert ("exact", "True") in by_name.query
    assert ("shared", "False") in by_name.query
    assert [pair for pair in scheduled.query if pair[0] == "states"] == [("states", "OPEN"), ("states", "DONE")]


@pytest.mark.parametrize("name", ["a/b", "a?b", "a#b", "a%2Fb", "../x", "ä", "a b"])
def test_a_path_parameter_stays_one_segment(platform: StartPlatform, name: str) -> None:
    answering = platform(Answer(body=[]))
    send(answering, calls.find_datasets(name))
    assert_fits_contract("GET", answering.received[0].url, None)
    assert answering.received[0].path.count("/") == 5


def test_members_without_a_value_are_left_out(platform: StartPlatform) -> None:
    answering = platform(Answer(201, {"id": RUN}))
    send(answering, EXAMPLES["schedule_run"])
    assert answering.received[0].json == {"configId": "f" * 24, "priority": "MID", "creator": "USER_PIP"}


def test_a_call_without_a_body_sends_none(platform: StartPlatform) -> None:
    answering = platform(Answer(200))
    send(answering, calls.cancel_scheduled_run(DATASET, SCHEDULED_RUN))
    assert answering.received[0].body == b""
    assert "Content-Type" not in answering.received[0].headers


def test_the_user_agent_names_the_provider_and_python(platform: StartPlatform) -> None:
    answering = platform(Answer(body=[]))
    send(answering, calls.list_workers())
    assert answering.received[0].headers["User-Agent"] == user_agent()
    own = version("airflow-provider-lightly")
    assert user_agent() == f"airflow-provider-lightly/{own} python/{python_platform.python_version()}"


def test_a_netrc_adds_no_login(platform: StartPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answering = platform(Answer(body=[]))
    send(answering, calls.list_workers())
    assert "Authorization" not in answering.received[0].headers


def test_a_path_of_the_host_is_kept(platform: StartPlatform) -> None:
    answering = platform(Answer(body=[]))
    client = LightlyClient(ClientSettings(host=f"{answering.address}/gateway", token=TOKEN))
    client.send(calls.list_workers())
    client.close()
    assert answering.received[0].path == "/gateway/v1/docker/worker"


@pytest.mark.parametrize("answer", [b"", b"OK", b"{}", b"null", b"\xff\x00", b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_put_is_content_with_any_success(platform: StartPlatform, status: int, answer: bytes) -> None:
    answering = platform(Answer(status, answer))
    assert send(answering, EXAMPLES["set_datasource, keys"]) is None
    assert len(answering.received) == 1


def test_a_put_is_content_with_204(platform: StartPlatform) -> None:
    assert send(platform(Answer(204)), EXAMPLES["cancel_scheduled_run"]) is None


def test_an_export_is_text_whatever_it_calls_itself(platform: StartPlatform) -> None:
    text = "a.jpg\nümlaut/b.jpg\n".encode()
    answering = platform(Answer(body=text, headers={"Content-Type": "text/plain; charset=iso-8859-1"}))
    assert send(answering, EXAMPLES["export_filenames"]) == ["a.jpg", "ümlaut/b.jpg"]


@pytest.mark.parametrize(
    "name", ["123", "1e5", "true", "null", "NaN", '{"a":1}', "[1,2]", '"quoted"', "\x1b[2J", "a\r", "\u2028x", " "]
)
def test_a_file_name_is_handed_on_exactly(platform: StartPlatform, name: str) -> None:
    assert send(platform(Answer(body=name.encode())), EXAMPLES["export_filenames"]) == [name]


def test_an_export_may_be_json(platform: StartPlatform) -> None:
    answering = platform(Answer(body="a.jpg\nü.jpg", headers={"Content-Type": "application/json"}))
    assert send(answering, EXAMPLES["export_filenames"]) == ["a.jpg", "ü.jpg"]


def test_a_quota_is_text_or_a_number(platform: StartPlatform) -> None:
    answering = platform(Answer(body=b"25000"), Answer(body="25000"))
    assert send(answering, calls.get_quota()) == "25000"
    assert send(answering, calls.get_quota()) == "25000"


# --- proxies and certificate authorities ------------------------------------------------------------------------


def test_a_proxy_of_the_connection_is_used(platform: StartPlatform) -> None:
    proxy = platform(Answer(body=[]))
    client = LightlyClient(
        ClientSettings(host="http://api.test", token=TOKEN, proxies={"http": proxy.address}, longest_wait=0.001)
    )
    assert client.send(calls.list_workers()) == []
    client.close()
    assert proxy.received[0].url.startswith("http://api.test/v1/docker/worker?")


def test_a_proxy_of_the_connection_goes_before_that_of_the_environment(
    platform: StartPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_connection, of_environment = platform(Answer(body=[])), platform(Answer(502))
    monkeypatch.setenv("HTTP_PROXY", of_environment.address)
    client = LightlyClient(
        ClientSettings(host="http://api.test", token=TOKEN, proxies={"http": of_connection.address}, max_attempts=1)
    )
    assert client.send(calls.list_workers()) == []
    client.close()
    assert not of_environment.received


def test_without_one_of_the_connection_the_environments_proxy_is_used(
    platform: StartPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = platform(Answer(body=[]))
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    client = LightlyClient(ClientSettings(host="http://api.test", token=TOKEN, max_attempts=1))
    assert client.send(calls.list_workers()) == []
    client.close()
    assert len(proxy.received) == 1


def test_a_ca_bundle_of_the_connection_is_trusted(platform: StartPlatform, tls: Any, certificate: Path) -> None:
    answering = platform(Answer(body=[]), tls=tls)
    assert send(answering, calls.list_workers(), ca_bundle=str(certificate)) == []


def test_a_ca_bundle_of_the_connection_goes_before_that_of_the_environment(
    platform: StartPlatform, tls: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    answering = platform(Answer(body=[]), tls=tls)
    assert send(answering, calls.list_workers(), ca_bundle=str(certificate)) == []


# --- downloads ----------------------------------------------------------------------------------------------------


def test_a_signed_address_is_read_without_the_token(platform: StartPlatform) -> None:
    answering = platform(Answer(body={"content": 1}))
    client = LightlyClient(ClientSettings(host=answering.address, token=TOKEN))
    assert client.download("an_operation", f"{answering.address}/object?X-Amz-Signature=abc") == {"content": 1}
    client.close()
    (received,) = answering.received
    assert received.url == "/object?X-Amz-Signature=abc"
    assert TOKEN not in str(received.headers)
