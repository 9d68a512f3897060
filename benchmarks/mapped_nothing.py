"""A DAG of as many mapped tasks as the fleet's, which do nothing; ``fleet.py`` runs it beside ``lightly_fleet``."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task, task_group

N_DATASETS = int(os.environ["BENCHMARK_DATASETS"])
# Of one dataset.
TASKS = os.environ["BENCHMARK_TASKS"].split()
POOL = os.environ["BENCHMARK_POOL"]

with DAG("mapped_nothing", schedule=None, start_date=datetime(2026, 1, 1), catchup=False) as dag:

    @task
    def plan() -> list[int]:
        """The same number of datasets."""
        return list(range(N_DATASETS))

    @task
    def nothing(number: int) -> int:
        """Nothing."""
        return number

    @task_group
    def each(number: int) -> None:
        """The tasks of one dataset, one after the other."""
        before: Any = number
        for task_id in TASKS:
            before = nothing.override(task_id=task_id, pool=POOL)(before)

    @task(trigger_rule="all_done")
    def report() -> None:
        """Nothing, at the end."""

    each.expand(number=plan()) >> report()
