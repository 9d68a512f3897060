"""
### Check every hour that Lightly can still reach all buckets

Verifies every dataset of the account that has a datasource in S3: four requests to the platform for each. Fails if
Lightly lacks something that a dataset needs, or if a dataset could not be verified, and reports in its log what changed
since the last run: a key that was deactivated, a policy that somebody narrowed, a KMS key that was disabled.
Datasources in other clouds are not verified; the log of `report` lists them.

It needs the connection `lightly_default`. With the parameter `datasource_aws_conn_id`, an AWS connection that holds
what Lightly uses, the datasources that use it are tried from here too, which says more exactly what is wrong. With
`aws_conn_id`, Airflow's own identity looks at the roles that Lightly uses: their trust, their policies, their keys.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from lightly_provider.exceptions import LightlyApiError, LightlyError, LightlyPermissionsError
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.earlier_xcom import pushed_before
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.verification.report import changes_between

log = logging.getLogger(__name__)

# Whoever may start this DAG chooses among these connections, and no others. List yours here.
BUCKET_CONNECTIONS, OWN_CONNECTIONS = ["lightly_bucket"], ["aws_default"]
# The first choice in the form. An empty text would count as missing there, on Airflow 2 a null too.
NO_CONNECTION = "none"


def connection(connections: list[str], title: str) -> Param:
    """A parameter for one of these connections, or for none."""
    return Param(NO_CONNECTION, type="string", enum=[NO_CONNECTION, *connections], title=title)


def chosen(name: str) -> str:
    """A template for the connection that was chosen in the form; empty if none was."""
    return f"{{{{ '' if params.{name} == '{NO_CONNECTION}' else params.{name} }}}}"


with DAG(
    dag_id="lightly_access_health",
    description="Every hour: verify that Lightly can still reach all buckets, and report what changed",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "datasource_aws_conn_id": connection(
            BUCKET_CONNECTIONS, "AWS connection that Lightly uses (none: ask Lightly only)"
        ),
        "aws_conn_id": connection(
            OWN_CONNECTIONS, "AWS connection of Airflow's own identity, to look at roles (none: do not look)"
        ),
    },
):

    @task
    def find_datasets(ti: Any = None) -> list[str]:
        """The ids of all datasets that have a datasource in S3; XCom ``not_in_s3`` has the other datasources."""
        hook = LightlyHook()
        ids: list[str] = []
        not_in_s3: dict[str, list[str]] = {}
        for dataset in hook.get_datasets():
            if not dataset.datasources:
                continue
            try:
                datasources = hook.get_datasources(dataset.id)
            except LightlyApiError:
                datasources = []  # the verification fails for the same reason, and reports it
            others = [f"{each.purpose} of type {each.type}" for each in datasources if not each.type.startswith("S3")]
            if others:
                not_in_s3[dataset.id] = others
            if not others or len(others) < len(datasources):
                ids.append(dataset.id)
        ti.xcom_push(key="not_in_s3", value=not_in_s3)
        return ids

    @task(trigger_rule="all_done")
    def report(expected: list[str] | None, verdicts: list[dict[str, Any]] | None, ti: Any = None) -> list[str]:
        """Report what changed since the last run, and fail if something is missing or could not be verified."""
        now = {verdict["dataset_id"]: verdict for verdict in verdicts or []}
        before = pushed_before(ti, "verdicts") or {}
        # Without a list of the datasets, none is known to be gone.
        present = set(expected) if expected is not None else before.keys() | now.keys()
        not_seen = sorted(present - now.keys())
        changes = [
            f"Dataset {dataset_id}: {change}"
            for dataset_id, verdict in now.items()
            for change in changes_between(before.get(dataset_id), verdict)
        ]
        not_in_s3 = ti.xcom_pull(task_ids="find_datasets", key="not_in_s3") or {}
        gone = sorted(before.keys() - present - not_in_s3.keys())
        changes += [f"Dataset {dataset_id} is gone" for dataset_id in gone]
        log.info("%s", "\n  ".join([f"{len(now)} datasets verified, {len(changes)} changes.", *changes]))
        if not_in_s3:
            others = [f"Dataset {dataset_id}: {', '.join(each)}" for dataset_id, each in not_in_s3.items()]
            log.warning("%s", "\n  ".join([f"{len(others)} datasets have datasources that are not verified:", *others]))
        # What was not seen is compared with its last verdict, once it is seen again.
        kept = {dataset_id: before[dataset_id] for dataset_id in not_seen if dataset_id in before}
        ti.xcom_push(key="verdicts", value={**kept, **now})
        ti.xcom_push(key="changes", value=changes)
        denied = sorted(dataset_id for dataset_id, verdict in now.items() if not verdict["ok"])
        faults = []
        if denied:
            faults.append(f"Lightly lacks permissions for {len(denied)} of {len(now)} datasets ({', '.join(denied)})")
        if expected is None:
            faults.append("The datasets could not be listed, so that nothing was verified")
        elif not_seen:
            faults.append(f"{len(not_seen)} of {len(present)} datasets could not be verified ({', '.join(not_seen)})")
        if faults:
            error = LightlyPermissionsError if denied else LightlyError
            raise error(f"{'. '.join(faults)}; the logs of the tasks before this one say why, and what to do.")
        return changes

    found = find_datasets()
    verify = VerifyDatasourcePermissionsOperator.partial(
        task_id="verify",
        datasource_aws_conn_id=chosen("datasource_aws_conn_id"),
        aws_conn_id=chosen("aws_conn_id"),
        propagation_timeout=0.0,
        on_failure="warn",
        max_active_tis_per_dag=4,
    ).expand(dataset_id=found)
    report(found, verify.output)
