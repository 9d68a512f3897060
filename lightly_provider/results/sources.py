"""
Read files that a user names by address: from S3, from a local path, or from any object storage that Airflow knows.

A source is one file, all files below a folder, or the files that match a pattern. Nothing is read as a whole unless the
reader asks for it, with a limit.
"""

from __future__ import annotations

import io
import os
import re
import stat
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lightly_provider.aws.location import InvalidLocationError, S3Location
from lightly_provider.exceptions import LightlySourceError
from lightly_provider.foreign_text import is_storable, shown, shown_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from lightly_provider.hooks.aws import AwsConnection

# The threads that read the files of a folder, and so the connections that a client keeps.
READ_THREADS = 16
_LONGEST_KEY = 1024  # bytes; AWS docs: S3 user guide, "Naming Amazon S3 objects"
_WILDCARD = "*"
_PIECE = 2**20


@dataclass(frozen=True)
class SourceFile:
    """
    A file of a source.

    :param name: Name relative to the source's folder, with ``/`` between folders; for a single file, its last part.
    :param uri: Address, for messages.
    :param size: Size in bytes; None if it is unknown until the file is read.
    """

    name: str
    uri: str
    size: int | None
    _opener: Callable[[], AbstractContextManager[IO[bytes]]] = field(repr=False)

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """
        Open the file for reading bytes in order.

        :raises LightlySourceError: The file does not exist, or cannot be read.
        :raises LightlyAccessError: AWS denied the request.
        """
        return self._opener()

    def read(self, *, most: int) -> bytes:
        """
        Return the whole content.

        :param most: Maximum size, in bytes.
        :raises LightlySourceError: The file is larger, or cannot be read.
        """
        with self.open() as file:
            content = bytearray()
            while piece := file.read(min(_PIECE, most + 1 - len(content))):
                content += piece
                if len(content) > most:
                    raise LightlySourceError(
                        f"{shown(self.uri)} is larger than {most / 2**20:g} MiB, which is the most that is read of such"
                        " a file; split it, or check that it is the right one."
                    )
        return bytes(content)


class Source(ABC):
    """
    The files at an address.

    :param address: The address, without a pattern.
    :param pattern: Pattern of the names below it; None (default): all.
    """

    def __init__(self, address: str, pattern: str | None = None) -> None:
        self.address = address
        self.pattern = pattern

    @property
    def uri(self) -> str:
        """The address with its pattern, for messages."""
        return shown(f"{self.address}{self.pattern or ''}")

    @staticmethod
    def parse(address: str, *, aws_conn_id: str | None, conn_id: str | None = None, argument: str = "source") -> Source:
        """
        Parse an address without any request.

        :param address: ``s3://bucket/key``, ``s3://bucket/folder/``, an absolute local path, ``file://``, or the
            address of another object storage, e.g. ``gs://bucket/folder/``. Its last part may have ``*`` in it:
            ``s3://bucket/folder/*.json`` takes the matching names directly in that folder, ``**/*.json`` also those in
            folders below it. All other characters stand for themselves.
        :param aws_conn_id: AWS connection with which S3 is read; None: boto3's default credentials.
        :param conn_id: Airflow connection of another object storage. None (default): that of the address
            (``gs://connection@bucket/folder/``), else the storage's default.
        :param argument: Name of the operator's argument, for messages.
        :raises ValueError: The address is invalid; the message names the argument, the address and the next step.
        """
        if not isinstance(address, str) or not address.strip() or not is_storable(address):
            raise ValueError(f"{argument} is {shown(repr(address))}; give the address of a file or a folder.")
        base, pattern = _split_pattern(address)
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", address)
        if scheme is None or scheme[1].lower() == "file":
            return _LocalSource(_local_path(base, argument), pattern)
        if scheme[1].lower() in {"s3", "s3a", "s3n"}:
            return _S3Source.of(base, pattern, aws_conn_id, argument)
        if scheme[1].lower() in {"http", "https"}:
            raise ValueError(
                f"{argument} is {shown(_bare(address))!r}, a web address; give the s3:// address of the object, or "
                "copy it to a bucket first."
            )
        return _ObjectStorageSource(base, pattern, conn_id)

    def files(self, *suffixes: str) -> Iterator[SourceFile]:
        """
        Yield the files: the single file at the address, or those below the folder, in the order of the listing.

        :param suffixes: Yield only names that end so, e.g. ``.json``; case is ignored. Default: all. A single file is
            yielded whatever its name.
        :raises LightlySourceError: There is neither a file nor a folder at the address.
        """
        wanted = tuple(suffix.lower() for suffix in suffixes)
        for file, is_single in self._listed():
            if is_single or ((not wanted or file.name.lower().endswith(wanted)) and self._matches(file.name)):
                yield file

    def file(self) -> SourceFile:
        """
        Return the single file at the address.

        :raises LightlySourceError: There is no such file, or the address is that of several.
        """
        found = self.files()
        first, second = next(found, None), next(found, None)
        if first is None:
            raise LightlySourceError(f"There is no file at {self.uri}; check the address.")
        if second is not None:
            raise LightlySourceError(f"{self.uri} has several files, and one is needed; give the address of one file.")
        return first

    @abstractmethod
    def at(self, name: str) -> Source:
        """Return the file or folder with this name in the folder, whether or not it exists."""

    def _matches(self, name: str) -> bool:
        if self.pattern is None:
            return True
        if self.pattern.startswith("**/"):
            return _fits(name.rpartition("/")[2], self.pattern.removeprefix("**/"))
        return "/" not in name and _fits(name, self.pattern)

    @abstractmethod
    def _listed(self) -> Iterator[tuple[SourceFile, bool]]:
        """Yield every file, and whether it is the single file at the address."""

    def _nothing(self) -> LightlySourceError:
        return LightlySourceError(f"There is nothing at {self.uri}; check the address.")


