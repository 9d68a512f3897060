"""What keeps two runs of the ingestion example apart, and links from leading out of its folder."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.documents import REPOSITORY, dags_in


@pytest.mark.usefixtures("airflow_db")
def test_one_run_is_active_and_only_the_asset_or_a_person_starts_it(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "dags" / "lightly_ingestion.py", tmp_path)
    found, errors = dags_in(tmp_path)
    assert not errors

    onboarding, ingestion = found["lightly_onboard_ingested"], found["lightly_ingestion"]
    assert onboarding.max_active_runs == 1
    (announced,) = ingestion.get_task("ingest").outlets
    assert announced.uri == "lightly-ingested"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's module, whose folder is that of the test."""
    spec = importlib.util.spec_from_file_location("ingestion", REPOSITORY / "dags" / "lightly_ingestion.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", str(tmp_path / "incoming"))
    (tmp_path / "incoming").mkdir()
    return module


def test_a_link_does_not_lead_out_of_the_folder(example: Any, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "a.jpg").write_bytes(b"secret")
    folder = Path(example.FOLDER)
    (folder / "2026-11-27").symlink_to(secrets)
    (folder / "2026-11-28").mkdir()
    (folder / "2026-11-28" / "deep").symlink_to(secrets)
    (folder / "2026-11-28" / "b.jpg").symlink_to(secrets / "a.jpg")

    with pytest.raises(ValueError, match="2026-11-27 is a link"):
        example.listed_in_folder("2026-11-27")
    assert example.listed_in_folder("2026-11-28") == ["b.jpg"]
    with pytest.raises(ValueError, match=r"2026-11-28/b\.jpg is a link"):
        list(example.from_folder("2026-11-28/b.jpg"))
