from __future__ import annotations

import json
from typing import Any

import pytest

from lightly_provider.aws.grants import Grant, Network, access_policy, permissions_on_key
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import key_policy_statement, policy_document
from lightly_provider.aws.policy_documents import same_meaning, size_of
from lightly_provider.contract import Permission, Purpose

KEY = "arn:aws:kms:eu-central-1:123456789012:key/abc"
OTHER_KEY = "arn:aws:kms:eu-central-1:123456789012:key/def"
INPUT, LIGHTLY, BOTH = Purpose.INPUT, Purpose.LIGHTLY, Purpose.INPUT_OUTPUT


def grant(uri: str, purpose: Purpose, kms_key_arn: str | None = None) -> Grant:
    return Grant(location=S3Location.from_stored(f"s3://{uri}"), purpose=purpose, kms_key_arn=kms_key_arn)


def policy(*grants: Grant, **arguments: Any) -> list[dict[str, Any]]:
    return list(access_policy(grants, **arguments)["Statement"])


def of(statements: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    return [statement for statement in statements if action in statement["Action"]]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_one_location_takes_the_same_statements_as_ever_but_for_the_shorter_prefix(purpose: Purpose) -> None:
    one = policy(grant("acme/2024/", purpose, KEY))
    other = policy_document(S3Location("acme", "2024/"), purpose, kms_key_arn=KEY)["Statement"]
    assert one[0]["Condition"]["StringLike"]["s3:prefix"] == ["2024/*"]
    assert one[1:] == other[1:]
    assert {**one[0], "Condition": None} == {**other[0], "Condition": None}


def test_two_purposes_in_one_bucket_share_what_they_can() -> None:
    statements = policy(grant("acme/raw/", INPUT, KEY), grant("acme/out/", LIGHTLY, KEY))
    assert statements == [
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": ["arn:aws:s3:::acme"],
            "Condition": {"StringLike": {"s3:prefix": ["out/*", "raw/*"]}},
        },
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::acme/raw/*"]},
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": ["arn:aws:s3:::acme/out/*"],
        },
        {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], "Resource": [KEY]},
    ]


@pytest.mark.parametrize(
    ("grants", "same_as"),
    [
        ([("acme/raw/", INPUT), ("acme/raw/", INPUT)], [("acme/raw/", INPUT)]),
        ([("acme/raw/", INPUT), ("acme/raw/", LIGHTLY)], [("acme/raw/", LIGHTLY)]),
        ([("acme/raw/", INPUT), ("acme/raw/deep/", INPUT)], [("acme/raw/", INPUT)]),
        ([("acme/", LIGHTLY), ("acme/raw/", INPUT)], [("acme/", LIGHTLY)]),
        ([("acme/raw/deep/", INPUT), ("acme/raw/", BOTH)], [("acme/raw/", LIGHTLY)]),
    ],
)
def test_what_is_granted_already_is_not_said_again(grants: list[Any], same_as: list[Any]) -> None:
    one, other = (access_policy([grant(*each) for each in given]) for given in (grants, same_as))
    assert same_meaning(one, other)
    assert size_of(one) == size_of(other)


def test_an_output_within_the_input_adds_writing_there_and_nothing_else() -> None:
    statements = policy(grant("acme/", INPUT), grant("acme/out/", LIGHTLY))
    assert len(statements) == 3
    (writing,) = of(statements, "s3:PutObject")
    assert writing["Action"] == ["s3:PutObject", "s3:DeleteObject"]
    assert writing["Resource"] == ["arn:aws:s3:::acme/out/*"]
    assert "Condition" not in json.dumps(statements)


def test_buckets_share_a_listing_only_where_the_same_folders_are_meant() -> None:
    apart = of(policy(grant("one/raw/", INPUT), grant("two/out/", INPUT)), "s3:ListBucket")
    assert [(s["Resource"], s["Condition"]["StringLike"]["s3:prefix"]) for s in apart] == [
        (["arn:aws:s3:::one"], ["raw/*"]),
        (["arn:aws:s3:::two"], ["out/*"]),
    ]
    (together,) = of(policy(grant("one/raw/", INPUT), grant("two/raw/", INPUT)), "s3:ListBucket")
    assert together["Resource"] == ["arn:aws:s3:::one", "arn:aws:s3:::two"]


def test_a_whole_bucket_beside_a_folder_of_another_leaves_the_folder_a_condition() -> None:
    whole, folder = of(policy(grant("one/", INPUT), grant("two/raw/", INPUT)), "s3:ListBucket")
    assert "Condition" not in whole
    assert folder["Condition"] == {"StringLike": {"s3:prefix": ["raw/*"]}}


def test_no_two_statements_allow_the_same_action_on_the_same_resource() -> None:
    statements = policy(
        grant("one/raw/", INPUT, KEY),
        grant("one/out/", LIGHTLY, KEY),
        grant("two/", LIGHTLY, OTHER_KEY),
        grant("two/raw/", INPUT, KEY),
    )
    pairs = [(action, resource) for s in statements for action in s["Action"] for resource in s["Resource"]]
    assert len(pairs) == len(set(pairs))


def test_each_key_has_the_rights_that_its_own_locations_take() -> None:
    statements = policy(grant("acme/raw/", INPUT, KEY), grant("acme/out/", LIGHTLY, OTHER_KEY))
    assert [(s["Action"], s["Resource"]) for s in of(statements, "kms:Decrypt")] == [
        (["kms:Decrypt"], [KEY]),
        (["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], [OTHER_KEY]),
    ]


def test_the_key_policy_names_the_principal_and_what_it_needs() -> None:
    grants = [grant("acme/raw/", INPUT, KEY), grant("acme/out/", LIGHTLY, OTHER_KEY)]
    role = "arn:aws:iam::123456789012:role/lightly"
    assert key_policy_statement(role, permissions_on_key(grants, KEY)) == {
        "Effect": "Allow",
        "Principal": {"AWS": role},
        "Action": ["kms:Decrypt"],
        "Resource": "*",
    }
    assert permissions_on_key(grants, OTHER_KEY) == frozenset(Permission)


def test_a_restricted_network_binds_objects_and_not_the_listing() -> None:
    network = Network(source_ips=("203.0.113.0/24",), source_vpcs=("vpc-1",))
    listing, *objects = policy(grant("acme/raw/", INPUT), network=network)
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["raw/*"]}}
    assert [statement["Condition"] for statement in objects] == [
        {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24"]}},
        {"StringEquals": {"aws:SourceVpc": ["vpc-1"]}},
    ], "a request has either a public address or a VPC, so each must suffice"


def test_the_arns_are_those_of_the_partition() -> None:
    text = json.dumps(policy(grant("acme/raw/", LIGHTLY), partition="aws-cn"))
    assert "arn:aws-cn:s3:::acme" in text
    assert "arn:aws:" not in text


def test_the_document_does_not_depend_on_how_often_it_is_made() -> None:
    grants = [grant("b/x/", LIGHTLY), grant("a/y/", INPUT), grant("a/z/", INPUT)]
    assert access_policy(grants) == access_policy(list(grants))
    assert same_meaning(access_policy(grants), access_policy(reversed(grants)))


def test_nothing_is_no_policy() -> None:
    with pytest.raises(ValueError, match="Nothing is granted"):
        access_policy([])
