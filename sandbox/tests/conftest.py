from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from running_sandbox import Api, Customer, Process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One sandbox without workers for the whole session: the tests are the worker."""
    process = Process.start(tmp_path_factory.mktemp("sandbox") / "state", "--workers", "0")
    try:
        yield process.ready()
    finally:
        process.stop()


@pytest.fixture(scope="session")
def api(ready: dict[str, Any]) -> Api:
    return Api(ready["lightly_url"], ready["token"])


@pytest.fixture(scope="session")
def customer(ready: dict[str, Any]) -> Customer:
    return Customer(ready)
