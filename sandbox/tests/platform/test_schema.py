"""A state folder that another version of the sandbox has left."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.platform import schema
from lightly_sandbox.platform.database import Database
from lightly_sandbox.platform.tables import Artifact, Run, Tag
from tests.lab.sandbox import Api, Process

if TYPE_CHECKING:
    from collections.abc import Iterable

STATES = Path(__file__).parent / "states"
RUN_ID, DATASET_ID = "0b6c46ecf3afee7bceb4960e", "2fd1581723693c04edbc64df"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "platform.sqlite"


@pytest.fixture
def old(path: Path) -> Path:
    """A database as the version before the column ``artifact.storage_location`` left it after a run."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((STATES / "schema-1.sql").read_text())
    return path


def opened(path: Path) -> None:
    Database(path).close()


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def version(path: Path) -> int:
    return int(rows(path, "PRAGMA user_version")[0][0])


def tables(path: Path) -> list[str]:
    return [
        name for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]


def columns(path: Path) -> list[str]:
    """Each column of each table: its name, its type, whether it must be there, and its place in the key."""
    found = []
    for table in tables(path):
        for _, name, kind, must, _default, key in rows(path, f"PRAGMA table_info({table})"):
            found.append(f"{table}.{name} {kind} {must} {key}")
    return sorted(found)


def indexes(path: Path) -> set[Any]:
    return set(rows(path, "SELECT name FROM sqlite_master WHERE type = 'index'"))


def content(path: Path, of: Iterable[str]) -> dict[str, Any]:
    return {table: rows(path, f'SELECT * FROM "{table}" ORDER BY 1') for table in of}


def test_a_new_database_has_the_version_and_its_columns(path: Path) -> None:
    opened(path)
    assert version(path) == schema.VERSION
    kept = (STATES / f"schema-{schema.VERSION}.txt").read_text().splitlines()
    assert columns(path) == kept, (
        "The tables have changed. Raise VERSION in platform/schema.py, add the step that changes a database"
        " of the version before, and write the columns into tests/states/schema-VERSION.txt."
    )


def test_an_older_database_is_brought_up_to_date_and_keeps_everything(old: Path, tmp_path: Path) -> None:
    others = [table for table in tables(old) if table != "artifact"]
    before = content(old, others)
    artifacts = rows(old, "SELECT id, run_id, type, file_name, uploaded, created_at FROM artifact")
    assert len(artifacts) == 2
    assert sum(len(found) for found in before.values()) > 20
    assert version(old) == 0

    opened(old)
    assert version(old) == schema.VERSION
    assert content(old, others) == before
    assert rows(old, "SELECT id, run_id, type, file_name, uploaded, created_at FROM artifact") == artifacts
    opened(tmp_path / "new.sqlite")
    assert columns(old) == columns(tmp_path / "new.sqlite")
    assert indexes(old) == indexes(tmp_path / "new.sqlite")

    database = Database(old)
    with database.session(writes=True) as session:
        run = session.get_one(Run, RUN_ID)
        assert [artifact.storage_location for artifact in run.artifacts] == ["LIGHTLY", "LIGHTLY"]
        new = Artifact(id="f" * 24, run_id=RUN_ID, type="MEMLOG", file_name="memlog.txt", created_at=1)
        session.add(new)
        session.commit()
        assert session.query(Tag).one().run_id == RUN_ID
    database.close()


def test_what_was_brought_up_to_date_stays_as_it_is(old: Path) -> None:
    opened(old)
    before = content(old, tables(old))
    opened(old)
    assert content(old, tables(old)) == before


def test_a_database_of_this_schema_from_before_there_were_versions_is_taken(path: Path) -> None:
    opened(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")
    opened(path)
    assert version(path) == schema.VERSION


def test_a_step_that_fails_leaves_the_database_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        # So that the first step is done, and what is made after the steps is refused.
        connection.executescript("DROP INDEX ix_tag_run_id; CREATE TABLE ix_tag_run_id (a)")
    before = columns(old)
    with pytest.raises(OperationalError):
        opened(old)
    assert version(old) == 0
    assert columns(old) == before


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    opened(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    for refused in (schema.check, opened):
        with pytest.raises(SandboxError, match=r"is from a newer lightly-sandbox .* update lightly-sandbox"):
            refused(path)
    assert version(path) == schema.VERSION + 1


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    for refused in (schema.check, opened):
        with pytest.raises(
            SandboxError, match=r"not a database of lightly-sandbox \(its tables are others\)"
        ):
            refused(path)
    assert tables(path) == ["bookmarks"]


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(SandboxError, match=r"not a database of lightly-sandbox \(file is not a database\)"):
        schema.check(path)


def test_a_database_that_is_not_there_or_empty_is_fine(path: Path) -> None:
    schema.check(path)
    path.touch()
    schema.check(path)


@pytest.mark.exhaustive(sample="test_an_older_database_is_brought_up_to_date_and_keeps_everything")
def test_up_goes_on_with_the_state_of_an_older_version(old: Path) -> None:
    process = Process.start(old.parent, "--workers", "0")
    try:
        ready = process.ready()
        api = Api(ready["lightly_url"], ready["token"])
        assert api.ok("GET", f"/v1/datasets/{DATASET_ID}")["name"] == "made by the older version"
        run = api.ok("GET", f"/v1/docker/runs/{RUN_ID}")
        assert run["state"] == "COMPLETED"
        assert {artifact["storageLocation"] for artifact in run["artifacts"]} == {"LIGHTLY"}
        waiting = api.ok("GET", f"/v1/datasets/{DATASET_ID}/docker/worker/schedule")
        assert [entry["state"] for entry in waiting] == ["OPEN"]
        artifact = {"fileName": "new.json", "type": "REPORT_V2_JSON", "storageLocation": "DATASOURCE"}
        api.ok("POST", f"/v1/docker/runs/{RUN_ID}/artifacts", artifact)
    finally:
        process.stop(signal.SIGKILL)


def test_up_refuses_the_state_of_a_newer_version_in_one_sentence(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1000")
    process = Process.start(path.parent)
    said = process.output().strip()
    assert process.popen.returncode == 1
    assert "its schema version is 1000" in said
    assert "Traceback" not in said
    assert version(path) == 1000
