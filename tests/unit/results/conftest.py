from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def storage() -> Iterator[Any]:
    """A file system in memory, known to Airflow as the scheme ``memory``; empty."""
    from fsspec.implementations.memory import MemoryFileSystem

    try:
        from airflow.sdk.io import attach
    except ImportError:  # Airflow 2
        from airflow.io.store import attach

    system = MemoryFileSystem()
    system.store.clear()
    attach("memory", fs=system)
    attach("memory", conn_id="my_store", fs=system)
    yield system
    system.store.clear()
