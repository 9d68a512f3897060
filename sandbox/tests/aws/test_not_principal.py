"""A Deny with NotPrincipal is for everybody except those who are named with their account."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.aws.not_principal import for_caller
from tests.lab.sandbox import ACCOUNT, LIST, READ, allow, refusal

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"


def _deny(*named: str, effect: str = "Deny") -> dict[str, Any]:
    statement = {"Effect": effect, "NotPrincipal": {"AWS": list(named)}, "Action": "s3:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    ("named", "caller", "denied"),
    [
        ((ROOT, USER), USER, False),
        ((ACCOUNT, USER), USER, False),
        ((USER,), USER, True),
        ((ROOT,), USER, True),
        ((ROOT,), ROOT, False),
        ((ROOT, USER), USER + "a", True),
        (("*",), USER, False),
        ((ROOT, USER), "", True),
    ],
)
def test_a_caller_is_exempt_if_all_that_it_is_is_named(
    named: tuple[str, ...], caller: str, denied: bool
) -> None:
    statements = for_caller(json.dumps(_deny(*named)), caller)["Statement"]
    assert [statement["Principal"] for statement in statements] == (["*"] if denied else [])


def test_an_allow_with_it_allows_nobody() -> None:
    assert for_caller(_deny(USER, effect="Allow"), ROOT)["Statement"] == []


def test_a_policy_without_it_stays_as_it_is() -> None:
    document = json.dumps({"Statement": {"Effect": "Deny", "Principal": "*"}})
    assert for_caller(document, USER) is document


def test_the_local_aws_enforces_it_in_a_bucket_policy(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    named, other = (customer.client("s3", customer.user(*allow(bucket, LIST, READ))) for _ in range(2))
    admin = f"arn:aws:iam::{ACCOUNT}:user/admin"
    arn = customer.client("sts", _keys_of(named)).get_caller_identity()["Arn"]
    deny = _deny(ROOT, admin, arn)
    deny["Statement"][0]["Resource"] = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    customer.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(deny))
    assert named.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    status, code, text = refusal(lambda: other.get_object(Bucket=bucket, Key="a.jpg"))
    assert (status, code) == (403, "AccessDenied")
    assert text.endswith("with an explicit deny in a resource-based policy")


def test_a_trust_policy_cannot_have_it(customer: Customer) -> None:
    role = customer.role("an-external-id", *allow("any-bucket", LIST)).rsplit("/", 1)[-1]
    deny = {"Effect": "Deny", "NotPrincipal": {"AWS": ROOT}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    refused = refusal(lambda: customer.iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust))
    assert refused[1] == "MalformedPolicyDocument"


def _keys_of(client: Any) -> tuple[str, str]:
    keys = client._request_signer._credentials
    return keys.access_key, keys.secret_key
