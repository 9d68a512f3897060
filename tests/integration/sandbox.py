"""The sandbox for the tests: a separate process, accessed only through its addresses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
LIGHTLY_ACCOUNT = "916419735646"
CUSTOMER_ACCOUNT = "123456789012"
START_DEADLINE_S = 60


@dataclass(frozen=True, kw_only=True)
class Keys:
    """
    An IAM user's access key.

    :param user_name: The user; empty for the administrator, whose policy no test changes.
    """

    user_name: str = ""
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The running sandbox (its ready file), and the tests' actions there as the customer's administrator."""

    lightly_url: str
    token: str = field(repr=False)
    web_url: str
    aws_url: str
    aws_access_key_id: str
    aws_secret_access_key: str = field(repr=False)
    region: str
    pid: int
    ready_file: Path

    @property
    def admin(self) -> Keys:
        """The keys of the customer's administrator."""
        return Keys(access_key_id=self.aws_access_key_id, secret_access_key=self.aws_secret_access_key)

    def aws(self, service: str, region: str | None = None) -> Any:
        """A boto3 client of the customer's administrator, in a region; None: the sandbox's."""
        keys = (self.aws_access_key_id, self.aws_secret_access_key)
        return _shared_client(service, region or self.region, self.aws_url, *keys)

    def aws_as(self, keys: Keys, service: str, session_token: str | None = None) -> Any:
        """A boto3 client with these keys."""
        return _client(service, self.region, self.aws_url, keys.access_key_id, keys.secret_access_key, session_token)

    def lightly_connection(self, **changes: Any) -> str:
        """The Airflow connection to the platform, as the value of an environment variable."""
        connection = {
            "conn_type": "lightly",
            "host": self.lightly_url,
            "password": self.token,
            "extra": {"web_url": self.web_url},
        }
        return json.dumps(connection | changes)

    def aws_connection(self, keys: Keys | None = None, **extra: Any) -> str:
        """An AWS connection to the sandbox's AWS, as the value of an environment variable."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": keys.access_key_id if keys else None,
                "password": keys.secret_access_key if keys else None,
                "extra": {
                    "endpoint_url": self.aws_url,
                    "service_config": {"sts": {"endpoint_url": self.aws_url}},
                    **extra,
                },
            }
        )

    def bucket(self, region: str | None = None) -> str:
        """A new bucket in a region; None: the sandbox's."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        place = {"LocationConstraint": region or self.region}
        self.aws("s3", region).create_bucket(Bucket=name, CreateBucketConfiguration=place)
        return name

    def user(self, *statements: dict[str, Any]) -> Keys:
        """A new IAM user with an inline policy of these statements (none: no policy), and its key."""
        iam, name = self.aws("iam"), f"user-{uuid.uuid4().hex[:12]}"
        iam.create_user(UserName=name)
        if statements:
            self.grant(name, *statements)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(user_name=name, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    def grant(self, user_name: str, *statements: dict[str, Any], policy_name: str = "access") -> None:
        """Put an inline policy of these statements on a user."""
        self.aws("iam").put_user_policy(
            UserName=user_name, PolicyName=policy_name, PolicyDocument=_document(*statements)
        )

    def role(self, external_id: str, *statements: dict[str, Any], trust: dict[str, Any] | None = None) -> str:
        """A new role that Lightly's account may assume with the external ID; its ARN."""
        from lightly_provider.aws.policies import trust_policy

        iam, name = self.aws("iam"), f"role-{uuid.uuid4().hex[:12]}"
        role = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(trust or trust_policy(external_id)),
            MaxSessionDuration=43200,
        )["Role"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="access", PolicyDocument=_document(*statements))
        return str(role["Arn"])

    def seed(self, uri: str, n_photos: int) -> None:
        """Upload real photos under a location."""
        subprocess.run(
            [executable(), "seed", uri, "--photos", str(n_photos), "--ready-file", str(self.ready_file)],
            check=True,
            capture_output=True,
        )

    def keys_under(self, bucket: str) -> list[str]:
        """All object keys of a bucket."""
        pages = self.aws("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def _client(
    service: str, region: str, url: str, access_key_id: str, secret_access_key: str, session_token: str | None = None
) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
    )


# Shared by all tests of this process: creating a client takes longer than most requests.
_shared_client = cache(_client)


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def executable() -> str:
    """The command ``lightly-sandbox``, from the environment variable LIGHTLY_SANDBOX or the repository's own venv."""
    path = Path(os.environ.get("LIGHTLY_SANDBOX", REPOSITORY / ".venv-sandbox" / "bin" / "lightly-sandbox"))
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run the tests by `make test`, which installs the sandbox first.")
    return str(path)


class RunningSandbox:
    """Context manager: starts a sandbox on free ports, and stops it by its process id."""

    def __init__(self, state_dir: Path, *options: str) -> None:
        self._ready_file = state_dir / "ready.json"
        self._log = state_dir.with_suffix(".log")
        self._command = [
            *(executable(), "up", "--state-dir", str(state_dir), "--port", "0", "--aws-port", "0"),
            *("--workers", "1", "--ready-file", str(self._ready_file), *options),
        ]

    def __enter__(self) -> Sandbox:
        self._output = self._log.open("w")
        self._process = subprocess.Popen(self._command, stdout=self._output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"The sandbox did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)
        return Sandbox(ready_file=self._ready_file, **json.loads(self._ready_file.read_text()))

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()
