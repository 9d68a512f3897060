from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> Generator[None, Any, Any]:
    """
    Leave an exhaustive test out before its cases are made, where ``-m`` would leave them out afterwards.

    schemathesis makes up the requests of a test when it collects it, which takes seconds for a hundred
    operations.
    """
    collected = yield
    left_out = collector.config.option.markexpr == "not exhaustive" and any(
        mark.name == "exhaustive" for mark in getattr(obj, "pytestmark", ())
    )
    return [] if left_out else collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Number tests with equal ids: schemathesis makes some, and pytest-xdist runs each id once."""
    seen: Counter[str] = Counter()
    for item in items:
        node_id = item.nodeid
        seen[node_id] += 1
        if seen[node_id] > 1:
            item._id = item.id.parse(f"{node_id}[{seen[node_id]}]")
