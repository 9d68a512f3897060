"""Whom a role's trust policy lets in, as AWS would decide for Lightly's account."""

from __future__ import annotations

from typing import Any

import pytest

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID, trust_policy
from lightly_provider.diagnosis.causes import Cause
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


def test_a_role_that_asks_for_no_external_id_is_told() -> None:
    assert not judge_trust(policy(), ID).asks_for_external_id


def test_what_only_aws_can_judge_is_named() -> None:
    condition = {**WITH_ID, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    assert judge_trust(policy(condition=condition), ID).other_conditions == ("aws:SourceIp",)


def test_an_unknown_external_id_counts_as_the_right_one() -> None:
    assert judge_trust(trust_policy(ID), None).cause is None
