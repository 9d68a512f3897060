"""The version of the database's schema, kept in SQLite's ``user_version``, and the way from the older ones.

A change of ``tables`` that a stored database does not have yet is a new version, and a step to it here.
Tables and indexes that are only added need no statement: what is missing is made whenever a database is
opened.
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

# By the version that they lead on from.
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
    """Refuse a database file that this version cannot go on with. Nothing is changed.

    Raises:
        SandboxError: it is of a newer version, or none of a sandbox.
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
    # The versions 1 and 2 were made before there was a number.
    columns = {row[1] for row in execute("PRAGMA table_info(artifact)")}
    if "run_id" not in columns:
        raise _unknown(path, "its tables are others")
    return 2 if "storage_location" in columns else 1


def bring_up_to_date(execute: Execute, path: Path) -> None:
    """Take every step from the database's version to ``VERSION``, and write that down.

    It is for the caller to do this, and to make what is missing, in one transaction: what is killed meanwhile
    leaves the database as it was.

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
