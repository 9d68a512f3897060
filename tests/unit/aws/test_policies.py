from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, policy_document, statements_for, trust_policy
from lightly_provider.contract import Permission, Purpose

FOLDER = S3Location("acme-photos", "2024/")
BUCKET = S3Location("acme-photos", "")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/abc"


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in statement["Action"]}


def allows(document: dict[str, Any], action: str, resource: str, prefix: str | None = None) -> bool:
    """A reader of the policy language, as far as these policies use it."""
    for statement in document["Statement"]:
        condition = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        if (
            action in statement["Action"]
            and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
            and (condition is None or any(prefix is not None and fnmatchcase(prefix, like) for like in condition))
        ):
            return True
    return False


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        (Purpose.INPUT, {"s3:ListBucket", "s3:GetObject"}),
        (Purpose.LIGHTLY, {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}),
        (Purpose.INPUT_OUTPUT, {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}),
    ],
)
def test_a_policy_grants_what_its_purpose_needs_and_no_more(purpose: Purpose, expected: set[str]) -> None:
    document = policy_document(FOLDER, purpose)
    assert document["Version"] == "2012-10-17"
    assert actions(document["Statement"]) == expected


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize(
    ("prefix", "allowed"),
    [
        ("2024/", True),
        ("2024/05/", True),
        ("2024/05/a.jpg", True),
        ("2024", False),
        ("20245/", False),
        ("", False),
        (None, False),
    ],
)
def test_listing_is_limited_to_the_prefix(purpose: Purpose, prefix: str | None, allowed: bool) -> None:
    assert allows(policy_document(FOLDER, purpose), "s3:ListBucket", "arn:aws:s3:::acme-photos", prefix) is allowed


@pytest.mark.parametrize(
    ("key", "allowed"),
    [("2024/a.jpg", True), ("2024/05/a.jpg", True), ("2023/a.jpg", False), ("20245/a.jpg", False), ("a.jpg", False)],
)
def test_objects_are_limited_to_the_prefix(key: str, allowed: bool) -> None:
    document = policy_document(FOLDER, Purpose.LIGHTLY)
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert allows(document, action, f"arn:aws:s3:::acme-photos/{key}") is allowed


def test_the_prefix_is_named_both_as_the_folder_and_as_what_lies_in_it() -> None:
    (listing,) = statements_for([Permission.LIST], FOLDER)
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["2024/", "2024/*"]}}


def test_a_whole_bucket_has_no_condition_on_the_prefix() -> None:
    document = policy_document(BUCKET, Purpose.INPUT)
    assert "Condition" not in json.dumps(document)
    assert allows(document, "s3:ListBucket", "arn:aws:s3:::acme-photos")
    assert allows(document, "s3:GetObject", "arn:aws:s3:::acme-photos/any/a.jpg")
    assert not allows(document, "s3:GetObject", "arn:aws:s3:::acme-photos-2/any/a.jpg")


@pytest.mark.parametrize(
    ("permission", "statement"),
    [
        (
            Permission.LIST,
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::acme-photos"],
                "Condition": {"StringLike": {"s3:prefix": ["2024/", "2024/*"]}},
            },
        ),
        (
            Permission.READ,
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::acme-photos/2024/*"]},
        ),
        (
            Permission.WRITE,
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::acme-photos/2024/*"]},
        ),
        (
            Permission.OVERWRITE,
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:DeleteObject"],
                "Resource": ["arn:aws:s3:::acme-photos/2024/*"],
            },
        ),
    ],
)
def test_one_missing_permission_is_one_statement(permission: Permission, statement: dict[str, Any]) -> None:
    assert statements_for([permission], FOLDER) == [statement]


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        (Purpose.INPUT, {"kms:Decrypt"}),
        (Purpose.LIGHTLY, {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}),
        (Purpose.INPUT_OUTPUT, {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}),
    ],
)
def test_a_kms_key_adds_the_rights_on_that_key_alone(purpose: Purpose, expected: set[str]) -> None:
    plain = policy_document(FOLDER, purpose)["Statement"]
    *others, on_key = policy_document(FOLDER, purpose, kms_key_arn=KEY)["Statement"]
    assert others == plain
    assert set(on_key["Action"]) == expected
    assert on_key["Resource"] == [KEY]


def test_listing_needs_no_right_on_the_key() -> None:
    assert actions(statements_for([Permission.LIST], FOLDER, kms_key_arn=KEY)) == {"s3:ListBucket"}


def test_the_arns_are_those_of_the_buckets_partition() -> None:
    document = json.dumps(policy_document(FOLDER, Purpose.LIGHTLY, partition="aws-cn"))
    assert "arn:aws-cn:s3:::acme-photos" in document
    assert "arn:aws:" not in document


@pytest.mark.parametrize(
    ("prefix", "written"),
    [("${aws:username}/", "${$}{aws:username}/"), ("a*b?/", "a${*}b${?}/"), ("5$/", "5$/"), ("{x}/", "{x}/")],
)
def test_signs_of_the_policy_language_in_a_prefix_mean_themselves(prefix: str, written: str) -> None:
    listing, objects = statements_for([Permission.LIST, Permission.READ], S3Location("acme", prefix))
    assert listing["Condition"]["StringLike"]["s3:prefix"] == [written, f"{written}*"]
    assert objects["Resource"] == [f"arn:aws:s3:::acme/{written}*"]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_document_is_the_sum_of_its_permissions_and_json(purpose: Purpose) -> None:
    document = policy_document(FOLDER, purpose, kms_key_arn=KEY)
    assert document["Statement"] == statements_for(PURPOSE_PERMISSIONS[purpose], FOLDER, kms_key_arn=KEY)
    assert json.loads(json.dumps(document)) == document


def test_what_is_no_permission_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="is not a valid Permission"):
        statements_for(Permission.LIST, FOLDER)  # type: ignore[arg-type]


def test_the_trust_policy_lets_lightlys_account_in_with_the_external_id_only() -> None:
    assert trust_policy("an-external-id") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::916419735646:root"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": "an-external-id"}},
            }
        ],
    }


def test_the_trust_policy_takes_another_account_of_the_platform() -> None:
    (statement,) = trust_policy("an-external-id", lightly_account_id="311530292373")["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::311530292373:root"}
