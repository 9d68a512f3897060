"""
Reach the folder ``.lightly/`` of a dataset's datasource: with an AWS connection, or by the platform's signed addresses.

Both know the names in the input, list, read and write Lightly's own files, and replace a file only if nobody else
changed it meanwhile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.bucket import expected_kind, media_type
from lightly_provider.aws.location import InvalidLocationError, S3Location
from lightly_provider.contract import DatasourceType, Purpose
from lightly_provider.exceptions import LightlyDatasourceError, LightlySourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.own_files import PREDICTIONS
from lightly_provider.results.sources import pages_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.hooks.lightly import LightlyHook

# Requests at once. Above that, Python's own work limits the rate.
BUCKET_THREADS = 16
# The platform publishes no limit of requests; each file takes one of them.
PLATFORM_THREADS = 8
_LARGEST_OWN_FILE = 64 * 2**20
_OWN_FOLDER = ".lightly/"
_OPERATION = "get_datasources_by_dataset_id"


@dataclass(frozen=True)
class OwnFile:
    """The content of one of Lightly's own files, and its ETag; None: unknown."""

    content: bytes
    etag: str | None


class LightlyFolder(ABC):
    """
    A folder below ``.lightly/``, with names relative to it.

    :param threads: Number of threads that may use it at once.
    """

    uri: str
    threads: int

    @abstractmethod
    def input_files(self) -> Iterator[str]:
        """Yield the names of the images, or of the videos, in the dataset's input."""

    @abstractmethod
    def present(self, folder: str) -> Iterator[tuple[str, int | None, str | None]]:
        """Yield name (relative to ``folder``), size and ETag of each file below a folder; None: unknown."""

    @abstractmethod
    def read(self, name: str) -> OwnFile | None:
        """Return a file; None if there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing one that is there."""

    @abstractmethod
    def replace(self, name: str, content: bytes, before: OwnFile | None) -> bool:
        """
        Write a file unless somebody else changed it meanwhile.

        :param before: The file as it was read; None: there was none.
        :return: Whether it was written.
        """


def datasource_for(datasources: Sequence[Datasource], purpose: Purpose, dataset_id: str) -> Datasource:
    """
    Return the datasource with this purpose, or the one for both purposes.

    :raises LightlyDatasourceError: The dataset has none.
    """
    for wanted in (purpose, Purpose.INPUT_OUTPUT):
        for one in datasources:
            if one.purpose == wanted:
                return one
    raise LightlyDatasourceError(
        f"Dataset {dataset_id} has no {purpose} datasource; configure it first (ConfigureS3DatasourceOperator).",
        operation=_OPERATION,
    )


class FolderBesideImages(LightlyFolder):
    """The folder of a dataset whose images can be read, too."""

    @abstractmethod
    def image_start(self, name: str, length: int) -> bytes:
        """Return the first bytes of a file in the input."""


