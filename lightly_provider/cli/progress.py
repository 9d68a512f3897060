"""Progress on standard error, if that is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")


def counted(items: Iterable[Item], *, description: str, total: int) -> Iterator[Item]:
    """
    Yield the items, and show how many were.

    :param items: Items.
    :param description: What is done.
    :param total: Number of items.
    """
    with progress(description, total=total) as show:
        for number, item in enumerate(items, start=1):
            show(number)
            yield item


@contextmanager
def progress(description: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """
    Show the progress of something that takes its time; yields what takes how much is done.

    :param description: What is done.
    :param total: How much there is to do.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(description, total=total)
        yield lambda done: shown.update(task, completed=done)
