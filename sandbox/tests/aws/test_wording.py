"""What an access-denied message names: the ARN of the policy that denies, or only its type."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sandbox import ACCOUNT, LIST, READ, allow, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sandbox import Api, Customer

CONTROL = "/sandbox/faults"
STOP = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}


@pytest.fixture
def api(api: Api) -> Iterator[Api]:
    """The sandbox, whose messages are the usual ones again afterwards."""
    yield api
    api.ok("DELETE", CONTROL)


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


class Reader:
    """A user who may list and read a bucket, until a policy denies it."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.bucket = customer.bucket("a.jpg")
        self.name = f"reader-{secrets.token_hex(6)}"
        customer.iam.create_user(UserName=self.name)
        self.inline("allow", *allow(self.bucket, LIST, READ))
        key = customer.iam.create_access_key(UserName=self.name)["AccessKey"]
        self.s3 = customer.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]))

    def inline(self, name: str, *statements: dict[str, Any]) -> None:
        self.customer.iam.put_user_policy(
            UserName=self.name, PolicyName=name, PolicyDocument=_document(*statements)
        )

    def managed(self, *statements: dict[str, Any]) -> str:
        """The ARN of a new managed policy, attached to nobody."""
        name = f"stop-{secrets.token_hex(6)}"
        made = self.customer.iam.create_policy(PolicyName=name, PolicyDocument=_document(*statements))
        return str(made["Policy"]["Arn"])

    def attach(self, arn: str) -> None:
        self.customer.iam.attach_user_policy(UserName=self.name, PolicyArn=arn)

    def reason(self) -> str:
        """Why reading the object is refused: the message from "because" or "with" on."""
        text = refusal(lambda: self.s3.get_object(Bucket=self.bucket, Key="a.jpg"))[2]
        begin = (
            f"User: arn:aws:iam::{ACCOUNT}:user/{self.name} is not authorized to perform: s3:GetObject on "
            f'resource: "arn:aws:s3:::{self.bucket}/a.jpg" '
        )
        assert text.startswith(begin)
        return text.removeprefix(begin)


@pytest.fixture
def reader(customer: Customer) -> Reader:
    return Reader(customer)


def test_a_managed_policy_that_denies_is_named_by_its_arn(reader: Reader) -> None:
    arn = reader.managed(STOP)
    reader.attach(arn)
    assert reader.reason() == f"with an explicit deny in an identity-based policy: {arn}"


def test_an_inline_policy_has_no_arn_to_name(reader: Reader) -> None:
    reader.inline("stop", STOP)
    assert reader.reason() == "with an explicit deny in an identity-based policy"


def test_where_an_inline_and_a_managed_policy_deny_the_managed_one_is_named(reader: Reader) -> None:
    reader.inline("stop", STOP)
    arn = reader.managed(STOP)
    reader.attach(arn)
    assert reader.reason() == f"with an explicit deny in an identity-based policy: {arn}"


def test_a_managed_policy_that_denies_something_else_is_not_named(reader: Reader) -> None:
    reader.attach(reader.managed({**STOP, "Action": "s3:PutObject"}))
    arn = reader.managed(STOP)
    reader.attach(arn)
    assert reader.reason() == f"with an explicit deny in an identity-based policy: {arn}"


def test_the_managed_policy_of_a_group_is_named(reader: Reader) -> None:
    iam, group, arn = reader.customer.iam, f"group-{secrets.token_hex(6)}", reader.managed(STOP)
    iam.create_group(GroupName=group)
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    iam.add_user_to_group(GroupName=group, UserName=reader.name)
    assert reader.reason() == f"with an explicit deny in an identity-based policy: {arn}"


def test_a_permissions_boundary_that_denies_is_named(reader: Reader) -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    arn = reader.managed(everything, STOP)
    reader.customer.iam.put_user_permissions_boundary(UserName=reader.name, PermissionsBoundary=arn)
    assert reader.reason() == f"with an explicit deny in a permissions boundary: {arn}"


def test_a_boundary_that_does_not_allow_is_not_named(reader: Reader) -> None:
    arn = reader.managed({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"})
    reader.customer.iam.put_user_permissions_boundary(UserName=reader.name, PermissionsBoundary=arn)
    assert reader.reason() == "because no permissions boundary allows the s3:GetObject action"


def test_a_bucket_policy_has_no_arn_to_name(reader: Reader) -> None:
    deny = {**STOP, "Principal": "*", "Resource": f"arn:aws:s3:::{reader.bucket}/*"}
    reader.customer.s3.put_bucket_policy(Bucket=reader.bucket, Policy=_document(deny))
    assert reader.reason() == "with an explicit deny in a resource-based policy"


def test_messages_name_only_the_type_when_the_sandbox_is_asked_for_that(api: Api, reader: Reader) -> None:
    arn = reader.managed(STOP)
    reader.attach(arn)
    fault = api.ok("POST", CONTROL, {"kind": "access-denied-messages", "names": "policy-type"})
    assert reader.reason() == "with an explicit deny in an identity-based policy"
    assert api.ok("GET", CONTROL) == [fault]
    api.ok("DELETE", f"{CONTROL}/{fault['id']}")
    assert reader.reason() == f"with an explicit deny in an identity-based policy: {arn}"


def test_only_the_two_forms_are_known(api: Api) -> None:
    body = {"kind": "access-denied-messages", "names": "policy-name"}
    status, code, _ = api.refused("POST", CONTROL, body)
    assert (status, code) == (400, "MALFORMED_REQUEST")
