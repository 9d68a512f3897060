"""Uploads generated files to a bucket, except those that are already there."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_UPLOAD_THREADS = 8


def upload_missing(
    s3_client: Any, bucket: str, prefix: str, files: Iterable[tuple[str, bytes]], content_type: str
) -> list[str]:
    """Upload files; objects that are already there with the same content are left alone.

    Args:
        s3_client: a boto3 or botocore S3 client that may list and write under the prefix.
        bucket: an existing bucket.
        prefix: what comes before the files' names, such as ``photos/``; the slash at its end may be left out,
            and an empty prefix means the bucket's root.
        files: names and contents.
        content_type: the media type of all of them.

    Returns:
        The keys of all the files, in their order.

    Raises:
        botocore.exceptions.ClientError: if S3 refuses to list or to write.
    """
    folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    present = _present(s3_client, bucket, folder)

    def put(file: tuple[str, bytes]) -> str:
        name, content = file
        key = folder + name
        # Without KMS, S3's ETag of an object written in one request is its MD5; with KMS it is not, and the
        # object is simply written again (AWS docs: S3 API reference, "Object").
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if present.get(key) != (len(content), digest):
            s3_client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
        return key

    with ThreadPoolExecutor(_UPLOAD_THREADS) as pool:
        return list(pool.map(put, files))


def _present(s3_client: Any, bucket: str, folder: str) -> dict[str, tuple[int, str]]:
    pages = s3_client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    return {
        found["Key"]: (found["Size"], found["ETag"].strip('"'))
        for page in pages
        for found in page.get("Contents", ())
    }
