"""Links from a task to the platform's web pages.

On Airflow 3 a link is an XCom that is read under ``xcom_key``. At the end of each try Airflow asks the operator for its
links and pushes them (airflow 3.3.2, sdk/execution_time/task_runner.py, ``finalize``), so that they are there also when
the try failed. A task that waits pushes them itself before that, so that they are there while it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

DATASET_KEY = "lightly_dataset_url"
RUNS_KEY = "lightly_runs_url"


class LightlyDatasetLink(BaseOperatorLink):
    """The dataset's page."""

    name = "Lightly dataset"

    @property
    def xcom_key(self) -> str:
        """Where the address is kept."""
        return DATASET_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address, or nothing while there is none."""
        return _address(operator, DATASET_KEY, ti_key)


class LightlyRunsLink(BaseOperatorLink):
    """The page of all runs; the platform documents no address of a single one."""

    name = "Lightly runs"

    @property
    def xcom_key(self) -> str:
        """Where the address is kept."""
        return RUNS_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address, or nothing while there is none."""
        return _address(operator, RUNS_KEY, ti_key)


def push_dataset_link(context: Context, web_url: str, dataset_id: str, *, waits: bool = True) -> str:
    """
    Keep the address of the dataset's page for the link.

    :param context: The task's context.
    :param web_url: Base address of the platform's web pages.
    :param dataset_id: Dataset.
    :param waits: Whether the task goes on for longer than some requests, so that the link is wanted before its end.
    :return: The address (https://app.lightly.ai/dataset/<id> on the public platform).
    """
    return _keep(context, DATASET_KEY, f"{web_url}/dataset/{dataset_id}", waits=waits)


def push_runs_link(context: Context, web_url: str) -> str:
    """
    Keep the address of the runs' page for the link.

    :return: The address (https://app.lightly.ai/compute/runs on the public platform).
    """
    return _keep(context, RUNS_KEY, f"{web_url}/compute/runs", waits=True)


def _keep(context: Context, key: str, url: str, *, waits: bool) -> str:
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    operator = context.get("task")
    if operator is not None:
        # Airflow 3 asks this very object at the end of the try: one request to Airflow's API less.
        operator.__dict__[key] = url
    if waits or operator is None or not AIRFLOW_V_3_0_PLUS:
        context["ti"].xcom_push(key=key, value=url)
    return url


def _address(operator: BaseOperator, key: str, ti_key: TaskInstanceKey) -> str:
    return getattr(operator, key, None) or XCom.get_value(key=key, ti_key=ti_key) or ""
