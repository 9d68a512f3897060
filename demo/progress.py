"""Watches the platform while the DAG runs, and shows the run's states as they pass."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lightly_provider.api import calls
from lightly_provider.contract import RunState
from lightly_provider.exceptions import LightlyNotFoundError

if TYPE_CHECKING:
    from rich.console import Console

    from lightly_provider.api.client import LightlyClient
    from lightly_provider.api.models.run import ScheduledRun

_LOOK_EVERY_S = 0.25


def show_run(
    console: Console, client: LightlyClient, process: subprocess.Popen[bytes], dataset_name: str, seen: set[str]
) -> list[str]:
    """
    Show the states of the run that the process starts, until the process ends.

    :param console: Where to show it.
    :param client: The platform's client.
    :param process: The process that runs the DAG.
    :param dataset_name: The dataset.
    :param seen: Ids of scheduled runs that were there before.
    :return: The states that were seen, in order.
    """
    working = [state for state in RunState if not state.is_terminal]
    states: list[str] = []
    cursor = 0
    with Progress(
        TextColumn("  {task.description:<34}"), BarColumn(), TimeElapsedColumn(), console=console, transient=False
    ) as progress:
        bar = progress.add_task("Airflow starts", total=len(working) + 1)
        ended = False
        while not ended:
            ended = _ended(process)
            scheduled = _fresh_run(client, dataset_name, seen)
            if scheduled is None:
                continue
            passed, cursor = _states(client, scheduled, cursor)
            for state in passed:
                if state and (not states or states[-1] != state):
                    states.append(state)
                    progress.update(bar, description=f"run: {state}", completed=_position(state, working))
    return states


def _position(state: str, working: list[RunState]) -> int:
    known = RunState.parse(state)
    if known is None:  # a state of the schedule: no worker has begun
        return 0
    return len(working) + 1 if known.is_terminal else working.index(known) + 1


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _fresh_run(client: LightlyClient, dataset_name: str, seen: set[str]) -> ScheduledRun | None:
    datasets = client.send(calls.find_datasets(dataset_name))
    runs = client.send(calls.get_scheduled_runs(datasets[0].id)) if datasets else []
    return next((run for run in runs if run.id not in seen), None)


def _states(client: LightlyClient, scheduled: ScheduledRun, cursor: int) -> tuple[list[str], int]:
    """The states that passed since the cursor, from the run's log, and the next cursor."""
    try:
        run = client.send(calls.get_run_of_scheduled_run(scheduled.id))
    except LightlyNotFoundError:
        return [scheduled.state], cursor
    page = client.send(calls.get_run_logs(run.id, cursor))
    return [entry.state for entry in page.logs] + [run.state], page.cursor
