"""The values that trigger forms show under ``make airflow``, so that a click on *Trigger* works as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.bucket import BUCKET, INPUT, LIGHTLY

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# The sandbox answers at once, so a run can be polled more often than the real platform's.
_EVERYWHERE: dict[str, Any] = {
    "dataset_name": BUCKET,
    "input_path": INPUT,
    "lightly_path": LIGHTLY,
    "poll_interval": 2,
}
# These set datasources of their own. Lightly's IAM user may write below LIGHTLY only.
_OF_DAGS: dict[str, dict[str, Any]] = {
    "lightly_active_learning": {
        "dataset_name": "demo-active-learning",
        "lightly_path": f"{LIGHTLY}active-learning/",
        "work_path": f"s3://{BUCKET}/active-learning/",
        # A tenth of the photos, so that three rounds show how the selection changes.
        "n_samples": 16,
    },
    "lightly_labeling": {"work_path": f"s3://{BUCKET}/to-label/"},
    "lightly_delegated_access": {"dataset_name": "demo-delegated", "lightly_path": f"{LIGHTLY}delegated/"},
}


# The form takes manifests only below the DAG's own prefix, which is in another bucket.
_UPLOADS_DAG, _MANIFESTS = "lightly_curate_uploads", f"s3://{BUCKET}/uploads/"


def fill(dag_id: str, params: MutableMapping[str, Any]) -> None:
    """
    Replace the defaults of a DAG's parameters by values that work with the sandbox.

    :param dag_id: Id of the DAG.
    :param params: Its parameters; those that are not known stay as they are.
    """
    for name, value in {**_EVERYWHERE, **_OF_DAGS.get(dag_id, {})}.items():
        if name in params:
            params[name] = value
    if dag_id == _UPLOADS_DAG:
        from airflow.providers.common.compat.sdk import Param

        default = f"{_MANIFESTS}{BUCKET}/batch.jsonl"
        params["manifest"] = Param(default, type="string", pattern=f"^{_MANIFESTS}", title="Manifest of the new files")
