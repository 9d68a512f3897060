"""No text that leaves the client holds a secret: canaries through every way in which a call can end."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest

from lightly_provider.api import calls
from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyResponseError,
)
from tests.contract.example_calls import DATASET, DELEGATED_ACCESS, USER_ACCESS
from tests.unit.api.canaries import CANARY, assert_tells_nothing, texts_of
from tests.unit.api.scripted_platform import (
    Answer,
    CutShort,
    Late,
    NoAnswer,
    NoiseInTls,
    ScriptedPlatform,
    Step,
    read_timeout_for,
    refusing_address,
)

if TYPE_CHECKING:
    from pathlib import Path

StartPlatform = Callable[..., ScriptedPlatform]

# With signs that are spelled differently in addresses and forms.
TOKEN = "CANARYTOKEN+/=&?#% ü"
SECRET_KEY = "CANARYSECRET/KEY+40characters"
EXTERNAL_ID = "CANARYEXTERNAL:id@,=+/."
SIGNATURE = "CANARYSIGNATURE%2Fabc"
PROXY_PASSWORD = "CANARYPROXYPASSWORD"

PUT_KEYS = calls.set_datasource(DATASET, USER_ACCESS.model_copy(update={"s3_secret_access_key": SECRET_KEY}))
PUT_ROLE = calls.set_datasource(DATASET, DELEGATED_ACCESS.model_copy(update={"s3_external_id": EXTERNAL_ID}))
GET = calls.get_datasources(DATASET)
CALLS = {"keys": PUT_KEYS, "role": PUT_ROLE, "read": GET}
SECRETS = {"keys": SECRET_KEY, "role": EXTERNAL_ID, "read": ""}

# Stands for what the call at hand was sent with; nothing else can come back but in a body that is parsed.
SENT = "«what was sent»"
ECHO = f"token={TOKEN} token={quote(TOKEN, safe='')} {TOKEN} {quote_plus(TOKEN)} {SENT}"
ECHO_URL = f"GET /v1/x?a=b&token={quote_plus(TOKEN)}&publicToken={quote(TOKEN)} failed"

# What the platform, or something before it, may send back.
ENDINGS: dict[str, Step] = {
    "success": Answer(200, []),
    "an error that echoes": Answer(400, {"code": "MALFORMED_REQUEST", "error": ECHO, "requestId": TOKEN}),
    "an error that echoes the address": Answer(403, {"error": ECHO_URL}),
    "an error that echoes in a list": Answer(422, {"error": [ECHO, {"deep": [ECHO]}], "code": ECHO}),
    "an error that echoes as text": Answer(500, ECHO.encode()),
    "an error page": Answer(502, f"<html>{ECHO_URL} {ECHO}</html>".encode()),
    "too many requests": Answer(429, {"error": ECHO}, {"Retry-After": "0"}),
    "a redirect": Answer(302, ECHO.encode(), {"Location": f"/elsewhere?{ECHO_URL}"}),
    "no JSON": Answer(200, ECHO.encode()),
    "JSON of another shape": Answer(200, {"s3SecretAccessKey": SECRET_KEY, "token": TOKEN}),
    "a list whose items miss a member": Answer(
        200, [{"id": "x", "type": "S3", "s3SecretAccessKey": SECRET_KEY, "s3ExternalId": EXTERNAL_ID}]
    ),
    "a list whose items have wrong types": Answer(200, [{"purpose": [SECRET_KEY], "type": {"x": EXTERNAL_ID}}]),
    "cut short": CutShort(200, [{"s3SecretAccessKey": SECRET_KEY}], missing=5),
    "closed": NoAnswer(),
    "reset": NoAnswer(reset=True),
    "late": Late(200),
    "wrongly compressed": Answer(200, SECRET_KEY.encode(), {"Content-Encoding": "gzip"}),
}


def with_what_was_sent(step: Step, secret: str) -> Step:
    if not isinstance(step, Answer):
        return step
    sent = " ".join((secret, quote(secret, safe=""), quote_plus(secret)))
    if isinstance(step.body, bytes):
        return replace(step, body=step.body.replace(SENT.encode(), sent.encode()))
    return replace(step, body=json.loads(json.dumps(step.body, ensure_ascii=False).replace(SENT, sent)))


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The root logger at its most talkative; afterwards no line of it may hold a canary."""
    for name in ("urllib3", "urllib3.connectionpool", "requests", "lightly_provider"):
        caplog.set_level(logging.DEBUG, logger=name)
    with caplog.at_level(logging.DEBUG):
        yield
    # The fixture ends in another phase than the test, and caplog.records are those of the phase.
    lines = [logging.Formatter().format(record) + repr(record.args) for record in caplog.get_records("call")]
    assert not [line for line in lines if CANARY in line]


