"""The faults on the wire: what a client of a real sandbox sees, down to its socket."""

from __future__ import annotations

import json
import secrets
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from lightly_sandbox.worker.api import ApiError, Platform
from tests.lab.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sandbox import Api

CONTROL = "/sandbox/faults"
CREATE = "create_dataset"


@dataclass
class Faulty:
    """The session's sandbox, told to fail."""

    api: Api

    def add(self, kind: str, operation: str = CREATE, **more: Any) -> str:
        return str(self.api.ok("POST", CONTROL, {"kind": kind, "operation": operation, **more})["id"])

    def counts(self, fault_id: str) -> tuple[int, int]:
        (fault,) = [fault for fault in self.api.ok("GET", CONTROL) if fault["id"] == fault_id]
        return fault["matched"], fault["applied"]


@pytest.fixture
def faulty(api: Api) -> Iterator[Faulty]:
    """The sandbox, which has no faults again afterwards."""
    assert api.ok("GET", CONTROL) == []
    yield Faulty(api)
    api.ok("DELETE", CONTROL)


@pytest.fixture
def name() -> str:
    """The name of a dataset that is to be made."""
    return f"faults {secrets.token_hex(6)}"


def _exists(api: Api, name: str) -> bool:
    return bool(api.ok("GET", f"/v1/datasets/query/name/{name}", exact=True))


def _connect(api: Api, method: str, path: str, body: Any = None) -> socket.socket:
    """A connection of its own on which one request has been sent."""
    address = urlsplit(api.url)
    content = b"" if body is None else json.dumps(body).encode()
    connection = socket.create_connection((address.hostname, address.port), timeout=10)
    head = f"{method} {path}?token={api.token} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    about = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(f"{head}{about}".encode() + content)
    return connection


