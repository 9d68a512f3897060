"""What keeps two runs of the ingestion example from working on one dataset at once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.unit.documents import REPOSITORY, dags_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("airflow_db")
def test_one_run_is_active_and_only_the_asset_or_a_person_starts_it(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "dags" / "lightly_ingestion.py", tmp_path)
    found, errors = dags_in(tmp_path)
    assert not errors

    onboarding, ingestion = found["lightly_onboard_ingested"], found["lightly_ingestion"]
    assert onboarding.max_active_runs == 1
    (announced,) = ingestion.get_task("ingest").outlets
    assert announced.uri == "lightly-ingested"
