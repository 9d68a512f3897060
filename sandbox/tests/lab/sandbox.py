"""A sandbox in a process of its own, and what a customer does in AWS."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from lightly_sandbox.aws.client import client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START_SECONDS = 90.0
ACCOUNT = "123456789012"


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for a truthy answer and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
    return answer


@dataclass
class Process:
    """``lightly-sandbox up``, and what it says."""

    popen: subprocess.Popen[str]
    ready_file: Path

    @classmethod
    def start(cls, state_dir: Path, *options: str, cwd: Path | None = None) -> Process:
        ready_file = state_dir.parent / f"{state_dir.name}-{secrets.token_hex(4)}.json"
        # -P: as the installed command, it imports nothing from the folder that it is called in.
        command = [sys.executable, "-P", "-m", "lightly_sandbox", "up", "--state-dir", str(state_dir)]
        popen = subprocess.Popen(
            [*command, "--ready-file", str(ready_file), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            # A caller's AWS settings and proxies must not matter.
            env={**os.environ, "AWS_PROFILE": "not-there", "HTTP_PROXY": "http://127.0.0.1:9"},
        )
        return cls(popen, ready_file)

    def ready(self) -> dict[str, Any]:
        """What the ready file says, as soon as it is there."""

        def written() -> bool:
            assert self.popen.poll() is None, self.output()
            return self.ready_file.exists()

        wait_until(written, START_SECONDS)
        ready: dict[str, Any] = json.loads(self.ready_file.read_text())
        return ready

    def output(self) -> str:
        """Everything it said, once it has ended."""
        return self.popen.communicate(timeout=30)[0]

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Stop it and return everything it said."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.output()


@dataclass
class Api:
    """Requests to the platform."""

    url: str
    token: str

    def send(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, self.url + path, params={"token": self.token, **query}, json=body, timeout=30
            )

    def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer's JSON, None if it has no body; anything but 2xx fails the test."""
        response = self.send(method, path, body, **query)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str, str]:
        """Status, code and text of a refusal whose body is the documented one."""
        response = self.send(method, path, body, **query)
        answer = response.json()
        assert set(answer) == {"code", "error", "requestId"}, answer
        return response.status_code, answer["code"], answer["error"]

    def new_dataset(self, **more: Any) -> str:
        name = f"test {secrets.token_hex(6)}"
        return str(self.ok("POST", "/v1/datasets", {"name": name, **more})["id"])

    def put_datasource(self, dataset_id: str, **body: Any) -> None:
        self.ok("PUT", f"/v1/datasets/{dataset_id}/datasource", body)


class Customer:
    """The administrator of the customer's AWS account."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self._ready = ready
        self.s3, self.iam = self.client("s3"), self.client("iam")

    def client(self, service: str, keys: tuple[str, str] | None = None, **more: Any) -> Any:
        """A client with these keys, by default the administrator's; ``more`` are botocore's settings."""
        keys = keys or (self._ready["aws_access_key_id"], self._ready["aws_secret_access_key"])
        return client(service, self._ready["aws_url"], self._ready["region"], *keys, **more)

    def bucket(self, *keys: str) -> str:
        """A new bucket with an object under each of these keys."""
        name = f"bucket-{secrets.token_hex(6)}"
        where = {"LocationConstraint": self._ready["region"]}
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        for key in keys:
            self.s3.put_object(Bucket=name, Key=key, Body=b"some bytes")
        return name

    def keys(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def user(self, *statements: dict[str, Any]) -> tuple[str, str]:
        """The key pair of a new user who may do just that."""
        name = f"user-{secrets.token_hex(6)}"
        self.iam.create_user(UserName=name)
        if statements:
            self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(*statements))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def role(self, external_id: str, *statements: dict[str, Any], session: int = 43200) -> str:
        """The ARN of a new role that Lightly's account may assume with the external ID."""
        name = f"role-{secrets.token_hex(6)}"
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::916419735646:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
        role = self.iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=_policy(trust), MaxSessionDuration=session
        )["Role"]
        self.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=_policy(*statements))
        return str(role["Arn"])


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(bucket: str, *actions: str) -> list[dict[str, Any]]:
    """Statements that allow these S3 actions in all of the bucket."""
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return [{"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": resources}]


def refusal(call: Callable[[], Any]) -> tuple[int, str, str]:
    """Status, code and text of what AWS refuses."""
    with pytest.raises(ClientError) as refused:
        call()
    response = refused.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"].get("Message", ""),
    )


LIST, READ, WRITE, DELETE = "ListBucket", "GetObject", "PutObject", "DeleteObject"


def with_keys(full_path: str, purpose: str, keys: tuple[str, str]) -> dict[str, Any]:
    """A datasource with user access."""
    return {
        "type": "S3",
        "purpose": purpose,
        "fullPath": full_path,
        "s3Region": "eu-central-1",
        "s3AccessKeyId": keys[0],
        "s3SecretAccessKey": keys[1],
    }


def with_role(full_path: str, purpose: str, role_arn: str, external_id: str) -> dict[str, Any]:
    """A datasource with delegated access."""
    return {
        "type": "S3DelegatedAccess",
        "purpose": purpose,
        "fullPath": full_path,
        "s3Region": "eu-central-1",
        "s3ARN": role_arn,
        "s3ExternalId": external_id,
    }
