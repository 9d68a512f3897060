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
    from pathlib import Path

_USER = "lightly-demo"


def upload_photos(ready_file: Path) -> None:
    """Put real photos into the bucket; those that are there already stay."""
    command = [sandbox_executable(), "seed", INPUT, "--photos", str(N_PHOTOS), "--ready-file", str(ready_file)]
    subprocess.run(command, check=True, capture_output=True)


def bucket_connection(sandbox: Sandbox, keep_in: Path) -> str:
    """
    An IAM user that may do in the bucket what Lightly needs and no more, as an AWS connection.

    :param sandbox: The sandbox.
    :param keep_in: File, readable by its owner only, in which the connection is kept for the next time: AWS returns a
        secret key once.
    """
    iam = sandbox.aws("iam")
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName=_USER)
    for uri, purpose in ((INPUT, Purpose.INPUT), (LIGHTLY, Purpose.LIGHTLY)):
        document = policy_document(S3Location.parse(uri, argument="uri"), purpose)
        iam.put_user_policy(UserName=_USER, PolicyName=purpose, PolicyDocument=json.dumps(document))
    known = [key["AccessKeyId"] for key in iam.list_access_keys(UserName=_USER)["AccessKeyMetadata"]]
    kept: dict[str, str] = json.loads(keep_in.read_text()) if keep_in.exists() else {}
    if kept.get("login") not in known:
        for lost in known:
            iam.delete_access_key(UserName=_USER, AccessKeyId=lost)
        key = iam.create_access_key(UserName=_USER)["AccessKey"]
        kept = {"login": key["AccessKeyId"], "password": key["SecretAccessKey"]}
        keep_in.touch(mode=0o600)
        keep_in.write_text(json.dumps(kept))
    return aws_connection(sandbox, kept["login"], kept["password"])