def settings(host: str, **changes: Any) -> ClientSettings:
    values = {"host": host, "token": TOKEN, "max_attempts": 2, "longest_wait": 0.001}
    return ClientSettings(**values | changes)


def ended(client_settings: ClientSettings, call: calls.Call[Any]) -> LightlyError | None:
    client = LightlyClient(client_settings)
    try:
        client.send(call)
    except LightlyError as error:
        return error
    finally:
        client.close()
    return None


@pytest.mark.parametrize("ending", [name for name in ENDINGS if name != "success"])
@pytest.mark.parametrize("call", CALLS)
def test_no_failure_tells_a_secret(platform: StartPlatform, ending: str, call: str) -> None:
    failing = platform(with_what_was_sent(ENDINGS[ending], SECRETS[call]))
    error = ended(settings(failing.address, read_timeout=read_timeout_for(ENDINGS[ending], late=0.5)), CALLS[call])
    assert TOKEN in dict(failing.requests(at_least=1)[0].query).values(), "the canary was not even sent"
    if error is None:
        assert CALLS[call].method == "PUT", "a PUT is content with any success"
    else:
        assert_tells_nothing(error)


@pytest.mark.parametrize("call", CALLS)
def test_no_success_tells_a_secret(platform: StartPlatform, call: str, caplog: pytest.LogCaptureFixture) -> None:
    assert ended(settings(platform(ENDINGS["success"]).address), CALLS[call]) is None
    requests_logged = [r.getMessage() for r in caplog.records if r.name == "urllib3.connectionpool"]
    assert any("token=***" in line for line in requests_logged), "urllib3 logged nothing, so this proves nothing"


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_connection_tells_no_secret(call: str) -> None:
    error = assert_tells_nothing(ended(settings(refusing_address()), CALLS[call]))
    assert isinstance(error, LightlyConnectionError)


def test_an_unknown_host_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_knows(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody_knows)
    error = assert_tells_nothing(ended(settings("http://no-such-host.invalid"), PUT_KEYS))
    assert isinstance(error, LightlyConnectionError)
    assert not error.maybe_applied


@pytest.mark.parametrize("host", ["https://.bad", "https://a b", "https://[", "http://127.0.0.1:999999", "http://a..b"])
def test_a_host_that_is_no_address_tells_no_secret_and_is_not_tried_again(host: str, pauses: list[float]) -> None:
    error = assert_tells_nothing(ended(settings(host), PUT_KEYS))
    assert isinstance(error, LightlyConnectionConfigError)
    assert "the host is not a valid address" in str(error)
    assert pauses == []


def test_a_scheme_that_requests_does_not_speak_tells_no_secret(pauses: list[float]) -> None:
    error = assert_tells_nothing(ended(settings("ftp://127.0.0.1"), PUT_KEYS))
    assert isinstance(error, LightlyConnectionConfigError)
    assert pauses == []


# --- TLS ----------------------------------------------------------------------------------------------------------


def test_tls_to_a_plain_port_tells_no_secret(platform: StartPlatform) -> None:
    plain = platform(Answer())
    error = assert_tells_nothing(ended(settings(plain.address.replace("http", "https")), PUT_KEYS))
    assert "TLS failed; check the host, and the CA bundle" in str(error)
    assert plain.received == []


