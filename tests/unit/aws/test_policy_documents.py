from __future__ import annotations

import json
from typing import Any

import pytest

from lightly_provider.aws.policies import trust_policy
from lightly_provider.aws.policy_documents import (
    SIZE_LIMITS,
    PolicyKind,
    check_size,
    compact,
    external_ids,
    same_meaning,
    size_of,
)

STATEMENT = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::a/*"]}
LISTING = {
    "Effect": "Allow",
    "Action": "s3:ListBucket",
    "Resource": "arn:aws:s3:::a",
    "Condition": {"StringLike": {"s3:prefix": ["raw/*", "out/*"]}},
}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.mark.parametrize(
    "written",
    [
        document(LISTING, STATEMENT),
        document(STATEMENT, {**LISTING, "Action": ["s3:listbucket"], "Resource": ["arn:aws:s3:::a"]}),
        document({**STATEMENT, "Sid": "Objects", "Action": ["s3:PutObject", "s3:GetObject"]}, LISTING),
        document(STATEMENT, {**LISTING, "Condition": {"StringLike": {"S3:Prefix": ["out/*", "raw/*"]}}}),
        document(STATEMENT, LISTING, STATEMENT),
    ],
)
def test_the_way_of_writing_makes_no_difference(written: dict[str, Any]) -> None:
    assert same_meaning(document(STATEMENT, LISTING), written)


@pytest.mark.parametrize(
    "other",
    [
        document(STATEMENT),
        document(STATEMENT, {**LISTING, "Condition": {"StringLike": {"s3:prefix": ["raw/*"]}}}),
        document(STATEMENT, {**LISTING, "Condition": {"StringEquals": {"s3:prefix": ["raw/*", "out/*"]}}}),
        document(STATEMENT, {**LISTING, "Effect": "Deny"}),
        document(STATEMENT, {**LISTING, "Resource": "arn:aws:s3:::A"}),
        document({**STATEMENT, "Action": ["s3:GetObject"]}, LISTING),
        {**document(STATEMENT, LISTING), "Version": "2008-10-17"},
        {},
    ],
)
def test_what_is_allowed_makes_one(other: dict[str, Any]) -> None:
    assert not same_meaning(document(STATEMENT, LISTING), other)


def test_an_account_and_its_root_are_the_same_principal() -> None:
    trust = trust_policy("an-external-id")
    (statement,) = trust["Statement"]
    assert same_meaning(trust, document({**statement, "Principal": {"AWS": ["916419735646"]}}))
    assert not same_meaning(trust, document({**statement, "Principal": {"AWS": ["123456789012"]}}))
    assert not same_meaning(trust, document({**statement, "Principal": "*"}))
    assert not same_meaning(trust, trust_policy("another-external-id"))


def test_one_statement_needs_no_list() -> None:
    assert same_meaning(document(STATEMENT), {"Version": "2012-10-17", "Statement": STATEMENT})


@pytest.mark.parametrize("ids", [["an-external-id"], ["an-external-id", "another-external-id"]])
def test_the_external_ids_of_a_trust_policy_are_found(ids: list[str]) -> None:
    assert external_ids(trust_policy(ids)) == ids


@pytest.mark.parametrize(
    "trust",
    [
        {},
        document(STATEMENT),
        document({"Effect": "Deny", "Condition": {"StringEquals": {"sts:ExternalId": "no"}}}),
    ],
)
def test_where_nobody_is_let_in_by_one_there_is_none(trust: dict[str, Any]) -> None:
    assert external_ids(trust) == []


def test_white_space_does_not_count() -> None:
    text = compact(document(STATEMENT))
    assert size_of(document(STATEMENT)) == len(text)
    assert " " not in text
    assert json.loads(text) == document(STATEMENT)


@pytest.mark.parametrize("kind", list(PolicyKind))
def test_a_document_may_be_as_long_as_iam_takes_and_not_longer(kind: PolicyKind) -> None:
    def sized(size: int) -> dict[str, Any]:
        short = document({**STATEMENT, "Resource": [""]})
        return document({**STATEMENT, "Resource": ["x" * (size - size_of(short))]})

    limit = SIZE_LIMITS[kind]
    check_size(sized(limit), kind, argument="resource_path")
    with pytest.raises(
        ValueError,
        match=f"^resource_path makes a policy of {limit + 1} characters, and IAM takes {limit} for a {kind};",
    ):
        check_size(sized(limit + 1), kind, argument="resource_path")
