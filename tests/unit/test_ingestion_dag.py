"""What keeps two runs of the ingestion example from working on one dataset at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.documents import REPOSITORY, dags_in

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = REPOSITORY / "dags" / "lightly_ingestion.py"
POOL = "lightly_ingested_photos"


def dags(folder: Path, *, pool: str | None) -> dict[str, Any]:
    """The example's DAGs, with a pool or without."""
    text, n_changed = re.subn(r"^POOL: str \| None = None$", f"POOL = {pool!r}", SOURCE.read_text(), flags=re.MULTILINE)
    assert n_changed == 1
    (folder / SOURCE.name).write_text(text)
    found, errors = dags_in(folder)
    assert not errors
    return found


@pytest.mark.usefixtures("airflow_db")
def test_one_run_is_active_and_only_the_asset_or_a_person_starts_it(tmp_path: Path) -> None:
    found = dags(tmp_path, pool=None)

    onboarding, ingestion = found["lightly_onboard_ingested"], found["lightly_ingestion"]
    assert onboarding.max_active_runs == 1
    (announced,) = ingestion.get_task("ingest").outlets
    assert announced.uri == "lightly-ingested"
    assert {each.pool for each in onboarding.tasks} == {"default_pool"}


@pytest.mark.usefixtures("airflow_db")
def test_with_a_pool_every_task_on_the_dataset_takes_a_slot_of_it(tmp_path: Path) -> None:
    onboarding = dags(tmp_path, pool=POOL)["lightly_onboard_ingested"]

    assert {each.pool for each in onboarding.tasks} == {POOL}
    assert len(onboarding.tasks) == 4
    assert f"airflow pools set --include-deferred {POOL} 1 " in SOURCE.read_text()