def test_a_certificate_that_is_not_trusted_tells_no_secret(platform: StartPlatform, tls: Any) -> None:
    foreign = platform(Answer(), tls=tls)
    error = assert_tells_nothing(ended(settings(foreign.address), PUT_ROLE))
    assert "TLS failed" in str(error)
    assert foreign.received == []


def test_tls_that_breaks_after_the_request_leaves_open_whether_it_was_applied(
    platform: StartPlatform, tls: Any, certificate: Path
) -> None:
    breaking = platform(NoiseInTls(), tls=tls)
    error = assert_tells_nothing(ended(settings(breaking.address, ca_bundle=str(certificate)), PUT_KEYS))
    assert isinstance(error, LightlyConnectionError)
    assert error.maybe_applied
    assert len(breaking.received) == 2


def test_a_ca_bundle_that_does_not_exist_is_named(platform: StartPlatform, tls: Any, pauses: list[float]) -> None:
    answering = platform(Answer(), tls=tls)
    error = assert_tells_nothing(ended(settings(answering.address, ca_bundle="/no/such/file.pem"), PUT_KEYS))
    assert isinstance(error, LightlyConnectionConfigError)
    assert "the CA bundle does not exist; check ca_bundle in the connection's extra" in str(error)
    assert (answering.received, pauses) == ([], [])


def test_a_ca_bundle_that_holds_no_certificate_is_named(platform: StartPlatform, tls: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    answering = platform(Answer(), tls=tls)
    error = assert_tells_nothing(ended(settings(answering.address, ca_bundle=str(empty)), PUT_KEYS))
    assert "CA bundle" in str(error)
    assert answering.received == []


# --- proxies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["http://api.test", "https://api.test"])
def test_a_proxy_that_is_not_there_tells_no_secret(host: str) -> None:
    proxy = refusing_address().replace("http://", f"http://user:{PROXY_PASSWORD}@")
    error = assert_tells_nothing(ended(settings(host, proxies={"http": proxy, "https": proxy}), PUT_KEYS))
    assert isinstance(error, LightlyConnectionError)
    assert not error.maybe_applied
    assert "the proxy refused or failed; check the proxies" in str(error)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_the_tunnel_tells_no_secret(platform: StartPlatform, status: int) -> None:
    proxy = platform(Answer(status, ECHO.encode()))
    error = assert_tells_nothing(ended(settings("https://api.test", proxies={"https": proxy.address}), PUT_KEYS))
    assert isinstance(error, LightlyConnectionError)
    assert not error.maybe_applied
    assert {r.method for r in proxy.received} == {"CONNECT"}
    assert CANARY not in "".join(r.url for r in proxy.received)


@pytest.mark.parametrize("proxy", [f"http://u:{PROXY_PASSWORD}@[", f"http://u:{PROXY_PASSWORD}@a..b", "socks5://x:1"])
def test_a_proxy_that_is_no_address_tells_no_secret(proxy: str, pauses: list[float]) -> None:
    error = assert_tells_nothing(ended(settings("https://api.test", proxies={"https": proxy}), PUT_KEYS))
    assert isinstance(error, LightlyConnectionConfigError)
    assert pauses == []


# --- downloads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Answer(403, f"<Error>{SIGNATURE}</Error>".encode()), LightlyResponseError),
        (Answer(302, headers={"Location": f"/x?X-Amz-Signature={SIGNATURE}"}), LightlyResponseError),
        (Answer(204), LightlyResponseError),
        (NoAnswer(), LightlyConnectionError),
        (CutShort(200, b"x" * 100), LightlyConnectionError),
        (Late(200), LightlyConnectionError),
    ],
)
def test_a_signed_address_that_cannot_be_read_is_not_shown(
    platform: StartPlatform, ending: Step, expected: type[LightlyError]
) -> None:
    failing = platform(ending)
    client = LightlyClient(settings(failing.address, read_timeout=read_timeout_for(ending, late=0.5)))
    query = f"X-Amz-Credential=x&X-Amz-Security-Token={SIGNATURE}&X-Amz-Signature={SIGNATURE}&sig={SIGNATURE}"
    with pytest.raises(expected) as failed:
        client.download("get_docker_run_artifact_read_url_by_id", f"{failing.address}/report.json?{query}")
    client.close()
    assert_tells_nothing(failed.value)
    assert len(failing.requests(at_least=1)) == 1
    assert "get_docker_run_artifact_read_url_by_id" in str(failed.value)


