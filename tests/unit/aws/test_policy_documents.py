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
    covers,
    dropped_resources,
    external_ids,
    may_cover,
    names_principal,
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


@pytest.mark.parametrize(
    ("new", "dropped"),
    [
        (["arn:aws:s3:::b/one/*", "arn:aws:s3:::b/two/*"], []),
        (["arn:aws:s3:::b/*"], []),
        ("arn:aws:s3:::b/two/*", ["arn:aws:s3:::b/one/*"]),
        ("arn:aws:s3:::b/one/a*", ["arn:aws:s3:::b/one/*", "arn:aws:s3:::b/two/*"]),
        ([], ["arn:aws:s3:::b/one/*", "arn:aws:s3:::b/two/*"]),
    ],
)
def test_the_resources_that_another_policy_does_not_cover_are_named(new: Any, dropped: list[str]) -> None:
    def allowing(resources: Any) -> dict[str, Any]:
        return {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resources}]}

    old = allowing(["arn:aws:s3:::b/one/*", "arn:aws:s3:::b/two/*"])
    old["Statement"].append({"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::b/secret/*"})
    assert dropped_resources(old, allowing(new)) == dropped


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


@pytest.mark.parametrize(
    ("statement", "action", "resource", "covered"),
    [
        ({"Action": "s3:GetObject", "Resource": "*"}, "s3:GetObject", "arn:aws:s3:::acme/a", True),
        ({"Action": ["S3:get*"], "Resource": ["arn:aws:s3:::acme/*"]}, "s3:GetObject", "arn:aws:s3:::acme/a", True),
        ({"Action": "s3:Get?bject", "Resource": "arn:aws:s3:::ac?e/a"}, "s3:GetObject", "arn:aws:s3:::acme/a", True),
        ({"Action": "s3:Put*", "Resource": "*"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
        ({"Action": "*", "Resource": "arn:aws:s3:::other/*"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
        ({"Action": "*", "Resource": "arn:aws:s3:::acme/A"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
        ({"NotAction": "s3:List*", "Resource": "*"}, "s3:GetObject", "arn:aws:s3:::acme/a", True),
        ({"NotAction": "s3:Get*", "Resource": "*"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
        ({"Action": "*", "NotResource": "arn:aws:s3:::acme/*"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
        ({"Action": "sts:AssumeRole"}, "sts:AssumeRole", "arn:aws:iam::123456789012:role/R", True),
        ({"Action": "*", "Resource": "arn:aws:s3:::acme/${*}"}, "s3:GetObject", "arn:aws:s3:::acme/*", True),
        ({"Action": "*", "Resource": "arn:aws:s3:::acme/${*}"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
        ({"Action": "*", "Resource": "arn:aws:s3:::acme/[a]"}, "s3:GetObject", "arn:aws:s3:::acme/a", False),
    ],
)
def test_a_statement_covers_what_its_patterns_say(
    statement: dict[str, Any], action: str, resource: str, covered: bool
) -> None:
    assert covers(statement, action, resource) is covered


USER = "arn:aws:iam::123456789012:user/lightly"


@pytest.mark.parametrize(
    ("statement", "meant"),
    [
        ({}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": [USER, "arn:aws:iam::123456789012:user/another"]}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, True),
        ({"Principal": {"AWS": "123456789012"}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::210987654321:root"}}, False),
        ({"Principal": {"AWS": f"{USER}-2"}}, False),
        ({"Principal": {"Service": "s3.amazonaws.com"}}, False),
        ({"NotPrincipal": {"AWS": USER}}, None),
        ({"NotPrincipal": {"AWS": [USER, "123456789012"]}}, False),
        ({"NotPrincipal": {"AWS": "123456789012"}}, True),
        ({"NotPrincipal": "*"}, False),
        ({"NotPrincipal": {"AWS": "*"}}, False),
        ({"NotPrincipal": {"Service": "s3.amazonaws.com"}}, True),
        ({"Principal": {"CanonicalUser": "79a59df900b949e55d96a1e698fbaced"}}, None),
        ({"NotPrincipal": {"AWS": f"{USER}-2"}}, True),
        ({"Principal": "*", "Condition": {"ArnNotEquals": {"aws:PrincipalArn": USER}}}, True),
    ],
)
def test_a_statement_is_about_whom_its_principal_names(statement: dict[str, Any], meant: bool | None) -> None:
    assert names_principal(statement, USER) is meant


@pytest.mark.parametrize(
    ("statement", "meant"),
    [
        ({"Principal": {"AWS": "arn:aws:sts::123456789012:assumed-role/Lightly/session"}}, None),
        ({"Principal": {"AWS": "arn:aws:sts::123456789012:assumed-role/LightlyToo/session"}}, False),
        ({"Principal": {"AWS": "arn:aws:sts::210987654321:assumed-role/Lightly/session"}}, False),
        ({"NotPrincipal": {"AWS": ["arn:aws:iam::123456789012:role/path/Lightly", "123456789012"]}}, None),
        ({"NotPrincipal": {"AWS": "arn:aws:sts::123456789012:assumed-role/Lightly/session"}}, None),
    ],
)
def test_a_statement_about_a_session_may_be_about_its_role(statement: dict[str, Any], meant: bool | None) -> None:
    assert names_principal(statement, "arn:aws:iam::123456789012:role/path/Lightly") is meant


@pytest.mark.parametrize(
    ("statement", "meant"),
    [
        ({}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": ["*"]}}, True),
        ({"NotPrincipal": "*"}, False),
        ({"Principal": {"AWS": USER}}, None),
        ({"NotPrincipal": {"AWS": USER}}, None),
    ],
)
def test_who_is_not_known_may_be_named(statement: dict[str, Any], meant: bool | None) -> None:
    assert names_principal(statement, None) is meant


HOME = "arn:aws:s3:::acme/home/${aws:username}/*"


@pytest.mark.parametrize(
    ("statement", "covered"),
    [
        ({"Action": "s3:*", "Resource": HOME}, None),
        ({"Action": "s3:*", "Resource": [HOME, "arn:aws:s3:::acme/home/*"]}, True),
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::acme/other/${aws:username}/*"}, False),
        ({"Action": "s3:*", "NotResource": HOME}, None),
        ({"Action": "s3:*", "NotResource": [HOME, "arn:aws:s3:::acme/home/*"]}, False),
        ({"Action": "s3:*", "NotResource": "arn:aws:s3:::acme/other/${aws:username}/*"}, True),
        ({"Action": "s3:*", "NotResource": "arn:aws:s3:::acme/home/${*}/*"}, True),
        ({"Action": "s3:Put*", "Resource": HOME}, False),
        ({"Action": "s3:*"}, True),
    ],
)
def test_a_policy_variable_may_stand_for_anything(statement: dict[str, Any], covered: bool | None) -> None:
    assert may_cover(statement, "s3:GetObject", "arn:aws:s3:::acme/home/bob/a.jpg") is covered
