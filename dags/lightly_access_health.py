"""
### Look every hour whether Lightly can still reach all buckets

Verifies every dataset of the account that has a datasource: three requests to the platform for each. Fails if Lightly
lacks something that a dataset needs, and says in its log what changed since the last look: a key that was deactivated,
a policy that somebody narrowed, a KMS key that was switched off.

It needs the connection `lightly_default`. With the parameter `datasource_aws_conn_id`, an AWS connection that holds
what Lightly uses, the datasources that use it are tried from here too, which says more exactly what is wrong. With
`aws_conn_id`, Airflow's own identity looks at the roles that Lightly uses: their trust, their policies, their keys.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.verification.report import changes_between

with DAG(
    dag_id="lightly_access_health",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "datasource_aws_conn_id": Param(
            "", type="string", title="AWS connection that Lightly uses (empty: ask Lightly only)"
        ),
        "aws_conn_id": Param(
            "", type="string", title="AWS connection of Airflow's own identity, to look at roles (empty: do not look)"
        ),
    },
):

    @task
    def find_datasets() -> list[str]:
        """The ids of all datasets that have a datasource."""
        return [dataset.id for dataset in LightlyHook().get_datasets() if dataset.datasources]

    @task(trigger_rule="all_done")
    def report(verdicts: list[dict[str, Any]] | None, ti: Any = None) -> list[str]:
        """Say what changed since the last run, and fail if something is missing; return the changes."""
        now = {verdict["dataset_id"]: verdict for verdict in verdicts or []}
        before = ti.xcom_pull(task_ids=ti.task_id, key="verdicts", map_indexes=-1, include_prior_dates=True) or {}
        changes = [
            f"Dataset {dataset_id}: {change}"
            for dataset_id, verdict in now.items()
            for change in changes_between(before.get(dataset_id), verdict)
        ]
        changes += [f"Dataset {dataset_id} is gone" for dataset_id in before.keys() - now.keys()]
        print(f"{len(now)} datasets verified, {len(changes)} changes.", *changes, sep="\n  ")
        ti.xcom_push(key="verdicts", value=now)
        ti.xcom_push(key="changes", value=changes)
        denied = [dataset_id for dataset_id, verdict in now.items() if not verdict["ok"]]
        if denied:
            raise LightlyPermissionsError(
                f"Lightly lacks permissions for {len(denied)} of {len(now)} datasets ({', '.join(denied)}); "
                "the logs of the task verify say which, and what to add."
            )
        return changes

    verify = VerifyDatasourcePermissionsOperator.partial(
        task_id="verify",
        datasource_aws_conn_id="{{ params.datasource_aws_conn_id }}",
        aws_conn_id="{{ params.aws_conn_id }}",
        propagation_timeout=0.0,
        on_failure="warn",
        max_active_tis_per_dag=4,
    ).expand(dataset_id=find_datasets())
    report(verify.output)
