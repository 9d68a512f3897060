"""AWS's words for failures, read."""

from __future__ import annotations

import pytest

from lightly_provider.diagnosis.denials import Cause, classify, denial_of, read_text

USER = "User: arn:aws:iam::123456789012:user/lightly is not authorized to perform:"
OBJECT = 'on resource: "arn:aws:s3:::acme/raw/a.jpg"'
KEY = "on resource: arn:aws:kms:eu-central-1:123456789012:key/7f3a"
ROLE = "on resource: arn:aws:iam::123456789012:role/y"

# As AWS's documents and answers have them.
WORDS = [
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} because no identity-based policy allows it", Cause.MISSING_ALLOW),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} with an explicit deny in an identity-based policy", "EXPLICIT_DENY"),
    (f"AccessDenied: {USER} s3:PutObject {OBJECT} with an explicit deny in a resource-based policy", "BUCKET_POLICY"),
    (f"AccessDenied: {USER} s3:PutObject {OBJECT} because no resource-based policy allows it", "BUCKET_POLICY_ALLOW"),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} because no permissions boundary allows it", Cause.BOUNDARY),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} with an explicit deny in a permissions boundary", Cause.BOUNDARY),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} with an explicit deny in a service control policy", "ORGANIZATION"),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} with an explicit deny in a resource control policy", "ORGANIZATION"),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} because no session policy allows it", Cause.SESSION_POLICY),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT} because no VPC endpoint policy allows it", Cause.VPC_ENDPOINT),
    (f"AccessDenied: {USER} kms:Decrypt {KEY} because no identity-based policy allows it", Cause.KMS_RIGHT),
    (f"AccessDenied: {USER} kms:Decrypt {KEY} because no resource-based policy allows it", Cause.KMS_KEY_POLICY),
    (
        f"AccessDenied: {USER} kms:GenerateDataKey {KEY} with an explicit deny in a resource-based policy",
        "KMS_KEY_POLICY",
    ),
    (
        "AccessDenied: The ciphertext refers to a customer master key that does not exist, does not exist in this "
        "region, or you are not allowed to access.",
        Cause.KMS_RIGHT,
    ),
    ("KMS.DisabledException: arn:aws:kms:eu-central-1:1:key/7f3a is disabled.", Cause.KMS_KEY_DISABLED),
    ("KMS.KMSInvalidStateException: arn:… is pending deletion.", Cause.KMS_KEY_DISABLED),
    ("KMS.NotFoundException: Key 'arn:…' does not exist", Cause.KMS_NO_SUCH_KEY),
    (f"AccessDenied: {USER} sts:AssumeRole {ROLE}", Cause.CANNOT_ASSUME),
    (
        "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        "SHORT_SESSION",
    ),
    ("NoSuchBucket: The specified bucket does not exist", Cause.NO_SUCH_BUCKET),
    ("NoSuchKey: The specified key does not exist.", Cause.NO_SUCH_KEY),
    ("PermanentRedirect: The bucket you are attempting to access must be addressed …", Cause.WRONG_REGION),
    ("AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-west-1'", Cause.WRONG_REGION),
    ("InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", Cause.UNKNOWN_ACCESS_KEY),
    ("InvalidClientTokenId: The security token included in the request is invalid.", Cause.UNKNOWN_ACCESS_KEY),
    ("SignatureDoesNotMatch: The request signature we calculated does not match …", Cause.WRONG_SECRET),
    ("ExpiredToken: The provided token has expired.", Cause.EXPIRED),
    ("RequestTimeTooSkewed: The difference between the request time and the current time is too large.", "CLOCK_SKEW"),
    ("InvalidObjectState: The operation is not valid for the object's storage class", Cause.ARCHIVED),
    ("SlowDown: Please reduce your request rate.", Cause.BUSY),
    ("AccessDenied: Access Denied", Cause.DENIED),
    ("An error occurred (AccessDenied) when calling the GetObject operation: Access Denied", Cause.DENIED),
    ("InternalError: We encountered an internal error.", Cause.OTHER),
]


@pytest.mark.parametrize(("text", "cause"), WORDS)
def test_each_of_awss_words_has_its_cause(text: str, cause: Cause | str) -> None:
    assert read_text(text).cause is (Cause[cause] if cause in Cause.__members__ else cause)


def test_who_what_and_where_are_read_where_aws_says_it() -> None:
    denial = read_text(WORDS[0][0])
    assert denial.action == "s3:GetObject"
    assert denial.resource == "arn:aws:s3:::acme/raw/a.jpg"
    assert denial.principal == "arn:aws:iam::123456789012:user/lightly"
    assert denial.code == "AccessDenied"


def test_the_right_region_is_read_from_the_text_or_from_the_header() -> None:
    assert read_text("AuthorizationHeaderMalformed: …; expecting 'eu-west-1'").region == "eu-west-1"
    assert classify("PermanentRedirect", "…", region="eu-west-3").region == "eu-west-3"


@pytest.mark.parametrize("text", [WORDS[0][0], "AccessDenied: Access Denied"])
def test_while_list_is_denied_a_403_may_hide_a_missing_object(text: str) -> None:
    assert read_text(text, list_denied=True).cause is Cause.HIDDEN


@pytest.mark.parametrize(("text", "cause"), WORDS)
def test_an_explicit_deny_never_passes_by_waiting(text: str, cause: Cause | str) -> None:
    if "explicit deny" in text:
        assert not read_text(text).may_pass


@pytest.mark.parametrize(
    "cause", ["MISSING_ALLOW", "DENIED", "KMS_RIGHT", "KMS_KEY_POLICY", "UNKNOWN_ACCESS_KEY", "CANNOT_ASSUME"]
)
def test_what_was_granted_a_moment_ago_may_pass_by_waiting(cause: str) -> None:
    (text, *_) = [text for text, found in WORDS if found == Cause[cause] and "explicit" not in text]
    assert read_text(text).may_pass


def test_a_failure_without_an_answer_says_its_kind_only() -> None:
    denial = denial_of(ConnectionError("http://user:secret@proxy:3128"))
    assert (denial.cause, denial.text) == (Cause.NO_ANSWER, "ConnectionError")


def test_a_page_for_a_text_is_cut() -> None:
    assert len(read_text("<html> " * 10_000).text) <= 500
