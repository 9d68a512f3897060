"""``lightly-sandbox seed``: real photos and videos into a bucket of the local AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from lightly_sandbox.aws.client import client
from lightly_sandbox.aws.location import S3Location
from lightly_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping


def seed(destination: str, ready: Mapping[str, str], n_photos: int, n_videos: int = 0) -> list[str]:
    """Upload photos and videos to an S3 location, and return their keys.

    Args:
        destination: an S3 URI. Its bucket is created if it is missing.
        ready: the content of the ready file.
        n_photos: how many photos; see ``photos.frames``. 0 for none.
        n_videos: how many videos; see ``videos.videos``. 0 for none.

    Raises:
        SandboxError: the destination is not an S3 URI, a number is out of range, or the local AWS refuses or
            does not respond.
    """
    from lightly_sandbox.seeding import photos, videos

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
        seeded: list[str] = []
        for seed_kind, wanted in ((photos.seed, n_photos), (videos.seed, n_videos)):
            if wanted:
                seeded += seed_kind(s3, location.bucket, location.prefix, wanted)
        return seeded
    except ValueError as wrong:
        raise SandboxError(str(wrong)) from wrong
    except EndpointConnectionError as failed:
        raise SandboxError(
            f"The local AWS at {ready['aws_url']} does not answer; is the sandbox running? Start "
            "`lightly-sandbox up`, or give the --ready-file of a running sandbox."
        ) from failed
    except (ClientError, BotoCoreError) as refused:
        raise SandboxError(f"The local AWS at {ready['aws_url']} refused the files: {refused}") from refused
