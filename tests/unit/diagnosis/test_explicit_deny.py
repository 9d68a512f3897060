"""The very statement that denies is named where it was read, and nobody else loses protection by the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure, remedy_for
from lightly_provider.diagnosis.target import DenyingStatement, PolicyOf, Surroundings, Target

ROLE = "arn:aws:iam::123456789012:role/Lightly"
TARGET = Target(S3Location("acme", "raw/"), "delegated access", Purpose.LIGHTLY, role_arn=ROLE, region="eu-central-1")
STOP: dict[str, Any] = {"Effect": "Deny", "Principal": "*", "Action": "s3:Get*", "Resource": "arn:aws:s3:::acme/*"}
STOP_IDENTITY = {key: value for key, value in STOP.items() if key != "Principal"}
NO_PUT = {**STOP, "Action": "s3:PutObject"}
ALL_OF_S3 = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
BY_NETWORK = "If it denies by network (aws:SourceIp, aws:SourceVpc) and is meant to, verify with bypass_verify=True."
CAUSES = {
    PolicyOf.BUCKET: Cause.BUCKET_POLICY,
    PolicyOf.IDENTITY: Cause.EXPLICIT_DENY,
    PolicyOf.BOUNDARY: Cause.BOUNDARY,
    PolicyOf.KEY: Cause.KMS_KEY_POLICY,
}


def fix(
    *statements: dict[str, Any],
    of: PolicyOf = PolicyOf.BUCKET,
    action: str = "s3:GetObject",
    target: Target = TARGET,
    policy: str = "policy of bucket acme",
    policy_arn: str | None = None,
    resource: str = "arn:aws:s3:::acme/raw/a.jpg",
    **known: Any,
) -> list[str]:
    found = tuple(DenyingStatement(of, policy, one, **known) for one in statements)
    failure = Failure(CAUSES[of], action=action, resource=resource, explicit=True, policy_arn=policy_arn)
    text, *lines = remedy_for(failure, [Permission.READ], replace(target, surroundings=Surroundings(found))).lines()
    assert f"has a statement with Effect Deny that covers {action} on {resource}" in text
    where_to_look = text.partition("outweighs.")[2].replace(BY_NETWORK, "").strip()
    return [*filter(None, [where_to_look]), *lines]


def test_a_statement_for_everybody_makes_an_exception() -> None:
    text, line = fix(STOP)
    assert "protects others too" in text
    old, new = line.removeprefix("In the policy of bucket acme replace: ").split(" by: ")
    assert old == '{"Effect":"Deny","Principal":"*","Action":"s3:Get*","Resource":"arn:aws:s3:::acme/*"}'
    assert new == f'{old[:-1]},"Condition":{{"ArnNotEquals":{{"aws:PrincipalArn":["{ROLE}"]}}}}}}'


def test_an_exception_stands_beside_those_that_are_there() -> None:
    _, line = fix({**STOP, "Condition": {"ArnNotEquals": {"aws:principalArn": "arn:other"}}})
    assert line.endswith(f'"Condition":{{"ArnNotEquals":{{"aws:principalArn":["arn:other","{ROLE}"]}}}}}}')


@pytest.mark.parametrize("principal", [{"AWS": ROLE}, {"AWS": [ROLE]}])
def test_a_statement_for_this_identity_alone_goes(principal: Any) -> None:
    (line,) = fix({**STOP, "Principal": principal})
    assert line.startswith("From the policy of bucket acme remove: {")


def test_a_policy_that_says_nothing_else_goes_by_a_command() -> None:
    assert fix({**STOP, "Principal": {"AWS": ROLE}}, removal="aws s3api delete-bucket-policy --bucket acme") == [
        "Run: aws s3api delete-bucket-policy --bucket acme"
    ]


def test_a_policy_for_others_too_does_not_go_though_it_says_nothing_else() -> None:
    _, line = fix(STOP, removal="aws s3api delete-bucket-policy --bucket acme")
    assert line.startswith("In the policy of bucket acme replace: {")


@pytest.mark.parametrize(
    ("of", "policy", "statement"),
    [
        # Company-wide: nothing without a second factor; one region only.
        (
            PolicyOf.IDENTITY,
            "inline policy 'mfa' of group staff",
            ALL_OF_S3 | {"Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}},
        ),
        (
            PolicyOf.IDENTITY,
            "managed policy arn:aws:iam::123456789012:policy/regions",
            ALL_OF_S3 | {"Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1"]}}},
        ),
        (PolicyOf.BOUNDARY, "permissions boundary arn:aws:iam::123456789012:policy/limit", ALL_OF_S3),
    ],
)
def test_what_protects_others_too_stays_and_the_identity_becomes_an_exception(
    of: PolicyOf, policy: str, statement: dict[str, Any]
) -> None:
    text, line = fix(statement, of=of, policy=policy, removal="aws iam detach-role-policy …")
    assert "role Lightly becomes an exception, if the policy's owner agrees" in text
    _, new = line.removeprefix(f"In the {policy} replace: ").split(" by: ")
    assert f'"ArnNotEquals":{{"aws:PrincipalArn":["{ROLE}"]}}' in new
    assert not any(line.startswith(("From the", "Run:")) for line in (text, line))


def test_a_policy_of_the_identitys_own_loses_the_statement() -> None:
    (line,) = fix(STOP_IDENTITY, of=PolicyOf.IDENTITY, policy="inline policy 'x' of role Lightly", is_own=True)
    assert line.startswith("From the inline policy 'x' of role Lightly remove: {")


def test_awss_own_policy_is_never_detached() -> None:
    arn = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"
    (line,) = fix(
        ALL_OF_S3,
        of=PolicyOf.IDENTITY,
        policy=f"managed policy {arn}",
        arn=arn,
        policy_arn=arn,
        removal=f"aws iam detach-user-policy --policy-arn {arn}",
    )
    assert "Ask whoever attached it" in line
    assert "detach" not in line


def test_only_the_policy_that_aws_names_is_looked_into() -> None:
    named, other = (f"arn:aws:iam::123456789012:policy/{name}" for name in ("named", "other"))
    assert fix(STOP_IDENTITY, of=PolicyOf.IDENTITY, arn=other, policy_arn=named, is_own=True)[0].startswith("Which one")
    (line,) = fix(STOP_IDENTITY, of=PolicyOf.IDENTITY, arn=named, policy_arn=named, is_own=True, policy="policy it")
    assert line.startswith("From the policy it remove")


TLS_ONLY = [
    {"Bool": {"aws:SecureTransport": "false"}},
    {"BoolIfExists": {"aws:SecureTransport": False}},
    {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
    {"NumericLessThanIfExists": {"s3:TlsVersion": 1.2}},
]


@pytest.mark.parametrize("condition", TLS_ONLY)
def test_a_statement_about_the_transport_is_not_it(condition: dict[str, Any]) -> None:
    """Lightly uses https, so that it does not deny this request; and nobody is ever excepted from it."""
    assert fix({**STOP, "Condition": condition})[0].startswith("Which one it is")
    text, line = fix({**STOP, "Condition": condition}, {**STOP, "Action": "s3:GetObject"})
    assert "protects others" in text
    assert "Secure" not in line
    assert "Tls" not in line


def test_who_asks_for_a_newer_tls_is_right() -> None:
    lines = fix({**STOP, "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.3"}}})
    assert "leave the statement as it is" in lines[0]
    assert not any("ArnNotEquals" in line for line in lines)


ENCRYPTED = "s3:x-amz-server-side-encryption"
KMS = "arn:aws:kms:eu-central-1:123456789012:key/7f3a"


@pytest.mark.parametrize(
    ("condition", "key"),
    [
        ({"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}, "<ARN of a KMS key"),
        ({"Null": {"s3:x-amz-server-side-encryption": "true"}}, "<ARN of a KMS key"),
        ({"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": KMS}}, KMS),
        ({"StringNotLikeIfExists": {"s3:x-amz-server-side-encryption-aws-kms-key-id": KMS}}, KMS),
        (
            {
                "Null": {"s3:x-amz-server-side-encryption": "false"},
                "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
            },
            None,
        ),
    ],
)
def test_deny_unless_encrypted_with_kms_is_answered_by_kms_key_arn(condition: dict[str, Any], key: str | None) -> None:
    lines = fix({**NO_PUT, "Condition": condition}, action="s3:PutObject")
    if key is None:  # who names no encryption is not denied
        assert lines[0].startswith("Which one")
        return
    assert f"configure the datasource with kms_key_arn='{key}" in lines[0]
    assert not any("replace" in line or "remove" in line for line in lines)
    encrypting = replace(TARGET, kms_key_arn=KMS)
    assert fix({**NO_PUT, "Condition": condition}, action="s3:PutObject", target=encrypting)[0].startswith("Which one")


def test_a_header_that_lightly_does_not_send_is_named() -> None:
    condition = {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}
    (line,) = fix({**NO_PUT, "Condition": condition}, action="s3:PutObject")
    assert '"Null":{"s3:x-amz-server-side-encryption":"false"}' in line


@pytest.mark.parametrize(
    "condition",
    [
        {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}},
        {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        {"StringNotLike": {"aws:userId": ["AROA123:*"]}},
        {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}},
        {"StringNotEquals": {"aws:PrincipalTag/team": "${aws:ResourceTag/team}"}},
    ],
)
def test_what_cannot_be_judged_may_be_it_and_is_not_changed(condition: dict[str, Any]) -> None:
    text, *rest = fix({**STOP, "Condition": condition})
    assert text.startswith("This may be it, but its conditions cannot be judged from here: {")
    assert not any("replace" in line or "remove" in line for line in rest)


HOME = "arn:aws:s3:::acme/${aws:PrincipalTag/team}/*"
WITHOUT_RESOURCE = {key: value for key, value in STOP.items() if key != "Resource"}


@pytest.mark.parametrize(
    "statement",
    [
        {**STOP, "Resource": HOME},
        {**WITHOUT_RESOURCE, "NotResource": HOME},
        STOP_IDENTITY | {"NotPrincipal": {"AWS": [ROLE]}},
        {**STOP, "Principal": {"CanonicalUser": "79a59df900b949e55d96a1e698fbaced"}},
        {**STOP, "Principal": {"AWS": "arn:aws:sts::123456789012:assumed-role/Lightly/session"}},
    ],
    ids=lambda statement: str(statement)[-60:],
)
@pytest.mark.parametrize("is_own", [True, False])
def test_what_may_not_be_about_this_request_is_not_changed(statement: dict[str, Any], is_own: bool) -> None:
    text, *rest = fix(statement, is_own=is_own)
    assert text.startswith("This may be it")
    assert not any("replace" in line or "remove" in line for line in [text, *rest])


def test_of_several_that_may_be_it_all_are_shown() -> None:
    conditions = [{"StringNotEquals": {"aws:SourceVpce": f"vpce-{n}"}} for n in range(2)]
    text, *_ = fix(*({**STOP, "Condition": condition} for condition in conditions))
    assert text.startswith("It is one of these")
    assert "vpce-0" in text
    assert "vpce-1" in text


def test_one_that_denies_for_certain_is_rather_it_than_one_that_may() -> None:
    _, line = fix({**STOP, "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, STOP)
    assert "SourceIp" not in line


@pytest.mark.parametrize(
    "other",
    [
        {**STOP, "Action": "s3:PutObject"},
        {**STOP, "Resource": "arn:aws:s3:::acme/other/*"},
        {**STOP, "Principal": {"AWS": "arn:aws:iam::123456789012:role/Another"}},
        STOP_IDENTITY | {"NotPrincipal": "*"},
        {**NO_PUT, "Action": "s3:*", "Condition": {"ForAnyValue:StringNotEquals": {ENCRYPTED: "AES256"}}},
        {**STOP, "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/admin-*"}}},
        {**STOP, "Condition": {"StringNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/Light*"}}},
        {**STOP, "Condition": {"StringNotEquals": {"aws:PrincipalAccount": "123456789012"}}},
        {**STOP, "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["eu-central-1", "us-east-1"]}}},
        {**STOP, "Condition": {"Bool": {"aws:PrincipalIsAWSService": "true"}}},
        {**STOP, "Condition": {"StringEquals": {"aws:username": "bob"}, "NotIpAddress": {"aws:SourceIp": "10.0.0.1"}}},
    ],
    ids=lambda statement: str(statement)[-60:],
)
def test_a_statement_that_does_not_deny_this_request_is_not_it(other: dict[str, Any]) -> None:
    assert fix(other)[0].startswith("Which one it is")


@pytest.mark.parametrize(("prefix", "denies"), [("raw/*", False), ("other/*", True), ("r*", False)])
def test_a_prefix_is_judged(prefix: str, denies: bool) -> None:
    statement = {
        **STOP,
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::acme",
        "Condition": {"StringNotLike": {"s3:prefix": prefix}},
    }
    lines = fix(statement, action="s3:ListBucket", resource="arn:aws:s3:::acme")
    assert lines[-1].startswith("In the policy" if denies else "Which one")


def test_a_statement_of_another_kind_of_policy_is_not_it() -> None:
    found = (DenyingStatement(PolicyOf.IDENTITY, "inline policy 'x' of role Lightly", STOP),)
    failure = Failure(Cause.BUCKET_POLICY, action="s3:GetObject", explicit=True)
    text, *_ = remedy_for(failure, [Permission.READ], replace(TARGET, surroundings=Surroundings(found))).lines()
    assert "Which one it is, aws s3api get-bucket-policy shows it" in text


def test_a_boundary_without_an_allow_gets_one_for_this_identity_alone() -> None:
    arn = "arn:aws:iam::123456789012:policy/limit"
    failure = Failure(Cause.BOUNDARY, action="s3:GetObject")
    target = replace(TARGET, surroundings=Surroundings(boundary_arn=arn))
    _, line = remedy_for(failure, [Permission.READ], target).lines()
    assert line.startswith(f"To the permissions boundary {arn} add: ")
    assert line.endswith(f'"Condition":{{"ArnEquals":{{"aws:PrincipalArn":"{ROLE}"}}}}}}')
