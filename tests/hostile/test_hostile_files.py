"""Whatever a storage does, a file read piece by piece ends in time, in little memory, and is whole or an error."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.exceptions import LightlyConnectionError, LightlyError
from tests.hostile.conftest import TOKEN
from tests.hostile.hostile_server import MIB, Bytes, answer, dripping_body, gzip_bomb, huge
from tests.hostile.scripts import SLOW, SPARE_S, WRONG

if TYPE_CHECKING:
    from tests.hostile.hostile_server import HostileServer


def read(server: HostileServer, scripted: Bytes, *, keep: bool = True, **changes: Any) -> tuple[int | None, int, bytes]:
    """Announced and received size of a file, and its content."""
    server.answers(scripted)
    settings = ClientSettings(**{"host": server.address, "token": TOKEN, "read_timeout": 2.0} | changes)
    with (
        closing(LightlyClient(settings)) as client,
        client.open("an_operation", f"{server.address}/file?X-Amz-Signature=CANARY") as download,
    ):
        content, received = bytearray(), 0
        for piece in download.pieces():
            assert len(piece) <= 64 * 1024
            received += len(piece)
            content += piece if keep else b""
        return download.size, received, bytes(content)


def test_a_file_is_handed_on_as_it_is_also_without_a_length(server: HostileServer) -> None:
    assert read(server, answer(b"\x00\xff<html>")) == (8, 8, b"\x00\xff<html>")
    assert read(server, answer(b"")) == (0, 0, b"")
    size, received, _ = read(server, huge(3, chunked=True), keep=False)
    assert (size, received) == (None, 3 * MIB)
    (request,) = {request.partition(b"\r\n")[0] for request in server.requests}
    assert request == b"GET /file?X-Amz-Signature=CANARY HTTP/1.1", "without the token"
    assert b"identity" in server.requests[0]


def test_a_large_file_takes_little_memory(server: HostileServer) -> None:
    read(server, answer(b"warm"))
    tracemalloc.start()
    try:
        assert read(server, huge(200), keep=False, read_timeout=60.0)[:2] == (200 * MIB, 200 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB, f"{peak / MIB:.1f} MiB"


UNFIT = {
    "shorter than announced": Bytes(lambda: answer(b"short", length=10).parts(), then_reset=True),
    "closed in the middle": Bytes(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[["])),
    "a compressed bomb": gzip_bomb(4096),
    **{name: WRONG[name] for name in ("no HTTP", "closed", "reset in the body", "headers without an end")},
    **{name: WRONG[name] for name in ("chunks without a size", "compressed in another way")},
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_file_that_is_not_whole_is_an_error(server: HostileServer, unfit: str) -> None:
    with pytest.raises(LightlyError) as failed:
        read(server, UNFIT[unfit])
    assert str(failed.value).isprintable()
    assert "CANARY" not in str(failed.value)


@pytest.mark.parametrize("slow", ["a body one byte at a time", "a head one byte at a time", "no answer"])
def test_a_file_below_the_lowest_rate_is_given_up(server: HostileServer, slow: str) -> None:
    began = time.monotonic()
    with pytest.raises(LightlyConnectionError):
        read(server, SLOW[slow], read_timeout=0.5)
    assert time.monotonic() - began < 0.5 + SPARE_S


def test_a_file_above_the_lowest_rate_may_take_longer_than_an_answer(server: HostileServer) -> None:
    pieces = [b"x" * 20_000] * 10
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"
    assert read(server, Bytes(lambda: iter([head, *pieces]), pause=0.15), read_timeout=1.0)[1] == 200_000


def test_a_file_that_is_not_wanted_is_left_unread(server: HostileServer) -> None:
    server.answers(dripping_body())
    settings = ClientSettings(host=server.address, token=TOKEN, read_timeout=30.0)
    began = time.monotonic()
    with closing(LightlyClient(settings)) as client, client.open("an_operation", f"{server.address}/file") as download:
        assert download.size == 1_000_000
    assert time.monotonic() - began < SPARE_S
