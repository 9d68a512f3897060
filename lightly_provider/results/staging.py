"""
Keep the files to upload on the disk of the worker until all of them were checked.

A temporary SQLite database, which the operating system removes with the process: memory stays flat, names are found
fast, and two files of one name are noticed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlySourceError
from lightly_provider.results.own_files import encoded, own_name, video_of_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CACHE_KIB = 8 * 1024
_BATCH = 500


@contextmanager
def temporary_database() -> Iterator[sqlite3.Connection]:
    """
    Open a database on disk without a name, which is removed when it is closed or its process ends.

    :raises LightlySourceError: The disk is full.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        try:
            yield database
        except sqlite3.OperationalError as error:
            raise LightlySourceError(
                f"The files of the source do not fit into the folder for temporary files here ({error}); make room in "
                "it, or set TMPDIR to another folder."
            ) from None


class State(IntEnum):
    """What is known of a staged file."""

    NEW = 0  # to be written
    UNCHANGED = 1  # the same content is there
    UNCERTAIN = 2  # content of the same size is there


@dataclass(frozen=True)
class StagedFile:
    """
    A file that is ready to be written.

    :param name: Its name below the folder, e.g. ``subdir/image.json``.
    :param content: Its content.
    :param state: What is known of it.
    """

    name: str
    content: bytes
    state: State


class Staging:
    """
    The files to upload, by name.

    :param database: From :func:`temporary_database`.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute(
            "CREATE TABLE files (name TEXT PRIMARY KEY, of_file TEXT, rival TEXT, video TEXT, content TEXT NOT NULL,"
            " is_whole INTEGER NOT NULL, is_matched INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL DEFAULT 0)"
        )
        self._has_frames = False
        self._has_nameless = False
        self.count = 0

    def add(self, name: str, of_file: str | None, content: str, *, is_whole: bool = False) -> bool:
        """
        Add a file.

        :param name: Its name, e.g. ``subdir/image.json``.
        :param of_file: The file in the input that it is about; None: known once that is listed.
        :param content: JSON text: of the whole file, or of the members beside ``file_name``, without braces.
        :param is_whole: Whether it is the whole file. Default: False.
        :return: False if there is a file of this name already.
        """
        video = video_of_frame(name)
        self._has_frames = self._has_frames or video is not None
        self._has_nameless = self._has_nameless or of_file is None
        try:
            self._database.execute(
                "INSERT INTO files (name, of_file, video, content, is_whole) VALUES (?, ?, ?, ?, ?)",
                (name, of_file, video, content, is_whole),
            )
        except sqlite3.IntegrityError:
            return False
        self.count += 1
        return True

    def match(self, input_files: Iterable[str], *, has_frames: bool) -> None:
        """
        Match the files with those in the input.

        :param input_files: Names in the input.
        :param has_frames: Whether the input has videos, whose frames have files of their own.
        """
        if has_frames and self._has_frames:
            self._database.execute("CREATE INDEX of_video ON files (video)")
        batch: list[tuple[str, str]] = []

        def done() -> None:
            self._database.execute("BEGIN")
            self._database.executemany(
                "UPDATE files SET is_matched = 1, of_file = ?1 WHERE name = ?2 AND ifnull(of_file, ?1) = ?1", batch
            )
            if self._has_nameless:
                self._database.executemany("UPDATE files SET rival = ?1 WHERE name = ?2 AND of_file != ?1", batch)
            if has_frames and self._has_frames:
                self._database.executemany(
                    "UPDATE files SET is_matched = 1 WHERE video = ?", ((video,) for video, _ in batch)
                )
            self._database.execute("COMMIT")
            batch.clear()

        for file in input_files:
            batch.append((file, own_name(file)))
            if len(batch) == _BATCH:
                done()
        done()
        # The extension of a frame's image is the worker's affair; the vendor's pages write png.
        self._database.execute(
            "UPDATE files SET of_file = substr(name, 1, length(name) - 5) || '.png'"
            " WHERE is_matched AND of_file IS NULL AND video IS NOT NULL"
        )

    def unmatched(self, most: int) -> tuple[int, list[str]]:
        """Return the number of files without a match, and the first of them."""
        (count,) = self._database.execute("SELECT count(*) FROM files WHERE NOT is_matched").fetchone()
        rows = self._database.execute(
            "SELECT ifnull(of_file, name) FROM files WHERE NOT is_matched ORDER BY name LIMIT ?", (most,)
        )
        return count, [name for (name,) in rows]

    def rivals(self, most: int) -> list[tuple[str, str]]:
        """Return the first files that may be about either of two in the input: the one that is taken, and the other."""
        rows = self._database.execute(
            "SELECT of_file, rival FROM files WHERE rival IS NOT NULL ORDER BY name LIMIT ?", (most,)
        )
        return list(rows)

    def leave_out_unmatched(self) -> None:
        """Remove the files without a match."""
        self._database.execute("DELETE FROM files WHERE NOT is_matched")

    def nameless(self, most: int) -> list[str]:
        """Return the first files of which it is not known what they are about."""
        rows = self._database.execute("SELECT name FROM files WHERE of_file IS NULL ORDER BY name LIMIT ?", (most,))
        return [name for (name,) in rows]

    def compare(self, present: Iterable[tuple[str, int | None, str | None]]) -> None:
        """
        Compare the files with those that are there.

        :param present: Name, size and ETag of each; a size of None is unknown.
        """
        for name, size, etag in present:
            row = self._database.execute(
                "SELECT name, of_file, content, is_whole FROM files WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                continue
            content = _content(*row[1:])
            if size is not None and size != len(content):
                continue
            # The ETag of an object is its MD5 unless it is encrypted by KMS or a customer's key, or was written in
            # parts (AWS docs: S3 API reference, "Object"). So an equal one proves that the content is the same, and
            # another one proves nothing.
            is_same = etag is not None and etag.strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()
            self._database.execute(
                "UPDATE files SET state = ? WHERE name = ?", (State.UNCHANGED if is_same else State.UNCERTAIN, name)
            )

    def n_unchanged(self) -> int:
        """Return the number of files of which the same content is there."""
        (count,) = self._database.execute("SELECT count(*) FROM files WHERE state = ?", (State.UNCHANGED,)).fetchone()
        return int(count)

    def to_write(self) -> Iterator[StagedFile]:
        """Yield the files that are not known to be unchanged."""
        after = 0
        while True:
            rows = self._database.execute(
                "SELECT rowid, name, of_file, content, is_whole, state FROM files WHERE rowid > ? AND state != ?"
                " ORDER BY rowid LIMIT ?",
                (after, State.UNCHANGED, _BATCH),
            ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            for _, name, of_file, content, is_whole, state in rows:
                yield StagedFile(name, _content(of_file, content, is_whole), State(state))

    def rewrite(self, convert: Callable[[str, str], str]) -> None:
        """Replace each content by that of a function, called with what the file is about and the content."""
        for number, of_file, content in self.rows():
            self.replace(number, convert(of_file, content))

    def rows(self) -> Iterator[tuple[int, str, str]]:
        """Yield a number, the file in the input and the content of each file."""
        after = 0
        while True:
            rows = self._database.execute(
                "SELECT rowid, of_file, content FROM files WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, _BATCH)
            ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield from rows

    def replace(self, number: int, content: str) -> None:
        """Replace the content of a file by its number from :meth:`rows`."""
        self._database.execute("UPDATE files SET content = ? WHERE rowid = ?", (content, number))


def _content(of_file: str, content: str, is_whole: bool) -> bytes:
    text = content if is_whole else f'{{"file_name":{encoded(of_file)},{content}}}'
    return text.encode()
