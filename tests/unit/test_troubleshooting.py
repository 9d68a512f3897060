"""Every message on the page Troubleshooting is one that something can say."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from lightly_provider import exceptions
from tests.unit.documents import REPOSITORY, all_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = REPOSITORY / "docs" / "troubleshooting.md"
# Who speaks on this page. The sandbox's worker stands for the platform's.
SPEAKERS = ("lightly_provider", "sandbox/lightly_sandbox", "demo", "scripts")
# What Airflow says itself.
AIRFLOWS = {
    "missing keyword argument",
    "Invalid arguments were passed to CreateLightlyDatasetOperator",
    "unmappable or already specified argument",
    "The conn_id",
    "isn't defined",
    "Testing connections is disabled in Airflow configuration",
}
# Shorter pieces are in many messages.
_SHORTEST = 8


def spoken() -> str:
    """The literal parts of all texts in the code, one per line."""
    texts: list[str] = []
    for folder in SPEAKERS:
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix == ".py":
                texts += [
                    " ".join(node.value.split())
                    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                ]
            elif path.parent == REPOSITORY / "scripts" and path.is_file():
                texts += path.read_text(encoding="utf-8").splitlines()
    return "\n".join(texts)


def messages() -> Iterator[str]:
    """The messages in the first columns of the page's tables of symptoms."""
    for symptom, *_ in all_rows(PAGE, "symptom"):
        yield from re.findall(r"`([^`]+)`", symptom)


def pieces(message: str) -> list[str]:
    """What a message says in any case: its clauses, without the exception's name, names, ids and numbers."""
    named = re.match(r"(Lightly\w+): ", message)
    if named:
        assert hasattr(exceptions, named[1]), named[1]
    text = message.removeprefix(named[0]) if named else message
    clauses = re.split(r"…|'[^']*'|\"[^\"]*\"|\S*\d\S*|[:;.,()]", text)
    return [clause.strip() for clause in clauses if len(clause.strip()) >= _SHORTEST]


def test_each_message_on_the_page_is_one_that_something_says() -> None:
    known = spoken()
    unknown = {
        message: missing
        for message in messages()
        if (missing := [piece for piece in pieces(message) if piece not in known and piece not in AIRFLOWS])
    }

    assert len(list(messages())) > 70
    assert unknown == {}
