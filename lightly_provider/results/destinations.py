"""
Write a file so that a reader sees the whole file or none: to S3, to a local path, or to any object storage of Airflow.

An S3 object is a multipart upload that is completed at the end; a local file is written beside its place and renamed;
another object storage gets a temporary object that is moved. What an earlier try left unfinished, because it was
killed, is removed once the file is whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import tempfile
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.location import EXACT, S3Location
from lightly_provider.exceptions import LightlyDestinationError, LightlyError
from lightly_provider.foreign_text import shown, shown_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from lightly_provider.hooks.aws import AwsConnection

log = logging.getLogger(__name__)

# AWS docs: S3 user guide, "Amazon S3 multipart upload limits": at most 10,000 parts, all but the last of 5 MiB or more.
# Two of them are in memory. Later ones are twice as large, so that a file may have 73 GiB.
PART_SIZE = 5 * 2**20
_SMALL_PARTS = 5_000
_SCHEME = r"([a-z][a-z0-9+.-]*)://"
_DENIALS = frozenset({"AccessDenied", "AllAccessDisabled", "403", "Forbidden"})


class WrittenFile(ABC):
    """
    A file that is being written: a context manager that completes the file, or leaves nothing if the block fails.

    :ivar uri: Address of the file.
    :ivar bytes: Number of bytes written.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.bytes = 0
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._sha256.hexdigest()

    def write(self, content: bytes) -> None:
        """
        Append to the file.

        :raises LightlyDestinationError: The content cannot be written.
        """
        self._append(content)
        self._sha256.update(content)
        self.bytes += len(content)

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._complete()
        except BaseException:
            self._discard()
            raise
        self._remove_left_overs()

    @abstractmethod
    def _begin(self) -> None:
        """Prepare to write."""

    @abstractmethod
    def _append(self, content: bytes) -> None:
        """Append to the unfinished file."""

    @abstractmethod
    def _complete(self) -> None:
        """Make the file visible at its address, in place of an earlier one."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove the unfinished file. Does not raise: the error that led here is the one to show."""

    @abstractmethod
    def _remove_left_overs(self) -> None:
        """Remove what earlier tries left unfinished. Does not raise: the file is whole."""


class Destination(ABC):
    """
    Where a file is to be written.

    :ivar uri: Address of the file.
    """

    uri: str

    @staticmethod
    def parse(
        address: str,
        *,
        aws_conn_id: str | None = "aws_default",
        conn_id: str | None = None,
        argument: str = "destination",
    ) -> Destination:
        """
        Parse an address, without any request.

        :param address: ``s3://bucket/key``, an absolute local path, ``file:///path``, or an address of another object
            storage of Airflow, e.g. ``gs://my_gcp@bucket/key`` with the connection before the ``@``. ``exact:s3://…``
            allows a key that looks like a mistake, as in :meth:`S3Location.parse`.
        :param aws_conn_id: AWS connection that writes to S3; None: boto3's default credentials. Default:
            ``aws_default``.
        :param conn_id: Connection of another object storage, if the address names none. Default: None.
        :param argument: Name of the operator's argument, for messages. Default: ``destination``.
        :raises ValueError: The address is invalid, with the reason and the correct form.
        """
        if not isinstance(address, str) or not address.strip():
            raise ValueError(f"{argument} is {shown(repr(address), longest=200)}; {_FORMS}.")
        scheme = re.match(_SCHEME, address.removeprefix(EXACT))
        if scheme is None and not address.removeprefix(EXACT).startswith("s3:"):
            return _local(address, argument, path=address)
        name = scheme[1] if scheme else "s3"
        if name == "s3" or (scheme and address.startswith(EXACT)):
            return _S3Object.of(address, aws_conn_id, argument)
        if name == "file":
            return _local(address, argument, path=address.removeprefix("file://"))
        return _StoredObject.of(address, name, conn_id, argument)

    @abstractmethod
    def check(self) -> None:
        """
        Check that the file can be written, by starting to write and taking that back; nothing is left behind.

        :raises LightlyDestinationError: It cannot, with the cause and the next step.
        """

    @abstractmethod
    def size(self) -> int | None:
        """
        Return the size in bytes of the file that is there; None if there is none.

        :raises LightlyDestinationError: That cannot be seen.
        """

    @abstractmethod
    def open(self) -> WrittenFile:
        """Return the file to write; use it as a context manager."""


_FORMS = "write s3://bucket/folder/file, an absolute local path, or an address of another object storage"


