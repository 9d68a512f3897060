"""Links from a task to the platform's web pages.

On Airflow 3, a link is an XCom with the key ``xcom_key``. At the end of each try, Airflow gets the links from the
operator and pushes them (airflow 3.3.2, sdk/execution_time/task_runner.py, ``finalize``), even if the try failed. A
task that waits pushes them itself before that, so that they are available while it runs.
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
    """Link to the dataset's page."""

    name = "Lightly dataset"

    @property
    def xcom_key(self) -> str:
        """XCom key of the URL."""
        return DATASET_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL; empty if there is none yet."""
        return _address(operator, DATASET_KEY, ti_key)


class LightlyRunsLink(BaseOperatorLink):
    """Link to the page of all runs; the platform documents no URL for a single run."""

    name = "Lightly runs"

    @property
    def xcom_key(self) -> str:
        """XCom key of the URL."""
        return RUNS_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL; empty if there is none yet."""
        return _address(operator, RUNS_KEY, ti_key)


def dataset_page(web_url: str, dataset_id: str) -> str:
    """Return the URL of a dataset's page (https://app.lightly.ai/dataset/<id> on the public platform)."""
    return f"{web_url}/dataset/{dataset_id}"


def runs_page(web_url: str) -> str:
    """Return the URL of the runs' page (https://app.lightly.ai/compute/runs on the public platform)."""
    return f"{web_url}/compute/runs"


def push_dataset_link(context: Context, web_url: str, dataset_id: str, *, waits: bool = True) -> str:
    """
    Store the URL of the dataset's page for the link.

    :param context: Context of the task.
    :param web_url: Base URL of the platform's web pages.
    :param dataset_id: Id of the dataset.
    :param waits: Whether the task runs long enough that users need the link before it ends. Default: True.
    :return: The URL.
    """
    return _keep(context, DATASET_KEY, dataset_page(web_url, dataset_id), waits=waits)


def push_runs_link(context: Context, web_url: str) -> str:
    """
    Store the URL of the runs' page for the link.

    :param context: Context of the task.
    :param web_url: Base URL of the platform's web pages.
    :return: The URL.
    """
    return _keep(context, RUNS_KEY, runs_page(web_url), waits=True)


def _keep(context: Context, key: str, url: str, *, waits: bool) -> str:
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    operator = context.get("task")
    if operator is not None:
        # Airflow 3 reads the link from this object at the end of the try, which saves a request to Airflow's API.
        operator.__dict__[key] = url
    if waits or operator is None or not AIRFLOW_V_3_0_PLUS:
        context["ti"].xcom_push(key=key, value=url)
    return url


def _address(operator: BaseOperator, key: str, ti_key: TaskInstanceKey) -> str:
    return getattr(operator, key, None) or XCom.get_value(key=key, ti_key=ti_key) or ""
