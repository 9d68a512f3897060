"""Which selection the onboarding DAG exports if its run found nothing new; whole runs: the integration tests."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from tests.contract.example_calls import RUN, TAG
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform
from tests.unit.documents import REPOSITORY
from tests.unit.operators.example_operators import DATASET


def newest_tag(monkeypatch: pytest.MonkeyPatch, *tags: dict[str, Any]) -> dict[str, Any]:
    """What the task returns after a run without a tag, in a dataset with these tags."""
    task = runpy.run_path(str(REPOSITORY / "dags" / "lightly_s3_onboarding.py"))["newest_tag"]
    answer = documented_answer("get_tags_by_dataset_id", *({"id": TAG, "datasetId": DATASET} | tag for tag in tags))
    with ScriptedPlatform([Answer(200, answer)]) as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": "a-token-of-the-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        return task.function({"dataset_id": DATASET, "tag_name": None})  # type: ignore[no-any-return]


def test_nothing_new_is_the_newest_selection_of_a_run_and_no_tag_of_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [{"name": f"run-{at}", "runId": RUN, "createdAt": at} for at in (2, 1)]
    chosen = newest_tag(monkeypatch, *tags, {"name": "by hand", "createdAt": 3})
    assert chosen == {"dataset_id": DATASET, "tag_name": "run-2"}


@pytest.mark.parametrize("tags", [[], [{"name": "by hand"}]], ids=["no tag", "only a person's"])
def test_if_no_run_has_selected_anything_the_rest_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tags: list[dict[str, Any]]
) -> None:
    with pytest.raises(AirflowSkipException, match="No run has selected anything yet"):
        newest_tag(monkeypatch, *tags)
