"""``lightly-sandbox seed``: real photos into a bucket of the local AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.local_boto import client
from lightly_sandbox.platform.s3_access import S3Location

if TYPE_CHECKING:
    from collections.abc import Mapping


def seed(destination: str, ready: Mapping[str, str], n_photos: int) -> list[str]:
    """Put ``n_photos`` photos below ``destination``, whose bucket is made if missing, and return their keys.

    Raises:
        SandboxError: the destination is no S3 URI, or the local AWS refuses or does not answer.
    """
    from lightly_sandbox import photos

    try:
        location = S3Location.parse(destination)
    except ValueError as wrong:
        raise SandboxError(f"The destination '{destination}' {wrong}.") from wrong
    keys = (ready["aws_access_key_id"], ready["aws_secret_access_key"])
    s3 = client("s3", ready["aws_url"], ready["region"], *keys)
    try:
        if location.bucket not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(
                Bucket=location.bucket, CreateBucketConfiguration={"LocationConstraint": ready["region"]}
            )
        return photos.seed(s3, location.bucket, location.prefix, n_photos)
    except (ClientError, BotoCoreError) as refused:
        raise SandboxError(
            f"The local AWS at {ready['aws_url']} did not take the photos: {refused}"
        ) from refused