# --- S3 --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _S3Object(Destination):
    uri: str
    bucket: str
    key: str
    aws_conn_id: str | None

    @classmethod
    def of(cls, address: str, aws_conn_id: str | None, argument: str) -> _S3Object:
        # A file's address follows the same rules as a folder's, and location.py knows the usual mistakes.
        location = S3Location.parse(address, argument=argument, is_file=True)
        key = location.prefix.removesuffix("/")
        if not key or address.endswith("/"):
            raise ValueError(
                f"{argument} is {shown(repr(address), longest=200)}, a folder; write the file's name, too."
            )
        return cls(f"s3://{location.bucket}/{key}", location.bucket, key, aws_conn_id)

    def check(self) -> None:
        from botocore.exceptions import ClientError

        client = self._client()
        # To start a multipart upload needs the same permissions as to write the object, and creates no object.
        with self._explained():
            upload = client.create_multipart_upload(Bucket=self.bucket, Key=self.key)["UploadId"]
            try:
                client.abort_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=upload)
            except ClientError as error:
                # boto3 sends the request again if the answer was lost.
                if _code_of(error) != "NoSuchUpload":
                    raise

    def size(self) -> int | None:
        from botocore.exceptions import ClientError

        with self._explained():
            try:
                return int(self._client().head_object(Bucket=self.bucket, Key=self.key)["ContentLength"])
            except ClientError as error:
                if error.response["ResponseMetadata"].get("HTTPStatusCode") == 404:
                    return None
                raise

    def open(self) -> WrittenFile:
        return _S3Upload(self, self._client())

    @cached_property
    def _connection(self) -> AwsConnection:
        from lightly_provider.hooks.aws import AwsConnection

        return AwsConnection(self.aws_conn_id)

    def _client(self) -> Any:
        return self._connection.client("s3")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        who = self._connection.name
        try:
            yield
        except ClientError as error:
            code = _code_of(error)
            text = shown(error.response.get("Error", {}).get("Message", ""), longest=500).rstrip(".")
            raise LightlyDestinationError(
                f"{shown(self.uri)} cannot be used as a destination: S3 refused {error.operation_name} to Airflow's "
                f"own identity ({who}): {shown(code, longest=100)}: {text}; {self._step(code)}."
            ) from None
        except BotoCoreError as error:
            raise LightlyDestinationError(
                f"{shown(self.uri)} cannot be used as a destination: S3 gave no usable answer ({who}): "
                f"{shown_error(error, longest=500)}; check that connection."
            ) from None

    def _step(self, code: str) -> str:
        if code == "NoSuchBucket":
            return "create the bucket, or correct its name"
        if code in _DENIALS:
            return (
                f"allow s3:PutObject and s3:AbortMultipartUpload on arn:aws:s3:::{self.bucket}/{shown(self.key)} to it "
                "(and kms:GenerateDataKey and kms:Decrypt on the key, if the bucket encrypts with one), or give "
                "another aws_conn_id"
            )
        if code == "NoSuchUpload":
            return "another task wrote the same file meanwhile; give each task a destination of its own"
        return "look the code up in AWS's documentation of that operation"


def _code_of(error: Any) -> str:
    """Return the code of botocore's ClientError."""
    return str(error.response.get("Error", {}).get("Code"))


