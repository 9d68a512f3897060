"""Whatever a server does, a request ends in time, in little memory, with a right result or one of our exceptions."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from lightly_provider.api import calls
from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.exceptions import (
    LightlyConnectionError,
    LightlyError,
    LightlyResponseError,
    LightlyServerError,
)
from tests.contract.example_calls import ARTIFACT, DATASET, EXAMPLES, RUN, TAG
from tests.hostile.conftest import TOKEN
from tests.hostile.hostile_server import (
    MIB,
    Bytes,
    HostileServer,
    answer,
    chunked,
    dripping_body,
    gzipped,
)
from tests.hostile.scripts import HTML, LARGE, SLOW, SPARE_S, WRONG
from tests.thinning import thinned

Send = Callable[..., Any]
READ, TEXT, WRITE = EXAMPLES["list_runs"], EXAMPLES["export_filenames"], EXAMPLES["set_datasource, keys"]
CALLS = {"read": READ, "text": TEXT, "write": WRITE}


def ended(send: Send, host: str, call: Any, **changes: Any) -> LightlyError:
    with pytest.raises(LightlyError) as failed:
        send(host, call, **changes)
    text = str(failed.value)
    assert len(text) < 1500
    assert text.isprintable(), text
    assert "CANARY" not in text
    return failed.value


@pytest.mark.parametrize(
    ("slow", "call"),
    thinned([(slow, call) for slow in SLOW for call in CALLS], keep=6, covering=lambda slow, _: slow),
)
def test_a_slow_answer_is_cut_off_at_its_deadline(server: HostileServer, send: Send, call: str, slow: str) -> None:
    server.answers(SLOW[slow])
    began = time.monotonic()
    error = ended(send, server.address, CALLS[call], read_timeout=0.5)
    assert time.monotonic() - began < 0.5 + SPARE_S
    assert isinstance(error, LightlyConnectionError)
    assert "no whole answer within 0.5 s" in str(error)
    assert error.maybe_applied


def test_a_slow_answer_is_cut_off_for_all_attempts_together(server: HostileServer, send: Send) -> None:
    server.answers(dripping_body())
    began = time.monotonic()
    ended(send, server.address, READ, read_timeout=0.4, max_attempts=3)
    assert time.monotonic() - began < 1.2 + SPARE_S
    assert len(server.requests) == 3


@pytest.mark.parametrize("large", LARGE)
def test_a_large_answer_takes_little_memory(server: HostileServer, send: Send, large: str) -> None:
    server.answers(LARGE[large])
    tracemalloc.start()
    try:
        error = ended(send, server.address, READ)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, (LightlyResponseError, LightlyServerError))
    assert peak < 64 * MIB, f"{peak / MIB:.0f} MiB"


@pytest.mark.parametrize(
    ("wrong", "call"),
    thinned([(wrong, call) for wrong in WRONG for call in CALLS], keep=30),
)
def test_a_wrong_answer_is_one_of_our_exceptions(server: HostileServer, send: Send, call: str, wrong: str) -> None:
    server.answers(WRONG[wrong])
    began = time.monotonic()
    if call == "read" or wrong == "a negative length":
        ended(send, server.address, CALLS[call], read_timeout=1.0)
    else:
        # A text or a success without a documented body can be right; only the form of the answer can be wrong.
        result: Any = None
        with suppress(LightlyError):
            result = send(server.address, CALLS[call], read_timeout=1.0)
        assert result is None or all("\x00" not in name for name in result)
    assert time.monotonic() - began < 1.0 + SPARE_S


@pytest.mark.parametrize("call", [TEXT, WRITE], ids=["text", "write"])
def test_a_login_page_is_neither_file_names_nor_a_success(server: HostileServer, send: Send, call: Any) -> None:
    server.answers(answer(HTML))
    assert "a web page" in str(ended(send, server.address, call))


@pytest.mark.parametrize(
    "page",
    [
        b"\xef\xbb\xbf<!DOCTYPE html><h1>login",
        b"<!-- cached -->\n<html><h1>login",
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        b"<script>location='/login'</script>",
        b'{"code":"INTERNAL","error":"no"}',
        b"x" * 1025,
    ],
)
def test_what_is_no_list_of_file_names_becomes_none(server: HostileServer, send: Send, page: bytes) -> None:
    server.answers(answer(page, headers=("Content-Type: text/plain",)))
    with pytest.raises(LightlyResponseError, match="breaks its contract"):
        send(server.address, calls.export_filenames(DATASET, TAG, page_offset=0))


def test_odd_file_names_are_handed_on(server: HostileServer, send: Send) -> None:
    names = ["{1}.jpg", "<html>.jpg", '{"a": 1}', "<a>.jpg", "ä" * 512]
    server.answers(answer("\n".join(names).encode(), headers=("Content-Type: text/plain",)))
    assert send(server.address, calls.export_filenames(DATASET, TAG, page_offset=0)) == names


@pytest.mark.parametrize("address", ["https://x/\r\nHost: y", "https://x/a b", "https://x/\x1b[2J"])
def test_an_address_with_blanks_or_control_characters_is_refused(
    server: HostileServer, send: Send, address: str
) -> None:
    server.answers(answer(json.dumps(address).encode()))
    with pytest.raises(LightlyResponseError, match="an address was expected"):
        send(server.address, calls.get_artifact_url(RUN, ARTIFACT))


def test_the_signature_of_an_address_in_a_log_line_is_redacted(server: HostileServer, send: Send) -> None:
    line = "GET https://s3/x?X-Amz-Signature=CANARY&X-Amz-Security-Token=CANARY&x=1 failed, design=ok"
    server.answers(answer(json.dumps({"cursor": 1, "logs": [{"msg": line}]}).encode()))
    (entry,) = send(server.address, calls.get_run_logs(RUN, 0)).logs
    assert entry.msg == "GET https://s3/x?X-Amz-Signature=***&X-Amz-Security-Token=***&x=1 failed, design=ok"


@pytest.mark.parametrize("body", [gzipped(b"[]"), answer(b"[]"), answer(b" [ ]\r\n")], ids=["gzip", "plain", "blanks"])
def test_a_right_answer_is_read(server: HostileServer, send: Send, body: Bytes) -> None:
    server.answers(body)
    assert send(server.address, READ) == []


@pytest.mark.parametrize("form", [answer, chunked, gzipped])
def test_an_answer_may_be_as_large_as_allowed(
    server: HostileServer, send: Send, form: Callable[[bytes], Bytes]
) -> None:
    body = b"[" + b" " * 200_000 + b"]"
    server.answers(form(body))
    assert send(server.address, READ, largest_answer=len(body)) == []
    error = ended(send, server.address, READ, largest_answer=len(body) - 1)
    assert "the answer is larger than" in str(error)


def test_a_compressed_answer_may_have_two_members(server: HostileServer, send: Send) -> None:
    import gzip

    server.answers(answer(gzip.compress(b"[ ") + gzip.compress(b"]"), headers=("Content-Encoding: gzip",)))
    assert send(server.address, READ) == []


def test_text_that_cannot_be_stored_is_escaped_and_a_secret_redacted(server: HostileServer, send: Send) -> None:
    run = {"id": RUN, "state": "NEW \x1b[2J STATE", "message": f"nul \x00 and \ud800, {TOKEN}\nsecond line"}
    server.answers(answer(json.dumps([run]).encode()))
    (read,) = send(server.address, READ)
    assert read.message == "nul \\x00 and \\ud800, ***\nsecond line"
    assert read.state == r"NEW \x1b[2J STATE"


def test_a_message_is_cut(server: HostileServer, send: Send) -> None:
    server.answers(answer(json.dumps([{"id": RUN, "state": "FAILED", "message": "x" * 5_000_000}]).encode()))
    (read,) = send(server.address, READ)
    assert len(read.message) < 10_100
    assert read.message.endswith("… (5000000 characters)")


# --- reports -------------------------------------------------------------------------------------------------------


def downloaded(server: HostileServer, scripted: Bytes, **changes: Any) -> Any:
    server.answers(scripted)
    client = LightlyClient(ClientSettings(**{"host": server.address, "token": TOKEN, "read_timeout": 2.0} | changes))
    try:
        return client.download("an_operation", f"{server.address}/report.json?X-Amz-Signature=CANARY")
    finally:
        client.close()


@pytest.mark.parametrize(
    "ending",
    [
        *LARGE,
        *[
            name
            for name in WRONG
            if name
            not in (
                "an object for a list",
                "null",
                "a list of null",
                "a wrong id",
                "an id with NUL",
                "a web page that says so",
            )
        ],
    ],
)
def test_a_report_that_cannot_be_read_is_one_of_our_exceptions(server: HostileServer, ending: str) -> None:
    with pytest.raises(LightlyError) as failed:
        downloaded(server, (LARGE | WRONG)[ending])
    assert str(failed.value).isprintable()
    assert "CANARY" not in str(failed.value)


@pytest.mark.parametrize("slow", ["a body one byte at a time", "a head one byte at a time", "no answer"])
def test_a_report_that_comes_too_slowly_is_given_up(server: HostileServer, slow: str) -> None:
    began = time.monotonic()
    with pytest.raises(LightlyConnectionError):
        downloaded(server, SLOW[slow], read_timeout=0.5)
    assert time.monotonic() - began < 0.5 + SPARE_S


def test_a_large_report_may_take_longer_than_an_answer_if_it_comes(server: HostileServer) -> None:
    content = b'{"a": "' + b"x" * 200_000 + b'"}'
    pieces = [content[at : at + 20_000] for at in range(0, len(content), 20_000)]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    slow_but_steady = Bytes(lambda: iter([head, *pieces]), pause=0.15)
    assert downloaded(server, slow_but_steady, read_timeout=1.0)["a"] == "x" * 200_000


# --- canceling -----------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive(sample="test_a_slow_answer_is_cut_off_at_its_deadline")
@pytest.mark.parametrize("slow", ["a body one byte at a time", "a head one byte at a time", "no answer"])
def test_canceling_takes_less_than_20_s(server: HostileServer, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    from lightly_provider.hooks.lightly import LightlyHook

    server.answers(SLOW[slow])
    connection = {"conn_type": "lightly", "host": server.address, "password": TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
    began = time.monotonic()
    with pytest.raises(LightlyConnectionError):
        LightlyHook().cancel_scheduled_run(DATASET, RUN)
    assert time.monotonic() - began < 20.0


def test_closing_a_client_ends_what_another_thread_waits_for(server: HostileServer) -> None:
    import threading

    server.answers(SLOW["no answer"])
    client = LightlyClient(ClientSettings(host=server.address, token=TOKEN, max_attempts=1))
    ends: list[LightlyError] = []

    def wait() -> None:
        try:
            client.send(calls.list_workers())
        except LightlyError as error:
            ends.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    deadline = time.monotonic() + 60
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    client.close()
    waiting.join(timeout=60)
    assert len(ends) == 1