class BucketFolder(FolderBesideImages):
    """
    The folder in S3, reached with Airflow's own AWS connection.

    :param folder: Folder below the datasource, e.g. ``.lightly/predictions/``.
    :param connection: AWS connection that may list the input, and list, read and write the folder.
    :param input_datasource: The datasource of the input.
    :param own: The datasource of Lightly's own files; its KMS key encrypts what is written.
    :param dataset_type: Type of the dataset: ``Images`` or ``Videos``.
    :raises LightlyDatasourceError: A datasource is not in S3.
    """

    threads = BUCKET_THREADS

    def __init__(
        self,
        folder: str,
        *,
        connection: AwsConnection,
        input_datasource: Datasource,
        own: Datasource,
        dataset_type: str,
    ) -> None:
        self._connection = connection
        self._input, self._own = _location_of(input_datasource), _location_of(own)
        self._prefix = f"{self._own.prefix}{folder}"
        self._kind = expected_kind(dataset_type)
        self._encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": own.kms_key_arn} if own.kms_key_arn else {}
        )
        pool = {"max_pool_connections": self.threads}
        self._s3 = connection.client("s3", region=own.s3_region or None, config=pool)
        self._s3_of_input = connection.client("s3", region=input_datasource.s3_region or None, config=pool)
        self.uri = f"s3://{self._own.bucket}/{self._prefix}"

    def input_files(self) -> Iterator[str]:
        """See :meth:`LightlyFolder.input_files`."""
        start = len(self._input.prefix)
        for entry in self._objects(self._s3_of_input, self._input.bucket, self._input.prefix):
            name = entry["Key"][start:]
            if not name.startswith(_OWN_FOLDER) and media_type(name) is self._kind:
                yield name

    def present(self, folder: str) -> Iterator[tuple[str, int | None, str | None]]:
        """See :meth:`LightlyFolder.present`."""
        prefix = self._prefix + folder
        for entry in self._objects(self._s3, self._own.bucket, prefix):
            yield entry["Key"][len(prefix) :], entry["Size"], entry.get("ETag")

    def read(self, name: str) -> OwnFile | None:
        """See :meth:`LightlyFolder.read`."""
        with self._explained():
            try:
                answer = self._s3.get_object(Bucket=self._own.bucket, Key=self._prefix + name)
            except self._s3.exceptions.NoSuchKey:
                return None
            content = answer["Body"].read(_LARGEST_OWN_FILE + 1)
        return OwnFile(_not_too_large(content, self.uri + name), answer.get("ETag"))

    def write(self, name: str, content: bytes) -> None:
        """See :meth:`LightlyFolder.write`."""
        with self._explained():
            self._put(name, content)

    def replace(self, name: str, content: bytes, before: OwnFile | None) -> bool:
        """See :meth:`LightlyFolder.replace`."""
        from botocore.exceptions import ClientError

        # AWS docs: S3 user guide, "Conditional writes".
        condition = {"IfNoneMatch": "*"} if before is None else {"IfMatch": before.etag} if before.etag else {}
        with self._explained():
            try:
                self._put(name, content, **condition)
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                code = error.response.get("Error", {}).get("Code")
                if status in (409, 412) or code in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                if before is not None and code == "NoSuchKey":
                    return False
                if code != "NotImplemented":
                    raise
                # An S3 service without conditional writes.
                self._put(name, content)
        return True

    def image_start(self, name: str, length: int) -> bytes:
        """See :meth:`FolderBesideImages.image_start`."""
        from botocore.exceptions import ClientError

        with self._explained():
            try:
                answer = self._s3_of_input.get_object(
                    Bucket=self._input.bucket, Key=self._input.prefix + name, Range=f"bytes=0-{length - 1}"
                )
            except ClientError as error:
                # An empty object has no range, and one that was deleted since the listing has nothing.
                if error.response.get("Error", {}).get("Code") in ("InvalidRange", "NoSuchKey"):
                    return b""
                raise
            return bytes(answer["Body"].read(length))

    def _put(self, name: str, content: bytes, **options: Any) -> None:
        self._s3.put_object(
            Bucket=self._own.bucket,
            Key=self._prefix + name,
            Body=content,
            ContentType="application/json",
            **self._encryption,
            **options,
        )

    def _objects(self, s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        pages = pages_below(s3, bucket, prefix)
        while True:
            with self._explained():
                page = next(pages, None)
            if page is None:
                return
            yield from page

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from lightly_provider.hooks.aws import refusals_explained

        with refusals_explained(self._connection):
            yield


def _location_of(datasource: Datasource) -> S3Location:
    if datasource.type not in list(DatasourceType):
        raise LightlyDatasourceError(
            f"The {datasource.purpose} datasource is of type {shown(datasource.type, longest=50)} and not in S3; write "
            "predictions through the platform (write_through='platform').",
            operation=_OPERATION,
        )
    try:
        return S3Location.from_stored(datasource.full_path)
    except InvalidLocationError as error:
        raise LightlyDatasourceError(f"{datasource.purpose} datasource: {error}", operation=_OPERATION) from None


def _not_too_large(content: bytes, uri: str) -> bytes:
    if len(content) > _LARGEST_OWN_FILE:
        raise LightlySourceError(
            f"{shown(uri)} is larger than {_LARGEST_OWN_FILE // 2**20} MiB, and no file of Lightly is; remove it."
        )
    return content


class PlatformPredictions(LightlyFolder):
    """
    The folder of the predictions, reached by the platform's signed addresses: Airflow needs no keys of the bucket.

    :param hook: Hook of the platform's connection.
    :param dataset_id: Dataset.
    :param own: The datasource of Lightly's own files; its KMS key encrypts what is written.
    """

    threads = PLATFORM_THREADS

    def __init__(self, hook: LightlyHook, dataset_id: str, own: Datasource) -> None:
        self._hook = hook
        self._dataset_id = dataset_id
        self._kms_key_arn = own.kms_key_arn
        self.uri = f"{own.full_path.rstrip('/')}/{PREDICTIONS}"

    def input_files(self) -> Iterator[str]:
        """See :meth:`LightlyFolder.input_files`."""
        return self._hook.list_input_files(self._dataset_id)

    def present(self, folder: str) -> Iterator[tuple[str, int | None, str | None]]:
        """See :meth:`LightlyFolder.present`."""
        task = folder.removesuffix("/")
        return ((name, None, None) for name in self._hook.list_prediction_files(self._dataset_id, task))

    def read(self, name: str) -> OwnFile | None:
        """See :meth:`LightlyFolder.read`."""
        found = self._hook.read_prediction_file(self._dataset_id, name)
        return None if found is None else OwnFile(found.content, found.etag)

    def write(self, name: str, content: bytes) -> None:
        """See :meth:`LightlyFolder.write`."""
        self._hook.write_prediction_file(self._dataset_id, name, content, kms_key_arn=self._kms_key_arn)

    def replace(self, name: str, content: bytes, before: OwnFile | None) -> bool:
        """See :meth:`LightlyFolder.replace`."""
        return self._hook.write_prediction_file(
            self._dataset_id,
            name,
            content,
            kms_key_arn=self._kms_key_arn,
            if_match=before.etag if before else None,
            if_none=before is None,
        )