@pytest.mark.parametrize("address", [f"<html>{SIGNATURE}</html>", f"http://[?{SIGNATURE}", f"ftp://x/?{SIGNATURE}", ""])
def test_what_is_no_address_is_not_shown(address: str) -> None:
    client = LightlyClient(settings("http://127.0.0.1"))
    with pytest.raises(LightlyConnectionError) as failed:
        client.download("an_operation", address)
    assert_tells_nothing(failed.value)


# --- header lines -------------------------------------------------------------------------------------------------


@pytest.fixture
def without_a_colon() -> Iterator[str]:
    """The address of a server that answers with a header line without a colon, and what it was asked in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rb") as request:
                        asked = request.readline().strip()
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%s %s" % (asked, TOKEN.encode()))
                        connection.sendall(b"\r\nContent-Type: application/json\r\n\r\n[]")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_header_line_without_a_colon_tells_no_secret(without_a_colon: str, caplog: pytest.LogCaptureFixture) -> None:
    client = LightlyClient(settings(without_a_colon, max_attempts=1))
    client.send(GET)
    client.download("an_operation", f"{without_a_colon}/report.json?X-Amz-Signature={SIGNATURE}")
    client.close()
    assert len([r for r in caplog.records if "Failed to parse headers" in r.getMessage()]) == 2


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_shows_no_secret(call: calls.Call[Any]) -> None:
    assert CANARY not in repr(call)
    assert CANARY not in str(call)


def test_settings_show_neither_token_nor_proxies() -> None:
    shown = settings("https://api.test", proxies={"https": f"http://u:{PROXY_PASSWORD}@p"})
    assert CANARY not in repr(shown) + str(shown)
    assert "https://api.test" in repr(shown)
    assert CANARY not in repr(LightlyClient(shown))


def test_datasources_that_are_sent_show_no_secret() -> None:
    keys = USER_ACCESS.model_copy(update={"s3_secret_access_key": SECRET_KEY})
    role = DELEGATED_ACCESS.model_copy(update={"s3_external_id": EXTERNAL_ID})
    for model in (keys, role):
        assert CANARY not in repr(model) + str(model) + repr(model.public())
        assert CANARY in repr(model.to_wire()), "the canary is not even in it"
    assert (keys.secrets(), role.secrets()) == ((SECRET_KEY,), (EXTERNAL_ID,))
    assert set(keys.public()) == {"type", "purpose", "fullPath", "s3Region", "s3AccessKeyId"}
    assert set(role.public()) == {"type", "purpose", "fullPath", "s3Region", "s3ARN"}


def test_datasources_that_are_read_show_no_secret() -> None:
    (read,) = GET.parse(
        [
            {"id": "0" * 24, "purpose": "INPUT", "type": "S3", "fullPath": "s3://b/", "s3Region": "us-east-1"}
            | {"s3AccessKeyId": "AKIA", "s3SecretAccessKey": SECRET_KEY, "s3ExternalId": EXTERNAL_ID}
        ]
    )
    assert CANARY not in repr(read) + str(read) + repr(read.public())
    assert read.s3_secret_access_key == SECRET_KEY


@pytest.mark.parametrize("field", ["s3_region", "full_path", "kms_key_arn", "s3_access_key_id"])
def test_a_refused_datasource_repeats_no_value(field: str) -> None:
    values = USER_ACCESS.model_dump() | {"s3_secret_access_key": SECRET_KEY, field: 17}
    with pytest.raises(ValueError, match=field) as refused:
        type(USER_ACCESS).model_validate(values)
    assert CANARY not in texts_of(refused.value)