def _fits(name: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split(_WILDCARD))), name, re.DOTALL) is not None


def _split_pattern(address: str) -> tuple[str, str | None]:
    """Split the pattern from the folder before it: it begins in the last part, or in a ``**`` before that."""
    folder, slash, last = address.rpartition("/")
    if not slash or _WILDCARD not in last:
        return address, None
    above, _, name = folder.rpartition("/")
    return (f"{above}/", f"**/{last}") if name == "**" else (f"{folder}/", last)


def _bare(address: str) -> str:
    return address.partition("?")[0]


# --- local paths -------------------------------------------------------------------------------------------------


def _local_path(address: str, argument: str) -> Path:
    text = address
    if address.lower().startswith("file://"):
        parts = urlsplit(address)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"{argument} is {shown(address)!r}, a file of another host; write file:///path/of/file.")
        text = unquote(address[len("file://") + len(parts.netloc) :])
    path = Path(text)
    if not path.is_absolute():
        raise ValueError(
            f"{argument} is {shown(address)!r}, and a task may run in any folder; write an absolute path, or "
            "s3://bucket/key."
        )
    return path


class _LocalSource(Source):
    def __init__(self, path: Path, pattern: str | None) -> None:
        super().__init__(f"{path}/" if pattern else str(path), pattern)
        self._path = path

    def at(self, name: str) -> Source:
        return _LocalSource(self._path / name, None)

    def _listed(self) -> Iterator[tuple[SourceFile, bool]]:
        if self._path.is_file() and self.pattern is None:
            yield self._at(self._path, self._path.name), True
            return
        if not self._path.is_dir():
            raise self._nothing()
        for folder, folders, names in os.walk(self._path, onerror=_raise):
            folders.sort()
            self._check_links(folder, folders)
            for name in sorted(names):
                path = Path(folder, name)
                yield self._at(path, path.relative_to(self._path).as_posix()), False

    def _check_links(self, folder: str, folders: list[str]) -> None:
        """Refuse linked folders, which the walk leaves out because they may lead in a circle."""
        if self.pattern is not None and not self.pattern.startswith("**/"):
            return
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink():
                raise LightlySourceError(
                    f"{shown(path)} is a link to a folder, which is not followed; put the folder itself into the "
                    "source, or give the linked folder as a source of its own."
                )

    def _at(self, path: Path, name: str) -> SourceFile:
        return SourceFile(name, str(path), _size_of(path), lambda: _opened_path(path))


