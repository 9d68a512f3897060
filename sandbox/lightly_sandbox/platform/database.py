"""The SQLite database: one for reading requests, one for writing ones, over the same file."""

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
    """A new id of 24 hexadecimal digits."""
    return secrets.token_hex(12)


def now_ms() -> int:
    """The time in milliseconds since the epoch, the unit of the API's timestamps."""
    return time.time_ns() // 1_000_000


class Database:
    """Opens (and on the first use makes) the database file ``path``. An older one is brought up to date.

    Raises:
        SandboxError: the file is of a newer version, or none of a sandbox.
    """

    def __init__(self, path: Path) -> None:
        # As many as Starlette has threads for handlers, so that none waits for a connection.
        self._reader = _engine(path, "BEGIN", pool_size=HANDLER_THREADS)
        # A transaction that will write takes the lock when it begins: SQLite cannot turn a read lock into a
        # write lock once another writer was faster, and waiting (busy_timeout) does not help there.
        self._writer = _engine(path, "BEGIN IMMEDIATE", pool_size=HANDLER_THREADS)
        # All in one transaction: a kill meanwhile leaves what was there.
        with self._writer.begin() as connection:
            schema.bring_up_to_date(connection.exec_driver_sql, path)
            Table.metadata.create_all(connection)
            for table in Table.metadata.sorted_tables:
                for index in table.indexes:
                    # Also on a table that an earlier version made.
                    index.create(connection, checkfirst=True)
        self.read = sessionmaker(self._reader, expire_on_commit=False)
        self.write = sessionmaker(self._writer, expire_on_commit=False)
        # For one thread, that of the event loop, and for look-ups that are sooner done than another thread is
        # woken. It has no transactions: each statement sees what is committed by then.
        self._glances = _engine(path, None, poolclass=StaticPool)
        self.glance = self._glances.connect()

    def session(self, *, writes: bool) -> Session:
        """A new session; ``writes`` says whether it takes the write lock at once."""
        return self.write() if writes else self.read()

    def close(self) -> None:
        """Close every connection, which also folds the write-ahead log back."""
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
