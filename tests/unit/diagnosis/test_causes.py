"""AWS's words for failures, read."""

from __future__ import annotations

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure, classify, failure_of, read_text, remedy_for
from lightly_provider.diagnosis.target import Target

USER = "User: arn:aws:iam::123456789012:user/lightly is not authorized to perform:"
OBJECT = 'on resource: "arn:aws:s3:::acme/raw/a.jpg"'
KEY = "on resource: arn:aws:kms:eu-central-1:123456789012:key/7f3a"
ROLE = "on resource: arn:aws:iam::123456789012:role/y"
TARGET = Target(S3Location("acme", "raw/"), "user access", Purpose.INPUT)

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
    (f"AccessDenied: {USER} kms:Decrypt {KEY} with an explicit deny in an identity-based policy", "EXPLICIT_DENY"),
    (f"AccessDenied: {USER} s3:GetObject {OBJECT}", Cause.MISSING_ALLOW),
    (
        "AccessDenied: The ciphertext refers to a customer master key that does not exist, does not exist in this "
        "region, or you are not allowed to access.",
        Cause.KMS_RIGHT,
    ),
    ("KMS.DisabledException: arn:aws:kms:eu-central-1:1:key/7f3a is disabled.", Cause.KMS_KEY_DISABLED),
    ("KMS.KMSInvalidStateException: arn:… is pending deletion.", Cause.KMS_KEY_DISABLED),
    ("KMS.NotFoundException: Key 'arn:…' does not exist", Cause.KMS_NO_SUCH_KEY),
    (f"AccessDenied: {USER} sts:AssumeRole {ROLE}", Cause.CANNOT_ASSUME),
    (f"AccessDenied: {USER} sts:AssumeRole {ROLE} because no identity-based policy allows it", Cause.CANNOT_ASSUME),
    (
        "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        "SHORT_SESSION",
    ),
    ("NoSuchBucket: The specified bucket does not exist", Cause.NO_SUCH_BUCKET),
    ("NoSuchKey: The specified key does not exist.", Cause.NO_SUCH_KEY),
    ("PermanentRedirect: The bucket you are attempting to access must be addressed …", Cause.WRONG_REGION),
    ("AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-west-1'", Cause.WRONG_REGION),
    ("AuthorizationHeaderMalformed: The authorization header is malformed", Cause.OTHER),
    ("InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", Cause.UNKNOWN_ACCESS_KEY),
    ("InvalidClientTokenId: The security token included in the request is invalid.", Cause.UNKNOWN_ACCESS_KEY),
    ("SignatureDoesNotMatch: The request signature we calculated does not match …", Cause.WRONG_SECRET),
    ("SignatureDoesNotMatch: Signature expired: 20260101T000000Z is now earlier than …", Cause.CLOCK_SKEW),
    ("ExpiredToken: The provided token has expired.", Cause.EXPIRED),
    ("RequestTimeTooSkewed: The difference between the request time and the current time is too large.", "CLOCK_SKEW"),
    ("InvalidObjectState: The operation is not valid for the object's storage class", Cause.ARCHIVED),
    ("SlowDown: Please reduce your request rate.", Cause.BUSY),
    ("AccessDenied: Access Denied", Cause.DENIED),
    ("An error occurred (AccessDenied) when calling the GetObject operation: Access Denied", Cause.DENIED),
]
# Failures that say nothing about a right.
NOT_ABOUT_RIGHTS = [
    ("InternalError: We encountered an internal error. Please try again.", Cause.UNAVAILABLE),
    ("ServiceUnavailable: Reduce your request rate.", Cause.UNAVAILABLE),
    ("An error occurred (InternalError) when calling the GetObject operation (reached max retries: 4)", "UNAVAILABLE"),
    ("AccountProblem: There is a problem with your AWS account that prevents the operation from completing", "ACCOUNT"),
    ("AllAccessDisabled: All access to this object has been disabled", Cause.ACCOUNT),
    ("<html><head><title>403 Forbidden</title></head>", Cause.NOT_AWS),
    ("<!DOCTYPE HTML><h1>Sign in to the proxy</h1>", Cause.NOT_AWS),
    (
        "InvalidRequest: The object was stored using a form of Server Side Encryption. The correct parameters must be "
        "provided to retrieve the object.",
        Cause.CUSTOMER_KEY,
    ),
    ("AccessDenied: Access Denied because object protected by object lock.", Cause.OBJECT_LOCK),
    ("NoSuchThing: the file AccessDenied.jpg is not there", Cause.OTHER),
    ("NoSuchThing: s3://acme/SlowDown/a.jpg cannot be had", Cause.OTHER),
    ("InvalidToken: The provided token is malformed or otherwise invalid.", Cause.INVALID_TOKEN),
    ("RegionDisabledException: STS is not activated in this region for account: 123456789012.", "REGION_NOT_ENABLED"),
    ("OptInRequired: You are not subscribed to this service.", Cause.REGION_NOT_ENABLED),
    ("Unable to parse response (syntax error: line 1, column 0), invalid XML received", Cause.NOT_AWS),
    ("MalformedXML: The XML you provided was not well-formed", Cause.OTHER),
    ("something that nobody has seen before", Cause.OTHER),
]


