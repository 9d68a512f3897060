"""
### Onboard all datasets of one file

Reads `lightly_fleet.yaml`, compares it with Lightly, and onboards the datasets that are new, changed, or not yet
verified: for each one an instance of the task group, so that one bad bucket stops no other. The task `report` lists
what became of each dataset and why, and fails if one is not onboarded, so that the DAG run is failed, too. A dataset
whose run an earlier DAG run started, and which has not ended yet, is `in progress`, and no failure. Trigger the DAG
again after a fix: it starts only what failed or changed.

Before the first run:

1. Set the Airflow variable `lightly_fleet_file` to the path of the file. Every Airflow worker must be able to read it.
   Without the variable, it is `lightly_fleet.yaml` beside this file.
2. Create the connections that the file names, and `lightly_default`, type *Lightly*.
3. Run `airflow lightly fleet setup`: it creates the pool that limits how many tasks talk to Lightly at once. Without
   the pool, Airflow does not start the tasks.
4. Look at the plan: `airflow lightly fleet plan lightly_fleet.yaml`.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, conf, get_current_context, task

from lightly_provider.fleet import name_of_pool
from lightly_provider.fleet.report import in_parts, keep_failure, report_on
from lightly_provider.task_groups import onboard_s3_dataset

log = logging.getLogger(__name__)

LIGHTLY_CONN_ID = "lightly_default"
# The mapped task groups. Airflow creates at most [core] max_map_length instances of each, 1,024 by default; where it is
# less than the number of your datasets, name as many groups as they need.
GROUPS = ["onboard"]
# Not a parameter of the form, so that not everybody who may trigger the DAG chooses a file of the worker.
BESIDE = Path(__file__).with_name("lightly_fleet.yaml")
FLEET_FILE = f"{{{{ var.value.get('lightly_fleet_file', {str(BESIDE)!r}) }}}}"

with DAG(
    dag_id="lightly_fleet",
    description="Onboard all datasets of lightly_fleet.yaml that are new, changed or failed, and report on each",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    # For the report. A retry does not fix a missing permission, and the client itself repeats a request.
    default_args={"on_failure_callback": keep_failure},
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "poll_interval": Param(60, type="number", exclusiveMinimum=0, title="Seconds between two polls of the runs")
    },
):

    @task
    def plan(fleet_file: str) -> dict[str, Any]:
        """What there is to do with each dataset, and the arguments of those to onboard, by task group."""
        from lightly_provider.fleet import Fleet, plan_fleet

        fleet = Fleet.read(fleet_file)
        planned = plan_fleet(fleet, lightly_conn_id=LIGHTLY_CONN_ID)
        log.info("%s: %s", fleet_file, planned.summary())
        return in_parts(fleet, planned, n_parts=len(GROUPS), most=conf.getint("core", "max_map_length"))

    @task
    def to_onboard(planned: dict[str, Any], number: int) -> list[dict[str, Any]]:
        """What a task group is mapped over: the arguments of each of its datasets."""
        part: list[dict[str, Any]] = planned["parts"][number]
        return part

    @task(trigger_rule="all_done", retries=0)
    def report(planned: dict[str, Any] | None) -> None:
        """Log what became of each dataset, and fail if one is not onboarded and no run of it is in progress."""
        context = get_current_context()
        found = report_on(planned, GROUPS, context)
        log.info("%s\n%s", found.summary(), found.table())
        context["ti"].xcom_push(key="report", value=found.as_dict())
        found.raise_if_incomplete()

    planned = plan(FLEET_FILE)
    reported = report(planned)
    for number, group_id in enumerate(GROUPS):
        onboarded = onboard_s3_dataset.partial(
            group_id=group_id,
            lightly_conn_id=LIGHTLY_CONN_ID,
            pool=name_of_pool(LIGHTLY_CONN_ID),
            poll_interval="{{ params.poll_interval }}",
            deferrable=True,
        ).expand_kwargs(to_onboard.override(task_id=f"to_{group_id}")(planned, number))
        onboarded >> reported
