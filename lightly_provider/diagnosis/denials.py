"""
What AWS's own words for a failure mean: an error code and a message in, a cause out. Pure.

Sources: AWS docs, "Error responses" of the S3 API; "Troubleshoot access denied error messages" of the IAM user
guide, for the wording; "AssumeRole" of the STS API; "Using server-side encryption with AWS KMS keys" of the S3
user guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_SHOWN_CHARACTERS = 500


class Cause(StrEnum):
    """Why AWS did not do what was asked."""

    NO_SUCH_BUCKET = "no such bucket"
    WRONG_REGION = "wrong region"
    NO_SUCH_KEY = "no such object"
    MISSING_ALLOW = "no policy allows it"
    DENIED = "denied without a reason"
    HIDDEN = "denied or missing, as list is denied"
    EXPLICIT_DENY = "explicit deny in the identity's policy"
    BUCKET_POLICY = "explicit deny in the bucket policy"
    BUCKET_POLICY_ALLOW = "no bucket policy allows it"
    BOUNDARY = "permissions boundary"
    ORGANIZATION = "organization's policy"
    SESSION_POLICY = "session policy"
    VPC_ENDPOINT = "VPC endpoint's policy"
    SOURCE_RESTRICTED = "bound to a network"
    KMS_RIGHT = "no right on the KMS key"
    KMS_KEY_POLICY = "the KMS key's own policy"
    KMS_KEY_DISABLED = "the KMS key is disabled"
    KMS_NO_SUCH_KEY = "no such KMS key"
    UNKNOWN_ACCESS_KEY = "unknown or inactive access key"
    WRONG_SECRET = "wrong secret access key"  # noqa: S105  (no password)
    EXPIRED = "expired credentials"
    CLOCK_SKEW = "clock skew"
    CANNOT_ASSUME = "the role cannot be assumed"
    NO_SUCH_ROLE = "no such role"
    TRUST_POLICY = "trust policy without Lightly's account"
    WRONG_EXTERNAL_ID = "wrong external ID"
    SHORT_SESSION = "short session"
    REQUESTER_PAYS = "requester pays"
    ARCHIVED = "archived object"
    ENDPOINT = "S3-compatible endpoint"
    PARTITION = "another AWS partition"
    NO_ANSWER = "no answer"
    BUSY = "too many requests"
    OTHER = "another failure"


# A right that was granted a moment ago is denied in these ways until it is known everywhere (AWS docs: IAM,
# troubleshooting, "Changes that I make are not always immediately visible").
_MAY_PASS = frozenset(
    {
        Cause.MISSING_ALLOW,
        Cause.DENIED,
        Cause.HIDDEN,
        Cause.BUCKET_POLICY_ALLOW,
        Cause.KMS_RIGHT,
        Cause.KMS_KEY_POLICY,
        Cause.UNKNOWN_ACCESS_KEY,
        Cause.CANNOT_ASSUME,
        Cause.SHORT_SESSION,
    }
)
# Of these an IAM statement is the cure, so that a permission's own light says something about the permission.
_ABOUT_RIGHTS = frozenset({Cause.MISSING_ALLOW, Cause.DENIED, Cause.HIDDEN, Cause.BUCKET_POLICY_ALLOW})


@dataclass(frozen=True)
class Denial:
    """
    A failure of AWS, read.

    :param cause: Why.
    :param code: AWS's error code, e.g. ``AccessDenied``; empty if there is none.
    :param text: AWS's words with the code, in one line and not too long.
    :param action: The action that was denied, e.g. ``s3:GetObject``; None if AWS did not say.
    :param resource: The ARN that it was denied on; None if AWS did not say.
    :param principal: The ARN of who was denied; None if AWS did not say.
    :param region: The bucket's own region, where AWS told it; None otherwise.
    :param explicit: Whether some policy denies it, rather than none allowing it.
    """

    cause: Cause
    code: str = ""
    text: str = ""
    action: str | None = None
    resource: str | None = None
    principal: str | None = None
    region: str | None = None
    explicit: bool = False

    @property
    def may_pass(self) -> bool:
        """Whether waiting may help, as for a right that was granted a moment ago. Never on an explicit deny."""
        return self.cause in _MAY_PASS and not self.explicit

    @property
    def is_about_rights(self) -> bool:
        """Whether S3 denied this for want of a right, and not for what would make any request fail."""
        return self.cause in _ABOUT_RIGHTS

    @property
    def is_refusal(self) -> bool:
        """Whether AWS refused what was asked, rather than failing at it or not having it."""
        return self.code in _DENIAL_CODES


_BY_CODE = {
    "NoSuchBucket": Cause.NO_SUCH_BUCKET,
    "NoSuchKey": Cause.NO_SUCH_KEY,
    "PermanentRedirect": Cause.WRONG_REGION,
    "TemporaryRedirect": Cause.WRONG_REGION,
    "AuthorizationHeaderMalformed": Cause.WRONG_REGION,
    "AuthorizationQueryParametersError": Cause.WRONG_REGION,
    "IllegalLocationConstraintException": Cause.WRONG_REGION,
    "InvalidAccessKeyId": Cause.UNKNOWN_ACCESS_KEY,
    "InvalidClientTokenId": Cause.UNKNOWN_ACCESS_KEY,
    "UnrecognizedClientException": Cause.UNKNOWN_ACCESS_KEY,
    "SignatureDoesNotMatch": Cause.WRONG_SECRET,
    "ExpiredToken": Cause.EXPIRED,
    "ExpiredTokenException": Cause.EXPIRED,
    "TokenRefreshRequired": Cause.EXPIRED,
    "InvalidToken": Cause.EXPIRED,
    "RequestTimeTooSkewed": Cause.CLOCK_SKEW,
    "RequestExpired": Cause.CLOCK_SKEW,
    "InvalidObjectState": Cause.ARCHIVED,
    "KMS.DisabledException": Cause.KMS_KEY_DISABLED,
    "KMS.KMSInvalidStateException": Cause.KMS_KEY_DISABLED,
    "KMS.NotFoundException": Cause.KMS_NO_SUCH_KEY,
    "KMS.InvalidKeyUsageException": Cause.KMS_NO_SUCH_KEY,
    "NoSuchEntity": Cause.NO_SUCH_ROLE,
    "SlowDown": Cause.BUSY,
    "Throttling": Cause.BUSY,
    "ThrottlingException": Cause.BUSY,
    "RequestLimitExceeded": Cause.BUSY,
}
# All services but S3 say so under the code of a wrong secret (AWS docs: IAM user guide, "Troubleshoot Signature
# Version 4 signing for AWS API requests").
_CLOCK = re.compile(r"Signature expired: |Signature not yet current: |request time and the current time")
_BY_TEXT = {
    r"MaxSessionDuration|DurationSeconds exceeds": Cause.SHORT_SESSION,
    r"security token included in the request is expired|Request has expired": Cause.EXPIRED,
    # S3 says so without naming a policy when who asks has no right on the key at all.
    r"ciphertext refers to a (?:customer master|KMS) key": Cause.KMS_RIGHT,
    r"request signature we calculated": Cause.WRONG_SECRET,
    r"specified bucket does not exist": Cause.NO_SUCH_BUCKET,
    r"security token included in the request is invalid": Cause.UNKNOWN_ACCESS_KEY,
}
# What AWS calls the kinds of policies, in "with an explicit deny in a …" and "because no … allows".
_BY_POLICY = {
    "identity-based policy": (Cause.EXPLICIT_DENY, Cause.MISSING_ALLOW),
    "resource-based policy": (Cause.BUCKET_POLICY, Cause.BUCKET_POLICY_ALLOW),
    "permissions boundary": (Cause.BOUNDARY, Cause.BOUNDARY),
    "service control policy": (Cause.ORGANIZATION, Cause.ORGANIZATION),
    "resource control policy": (Cause.ORGANIZATION, Cause.ORGANIZATION),
    "session policy": (Cause.SESSION_POLICY, Cause.SESSION_POLICY),
    "VPC endpoint policy": (Cause.VPC_ENDPOINT, Cause.VPC_ENDPOINT),
}
_DENIAL_CODES = frozenset({"AccessDenied", "AccessDeniedException", "403", "Forbidden", "AllAccessDisabled"})
_WHO = re.compile(
    r"(?:User: (?P<principal>arn:\S+) )?is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on (?:the )?resource: \"?(?P<resource>[^\s\"]+)\"?)?"
)
_EXPLICIT = re.compile(r"with an explicit deny in an? (?P<policy>[\w -]*(?:policy|boundary))")
_IMPLICIT = re.compile(r"because no (?P<policy>[\w -]*?(?:policy|boundary)) allows")
_KMS_KEY = re.compile(r"arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+")
_EXPECTED_REGION = re.compile(r"expecting '([a-z0-9-]+)'")


def classify(code: str, message: str, *, region: str | None = None, list_denied: bool = False) -> Denial:
    """
    Read one failure.

    :param code: AWS's error code, or the HTTP status as text where there is none, as with HEAD.
    :param message: Its message.
    :param region: The bucket's own region as a header of the answer gave it; None if none did.
    :param list_denied: Whether listing the place is denied as well: S3 then says 403 for a missing object too.
    """
    text = " ".join(f"{code}: {message}".split() if code else message.split())[:_SHOWN_CHARACTERS].rstrip(".")
    who = _WHO.search(message)
    action = who["action"] if who else None
    explicit = _EXPLICIT.search(message)
    cause = _cause(code, message, action)
    if cause in _ABOUT_RIGHTS and list_denied and action in (None, "s3:ListBucket", "s3:GetObject"):
        cause = Cause.HIDDEN
    expected = _EXPECTED_REGION.search(message)
    key = _KMS_KEY.search(message)
    resource = who["resource"].rstrip(".") if who and who["resource"] else None
    return Denial(
        cause=cause,
        code=code,
        text=text,
        action=action,
        resource=resource or (key[0] if key else None),
        principal=who["principal"] if who else None,
        region=region or (expected[1] if expected else None),
        explicit=explicit is not None,
    )


def read_text(text: str, *, list_denied: bool = False) -> Denial:
    """
    Read a failure that somebody passed on as text.

    :param text: Anything that holds AWS's words, with or without the error code before them.
    :param list_denied: See :func:`classify`.
    """
    words = " ".join(text.split())
    known = [*_BY_CODE, *_DENIAL_CODES - {"403"}]
    found = re.search(rf"(?<![\w.])({'|'.join(map(re.escape, known))})(?!\w)[):\s]*", words)
    code = found[1] if found else ""
    message = words[found.end() :] if found and found.start() == 0 else words
    denial = classify(code, message, list_denied=list_denied)
    return Denial(**{**denial.__dict__, "text": words[:_SHOWN_CHARACTERS].rstrip(".")})


def denial_of(failure: Exception, *, list_denied: bool = False) -> Denial:
    """
    Read what botocore raised.

    :param failure: A ``ClientError``, which has AWS's answer; anything else means that there was none.
    :param list_denied: See :func:`classify`.
    """
    response = getattr(failure, "response", None)
    if not isinstance(response, dict):
        # Its class says what failed (EndpointConnectionError, SSLError); its text may hold a proxy's address.
        return Denial(Cause.NO_ANSWER, text=type(failure).__name__)
    error = response.get("Error", {})
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    told = error.get("Region") or headers.get("x-amz-bucket-region")
    return classify(
        str(error.get("Code", "")), str(error.get("Message", "")), region=told or None, list_denied=list_denied
    )


def _cause(code: str, message: str, action: str | None) -> Cause:
    if code == "AuthorizationHeaderMalformed" and "region" not in message:
        return Cause.OTHER
    if _CLOCK.search(message):
        return Cause.CLOCK_SKEW
    if code in _BY_CODE:
        return _BY_CODE[code]
    for pattern, cause in _BY_TEXT.items():
        if re.search(pattern, message):
            return cause
    if action == "sts:AssumeRole":
        return Cause.CANNOT_ASSUME
    explicit, implicit = _EXPLICIT.search(message), _IMPLICIT.search(message)
    named = explicit or implicit
    if named:
        causes = _BY_POLICY.get(named["policy"].strip(), (Cause.EXPLICIT_DENY, Cause.MISSING_ALLOW))
        cause = causes[0 if explicit else 1]
        if action and action.startswith("kms:"):
            return {
                Cause.MISSING_ALLOW: Cause.KMS_RIGHT,
                Cause.BUCKET_POLICY: Cause.KMS_KEY_POLICY,
                Cause.BUCKET_POLICY_ALLOW: Cause.KMS_KEY_POLICY,
            }.get(cause, cause)
        return cause
    if action and action.startswith("kms:"):
        return Cause.KMS_RIGHT
    if action:
        return Cause.MISSING_ALLOW
    if code in _DENIAL_CODES:
        return Cause.DENIED
    return Cause.NO_SUCH_BUCKET if code == "404" else Cause.OTHER
