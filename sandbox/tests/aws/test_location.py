from __future__ import annotations

import pytest

from lightly_sandbox.aws.location import S3Location


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b", "bucket", "a/b/"),
        ("s3://bucket/a/b/", "bucket", "a/b/"),
    ],
)
def test_a_location_ends_with_a_slash_or_is_the_whole_bucket(uri: str, bucket: str, prefix: str) -> None:
    assert S3Location.parse(uri) == S3Location(bucket, prefix)


@pytest.mark.parametrize("uri", ["", "bucket/a", "s3:/bucket", "s3:///a", "gs://bucket/a", "S3://bucket"])
def test_another_uri_is_no_location(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        S3Location.parse(uri)
