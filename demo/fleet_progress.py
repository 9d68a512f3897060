"""Watches Airflow's database while a fleet is onboarded, and shows how many datasets have passed each task."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import TaskID

_LOOK_EVERY_S = 0.5
# The mapped tasks of the DAG's newest run, in the order in which they first ran: how many have ended, of how many.
_QUERY = """
SELECT task_id, sum(state IN ('success', 'failed', 'upstream_failed', 'skipped')), count(*) FROM task_instance
WHERE map_index >= 0 AND run_id = (SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1)
GROUP BY task_id HAVING min(start_date) IS NOT NULL ORDER BY min(start_date)
"""


def show_fleet(console: Console, process: subprocess.Popen[bytes], database: Path, dag_id: str) -> None:
    """
    Show each task of the mapped group with how many datasets have passed it, until the process ends.

    :param console: Where to show it.
    :param process: The process that runs the DAG.
    :param database: Airflow's database.
    :param dag_id: The DAG.
    """
    passed = TextColumn("{task.completed:.0f} of {task.total:.0f}")
    columns = (TextColumn("  {task.description:<34}"), BarColumn(), passed, TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}
        ended = False
        while not ended:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_LOOK_EVERY_S)
                ended = True
            for task_id, n_passed, n in _passed(database, dag_id):
                if task_id not in bars:
                    bars[task_id] = progress.add_task(task_id.rpartition(".")[2], total=n)
                progress.update(bars[task_id], completed=n_passed)


def _passed(database: Path, dag_id: str) -> list[tuple[str, int, int]]:
    """Nothing while Airflow makes its database, or writes to it."""
    address = f"file:{database}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
        return list(connection.execute(_QUERY, (dag_id,)))
    return []
