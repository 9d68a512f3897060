"""A bucket's listing, page by page: what the reading of a bucket's content is built on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

PAGE_SIZE = 1000  # AWS docs: S3 API reference, ListObjectsV2, the most that one answer holds


@dataclass(frozen=True)
class Listed:
    """One page of a listing: keys with their sizes, folders if they were asked for, and where it goes on."""

    objects: list[tuple[str, int]]
    folders: list[str] = field(default_factory=list)
    next_token: str | None = None


class Lister(Protocol):
    """Lists a bucket, one page a call."""

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """The next page; ``by_folder`` stops at the next slash and names the folders instead."""


class S3Lister:
    """
    Lists a bucket through boto3.

    :param s3: A boto3 S3 client; clients may be used by several threads.
    :param bucket: The bucket.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def page(
        self, prefix: str, *, token: str | None = None, start_after: str | None = None, by_folder: bool = False
    ) -> Listed:
        """See :class:`Lister`. Raises botocore's ``ClientError`` where AWS refuses."""
        options: dict[str, Any] = {}
        if token:
            options["ContinuationToken"] = token
        if start_after:
            options["StartAfter"] = start_after
        if by_folder:
            options["Delimiter"] = "/"
        answer = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=PAGE_SIZE, **options)
        return Listed(
            objects=[(entry["Key"], entry["Size"]) for entry in answer.get("Contents", ())],
            folders=[entry["Prefix"] for entry in answer.get("CommonPrefixes", ())],
            next_token=answer.get("NextContinuationToken"),
        )
