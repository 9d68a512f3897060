from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.seeding.photos import frames, seed

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer


@pytest.fixture
def s3(customer: Customer) -> Any:
    # A client of its own, so that what a test hooks into it ends with it.
    return customer.client("s3")


@pytest.fixture
def bucket(customer: Customer) -> str:
    return customer.bucket()


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
