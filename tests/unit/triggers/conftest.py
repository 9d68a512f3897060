from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.triggers.waiting_platform import WaitingPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingPlatform]:
    """A platform with runs that the test moves on, and the connection ``lightly_default`` to it."""
    with WaitingPlatform() as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": started.token}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        yield started
