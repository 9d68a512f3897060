from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lightly_sandbox.photos import frames, seed

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(scope="module")
def s3(sandbox: Mapping[str, Any]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=sandbox["aws_url"],
        region_name=sandbox["region"],
        aws_access_key_id=sandbox["aws_access_key_id"],
        aws_secret_access_key=sandbox["aws_secret_access_key"],
    )


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"seed-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    return name


class Uploads:
    """Counts the objects that the client puts, by botocore's own event."""

    def __init__(self, s3: Any) -> None:
        self.keys: list[str] = []
        s3.meta.events.register("provide-client-params.s3.PutObject", self._note)

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self.keys.append(params["Key"])


@pytest.mark.parametrize("prefix", ["photos", "photos/", "/photos/"])
def test_photos_lie_below_the_prefix_however_it_is_written(s3: Any, bucket: str, prefix: str) -> None:
    keys = seed(s3, bucket, prefix, 3)
    assert keys == [f"photos/{name}" for name, _ in frames(3)]
    content = s3.get_object(Bucket=bucket, Key=keys[0])["Body"].read()
    assert content == next(frames(1))[1]


def test_an_empty_prefix_is_the_root(s3: Any, bucket: str) -> None:
    assert seed(s3, bucket, "", 1) == [next(frames(1))[0]]


def test_a_second_seed_uploads_only_what_is_missing_or_different(s3: Any, bucket: str) -> None:
    keys = seed(s3, bucket, "photos", 10)
    s3.delete_object(Bucket=bucket, Key=keys[2])
    s3.put_object(Bucket=bucket, Key=keys[5], Body=b"something else")
    uploads = Uploads(s3)
    assert seed(s3, bucket, "photos", 11)[:10] == keys
    assert sorted(uploads.keys) == sorted([keys[2], keys[5], f"photos/{list(frames(11))[10][0]}"])