def cause_named(cause: Cause | str) -> Cause:
    return cause if isinstance(cause, Cause) else Cause[cause]


@pytest.mark.parametrize(("text", "cause"), [*WORDS, *NOT_ABOUT_RIGHTS])
def test_each_of_awss_wordings_has_its_cause(text: str, cause: Cause | str) -> None:
    assert read_text(text).cause is cause_named(cause)


@pytest.mark.parametrize(("text", "cause"), NOT_ABOUT_RIGHTS)
def test_a_failure_that_is_not_about_rights_gets_a_sentence_and_no_statement(text: str, cause: Cause | str) -> None:
    remedy = remedy_for(read_text(text), [Permission.READ], TARGET)
    assert remedy.texts
    assert not remedy.changes_policies
    assert remedy.commands == ()


@pytest.mark.parametrize("cause", list(Cause))
def test_each_cause_has_an_answer(cause: Cause) -> None:
    assert remedy_for(Failure(cause), list(Permission), TARGET).lines()


@pytest.mark.parametrize(
    "name",
    [
        "because no service control policy allows.jpg",
        'a" because no service control policy allows it.jpg',
        "with an explicit deny in a session policy: arn:aws:iam::1:policy/x.jpg",
        "request time and the current time.jpg",
        "<html>.jpg",
        "The specified bucket does not exist; expecting 'eu-west-1'.jpg",
        "two\nlines.jpg",
        "security token included in the request is expired" + "x" * 600,
    ],
)
def test_the_name_of_an_object_is_not_read_as_aws_words(name: str) -> None:
    resource = f"arn:aws:s3:::acme/raw/{name}"
    text = (
        f'{USER} s3:GetObject on resource: "{resource}" because no identity-based policy allows the s3:GetObject action'
    )
    failure = classify("AccessDenied", text)
    assert (failure.cause, failure.resource, failure.policy_arn) == (Cause.MISSING_ALLOW, resource, None)


def test_who_what_and_where_are_read_where_aws_says_it() -> None:
    failure = read_text(WORDS[0][0])
    assert failure.action == "s3:GetObject"
    assert failure.resource == "arn:aws:s3:::acme/raw/a.jpg"
    assert failure.principal == "arn:aws:iam::123456789012:user/lightly"
    assert failure.code == "AccessDenied"


