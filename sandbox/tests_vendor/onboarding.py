"""What a customer does in AWS, and a dataset that a worker has worked on."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from lightly.api import ApiWorkflowClient
from lightly.openapi_generated.swagger_client.models import DatasetType, DatasourcePurpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly.openapi_generated.swagger_client.models import DockerRunData

DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for a truthy answer and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.05)
    return answer


@dataclass(frozen=True)
class Onboarded:
    """A dataset with a completed run, and the client that made it."""

    client: ApiWorkflowClient
    bucket: str
    dataset_id: str
    scheduled_id: str
    run: DockerRunData


def onboard(
    token: str, customer: Customer, bucket: str, kind: DatasetType, n_samples: int, **worker_config: Any
) -> Onboarded:
    """A dataset of what is below raw/ in the bucket, of which a worker has selected some."""
    client = ApiWorkflowClient(token=token)
    client.create_dataset(f"vendor {secrets.token_hex(6)}", kind)
    reader = customer.user(bucket, "ListBucket", "GetObject")
    writer = customer.user(bucket, "ListBucket", "GetObject", "PutObject", "DeleteObject")
    client.set_s3_config(f"s3://{bucket}/raw", customer.region, *reader, None, DatasourcePurpose.INPUT)
    lightly = f"s3://{bucket}/lightly"
    client.set_s3_config(lightly, customer.region, *writer, purpose=DatasourcePurpose.LIGHTLY)
    scheduled_id = client.schedule_compute_worker_run(
        worker_config={"use_datapool": True, **worker_config},
        selection_config={"n_samples": n_samples, "strategies": [DIVERSITY]},
    )
    wait_until(lambda: client.get_compute_worker_run_info(scheduled_id).in_end_state(), 120)
    run = client.get_compute_worker_run_from_scheduled_run(scheduled_id)
    assert run.state == "COMPLETED", run.message
    return Onboarded(client, bucket, client.dataset_id, scheduled_id, run)


class Customer:
    """The administrator of the customer's AWS account."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.region = ready["region"]
        self._settings = {
            "region_name": ready["region"],
            "endpoint_url": ready["aws_url"],
            "aws_access_key_id": ready["aws_access_key_id"],
            "aws_secret_access_key": ready["aws_secret_access_key"],
            "config": Config(s3={"addressing_style": "path"}, proxies={}),
        }
        self.s3 = boto3.client("s3", **self._settings)
        self._iam = boto3.client("iam", **self._settings)

    def bucket(self) -> str:
        """A new bucket."""
        name = f"vendor-{secrets.token_hex(6)}"
        where = {"LocationConstraint": self.region}
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return name

    def put(self, bucket: str, *keys: str, body: bytes = b"some bytes") -> None:
        """Put the same body under each of the keys."""
        for key in keys:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def user(self, bucket: str, *actions: str) -> tuple[str, str]:
        """The key pair of a new user who may do just that in the bucket."""
        name = f"user-{secrets.token_hex(6)}"
        self._iam.create_user(UserName=name)
        self._iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(bucket, actions))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def role(self, bucket: str, external_id: str, *actions: str) -> str:
        """The ARN of a new role that Lightly's account may assume with the external ID, for 12 hours."""
        name = f"role-{secrets.token_hex(6)}"
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::916419735646:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
        role = self._iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            MaxSessionDuration=12 * 60 * 60,
        )["Role"]
        self._iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=_policy(bucket, actions))
        return str(role["Arn"])


def _policy(bucket: str, actions: tuple[str, ...]) -> str:
    statement = {
        "Effect": "Allow",
        "Action": [f"s3:{action}" for action in actions],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
