from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Number tests with equal ids: schemathesis makes some, and pytest-xdist runs each id once."""
    seen: Counter[str] = Counter()
    for item in items:
        node_id = item.nodeid
        seen[node_id] += 1
        if seen[node_id] > 1:
            item._id = item.id.parse(f"{node_id}[{seen[node_id]}]")