def _size_of(path: Path) -> int:
    with _path_explained(path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        # To open a pipe would wait for somebody who writes to it.
        raise LightlySourceError(f"{shown(path)} is a device or a pipe; remove it from the source.")
    return found.st_size


def _raise(error: OSError) -> None:
    """Do not leave out a folder that cannot be listed."""
    with _path_explained(error.filename):
        raise error


@contextmanager
def _opened_path(path: Path) -> Iterator[IO[bytes]]:
    with _path_explained(path):
        file = path.open("rb")
    with file:
        yield file


@contextmanager
def _path_explained(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LightlySourceError(
            f"{shown(path)} cannot be read: {error.strerror}; check that it exists, and its permissions."
        ) from None


# --- S3 ----------------------------------------------------------------------------------------------------------


def pages_below(s3: Any, bucket: str, prefix: str) -> Iterator[list[dict[str, Any]]]:
    """
    Yield the objects with a prefix, page by page, as boto3 returns them; nothing of earlier pages is kept.

    :param s3: boto3 S3 client.
    :param bucket: Bucket.
    :param prefix: Prefix of the keys.
    """
    token: dict[str, str] = {}
    while True:
        page = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **token)
        yield page.get("Contents", [])
        if not page.get("NextContinuationToken"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


class _S3Source(Source):
    def __init__(self, bucket: str, key: str, pattern: str | None, aws_conn_id: str | None) -> None:
        super().__init__(f"s3://{bucket}/{key}", pattern)
        self._bucket = bucket
        self._key = key
        self._aws_conn_id = aws_conn_id

    @classmethod
    def of(cls, address: str, pattern: str | None, aws_conn_id: str | None, argument: str) -> _S3Source:
        bucket, _, key = address.partition("://")[2].partition("/")
        try:
            S3Location.parse(f"s3://{bucket}/", argument=argument)
        except InvalidLocationError as error:
            raise ValueError(str(error)) from None
        if len(key.encode()) > _LONGEST_KEY:
            raise ValueError(f"{argument} is {shown(address, longest=200)!r}, and a key has at most 1024 bytes.")
        return cls(bucket, key, pattern, aws_conn_id)

    def at(self, name: str) -> Source:
        folder = f"{self._key.rstrip('/')}/" if self._key else ""
        return _S3Source(self._bucket, folder + name, None, self._aws_conn_id)

    @cached_property
    def _connection(self) -> AwsConnection:
        from lightly_provider.hooks.aws import AwsConnection

        return AwsConnection(self._aws_conn_id)

    @cached_property
    def _s3(self) -> Any:
        return self._connection.client("s3", config={"max_pool_connections": READ_THREADS})

    def _listed(self) -> Iterator[tuple[SourceFile, bool]]:
        with self._explained():
            if self._key and not self._key.endswith("/"):
                # In the order of a listing, the key itself comes before all that only begin with it.
                first = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._key, MaxKeys=1).get("Contents", ())
                if first and first[0]["Key"] == self._key:
                    yield self._at(self._key, self._key.rpartition("/")[2], first[0]["Size"]), True
                    return
        prefix = self._key if not self._key or self._key.endswith("/") else f"{self._key}/"
        is_empty = True
        pages = pages_below(self._s3, self._bucket, prefix)
        while True:
            with self._explained():
                page = next(pages, None)
            if page is None:
                break
            for entry in page:
                is_empty = False
                if not entry["Key"].endswith("/"):
                    yield self._at(entry["Key"], entry["Key"][len(prefix) :], entry["Size"]), False
        if is_empty:
            raise self._nothing()

    def _at(self, key: str, name: str, size: int) -> SourceFile:
        return SourceFile(name, f"s3://{self._bucket}/{key}", size, lambda: self._opened(key))

    @contextmanager
    def _opened(self, key: str) -> Iterator[IO[bytes]]:
        from botocore.exceptions import BotoCoreError

        with self._explained(key):
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
        try:
            # The body of boto3 reads from the network at each call.
            yield io.BufferedReader(body, _PIECE)
        except (BotoCoreError, OSError) as error:
            raise LightlySourceError(
                f"s3://{self._bucket}/{shown(key)} could not be read to its end ({type(error).__name__}); "
                "run the task again."
            ) from None
        finally:
            body.close()

    @contextmanager
    def _explained(self, key: str | None = None) -> Iterator[None]:
        from botocore.exceptions import ClientError

        from lightly_provider.hooks.aws import refusals_explained

        with refusals_explained(self._connection):
            try:
                yield
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code not in {"NoSuchKey", "NoSuchBucket", "404"}:
                    raise
                what = f"bucket {self._bucket!r}" if code == "NoSuchBucket" else f"file s3://{self._bucket}/{key}"
                raise LightlySourceError(f"There is no {shown(what)}; check the address.") from None


# --- other object storage ----------------------------------------------------------------------------------------


class _ObjectStorageSource(Source):
    def __init__(self, address: str, pattern: str | None, conn_id: str | None) -> None:
        super().__init__(address, pattern)
        self._conn_id = conn_id

    def at(self, name: str) -> Source:
        return _ObjectStorageSource(f"{self.address.rstrip('/')}/{name}", None, self._conn_id)

    @cached_property
    def _path(self) -> Any:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        try:
            path = ObjectStoragePath(self.address, conn_id=self._conn_id)
            _ = path.fs  # Airflow 2.11 looks for the storage only here
            return path
        except (ImportError, ValueError) as error:
            raise LightlySourceError(
                f"{self.uri} cannot be read: {shown_error(error, longest=300)}; install the Airflow provider of this "
                "storage, or use s3://."
            ) from None

    def _listed(self) -> Iterator[tuple[SourceFile, bool]]:
        root = self._path
        with _storage_explained(self.uri):
            if self.pattern is None and root.is_file():
                yield self._at(root, root.name), True
                return
            if not root.exists():
                raise self._nothing()
            prefix = str(root.path).rstrip("/")
            for path in root.rglob("*"):
                if path.is_file():
                    yield self._at(path, str(path.path)[len(prefix) :].lstrip("/")), False

    def _at(self, path: Any, name: str) -> SourceFile:
        return SourceFile(name, shown(str(path)), None, lambda: self._opened(path))

    @contextmanager
    def _opened(self, path: Any) -> Iterator[IO[bytes]]:
        with _storage_explained(shown(str(path))):
            file = path.open("rb")
        with file:
            yield file


@contextmanager
def _storage_explained(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        raise LightlySourceError(
            f"{uri} cannot be read: {type(error).__name__}: {shown_error(error, longest=300)}; check the address and "
            "the connection of that storage."
        ) from None
