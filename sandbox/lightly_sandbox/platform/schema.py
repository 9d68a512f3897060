"""The version of the database schema, stored in SQLite's ``user_version``, and the migrations to it.

A change to ``tables`` that stored databases lack requires a new version, and a migration here. New tables and
indexes need no migration: opening a database creates missing ones.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from lightly_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION = 2

# By the version from which they migrate.
_STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE artifact ADD COLUMN storage_location VARCHAR NOT NULL DEFAULT 'LIGHTLY'",
        "DROP INDEX IF EXISTS ix_run_dataset_id",
    ),
}


class Execute(Protocol):
    """Executes one SQL statement."""

    def __call__(self, statement: str, /) -> Any:
        """Return its rows, to be iterated."""


def check(path: Path) -> None:
    """Reject a database file that this version cannot use, without changing it.

    Raises:
        SandboxError: it has a newer version, or is not a sandbox's database.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            version_of(connection.execute, path)
    except sqlite3.DatabaseError as unreadable:
        raise _unknown(path, str(unreadable)) from unreadable


def version_of(execute: Execute, path: Path) -> int | None:
    """Return the version of a database, None if it is empty.

    Args:
        execute: executes statements on it.
        path: the file, for messages.

    Raises:
        SandboxError: it is of a newer version, or none of a sandbox.
    """
    ((version,),) = execute("PRAGMA user_version")
    if version > VERSION:
        raise SandboxError(
            f"The state folder {path.parent} is from a newer lightly-sandbox (its schema version is "
            f"{version}, and this version supports up to {VERSION}); update lightly-sandbox, or give another "
            "--state-dir."
        )
    if version:
        return int(version)
    if not list(execute("SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1")):
        return None
    # Versions 1 and 2 are older than the version number.
    columns = {row[1] for row in execute("PRAGMA table_info(artifact)")}
    if "run_id" not in columns:
        raise _unknown(path, "its tables are others")
    return 2 if "storage_location" in columns else 1


def bring_up_to_date(execute: Execute, path: Path) -> None:
    """Apply all migrations from the database's version to ``VERSION``, and store the new version.

    The caller must do this and create missing tables in one transaction, so that a kill leaves the database
    unchanged.

    Args:
        execute: executes statements on it.
        path: the file, for messages.

    Raises:
        SandboxError: it is of a newer version, or none of a sandbox.
    """
    version = version_of(execute, path)
    for older in range(VERSION if version is None else version, VERSION):
        for statement in _STEPS[older]:
            execute(statement)
    execute(f"PRAGMA user_version = {VERSION}")


def _unknown(path: Path, why: str) -> SandboxError:
    return SandboxError(
        f"{path} is not a database of lightly-sandbox ({why}); give another --state-dir, or delete "
        f"{path.parent} to start from scratch."
    )
