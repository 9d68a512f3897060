from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# The contract's checker, and the scripted platform of the client's tests.
sys.path += [str(Path(__file__).parents[2] / "contract"), str(Path(__file__).parents[1] / "api")]

if TYPE_CHECKING:
    from collections.abc import Iterator

from waiting_platform import WaitingPlatform


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingPlatform]:
    """A platform with runs that the test moves on, and the connection ``lightly_default`` to it."""
    with WaitingPlatform() as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": started.token}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        yield started
