"""Whatever a storage answers when a small object is read or written: a result or an error, without its address."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.client import ClientSettings, LightlyClient
from lightly_provider.exceptions import LightlyError, LightlyResponseError
from tests.hostile.conftest import TOKEN
from tests.hostile.hostile_server import Bytes, answer, gzip_bomb, huge
from tests.hostile.scripts import WRONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_provider.api.client import StoredObject
    from tests.hostile.hostile_server import HostileServer

XML = b"<Error><Code>AccessDenied</Code><Message>CANARY</Message></Error>"


def with_client(server: HostileServer, use: Callable[[LightlyClient, str], Any], *script: Bytes) -> Any:
    server.answers(*script)
    given: dict[str, Any] = {"host": server.address, "token": TOKEN, "read_timeout": 2.0, "longest_wait": 0.001}
    with closing(LightlyClient(ClientSettings(**given))) as client:
        return use(client, f"{server.address}/object?X-Amz-Signature=CANARY")


def read(server: HostileServer, *script: Bytes) -> StoredObject | None:
    found: StoredObject | None = with_client(
        server, lambda client, url: client.read_object("an_operation", url, most=1000), *script
    )
    return found


def write(server: HostileServer, *script: Bytes) -> bool:
    done: bool = with_client(
        server,
        lambda client, url: client.write_object("an_operation", url, b"content", headers={"If-Match": '"etag"'}),
        *script,
    )
    return done


def test_an_object_is_read_with_its_etag_and_may_be_missing(server: HostileServer) -> None:
    found = read(server, answer(b"\x00\xff", headers=('ETag: "abc"',)))
    assert found is not None
    assert (found.content, found.etag) == (b"\x00\xff", '"abc"')
    assert "\\x00" not in repr(found)
    assert read(server, answer(b"<Error/>", status=404)) is None


def test_a_write_sends_the_content_the_condition_and_no_token(server: HostileServer) -> None:
    assert write(server, answer(b""))
    (request,) = server.requests
    assert request.startswith(b"PUT /object?X-Amz-Signature=CANARY HTTP/1.1\r\n")
    assert b'If-Match: "etag"' in request
    assert TOKEN.encode() not in request


@pytest.mark.parametrize("status", [409, 412])
def test_a_condition_that_is_not_met_is_no_error(server: HostileServer, status: int) -> None:
    assert not write(server, answer(XML, status=status))


def test_a_fault_of_the_storage_is_tried_again(server: HostileServer) -> None:
    assert write(server, answer(b"", status=503), answer(b"", status=429), answer(b""))
    assert read(server, answer(b"", status=500), answer(b"whole")) is not None


@pytest.mark.parametrize(
    "script",
    [
        answer(XML, status=403),
        answer(XML, status=500),
        answer(b"", status=302, headers=("Location: http://127.0.0.1/CANARY",)),
        huge(2),
        gzip_bomb(64),
        *(WRONG[name] for name in ("no HTTP", "closed", "reset in the body")),
    ],
    ids=["denied", "always a fault", "elsewhere", "too large", "a bomb", "no HTTP", "closed", "reset"],
)
@pytest.mark.parametrize("use", [read, write], ids=["read", "write"])
def test_anything_else_is_an_error_without_the_address(
    server: HostileServer, use: Callable[..., Any], script: Bytes
) -> None:
    with pytest.raises(LightlyError) as failed:
        use(server, script)
    assert str(failed.value).isprintable()
    assert "CANARY" not in f"{failed.value!r}{failed.value.__cause__!r}{failed.value.__context__!r}"


def test_a_refusal_names_the_code_and_the_next_step(server: HostileServer) -> None:
    with pytest.raises(LightlyResponseError, match=r"HTTP 403 AccessDenied; check the permissions of the dataset's"):
        write(server, answer(XML, status=403))