@pytest.mark.parametrize(
    ("kind", "arn", "cause"),
    [
        ("an identity-based policy", "arn:aws:iam::123456789012:policy/stop", "EXPLICIT_DENY"),
        ("a permissions boundary", "arn:aws:iam::123456789012:policy/path/limit", "BOUNDARY"),
        (
            "a service control policy",
            "arn:aws:organizations::987654321098:policy/o-qv5af4abcd/service_control_policy/p-2kgnabcd",
            "ORGANIZATION",
        ),
        ("a session policy", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "SESSION_POLICY"),
    ],
)
@pytest.mark.parametrize("end", ["", ".", " (Service: S3, Status Code: 403)"])
def test_the_policy_that_denies_is_read_where_aws_names_it(kind: str, arn: str, cause: str, end: str) -> None:
    text = f"AccessDenied: {USER} s3:GetObject {OBJECT} with an explicit deny in {kind}"
    named, unnamed = read_text(f"{text}: {arn}{end}"), read_text(f"{text}{end}")
    assert (named.cause, named.policy_arn, named.resource) == (Cause[cause], arn, "arn:aws:s3:::acme/raw/a.jpg")
    assert (unnamed.cause, unnamed.policy_arn) == (Cause[cause], None)
    assert any(arn in line for line in remedy_for(named, [Permission.READ], TARGET).lines()) or cause == "BOUNDARY"


def test_the_right_region_is_read_from_the_text_or_from_the_header() -> None:
    assert read_text("AuthorizationHeaderMalformed: …; expecting 'eu-west-1'").region == "eu-west-1"
    assert classify("PermanentRedirect", "…", region="eu-west-3").region == "eu-west-3"


@pytest.mark.parametrize("text", [WORDS[0][0], "AccessDenied: Access Denied"])
def test_while_list_is_denied_a_403_may_hide_a_missing_object(text: str) -> None:
    assert read_text(text, list_denied=True).cause is Cause.HIDDEN


@pytest.mark.parametrize("text", [text for text, _ in WORDS if "explicit deny" in text])
def test_an_explicit_deny_is_never_transient(text: str) -> None:
    assert not read_text(text).is_transient


@pytest.mark.parametrize(
    "cause", ["MISSING_ALLOW", "DENIED", "KMS_RIGHT", "KMS_KEY_POLICY", "UNKNOWN_ACCESS_KEY", "CANNOT_ASSUME"]
)
def test_what_was_granted_a_moment_ago_is_transient(cause: str) -> None:
    (text, *_) = [text for text, found in WORDS if cause_named(found) is Cause[cause] and "explicit" not in text]
    assert read_text(text).is_transient


@pytest.mark.parametrize(("status", "cause"), [("500", "UNAVAILABLE"), ("503", "UNAVAILABLE"), ("429", "BUSY")])
def test_a_failure_on_awss_side_is_transient(status: str, cause: str) -> None:
    assert read_text("ServiceUnavailable: try again").is_transient
    failure = classify(status, "")
    assert (failure.cause, failure.is_transient) == (Cause[cause], True)


def raised(code: str, message: str = "", **headers: str) -> Exception:
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPHeaders": headers}}
    return ClientError(answer, "GetObject")


def test_a_status_without_the_id_of_an_aws_request_is_no_answer_of_awss() -> None:
    """A proxy's page: botocore finds no XML, and puts the HTTP status in the place of the code."""
    assert failure_of(raised("403", "Forbidden", server="nginx")).cause is Cause.NOT_AWS
    assert failure_of(raised("407", "Proxy Authentication Required")).cause is Cause.NOT_AWS
    assert failure_of(raised("403", "Forbidden", **{"x-amz-request-id": "4442587FB7D0A2F9"})).cause is Cause.DENIED
    assert failure_of(raised("AccessDenied", "Access Denied")).cause is Cause.DENIED
    assert failure_of(raised("503", "Service Unavailable", server="nginx")).cause is Cause.UNAVAILABLE


def test_an_answer_that_cannot_be_parsed_is_not_awss() -> None:
    from botocore.parsers import ResponseParserError

    assert failure_of(ResponseParserError("invalid XML received: <html>secret</html>")).cause is Cause.NOT_AWS


def test_a_failure_without_an_answer_says_its_kind_only() -> None:
    failure = failure_of(ConnectionError("http://user:secret@proxy:3128"))
    assert (failure.cause, failure.text) == (Cause.NO_ANSWER, "ConnectionError")


def test_a_page_for_a_text_is_cut() -> None:
    assert len(read_text("<html> " * 10_000).text) <= 500
