"""A connection whose API token is rotated while a hook is used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.hooks.lightly import LightlyHook
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "AIRFLOW_CONN_LIGHTLY_DEFAULT"


@pytest.fixture
def platform() -> Iterator[ScriptedPlatform]:
    """A platform that answers a quota."""
    with ScriptedPlatform([Answer(200, 1000)]) as started:
        yield started


def connection(platform: ScriptedPlatform, token: Any) -> str:
    return json.dumps({"conn_type": "lightly", "host": platform.address, "password": token})


def tokens(platform: ScriptedPlatform) -> list[str]:
    return [dict(received.query)["token"] for received in platform.received]


def test_the_new_token_is_used_and_only_after_it_was_asked_for(
    platform: ScriptedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, connection(platform, "old"))
    hook = LightlyHook()
    hook.test_connection()
    assert hook.reconnect() is False, "nothing has changed"
    monkeypatch.setenv(VARIABLE, connection(platform, "new"))
    assert hook.connection.settings.token == "old"
    assert hook.reconnect() is True
    hook.test_connection()
    assert set(tokens(platform)) == {"old", "new"}
    assert tokens(platform)[-1] == "new"


@pytest.mark.parametrize("token", [None, "", "a\nb", 17])
def test_a_connection_that_cannot_be_used_now_leaves_the_old_one(
    platform: ScriptedPlatform, monkeypatch: pytest.MonkeyPatch, token: Any
) -> None:
    monkeypatch.setenv(VARIABLE, connection(platform, "old"))
    hook = LightlyHook()
    assert hook.connection.settings.token == "old"
    monkeypatch.setenv(VARIABLE, connection(platform, token))
    assert hook.reconnect() is False
    monkeypatch.delenv(VARIABLE)
    assert hook.reconnect() is False
    assert hook.connection.settings.token == "old"
