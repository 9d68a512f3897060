"""The connection's test button: it says who we are, or exactly what is wrong."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.hooks.lightly import LightlyHook

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_it_says_who_we_are(lightly: Sandbox, dataset_name: str) -> None:
    from lightly_provider.contract import DatasetType

    hook = LightlyHook()
    dataset_id = hook.get_or_create_dataset(dataset_name, DatasetType.IMAGES).dataset_id
    owner = hook.get_dataset(dataset_id).user_id

    works, message = hook.test_connection()

    assert works
    assert owner in message
    assert lightly.lightly_url in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "canary-wrong-token"}, "API token"),
        ({"password": ""}, "has no API token"),
        ({"host": "http://127.0.0.1:{port}"}, "no connection"),
        ({"host": "https://127.0.0.1:{sandbox_port}"}, "TLS"),
        ({"host": "ftp://example.com"}, "not the address of a web server"),
        ({"extra": {"connect_timeout": "soon"}}, "connect_timeout"),
        ({"extra": {"proxies": "not json"}}, "proxies"),
    ],
)
def test_it_says_exactly_what_is_wrong(
    changes: dict[str, Any], said: str, lightly: Sandbox, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(lightly.lightly_connection(**changes))
    places = {"port": unused_port, "sandbox_port": lightly.lightly_url.rsplit(":", 1)[1]}
    connection["host"] = connection["host"].format(**places)
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))

    works, message = LightlyHook().test_connection()

    assert not works
    assert said in message
    assert lightly.token not in message
    assert "canary" not in message


def test_a_connection_that_does_not_exist_is_named(lightly: Sandbox) -> None:
    with pytest.raises(Exception, match="no_such_connection"):
        LightlyHook("no_such_connection").client  # noqa: B018 - reading it looks the connection up