def _everything(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_refusal_has_the_contracts_body_and_nothing_is_done(faulty: Faulty, name: str) -> None:
    fault = faulty.add("status", status=503, times=2)
    for _ in range(2):
        status, code, error = faulty.api.refused("POST", "/v1/datasets", {"name": name})
        assert (status, code) == (503, "BAD_REQUEST")
        assert "503" in error
    assert not _exists(faulty.api, name)
    faulty.api.ok("POST", "/v1/datasets", {"name": name})
    assert faulty.counts(fault) == (3, 2)


@pytest.mark.parametrize(("status", "code"), [(409, "CONFLICT"), (402, "ACCOUNT_SUBSCRIPTION_INSUFFICIENT")])
def test_the_code_fits_the_status_unless_another_is_given(faulty: Faulty, status: int, code: str) -> None:
    faulty.add("status", status=status, times=1)
    faulty.add("status", status=status, code="NOT_HEARD_OF_YET", times=1)
    said = [faulty.api.refused("POST", "/v1/datasets", {"name": "any"})[:2] for _ in range(2)]
    assert said == [(status, code), (status, "NOT_HEARD_OF_YET")]


def test_too_many_requests_says_when_to_come_back(faulty: Faulty) -> None:
    faulty.add("status", status=429, retryAfter=7, times=1)
    faulty.add("status", status=429, retryAfterDate=30, times=1)
    first, second = (faulty.api.send("POST", "/v1/datasets", {"name": "any"}) for _ in range(2))
    assert (first.status_code, first.headers["Retry-After"]) == (429, "7")
    assert second.status_code == 429
    ahead = parsedate_to_datetime(second.headers["Retry-After"]).timestamp() - time.time()
    assert 25 < ahead <= 31


def test_what_is_delayed_is_done_later(faulty: Faulty, name: str) -> None:
    faulty.add("delay", seconds=0.4, times=1)
    began = time.monotonic()
    faulty.api.ok("POST", "/v1/datasets", {"name": name})
    assert time.monotonic() - began >= 0.4
    assert _exists(faulty.api, name)


def test_what_is_delayed_is_done_although_its_client_has_left(faulty: Faulty, name: str) -> None:
    fault = faulty.add("delay", seconds=1, times=1)
    connection = _connect(faulty.api, "POST", "/v1/datasets", {"name": name})
    wait_until(lambda: faulty.counts(fault) == (1, 1))
    connection.close()
    assert not _exists(faulty.api, name)
    wait_until(lambda: _exists(faulty.api, name))


def test_a_reset_connection_has_done_nothing(faulty: Faulty, name: str) -> None:
    fault = faulty.add("reset", times=1)
    connection = _connect(faulty.api, "POST", "/v1/datasets", {"name": name})
    with connection, pytest.raises(ConnectionResetError):
        connection.recv(65536)
    assert faulty.counts(fault) == (1, 1)
    assert not _exists(faulty.api, name)


def test_a_client_takes_a_reset_for_an_error_of_the_connection(faulty: Faulty, name: str) -> None:
    faulty.add("reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        faulty.api.send("POST", "/v1/datasets", {"name": name})


def test_a_lost_response_has_done_everything_and_says_nothing(faulty: Faulty, name: str) -> None:
    faulty.add("drop-response", times=1)
    connection = _connect(faulty.api, "POST", "/v1/datasets", {"name": name})
    assert _everything(connection) == b""
    assert _exists(faulty.api, name)
    # To do it again meets what has been done.
    assert faulty.api.refused("POST", "/v1/datasets", {"name": name})[:2] == (409, "DATASET_NAME_EXISTS")


def test_a_client_takes_a_lost_response_for_an_error_of_the_connection(faulty: Faulty, name: str) -> None:
    faulty.add("drop-response", times=1)
    with pytest.raises(requests.ConnectionError, match="without response"):
        faulty.api.send("POST", "/v1/datasets", {"name": name})


def test_a_request_that_is_lost_takes_no_other_with_it(faulty: Faulty, name: str) -> None:
    faulty.add("drop-response", times=1)
    with requests.Session() as session:
        session.trust_env = False
        token = {"token": faulty.api.token}
        assert session.get(f"{faulty.api.url}/v1/quota", params=token, timeout=10).ok
        lost = _connect(faulty.api, "POST", "/v1/datasets", {"name": name})
        assert _everything(lost) == b""
        assert session.get(f"{faulty.api.url}/v1/quota", params=token, timeout=10).ok


def test_a_truncated_answer_is_shorter_than_it_says(faulty: Faulty, name: str) -> None:
    faulty.add("truncate", times=1)
    head, _, body = _everything(_connect(faulty.api, "POST", "/v1/datasets", {"name": name})).partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 201 ")
    whole = b'{"id":"0123456789abcdef01234567"}'
    assert f"content-length: {len(whole)}".encode() in head.lower()
    assert body.startswith(b'{"id":"')
    assert len(body) == len(whole) // 2
    assert _exists(faulty.api, name)


def test_an_answer_without_a_body_is_cut_in_its_first_line(faulty: Faulty, name: str) -> None:
    dataset_id = faulty.api.ok("POST", "/v1/datasets", {"name": name})["id"]
    faulty.add("truncate", "DELETE /v1/datasets/*", times=1)
    assert _everything(_connect(faulty.api, "DELETE", f"/v1/datasets/{dataset_id}")) == b"HTTP/1.1 "
    assert not _exists(faulty.api, name)


def test_a_page_may_come_in_place_of_the_answer(faulty: Faulty, name: str) -> None:
    faulty.add("not-json", "* /v1/datasets*", times=2)
    made = faulty.api.send("POST", "/v1/datasets", {"name": name})
    assert (made.status_code, made.headers["Content-Type"]) == (201, "text/html; charset=utf-8")
    assert made.text.startswith("<!DOCTYPE html>")
    with pytest.raises(ValueError, match="Expecting value"):
        made.json()
    (listed,) = [entry for entry in _ended(faulty).ok("GET", "/v1/datasets") if entry["name"] == name]
    faulty.add("not-json", "delete_dataset_by_id", times=1)
    deleted = faulty.api.send("DELETE", f"/v1/datasets/{listed['id']}")
    # 204 could not have a body.
    assert (deleted.status_code, deleted.text) == (200, made.text)


def _ended(faulty: Faulty) -> Api:
    faulty.api.ok("DELETE", CONTROL)
    return faulty.api


def test_an_answer_may_drip(faulty: Faulty, name: str) -> None:
    faulty.add("drip", seconds=0.6, times=1)
    began = time.monotonic()
    with _connect(faulty.api, "POST", "/v1/datasets", {"name": name}) as connection:
        pieces, arrivals = b"", []
        while not pieces.endswith(b"}"):
            pieces += connection.recv(65536)
            arrivals.append(time.monotonic() - began)
    assert arrivals[-1] >= 0.6
    assert arrivals[0] < arrivals[-1] / 2, "the first bytes come long before the last"
    assert len(arrivals) > 3
    body = json.loads(pieces.partition(b"\r\n\r\n")[2])
    assert faulty.api.ok("GET", f"/v1/datasets/{body['id']}")["name"] == name


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_the_platforms_clock_may_be_wrong(faulty: Faulty, seconds: int) -> None:
    dataset_id = faulty.api.new_dataset()
    path = f"/v1/datasets/{dataset_id}"
    faulty.api.ok("PUT", f"{path}/datasource/processedUntilTimestamp", {"processedUntilTimestamp": 1234})
    true = faulty.api.ok("GET", path)
    faulty.add("clock-skew", "GET *", seconds=seconds)
    shown = faulty.api.ok("GET", path)
    for member in ("createdAt", "lastModifiedAt"):
        assert shown.pop(member) - true.pop(member) == seconds * 1000
    assert shown == true, "nothing but times has changed"
    assert shown["datasourceProcessedUntilTimestamp"] == 1234
    (listed,) = [entry for entry in faulty.api.ok("GET", "/v1/datasets") if entry["id"] == dataset_id]
    assert abs(listed["createdAt"] / 1000 - time.time() - seconds) < 60


def test_faults_of_different_kinds_come_together(faulty: Faulty, name: str) -> None:
    faulty.add("status", status=503, times=1)
    faulty.add("drop-response", times=1)
    faulty.add("delay", seconds=0.2)
    began = time.monotonic()
    assert faulty.api.refused("POST", "/v1/datasets", {"name": name})[0] == 503
    with pytest.raises(requests.ConnectionError):
        faulty.api.send("POST", "/v1/datasets", {"name": name})
    assert time.monotonic() - began >= 0.4
    assert _exists(faulty.api, name)


def test_nothing_but_the_api_fails(faulty: Faulty) -> None:
    faulty.add("status", "* *", status=500)
    assert faulty.api.refused("GET", "/v1/quota")[0] == 500
    assert len(faulty.api.ok("GET", CONTROL)) == 1
    assert faulty.api.send("GET", "/web").status_code != 500


def test_the_sandboxs_own_worker_is_spared_unless_it_is_included(faulty: Faulty, name: str) -> None:
    worker = Platform(faulty.api.url, faulty.api.token)
    worker.hurry()
    faulty.add("status", "* *", status=500)
    assert worker.register_worker(name, (), "any")
    faulty.add("status", "POST /v1/docker/worker", status=501, includeWorker=True)
    with pytest.raises(ApiError, match="HTTP 501 NOT_IMPLEMENTED"):
        worker.register_worker(name, (), "any")


def test_faults_are_listed_counted_and_cleared(faulty: Faulty) -> None:
    first = faulty.add("reset", "POST */schedule", times=3, probability=0.5, seed=1)
    second = faulty.add("status", "GET /v1/quota", status=503, retryAfter=2, includeWorker=True)
    faulty.api.send("GET", "/v1/quota")
    assert faulty.api.ok("GET", CONTROL) == [
        {
            **{"id": first, "kind": "reset", "operation": "POST */schedule", "includeWorker": False},
            **{"times": 3, "probability": 0.5, "seed": 1, "matched": 0, "applied": 0},
        },
        {
            **{"id": second, "kind": "status", "operation": "GET /v1/quota", "includeWorker": True},
            **{"status": 503, "retryAfter": 2, "matched": 1, "applied": 1},
        },
    ]
    faulty.api.ok("DELETE", f"{CONTROL}/{second}")
    assert faulty.api.send("GET", "/v1/quota").ok
    assert [fault["id"] for fault in faulty.api.ok("GET", CONTROL)] == [first]
    assert faulty.api.refused("DELETE", f"{CONTROL}/{second}")[:2] == (404, "NOT_FOUND")
    faulty.api.ok("DELETE", CONTROL)
    assert faulty.api.ok("GET", CONTROL) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "reset"}, "operation"),
        ({"kind": "reset", "operation": "schedule"}, "no operation of the contract"),
        ({"kind": "reset", "operation": "* *", "times": 0}, "times"),
        ({"kind": "reset", "operation": "* *", "probability": 1.5}, "probability"),
        ({"kind": "reset", "operation": "* *", "seconds": 1}, "seconds"),
        ({"kind": "delay", "operation": "* *"}, "seconds"),
        ({"kind": "delay", "operation": "* *", "seconds": 601}, "seconds"),
        ({"kind": "status", "operation": "* *", "status": 200}, "status"),
        ({"kind": "status", "operation": "* *", "status": 429, "retryAfter": 1, "retryAfterDate": 1}, "both"),
        ({"kind": "iam-delay", "operation": "* *", "seconds": 1}, "operation"),
        ({"kind": "another"}, "another"),
    ],
)
def test_a_fault_that_is_none_is_refused(faulty: Faulty, body: dict[str, Any], words: str) -> None:
    status, code, error = faulty.api.refused("POST", CONTROL, body)
    assert (status, code) == (400, "MALFORMED_REQUEST")
    assert words in error
    assert faulty.api.ok("GET", CONTROL) == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_without_the_token_nobody_makes_it_fail(faulty: Faulty, method: str) -> None:
    fault = faulty.add("reset", "POST */schedule")
    body = {"kind": "reset", "operation": "* *"}
    stranger = type(faulty.api)(faulty.api.url, "wrong")
    assert stranger.refused(method, CONTROL, body)[:2] == (401, "UNAUTHORIZED")
    assert faulty.counts(fault) == (0, 0)
