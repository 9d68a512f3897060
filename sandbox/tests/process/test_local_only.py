"""Pages of other sites reach neither server of the sandbox, whatever a browser lets them send."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer

SERVERS = ["lightly_url", "aws_url"]
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def _asked(url: str, *lines: str, version: str = "1.1") -> int:
    """The status of what is answered to a request of exactly these header lines."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), 30) as connection:
        head = "\r\n".join((f"GET /web HTTP/{version}", *lines, "Connection: close", "", ""))
        connection.sendall(head.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split()[1])


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost", "0.0.0.0"),
        *("127.0.0.1@evil.example", "evil.example@127.0.0.1", "localhost,evil.example", "localhost/evil"),
        *("127.0.0.1:x", "localhost:9999999", "%6cocalhost", "localhost.", "[::ffff:127.0.0.1]", "127.1", ""),
    ],
)
def test_a_host_that_is_not_this_machine_is_refused(ready: dict[str, Any], server: str, host: str) -> None:
    assert _asked(ready[server], f"Host: {host}") == 403


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:80", "localhost", "LocalHost:8080", "[::1]", "[::1]:8420", "b.localhost"]
)
def test_this_machine_has_several_names(ready: dict[str, Any], server: str, host: str) -> None:
    assert _asked(ready[server], f"Host: {host}") in (200, 404)


@pytest.mark.parametrize("server", SERVERS)
def test_a_request_without_a_host_or_with_two_is_refused(ready: dict[str, Any], server: str) -> None:
    assert _asked(ready[server], version="1.0") == 403
    assert _asked(ready[server]) == 400
    assert _asked(ready[server], "Host: localhost", "Host: evil.example") == 400


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        ({"Origin": "https://evil.example"}, [403]),
        ({"Origin": "null"}, [403]),
        ({"Origin": "http://127.0.0.1:1"}, [403]),
        ({"Sec-Fetch-Site": "cross-site"}, [403]),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, [403]),
        ({**LINK, "Sec-Fetch-Dest": "iframe"}, [403]),
        ({**LINK, "Origin": "https://evil.example"}, [403]),
        ({"X-Forwarded-Host": "evil.example"}, [200, 404]),
        ({"Sec-Fetch-Site": "none"}, [200, 404]),
        ({"Sec-Fetch-Site": "same-origin"}, [200, 404]),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "image"}, [200, 404]),
        (LINK, [200, 404]),
    ],
)
def test_a_page_of_another_site_may_link_here_and_nothing_else(
    ready: dict[str, Any], server: str, headers: dict[str, str], statuses: list[int]
) -> None:
    answer = requests.get(f"{ready[server]}/web", headers=headers, timeout=30)
    assert answer.status_code in statuses


@pytest.mark.parametrize("server", SERVERS)
def test_a_page_of_this_site_changes_nothing(ready: dict[str, Any], server: str) -> None:
    for headers in (LINK, {"Sec-Fetch-Site": "same-site"}):
        assert requests.post(f"{ready[server]}/web", headers=headers, timeout=30).status_code == 403


@pytest.mark.parametrize("server", SERVERS)
def test_a_page_of_the_sandbox_itself_is_no_other_origin(ready: dict[str, Any], server: str) -> None:
    headers = {"Origin": ready[server], "Sec-Fetch-Site": "same-origin"}
    assert requests.get(f"{ready[server]}/web", headers=headers, timeout=30).status_code in (200, 404)


@pytest.mark.parametrize("server", SERVERS)
def test_a_preflight_request_is_refused(ready: dict[str, Any], server: str) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    answer = requests.options(f"{ready[server]}/bucket/key", headers=headers, timeout=30)
    assert (answer.status_code, _cors(answer)) == (403, [])


def test_no_answer_has_a_cors_header_whatever_a_bucket_allows(
    ready: dict[str, Any], customer: Customer
) -> None:
    bucket = customer.bucket("a.jpg")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]}
    customer.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    url = customer.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a.jpg"})
    allowed = requests.get(url, headers={"Origin": ready["aws_url"]}, timeout=30)
    assert (allowed.status_code, _cors(allowed)) == (200, [])
    for answer in (
        requests.get(url, headers={"Origin": "https://evil.example"}, timeout=30),
        requests.get(f"{ready['lightly_url']}/v1/datasets", params={"token": ready["token"]}, timeout=30),
        requests.post(ready["aws_url"], data={"Action": "ListUsers"}, timeout=30),
        requests.options(f"{ready['aws_url']}/{bucket}/a.jpg", timeout=30),
    ):
        assert _cors(answer) == []


@pytest.mark.parametrize("server", SERVERS)
def test_there_are_no_websockets(ready: dict[str, Any], server: str) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==")
    assert _asked(ready[server], "Host: localhost", *upgrade) in (200, 404)
    assert _asked(ready[server], "Host: localhost", *upgrade, "Origin: https://evil.example") == 403


def _cors(answer: requests.Response) -> list[str]:
    return [name for name in answer.headers if name.lower().startswith("access-control-")]