class _S3Upload(WrittenFile):
    def __init__(self, target: _S3Object, client: Any) -> None:
        super().__init__(target.uri)
        self._target = target
        self._client = client
        self._place = {"Bucket": target.bucket, "Key": target.key}
        self._part = bytearray()
        self._upload: str | None = None
        # One part is uploaded while the next is filled.
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="lightly-upload")
        self._sending: Future[dict[str, Any]] | None = None
        self._parts: list[dict[str, Any]] = []

    def _begin(self) -> None:
        """The upload begins with its first part."""

    def _append(self, content: bytes) -> None:
        size = PART_SIZE if len(self._parts) < _SMALL_PARTS else 2 * PART_SIZE
        rest = memoryview(content)
        while rest:
            taken = rest[: size - len(self._part)]
            self._part += taken
            rest = rest[len(taken) :]
            if len(self._part) == size:
                self._send()

    def _complete(self) -> None:
        with self._target._explained():
            if self._upload is None:
                # One request is all or nothing, too.
                self._client.put_object(**self._place, Body=self._part)
                return
            if self._part:
                self._send()
            self._await_part()
            self._sender.shutdown()
            self._complete_upload()
            self._upload = None

    def _complete_upload(self) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client.complete_multipart_upload(
                **self._place, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
            )
        except ClientError as error:
            # boto3 sends the request again if the answer was lost, and then the upload is complete already.
            if _code_of(error) != "NoSuchUpload" or not self._is_there():
                raise

    def _is_there(self) -> bool:
        """Return whether the object is the one that the parts make."""
        from botocore.exceptions import BotoCoreError, ClientError

        # The ETag of an object in parts is the MD5 of theirs, and their number (AWS docs: S3 user guide, "Checking
        # object integrity", "Using part-level checksums for multipart uploads"); of one with a KMS key, it is unknown.
        try:
            digests = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in self._parts)
            etag = self._client.head_object(**self._place)["ETag"]
        except (ClientError, BotoCoreError, ValueError):
            return False
        expected = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self._parts)}"
        return bool(etag.strip('"') == expected)

    def _discard(self) -> None:
        # A part that arrives after the abort would stay in the bucket.
        self._sender.shutdown(wait=True, cancel_futures=True)
        if self._upload is not None:
            self._abort(self._upload)
            self._upload = None

    def _remove_left_overs(self) -> None:
        for upload in self._unfinished():
            self._abort(upload)

    def _send(self) -> None:
        self._await_part()
        with self._target._explained():
            if self._upload is None:
                self._upload = self._client.create_multipart_upload(**self._place)["UploadId"]
        # No file: botocore would read that in pieces of 16 KiB, and ask S3 before it sends them. And no bytes: these it
        # copies behind the headers (botocore 1.43, awsrequest.py, _send_output).
        self._sending = self._sender.submit(self._send_part, self._upload, len(self._parts) + 1, self._part)
        self._part = bytearray()

    def _send_part(self, upload: str, number: int, content: bytearray) -> dict[str, Any]:
        with self._target._explained():
            answer = self._client.upload_part(**self._place, UploadId=upload, PartNumber=number, Body=content)
        # S3 wants the checksums of the parts again, if it computed any.
        checksums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        checksums.pop("ChecksumType", None)
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    def _await_part(self) -> None:
        if self._sending is not None:
            sending, self._sending = self._sending, None
            self._parts.append(sending.result())

    def _abort(self, upload: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.abort_multipart_upload(**self._place, UploadId=upload)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and _code_of(error) == "NoSuchUpload":
                return
            log.warning(
                "An unfinished multipart upload of %s could not be aborted, and is billed until it is: %s. Let a "
                "lifecycle rule of the bucket abort incomplete uploads.",
                shown(self.uri),
                shown_error(error, longest=300),
            )

    def _unfinished(self) -> list[str]:
        """Return the uploads of this very object that were never finished: of killed tries, or of lost answers."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            listed = self._client.list_multipart_uploads(Bucket=self._place["Bucket"], Prefix=self._place["Key"])
        except (ClientError, BotoCoreError) as error:
            log.info(
                "Whether an earlier try left an unfinished upload of %s is not known (s3:ListBucketMultipartUploads): "
                "%s.",
                shown(self.uri),
                shown_error(error, longest=300),
            )
            return []
        return [one["UploadId"] for one in listed.get("Uploads", ()) if one["Key"] == self._place["Key"]]


# --- a local path ----------------------------------------------------------------------------------------------------


def _local(address: str, argument: str, *, path: str) -> _LocalPath:
    if not path.startswith("/"):
        raise ValueError(f"{argument} is {shown(repr(address), longest=200)}, which is not an absolute path; {_FORMS}.")
    if path.endswith("/"):
        raise ValueError(f"{argument} is {shown(repr(address), longest=200)}, a folder; write the file's name, too.")
    if ".." in PurePosixPath(path).parts:
        # A name in a template must not lead out of the folder before it.
        raise ValueError(f"{argument} is {shown(repr(address), longest=200)}; write the path without '..'.")
    if "\0" in path or len(os.fsencode(PurePosixPath(path).name)) > 200:
        raise ValueError(
            f"{argument} is {shown(repr(address), longest=200)}, which is not a file name; write a shorter one."
        )
    return _LocalPath(f"file://{path}", Path(path))


@dataclass(frozen=True)
class _LocalPath(Destination):
    uri: str
    path: Path

    def check(self) -> None:
        with self._explained():
            if self.path.is_dir():
                raise IsADirectoryError("it is a folder; write the file's name, too")
            # To write beside a device or a pipe and rename would remove it.
            if self.path.exists() and not self.path.is_file():
                raise OSError("it is a device or a pipe, and no file")
            folder = next(parent for parent in self.path.parents if parent.exists())
            with tempfile.TemporaryFile(dir=folder):
                pass

    def size(self) -> int | None:
        with self._explained():
            try:
                return self.path.stat().st_size
            except FileNotFoundError:
                return None

    def open(self) -> WrittenFile:
        return _LocalFile(self)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LightlyDestinationError(
                f"{shown(self.path)} cannot be used as a destination on this machine: "
                f"{shown(error.strerror or error, longest=300)}; correct the path, or let Airflow's user write there."
            ) from None


class _LocalFile(WrittenFile):
    def __init__(self, target: _LocalPath) -> None:
        super().__init__(target.uri)
        self._target = target
        self._final = target.path
        self._part = target.path.with_name(_temporary(target.path.name))
        self._file: Any = None
        self._left_over: list[Path] = []

    def _begin(self) -> None:
        with self._target._explained():
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._left_over = [one for one in self._final.parent.iterdir() if _is_temporary(one.name, self._final.name)]
            self._file = self._part.open("xb")

    def _append(self, content: bytes) -> None:
        with self._target._explained():
            self._file.write(content)

    def _complete(self) -> None:
        with self._target._explained():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if not self._part.exists():
                raise LightlyDestinationError(
                    f"{shown(self._final)} was written by another task meanwhile; give each task a destination of its "
                    "own."
                )
            os.replace(self._part, self._final)

    def _discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._part.unlink(missing_ok=True)

    def _remove_left_overs(self) -> None:
        for path in self._left_over:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _temporary(name: str) -> str:
    return f".{name}.{secrets.token_hex(8)}.part"


def _is_temporary(name: str, of: str) -> bool:
    return name.startswith(f".{of}.") and re.fullmatch(r"[0-9a-f]{16}\.part", name[len(of) + 2 :]) is not None


# --- another object storage ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _StoredObject(Destination):
    uri: str
    scheme: str
    conn_id: str | None

    @classmethod
    def of(cls, address: str, scheme: str, conn_id: str | None, argument: str) -> _StoredObject:
        place = address.split("://", 1)[1]
        if scheme in ("http", "https"):
            raise ValueError(f"{argument} is a web address, which cannot be written; {_FORMS}.")
        container, _, key = place.partition("/")
        user, _, host = container.rpartition("@")
        if not host or not key or key.endswith("/") or ":" in user or not place.isprintable():
            # A user part with a colon may hold a password, which the message must not repeat.
            raise ValueError(
                f"{argument} is not the address of a file in an object storage; write "
                f"{scheme}://container/folder/file, with the id of an Airflow connection as connection@container "
                "if it needs one."
            )
        return cls(f"{scheme}://{host}/{key}", scheme, user or conn_id)

    def check(self) -> None:
        probe = self._path(self._beside())
        with self._explained():
            self._write_nothing(probe)

    def size(self) -> int | None:
        with self._explained():
            path = self._path()
            return int(path.fs.size(path.path)) if path.fs.exists(path.path) else None

    def open(self) -> WrittenFile:
        return _StoredFile(self)

    def _beside(self) -> str:
        folder, _, name = self.uri.rpartition("/")
        return f"{folder}/{_temporary(name)}"

    def _write_nothing(self, probe: Any) -> None:
        try:
            with probe.open("wb") as file:
                file.write(b"")
        finally:
            with suppress(FileNotFoundError):
                probe.fs.rm_file(probe.path)

    def _path(self, uri: str | None = None) -> Any:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        with self._explained():
            path = ObjectStoragePath(uri or self.uri, conn_id=self.conn_id)
            # Loads the storage's own package, which may be missing.
            if path.fs is None:
                raise ValueError("Airflow has no file system for it")
            return path

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except LightlyError:
            raise
        except Exception as error:  # noqa: BLE001  (each storage fails by classes of its own)
            raise LightlyDestinationError(
                f"{shown(self.uri)} cannot be used as a destination: {type(error).__name__}: "
                f"{shown_error(error, longest=500).rstrip('.')}; check the address and its connection "
                f"({self.conn_id or 'none'}), and that the Airflow provider for {self.scheme}:// is installed."
            ) from None


class _StoredFile(WrittenFile):
    def __init__(self, target: _StoredObject) -> None:
        super().__init__(target.uri)
        self._target = target
        self._final = target._path()
        self._part = target._path(target._beside())
        self._file: Any = None
        self._left_over: list[str] = []

    def _begin(self) -> None:
        name = self._target.uri.rpartition("/")[2]
        with self._target._explained():
            folder = self._final.fs._parent(self._final.path)
            with suppress(FileNotFoundError):
                listed = self._final.fs.ls(folder, detail=False)
                self._left_over = [one for one in listed if _is_temporary(str(one).rpartition("/")[2], name)]
            self._final.fs.makedirs(folder, exist_ok=True)
            self._file = self._part.open("wb")
            self._file.__enter__()

    def _append(self, content: bytes) -> None:
        with self._target._explained():
            self._file.write(content)

    def _complete(self) -> None:
        with self._target._explained():
            self._file.close()
            self._final.fs.mv(self._part.path, self._final.path)

    def _discard(self) -> None:
        if self._file is not None:
            # Many a storage makes what was written so far visible here, at the temporary name.
            with suppress(Exception):
                self._file.close()
            with suppress(Exception):
                self._final.fs.rm_file(self._part.path)

    def _remove_left_overs(self) -> None:
        for path in self._left_over:
            with suppress(Exception):
                self._final.fs.rm_file(path)
