"""Links from a task to the platform's web pages.

On Airflow 3 a link is an XCom that is read under ``xcom_key``. The operators push that key before they wait, so the
link is there while a task runs and when it fails, not only when it ends.
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
        return XCom.get_value(key=DATASET_KEY, ti_key=ti_key) or ""


class LightlyRunsLink(BaseOperatorLink):
    """The page of all runs; the platform documents no address of a single one."""

    name = "Lightly runs"

    @property
    def xcom_key(self) -> str:
        """Where the address is kept."""
        return RUNS_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address, or nothing while there is none."""
        return XCom.get_value(key=RUNS_KEY, ti_key=ti_key) or ""


def push_dataset_link(context: Context, web_url: str, dataset_id: str) -> str:
    """
    Keep the address of the dataset's page for the link.

    :return: The address (https://app.lightly.ai/dataset/<id> on the public platform).
    """
    url = f"{web_url}/dataset/{dataset_id}"
    context["ti"].xcom_push(key=DATASET_KEY, value=url)
    return url


def push_runs_link(context: Context, web_url: str) -> str:
    """
    Keep the address of the runs' page for the link.

    :return: The address (https://app.lightly.ai/compute/runs on the public platform).
    """
    url = f"{web_url}/compute/runs"
    context["ti"].xcom_push(key=RUNS_KEY, value=url)
    return url
