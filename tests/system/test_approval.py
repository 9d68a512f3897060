"""A person's approval in the active-learning DAG, answered through Airflow's REST API."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.system.rest import TaskKey
from tests.thinning import thinned

if TYPE_CHECKING:
    from tests.system.conftest import Platform
    from tests.system.rest import AirflowRest

DAG_ID = "lightly_active_learning"
N_SAMPLES = 4
FOLDERS = {"input_path": "raw", "lightly_path": "lightly", "work_path": "work"}


@pytest.mark.usefixtures("real_worker")
@pytest.mark.parametrize(
    ("answer", "state", "n_labels"),
    thinned([pytest.param("Approve", "success", N_SAMPLES), pytest.param("Reject", "skipped", None)], keep=1),
)
def test_nothing_is_labeled_before_a_person_approves(
    answer: str, state: str, n_labels: int | None, platform: Platform, rest: AirflowRest
) -> None:
    sandbox = platform.sandbox
    bucket = sandbox.bucket()
    sandbox.seed(f"s3://{bucket}/raw/", 16)
    conf = {
        "dataset_name": f"approval {uuid.uuid4().hex[:12]}",
        **{parameter: f"s3://{bucket}/{folder}/" for parameter, folder in FOLDERS.items()},
        "n_samples": N_SAMPLES,
        "poll_interval": 1,
    }
    run_id = rest.start(DAG_ID, conf)
    approve, export, label = (TaskKey(DAG_ID, run_id, task_id) for task_id in ("approve", "export", "label"))
    rest.wait_for_state(approve, "awaiting_input", "deferred", "failed", within=240)

    asked = rest.approval(approve)
    assert asked["subject"] == f"Label {N_SAMPLES} images of {conf['dataset_name']}?"
    assert "initial-tag" in asked["body"]
    assert rest.task(export)["state"] is None
    rest.answer(approve, answer)

    assert rest.wait_for_state(label, "success", "skipped", "failed", "upstream_failed", within=120) == state
    assert rest.xcom(label) == n_labels
    assert any(key.startswith("work/labels/") for key in sandbox.keys_under(bucket)) is (answer == "Approve")
