"""The very statement that denies is named where it was read, and changed no more than it must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.diagnosis.denials import Cause, Denial
from lightly_provider.diagnosis.denying_policies import without_the_deny
from lightly_provider.diagnosis.target import DenyingStatement, Place, PolicyOf, Surroundings

ROLE = "arn:aws:iam::123456789012:role/Lightly"
PLACE = Place(S3Location("acme", "raw/"), "delegated access", role_arn=ROLE)
DENIAL = Denial(Cause.BUCKET_POLICY, action="s3:GetObject", resource="arn:aws:s3:::acme/raw/a.jpg", explicit=True)
STOP: dict[str, Any] = {"Effect": "Deny", "Principal": "*", "Action": "s3:Get*", "Resource": "arn:aws:s3:::acme/*"}
TLS = {"Bool": {"aws:SecureTransport": "false"}}


def fix(*statements: dict[str, Any], of: PolicyOf = PolicyOf.BUCKET, removal: str = "") -> list[str]:
    found = tuple(DenyingStatement(of, "policy of bucket acme", one, removal) for one in statements)
    place = replace(PLACE, surroundings=Surroundings(found))
    text, *lines = without_the_deny(of, "s3:GetObject", DENIAL, place).lines()
    assert "has a statement with Effect Deny that covers s3:GetObject on arn:aws:s3:::acme/raw/a.jpg" in text
    return lines


def test_a_statement_for_everybody_makes_an_exception() -> None:
    (line,) = fix(STOP)
    old, new = line.removeprefix("In the policy of bucket acme replace ").split(" by: ")
    assert old == '{"Effect":"Deny","Principal":"*","Action":"s3:Get*","Resource":"arn:aws:s3:::acme/*"}'
    assert new == f'{old[:-1]},"Condition":{{"ArnNotEquals":{{"aws:PrincipalArn":["{ROLE}"]}}}}}}'


def test_an_exception_stands_beside_those_that_are_there() -> None:
    (line,) = fix({**STOP, "Condition": TLS | {"ArnNotEquals": {"aws:PrincipalArn": "arn:other"}}})
    assert line.endswith(
        f'"Condition":{{"Bool":{{"aws:SecureTransport":"false"}},"ArnNotEquals":{{"aws:PrincipalArn":["arn:other","{ROLE}"]}}}}}}'
    )


@pytest.mark.parametrize("principal", [{"AWS": ROLE}, {"AWS": [ROLE]}])
def test_a_statement_for_this_identity_alone_goes(principal: Any) -> None:
    (line,) = fix({**STOP, "Principal": principal})
    assert line.startswith("From the policy of bucket acme remove: {")


def test_a_policy_that_says_nothing_else_goes_by_a_command() -> None:
    assert fix({**STOP, "Principal": {"AWS": ROLE}}, removal="aws s3api delete-bucket-policy --bucket acme") == [
        "Run: aws s3api delete-bucket-policy --bucket acme"
    ]


def test_a_policy_for_others_too_does_not_go_though_it_says_nothing_else() -> None:
    (line,) = fix(STOP, removal="aws s3api delete-bucket-policy --bucket acme")
    assert line.startswith("In the policy of bucket acme replace {")


def test_a_statement_without_conditions_is_rather_it_than_one_with_them() -> None:
    (line,) = fix({**STOP, "Condition": TLS}, STOP)
    assert "SecureTransport" not in line


@pytest.mark.parametrize(
    "other",
    [
        {**STOP, "Action": "s3:PutObject"},
        {**STOP, "Resource": "arn:aws:s3:::acme/other/*"},
        {**STOP, "Principal": {"AWS": "arn:aws:iam::123456789012:role/Another"}},
        {key: value for key, value in STOP.items() if key != "Principal"} | {"NotPrincipal": {"AWS": [ROLE]}},
    ],
    ids=["action", "resource", "principal", "not principal"],
)
def test_a_statement_about_something_else_is_not_it(other: dict[str, Any]) -> None:
    assert fix(other) == []


def test_a_statement_of_another_kind_of_policy_is_not_it() -> None:
    found = (DenyingStatement(PolicyOf.IDENTITY, "inline policy 'x' of role Lightly", STOP),)
    place = replace(PLACE, surroundings=Surroundings(found))
    (text,) = without_the_deny(PolicyOf.BUCKET, "s3:GetObject", DENIAL, place).lines()
    assert "which one it is, aws s3api get-bucket-policy tells" in text
