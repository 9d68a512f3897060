"""Whom a role's trust policy lets in, as AWS would decide for Lightly's account."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID, trust_policy
from lightly_provider.contract import Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure, remedy_for
from lightly_provider.diagnosis.target import Target
from lightly_provider.diagnosis.trust import judge_trust

ID = "a-long-external-id"
ASSUME = "sts:AssumeRole"
ROOT = f"arn:aws:iam::{LIGHTLY_ACCOUNT_ID}:root"


def policy(
    *, condition: Any = None, principal: Any = None, effect: str = "Allow", action: Any = "sts:AssumeRole"
) -> Any:
    statement = {"Effect": effect, "Principal": principal or {"AWS": ROOT}, "Action": action}
    return {"Statement": [statement | ({"Condition": condition} if condition else {})]}


WITH_ID = {"StringEquals": {"sts:ExternalId": ID}}


@pytest.mark.parametrize(
    "document",
    [
        trust_policy(ID),
        policy(condition={"StringEquals": {"sts:externalid": [ID, "another-one"]}}),
        policy(condition={"StringLike": {"sts:ExternalId": "a-long-*"}}),
        policy(condition=WITH_ID, principal={"AWS": LIGHTLY_ACCOUNT_ID}),
        policy(condition=WITH_ID, principal={"AWS": ["arn:aws:iam::1:root", ROOT]}),
        policy(condition=WITH_ID, principal="*", action=["sts:*"]),
        {
            "Statement": [
                *policy(effect="Deny", principal={"AWS": "222222222222"})["Statement"],
                *trust_policy(ID)["Statement"],
            ]
        },
    ],
)
def test_lightly_is_let_in_with_the_external_id(document: Any) -> None:
    verdict = judge_trust(document, ID)
    assert verdict.cause is None
    assert verdict.asks_for_external_id


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (trust_policy("another-external-id"), Cause.WRONG_EXTERNAL_ID),
        (trust_policy(ID, "222222222222"), Cause.TRUST_POLICY),
        (policy(condition=WITH_ID, action="sts:TagSession"), Cause.TRUST_POLICY),
        (policy(condition=WITH_ID, principal={"Service": "ec2.amazonaws.com"}), Cause.TRUST_POLICY),
        ({"Statement": [*trust_policy(ID)["Statement"], *policy(effect="Deny")["Statement"]]}, Cause.TRUST_POLICY),
        ({}, Cause.TRUST_POLICY),
    ],
)
def test_lightly_is_kept_out_and_it_is_told_by_what(document: Any, cause: Cause) -> None:
    assert judge_trust(document, ID).cause is cause


LET_IN = trust_policy(ID)["Statement"][0]


def denying(**members: Any) -> Any:
    """A trust policy that lets Lightly in, with one more statement that denies."""
    return {"Statement": [LET_IN, {"Effect": "Deny", "Principal": "*", "Action": ASSUME} | members]}


@pytest.mark.parametrize(
    "document",
    [
        denying(Condition={"StringNotEquals": {"sts:ExternalId": ID}}),
        denying(Condition={"Null": {"sts:ExternalId": "true"}}),
        denying(Condition={"Bool": {"aws:SecureTransport": "false"}}),
        denying(Condition={"StringNotEquals": {"aws:PrincipalAccount": [LIGHTLY_ACCOUNT_ID, "222222222222"]}}),
        denying(Action="sts:TagSession"),
        {"Statement": [LET_IN, {"Effect": "Deny", "NotPrincipal": {"AWS": ROOT}, "Action": ASSUME}]},
        {"Statement": [LET_IN, {"Effect": "Deny", "Principal": "*", "NotAction": [ASSUME, "sts:TagSession"]}]},
    ],
)
def test_a_deny_that_is_not_about_lightly_is_no_alarm(document: Any) -> None:
    verdict = judge_trust(document, ID)
    assert verdict.cause is None
    assert verdict.other_conditions == ()


@pytest.mark.parametrize(
    ("document", "cause", "denies_others"),
    [
        ({"Statement": [LET_IN, {"Effect": "Deny", "Principal": "*", "NotAction": "sts:TagSession"}]}, "TRUST", True),
        (denying(), "TRUST", True),
        (denying(Principal={"AWS": ROOT}), "TRUST", False),
        (denying(Principal={"AWS": [LIGHTLY_ACCOUNT_ID, "222222222222"]}), "TRUST", True),
        (denying(Condition={"StringEquals": {"aws:PrincipalAccount": LIGHTLY_ACCOUNT_ID}}), "TRUST", True),
        (denying(Condition={"StringNotEquals": {"sts:ExternalId": "another-id"}}), "EXTERNAL_ID", True),
        (
            {"Statement": [LET_IN, {"Effect": "Deny", "NotPrincipal": {"AWS": "222222222222"}, "Action": ASSUME}]},
            "TRUST",
            True,
        ),
    ],
)
def test_a_deny_that_covers_lightly_is_the_cause(document: Any, cause: str, denies_others: bool) -> None:
    verdict = judge_trust(document, ID)
    assert verdict.cause is {"TRUST": Cause.TRUST_POLICY, "EXTERNAL_ID": Cause.WRONG_EXTERNAL_ID}[cause]
    assert verdict.explicit
    assert verdict.denies_others == denies_others


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (denying(Condition={"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}), "aws:SourceIp"),
        (denying(Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}), "aws:PrincipalOrgID"),
        (denying(Principal={"AWS": f"arn:aws:iam::{LIGHTLY_ACCOUNT_ID}:role/one-of-many"}), "Principal"),
    ],
)
def test_a_deny_that_only_aws_can_judge_is_no_pass(document: Any, key: str) -> None:
    verdict = judge_trust(document, ID)
    assert verdict.cause is None
    assert verdict.other_conditions == (key,)


@pytest.mark.parametrize(
    ("condition", "asks"),
    [
        ({"StringEqualsIfExists": {"sts:ExternalId": ID}}, False),
        ({"Null": {"sts:ExternalId": "false"}}, True),
        ({"StringLike": {"sts:ExternalId": "*"}}, True),
    ],
)
def test_whether_an_external_id_is_asked_for_is_judged_without_one(condition: Any, asks: bool) -> None:
    assert judge_trust(policy(condition=condition), ID).asks_for_external_id is asks


def test_a_deny_without_external_id_asks_for_one_too() -> None:
    unconditional = policy()["Statement"][0]
    document = {"Statement": [unconditional, denying(Condition={"Null": {"sts:ExternalId": "true"}})["Statement"][1]]}
    assert judge_trust(document, None).asks_for_external_id


def test_a_deny_on_the_external_id_is_no_alarm_while_the_id_is_not_known() -> None:
    document = denying(Condition={"StringNotEquals": {"sts:ExternalId": ID}})
    assert judge_trust(document, None).cause is None


def test_the_advice_on_a_deny_for_others_too_keeps_it() -> None:
    failure = Failure(Cause.TRUST_DENIED, explicit=True)
    target = Target(S3Location("acme", ""), "delegated access", Purpose.INPUT, role_arn="arn:aws:iam::1:role/Lightly")
    (line,) = remedy_for(failure, (), target).lines()
    assert f'"StringNotEquals":{{"aws:PrincipalAccount":"{LIGHTLY_ACCOUNT_ID}"}}' in line


def test_a_role_that_asks_for_no_external_id_is_named() -> None:
    assert not judge_trust(policy(), ID).asks_for_external_id


def test_what_only_aws_can_judge_is_named() -> None:
    condition = {**WITH_ID, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    assert judge_trust(policy(condition=condition), ID).other_conditions == ("aws:SourceIp",)


def test_an_unknown_external_id_counts_as_the_right_one() -> None:
    assert judge_trust(trust_policy(ID), None).cause is None
