"""What a task writes to its log: by the logger, at the right level."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.unit.documents import REPOSITORY, read

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((REPOSITORY / "dags").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_dag_does_not_print(example: Path) -> None:
    """Airflow 3 shows what a task prints in a group that is collapsed."""
    calls = [node.func for node in ast.walk(ast.parse(read(example))) if isinstance(node, ast.Call)]

    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []
