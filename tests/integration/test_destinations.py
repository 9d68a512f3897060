"""Files written to the sandbox's S3: whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyDestinationError
from lightly_provider.results.destinations import PART_SIZE, Destination
from tests.integration.sandbox import REPOSITORY

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox


@pytest.fixture
def s3(lightly: Sandbox) -> Any:
    return lightly.aws("s3")


def uploads(s3: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


def body(s3: Any, bucket: str, key: str) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


@pytest.mark.parametrize("size", [0, 10, PART_SIZE, 2 * PART_SIZE + 10])
def test_an_object_of_any_size_is_whole(lightly: Sandbox, s3: Any, size: int) -> None:
    bucket = lightly.bucket()
    destination = Destination.parse(f"s3://{bucket}/folder/names.txt")
    content = (b"0123456789" * (size // 10 + 1))[:size]

    destination.check()
    assert lightly.keys_under(bucket) == []
    assert destination.size() is None
    with destination.open() as file:
        for start in range(0, size, 3_000_000):
            file.write(content[start : start + 3_000_000])
            assert lightly.keys_under(bucket) == []

    assert body(s3, bucket, "folder/names.txt") == content
    assert (file.uri, file.bytes) == (f"s3://{bucket}/folder/names.txt", size)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert destination.size() == size
    assert uploads(s3, bucket) == []


def test_an_object_stays_as_it_was_if_writing_ends_early(lightly: Sandbox, s3: Any) -> None:
    bucket = lightly.bucket()
    destination = Destination.parse(f"s3://{bucket}/names.txt")
    with destination.open() as file:
        file.write(b"before")

    def stop_after_half() -> None:
        with destination.open() as file:
            file.write(b"half" * PART_SIZE)
            assert uploads(s3, bucket) == ["names.txt"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after_half()

    assert body(s3, bucket, "names.txt") == b"before"
    assert uploads(s3, bucket) == []


def test_an_upload_of_which_each_answer_was_lost_is_complete_and_leaves_none_behind(
    lightly: Sandbox, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.client import BaseClient

    bucket, call = lightly.bucket(), BaseClient._make_api_call

    def sent_again(client: Any, operation: str, arguments: Any) -> Any:
        # As botocore does when the first answer is lost.
        call(client, operation, arguments)
        return call(client, operation, arguments)

    destination = Destination.parse(f"s3://{bucket}/names.txt")
    content = b"0123456789" * (PART_SIZE // 8)
    with monkeypatch.context() as lossy:
        lossy.setattr(BaseClient, "_make_api_call", sent_again)
        destination.check()
        with destination.open() as file:
            file.write(content)

    assert body(s3, bucket, "names.txt") == content
    assert uploads(s3, bucket) == []


def test_an_upload_that_another_task_aborted_does_not_pass_for_its_file(lightly: Sandbox, s3: Any) -> None:
    bucket = lightly.bucket()
    destination = Destination.parse(f"s3://{bucket}/names.txt")
    slow = destination.open()
    slow.__enter__().write(b"slow" * PART_SIZE)
    with destination.open() as fast:
        fast.write(b"fast" * PART_SIZE)

    with pytest.raises(LightlyDestinationError, match="another task wrote the same file meanwhile"):
        slow.__exit__(None, None, None)

    assert body(s3, bucket, "names.txt") == b"fast" * PART_SIZE
    assert uploads(s3, bucket) == []


@pytest.mark.parametrize("key", ["a b/ü %20+.txt", "'\"<>&;.txt", "=1+1..csv"])
def test_a_key_of_odd_characters_is_that_key(lightly: Sandbox, s3: Any, key: str) -> None:
    bucket = lightly.bucket()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    destination = Destination.parse(f"s3://{bucket}/{key}")

    destination.check()
    for content in (b"before", b"after"):
        with destination.open() as file:
            file.write(content)

    assert lightly.keys_under(bucket) == [key]
    assert body(s3, bucket, key) == b"after"
    versions = s3.list_object_versions(Bucket=bucket)
    assert [one["Size"] for one in versions["Versions"]] == [5, 6]
    assert "DeleteMarkers" not in versions


_KILLED = """
import os, signal, sys
from lightly_provider.results.destinations import PART_SIZE, Destination
with Destination.parse(sys.argv[1]).open() as file:
    file.write(b"x" * PART_SIZE)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.exhaustive(sample="test_an_upload_that_another_task_aborted_does_not_pass_for_its_file")
def test_the_upload_that_a_killed_try_left_is_aborted_by_the_next_and_no_other_is(lightly: Sandbox, s3: Any) -> None:
    bucket = lightly.bucket()
    address = f"s3://{bucket}/names.txt"
    s3.create_multipart_upload(Bucket=bucket, Key="names.txt.other")
    killed = subprocess.run([sys.executable, "-c", _KILLED, address], cwd=REPOSITORY, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert sorted(uploads(s3, bucket)) == ["names.txt", "names.txt.other"]

    with Destination.parse(address).open() as file:
        file.write(b"whole")

    assert body(s3, bucket, "names.txt") == b"whole"
    assert uploads(s3, bucket) == ["names.txt.other"]


def test_a_bucket_that_is_not_there_is_named_before_anything_is_written(lightly: Sandbox) -> None:
    with pytest.raises(
        LightlyDestinationError, match=r"(?s)NoSuchBucket:\s+.*;\s+create\s+the\s+bucket,\s+or\s+correct\s+its\s+name"
    ):
        Destination.parse("s3://no-such-bucket-4711/names.txt").check()


def test_a_missing_permission_is_named_with_the_statement_to_add(
    lightly: Sandbox, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = lightly.bucket()
    keys = lightly.user({"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"})
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_BUCKET", lightly.aws_connection(keys))
    destination = Destination.parse(f"s3://{bucket}/names.txt", aws_conn_id="team_bucket")

    with pytest.raises(LightlyDestinationError) as refused:
        destination.check()
    assert f"allow s3:PutObject and s3:AbortMultipartUpload on arn:aws:s3:::{bucket}/names.txt" in str(refused.value)
    assert "AWS connection 'team_bucket'" in str(refused.value)

    # What the message asks for is enough; it finds no uploads of killed tries, and goes on.
    lightly.grant(
        keys.user_name,
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": f"arn:aws:s3:::{bucket}/names.txt",
        },
    )
    destination.check()
    with destination.open() as file:
        file.write(b"whole" * PART_SIZE)
    assert len(body(s3, bucket, "names.txt")) == 5 * PART_SIZE
