"""AWS's words for failures that no IAM statement cures."""

from __future__ import annotations

import pytest

from lightly_provider.aws.denials import advice_for


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", "present key"),
        ("InvalidClientTokenId: The security token included in the request is invalid.", "present key"),
        ("SignatureDoesNotMatch: The request signature we calculated does not match.", "secret access key"),
        (
            "AccessDenied: User: arn:aws:iam::916419735646:user/x is not authorized to perform: sts:AssumeRole on "
            "resource: arn:aws:iam::123456789012:role/y",
            "trust policy",
        ),
        (
            "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            "12 hours",
        ),
        ("NoSuchBucket: The specified bucket does not exist", "bucket does not exist"),
        ("AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-west-1'", "another region"),
    ],
)
def test_a_failure_that_no_statement_cures_gets_its_own_advice(error: str, said: str) -> None:
    assert said in str(advice_for(error))


@pytest.mark.parametrize(
    "error",
    [
        None,
        "",
        "AccessDenied: Access Denied",
        "AccessDenied: … is not authorized to perform: s3:PutObject because no identity-based policy allows it",
        "KMS.DisabledException: the key is disabled",
    ],
)
def test_a_missing_permission_gets_none_as_the_statement_is_the_advice(error: str | None) -> None:
    assert advice_for(error) is None
