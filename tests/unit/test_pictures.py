"""When a picture of the guide counts as outdated; the pictures themselves are checked by ``make docs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests_browser import pictures

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = '"""Shown."""\n\n\ndef f():\n    """Not shown."""\n    return "text"  # why\n'
NAME = "trigger_form"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one DAG and one picture of it."""
    (tmp_path / "constraints.txt").write_text("apache-airflow-core==3.3.2\n")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "a.py").write_text(BEFORE)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(pictures, "REPOSITORY", tmp_path)
    monkeypatch.setattr(pictures, "FOLDER", tmp_path / "docs" / "pictures")
    monkeypatch.setattr(pictures, "HASHES", tmp_path / "docs" / "pictures" / "pictures.json")
    monkeypatch.setattr(pictures, "SHOWS", {NAME: ["dags/*.py"]})
    pictures.keep(NAME, b"PNG")
    assert pictures.outdated() == []
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("Shown.", "Shown otherwise.", True),
        ('"text"', '"another text"', True),
        ("# why", "# another reason", False),
        ("Not shown.", "Not shown either.", False),
    ],
)
def test_what_is_shown_counts_and_comments_do_not(repository: Path, old: str, new: str, counts: bool) -> None:
    (repository / "dags" / "a.py").write_text(BEFORE.replace(old, new))
    expected = ["docs/pictures/trigger_form.png shows an older state of dags/*.py or of Airflow."]
    assert pictures.outdated() == (expected if counts else [])


def test_another_airflow_outdates_a_picture(repository: Path) -> None:
    (repository / "constraints.txt").write_text("apache-airflow-core==3.4.0\n")
    assert len(pictures.outdated()) == 1


def test_a_picture_that_is_missing_too_large_or_unknown_is_named(repository: Path) -> None:
    picture = pictures.FOLDER / f"{NAME}.png"
    picture.write_bytes(bytes(pictures.LARGEST_BYTES + 1))
    (pictures.FOLDER / "old.png").write_bytes(b"PNG")
    assert pictures.outdated() == [
        "docs/pictures/trigger_form.png has 150001 bytes, and may have 150000.",
        "docs/pictures/old.png is a picture that no test takes.",
    ]
    picture.unlink()
    assert "docs/pictures/trigger_form.png is missing." in pictures.outdated()
