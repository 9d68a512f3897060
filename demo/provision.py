"""What the owner of the bucket does before the DAG runs: a bucket with photos, and an IAM user for Lightly."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from demo.bucket import INPUT, LIGHTLY, N_PHOTOS
from demo.environment import Sandbox, aws_connection, sandbox_executable
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def upload_photos(ready_file: Path, location: str = INPUT, n_photos: int = N_PHOTOS) -> None:
    """
    Put real photos into a bucket; those that are there already stay.

    :param ready_file: The sandbox's ready file.
    :param location: Where to put them. Default: the demo's bucket.
    :param n_photos: How many. Default: those of the demo.
    """
    command = [sandbox_executable(), "seed", location, "--photos", str(n_photos), "--ready-file", str(ready_file)]
    subprocess.run(command, check=True, capture_output=True)


def bucket_connection(sandbox: Sandbox, keep_in: Path) -> str:
    """
    An IAM user that may do in the demo's bucket what Lightly needs and no more, as an AWS connection.

    :param sandbox: The sandbox.
    :param keep_in: See :func:`connection_of_user`.
    """
    access = ((INPUT, Purpose.INPUT), (LIGHTLY, Purpose.LIGHTLY))
    return connection_of_user(sandbox, "lightly-demo", access, keep_in)


def connection_of_user(sandbox: Sandbox, user: str, access: Sequence[tuple[str, Purpose]], keep_in: Path) -> str:
    """
    An IAM user that may do what Lightly needs and no more, as an AWS connection.

    :param sandbox: The sandbox.
    :param user: Name of the user, which is created if it is missing.
    :param access: The locations, each with the purpose that it serves; not two of the same purpose.
    :param keep_in: File, readable by its owner only, in which the connection is kept for the next time: AWS returns a
        secret key once.
    """
    iam = sandbox.aws("iam")
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName=user)
    for uri, purpose in access:
        document = policy_document(S3Location.parse(uri, argument="uri"), purpose)
        iam.put_user_policy(UserName=user, PolicyName=purpose, PolicyDocument=json.dumps(document))
    known = [key["AccessKeyId"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]
    kept: dict[str, str] = json.loads(keep_in.read_text()) if keep_in.exists() else {}
    if kept.get("login") not in known:
        for lost in known:
            iam.delete_access_key(UserName=user, AccessKeyId=lost)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        kept = {"login": key["AccessKeyId"], "password": key["SecretAccessKey"]}
        keep_in.touch(mode=0o600)
        keep_in.write_text(json.dumps(kept))
    return aws_connection(sandbox, kept["login"], kept["password"])
