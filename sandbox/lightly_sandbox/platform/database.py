"""The SQLite database: one engine for reading and one for writing requests, on the same file."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from lightly_sandbox.platform import schema
from lightly_sandbox.platform.tables import Table

if TYPE_CHECKING:
    from pathlib import Path

BUSY_TIMEOUT_MS = 30_000
HANDLER_THREADS = 40


def new_id() -> str:
    """Return a new id of 24 hexadecimal digits."""
    return secrets.token_hex(12)


def now_ms() -> int:
    """Return the time in milliseconds since the epoch, the unit of the API's timestamps."""
    return time.time_ns() // 1_000_000


class Database:
    """Opens the database file ``path``, creating it if missing. An older version is migrated.

    Raises:
        SandboxError: the file has a newer version, or is not a sandbox's database.
    """

    def __init__(self, path: Path) -> None:
        # One connection per thread that Starlette has for handlers, so that none waits for one.
        self._reader = _engine(path, "BEGIN", pool_size=HANDLER_THREADS)
        # A writing transaction takes the lock when it begins: SQLite cannot upgrade a read lock to a write
        # lock after another writer was faster, and waiting (busy_timeout) does not help.
        self._writer = _engine(path, "BEGIN IMMEDIATE", pool_size=HANDLER_THREADS)
        # All in one transaction: a kill leaves the database unchanged.
        with self._writer.begin() as connection:
            schema.bring_up_to_date(connection.exec_driver_sql, path)
            Table.metadata.create_all(connection)
            for table in Table.metadata.sorted_tables:
                for index in table.indexes:
                    # Also on a table that an earlier version made.
                    index.create(connection, checkfirst=True)
        self.read = sessionmaker(self._reader, expire_on_commit=False)
        self.write = sessionmaker(self._writer, expire_on_commit=False)
        # For the event loop's thread only, and for look-ups that are faster than switching to another thread.
        # It has no transactions: each statement sees what has been committed.
        self._glances = _engine(path, None, poolclass=StaticPool)
        self.glance = self._glances.connect()

    def session(self, *, writes: bool) -> Session:
        """Return a new session; ``writes``: whether it takes the write lock at once."""
        return self.write() if writes else self.read()

    def close(self) -> None:
        """Close every connection, which also checkpoints the write-ahead log."""
        self.glance.close()
        self._glances.dispose()
        self._reader.dispose()
        self._writer.dispose()


def _engine(path: Path, begin: str | None, **pool: Any) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False}, **pool)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # None: the driver begins no transactions of its own; the listener below does.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        if begin is not None:
            connection.exec_driver_sql(begin)

    return engine
