"""The documents of the project, and what is in them: fenced blocks, tables, snippets of DAGs."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where it begins."""

    path: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """``file:line``, as in an editor."""
        return f"{self.path.relative_to(REPOSITORY)}:{self.line}"


@cache
def read(path: Path) -> str:
    """A document's text."""
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str | None = None) -> list[Block]:
    """A document's fenced blocks; None: of any language."""
    found, opened, lines = [], None, []
    for number, line in enumerate(read(path).splitlines(), start=1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = (number, line.strip()[3:].strip()), []
        else:
            found.append(Block(path, opened[0], opened[1], textwrap.dedent("\n".join(lines))))
            opened = None
    assert opened is None, f"{path} has a block without an end"
    return [block for block in found if language in (None, block.language)]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", read(path), flags=re.DOTALL | re.MULTILINE)


def rows(path: Path, first_header: str) -> list[list[str]]:
    """The cells of each row of the document's first table whose first column is headed so."""
    return next(_tables(path, first_header), [])


def all_rows(path: Path, first_header: str) -> list[list[str]]:
    """The same of all such tables, one after the other."""
    return [row for table in _tables(path, first_header) for row in table]


def _tables(path: Path, first_header: str) -> Iterator[list[list[str]]]:
    lines = iter(read(path).splitlines())
    for line in lines:
        if not line.startswith(f"| {first_header} |"):
            continue
        next(lines)
        yield [
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
            for row in takewhile(lambda line: line.startswith("|"), lines)
        ]


def code(cell: str) -> str:
    """What stands between a cell's backticks."""
    match = re.fullmatch("`(.*)`", cell)
    assert match, f"{cell!r} is not written as code"
    return match[1]


SNIPPETS = [block for path in DOCUMENTS for block in blocks(path, "python")]

DAG_SNIPPETS = [block for block in SNIPPETS if re.search(r"\bDAG\(", block.text)]

OTHER_SNIPPETS = [block for block in SNIPPETS if block not in DAG_SNIPPETS]


def dags_in(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What Airflow's own parser makes of a folder: the DAGs by id, and the errors by file."""
    try:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(folder, bundle_name="dags-folder")
    except ImportError:  # Airflow 2
        from airflow.models import DagBag

        bag = DagBag(folder, include_examples=False)
    return dict(bag.dags), dict(bag.import_errors)
