"""Watches the platform while the DAG runs, and shows the run's states as they pass."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lightly_provider.api import calls
from lightly_provider.exceptions import LightlyNotFoundError
from lightly_provider.worker_run import RunState

if TYPE_CHECKING:
    from rich.console import Console

    from lightly_provider.api.client import LightlyClient

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
    with Progress(
        TextColumn("  {task.description:<34}"), BarColumn(), TimeElapsedColumn(), console=console, transient=False
    ) as progress:
        bar = progress.add_task("Airflow starts", total=len(working) + 1)
        while True:
            ended = _ended(process)
            state = _state(client, dataset_name, seen)
            if state and (not states or states[-1] != state):
                states.append(state)
                known = RunState.parse(state)
                done = len(working) + 1 if known and known.is_terminal else working.index(known) + 1 if known else 0
                progress.update(bar, description=f"run: {state}", completed=done)
            if ended:
                return states


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _state(client: LightlyClient, dataset_name: str, seen: set[str]) -> str | None:
    datasets = client.send(calls.find_datasets(dataset_name))
    if not datasets:
        return None
    fresh = [run for run in client.send(calls.get_scheduled_runs(datasets[0].id)) if run.id not in seen]
    if not fresh:
        return None
    try:
        return client.send(calls.get_run_of_scheduled_run(fresh[-1].id)).state
    except LightlyNotFoundError:
        return fresh[-1].state
