"""
Why an AWS request failed: one row per cause, with everything this package knows about it. Pure.

Sources: AWS docs, "Error responses" of the S3 API; "Troubleshoot access denied error messages" of the IAM user
guide, for the wording; "AssumeRole" of the STS API; "Using server-side encryption with AWS KMS keys" of the S3
user guide; "Changes that I make are not always immediately visible" of the IAM user guide, for what is transient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID
from lightly_provider.diagnosis import remedies
from lightly_provider.diagnosis.remedies import outer_policy, sentence
from lightly_provider.diagnosis.target import PolicyOf

if TYPE_CHECKING:
    from lightly_provider.diagnosis.error_text import ErrorText
    from lightly_provider.diagnosis.remedies import RemedyOf


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    What is known about a cause.

    :param remedy: Builds the remedy.
    :param codes: AWS error codes that identify the cause.
    :param wordings: Patterns of AWS's text, code included, that identify the cause whatever the code is.
    :param denies: The types of policies, in AWS's words, whose explicit deny is the cause ("with an explicit deny in
        a …").
    :param lacks: The types of policies whose missing Allow is the cause ("because no … allows").
    :param actions: A pattern of the actions to which this row applies; empty: any action, but the action alone never
        identifies the cause.
    :param is_transient: Whether it may pass by itself, for example because a permission was granted a moment ago.
    :param is_about_rights: Whether S3 denied the request because an IAM statement that allows it is missing.
    :param says_nothing: Whether it proves nothing about the permission, for example because there was no response.
    :param traced_in: Whose policies to read to find the responsible statement; None: there is none to find.
    """

    remedy: RemedyOf
    codes: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()
    denies: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    actions: str = ""
    is_transient: bool = False
    is_about_rights: bool = False
    says_nothing: bool = False
    traced_in: PolicyOf | None = None


class Cause(StrEnum):
    """Why an AWS request failed. Add a new cause here, and nowhere else."""

    row: Row

    def __new__(cls, text: str, row: Row) -> Cause:
        """Create a member whose value is its text, with the row as an attribute."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.row = row
        return member

    NO_SUCH_BUCKET = (
        "no such bucket",
        Row(
            remedy=remedies.no_such_bucket,
            codes=("NoSuchBucket", "404"),
            wordings=("specified bucket does not exist",),
        ),
    )
    WRONG_REGION = (
        "wrong region",
        Row(
            remedy=remedies.region,
            codes=("PermanentRedirect", "TemporaryRedirect", "301", "307", "IllegalLocationConstraintException"),
            wordings=(r"^Authorization(HeaderMalformed|QueryParametersError)\b.*region", r"; expecting '[a-z0-9-]+'"),
        ),
    )
    NO_SUCH_KEY = (
        "no such object",
        Row(
            remedy=sentence("The object is not there (any more); nothing is missing in the policies."),
            codes=("NoSuchKey",),
        ),
    )
    MISSING_ALLOW = (
        "no policy allows it",
        Row(
            remedy=remedies.grant,
            lacks=("identity-based policy",),
            actions=r".+",
            is_transient=True,
            is_about_rights=True,
        ),
    )
    DENIED = (
        "denied without a reason",
        Row(
            remedy=remedies.grant,
            codes=("AccessDenied", "AccessDeniedException", "403", "Forbidden"),
            is_transient=True,
            is_about_rights=True,
        ),
    )
    HIDDEN = (
        "denied or missing, as list is denied",
        Row(remedy=remedies.grant, is_transient=True, is_about_rights=True),
    )
    EXPLICIT_DENY = (
        "explicit deny in the identity's policy",
        Row(
            remedy=remedies.explicit_deny(PolicyOf.IDENTITY),
            denies=("identity-based policy",),
            traced_in=PolicyOf.IDENTITY,
        ),
    )
    BUCKET_POLICY = (
        "explicit deny in the bucket policy",
        Row(
            remedy=remedies.explicit_deny(PolicyOf.BUCKET), denies=("resource-based policy",), traced_in=PolicyOf.BUCKET
        ),
    )
    BUCKET_POLICY_ALLOW = (
        "no bucket policy allows it",
        Row(
            remedy=remedies.grant_from_both_sides,
            lacks=("resource-based policy",),
            is_transient=True,
            is_about_rights=True,
        ),
    )
    BOUNDARY = (
        "permissions boundary",
        Row(
            remedy=remedies.boundary,
            denies=("permissions boundary",),
            lacks=("permissions boundary",),
            traced_in=PolicyOf.BOUNDARY,
        ),
    )
    ORGANIZATION = (
        "organization's policy",
        Row(
            remedy=outer_policy("organization's policy", "the organization's administrators"),
            denies=("service control policy", "resource control policy"),
            lacks=("service control policy", "resource control policy"),
        ),
    )
    SESSION_POLICY = (
        "session policy",
        Row(
            remedy=outer_policy("session policy", "whoever starts the session"),
            denies=("session policy",),
            lacks=("session policy",),
        ),
    )
    VPC_ENDPOINT = (
        "VPC endpoint's policy",
        Row(
            remedy=outer_policy("VPC endpoint's policy", "the owner of the VPC endpoint"),
            denies=("VPC endpoint policy",),
            lacks=("VPC endpoint policy",),
        ),
    )
    SOURCE_RESTRICTED = (
        "bound to a network",
        Row(
            remedy=sentence(
                "The same access works from this worker, so a condition on the network (aws:SourceIp, aws:SourceVpc) "
                "is likely: open the location to Lightly, or run the Lightly Worker inside with "
                'worker_config={"datasource": {"bypass_verify": True}} and verify with bypass_verify=True.'
            )
        ),
    )
    KMS_RIGHT = (
        "no right on the KMS key",
        Row(
            remedy=remedies.kms_right,
            # S3 returns this text, which names no policy, when the caller has no permission on the key at all.
            wordings=(r"ciphertext refers to a (?:customer master|KMS) key",),
            lacks=("identity-based policy",),
            actions=r"kms:.+",
            is_transient=True,
        ),
    )
    KMS_KEY_POLICY = (
        "the KMS key's own policy",
        Row(
            remedy=remedies.kms_key_policy,
            denies=("resource-based policy",),
            lacks=("resource-based policy",),
            actions=r"kms:.+",
            is_transient=True,
            traced_in=PolicyOf.KEY,
        ),
    )
    KMS_KEY_DISABLED = (
        "the KMS key is disabled",
        Row(remedy=remedies.disabled_key, codes=("KMS.DisabledException", "KMS.KMSInvalidStateException")),
    )
    KMS_NO_SUCH_KEY = (
        "no such KMS key",
        Row(
            remedy=sentence(
                "There is no such KMS key in the bucket's region: configure the datasource with the ARN of a key that "
                "is there."
            ),
            codes=("KMS.NotFoundException", "KMS.InvalidKeyUsageException"),
        ),
    )
    CUSTOMER_KEY = (
        "encrypted with a key of the customer's (SSE-C)",
        Row(
            remedy=sentence(
                "The object is encrypted with a key that each request must bring (SSE-C), and Lightly has no field for "
                "one: store it with S3's own encryption or with AWS KMS."
            ),
            wordings=(r"stored using a form of Server Side Encryption",),
        ),
    )
    UNKNOWN_ACCESS_KEY = (
        "unknown or inactive access key",
        Row(
            remedy=remedies.access_key,
            codes=("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
            wordings=("security token included in the request is invalid",),
            is_transient=True,
            # This looks up the key's owner; it reads no policy.
        ),
    )
    WRONG_SECRET = (
        "wrong secret access key",
        Row(
            remedy=sentence(
                "The secret access key does not belong to the access key: correct the AWS connection, and configure "
                "the datasource again."
            ),
            codes=("SignatureDoesNotMatch",),
            wordings=("request signature we calculated",),
        ),
    )
    EXPIRED = (
        "expired credentials",
        Row(
            remedy=sentence(
                "The credentials have expired: put the long-lived key of an IAM user, or a role with an external ID, "
                "into the AWS connection, and configure the datasource again."
            ),
            codes=("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
            wordings=("security token included in the request is expired", "Request has expired"),
        ),
    )
    INVALID_TOKEN = (
        "the session token is refused",
        Row(
            remedy=sentence(
                "S3 refuses the session's token. In a region that must be enabled first (opt-in), enable the region in "
                "the account of the bucket and in that of the role; else use a new session."
            ),
            codes=("InvalidToken",),
        ),
    )
    REGION_NOT_ENABLED = (
        "the region is not enabled in the account",
        Row(
            remedy=sentence(
                "The bucket's region must be enabled first (opt-in): enable it in the account of the bucket and in "
                "that of the user or role (aws account enable-region), or use a bucket in another region."
            ),
            codes=("RegionDisabledException", "RegionDisabled", "OptInRequired"),
            wordings=(r"STS is not activated in (?:this|the requested) region", r"region is not enabled"),
        ),
    )
    ACCOUNT = (
        "a problem with the AWS account",
        Row(
            remedy=sentence(
                "AWS refuses the account itself (not signed up, suspended, or its opt-in region not enabled): its "
                "owner must ask AWS Support; nothing is missing in the policies."
            ),
            codes=("AccountProblem", "AllAccessDisabled", "NotSignedUp", "SubscriptionRequiredException"),
        ),
    )
    CLOCK_SKEW = (
        "clock skew",
        Row(
            remedy=sentence(
                "The clock of the machine that asked differs from AWS's by more than 15 minutes: set it by NTP."
            ),
            codes=("RequestTimeTooSkewed", "RequestExpired"),
            # All services except S3 return this text with the code of a wrong secret (AWS docs: IAM user guide,
            # "Troubleshoot Signature Version 4 signing for AWS API requests").
            wordings=("Signature expired: ", "Signature not yet current: ", "request time and the current time"),
        ),
    )
    CANNOT_ASSUME = (
        "the role cannot be assumed",
        Row(
            remedy=remedies.trust(
                "Lightly cannot assume the role: the role must exist, and its trust policy must let the account "
                f"{LIGHTLY_ACCOUNT_ID} do sts:AssumeRole with exactly this external ID."
            ),
            actions=r"sts:AssumeRole",
            denies=("",),
            lacks=("",),
            is_transient=True,
        ),
    )
    NO_SUCH_ROLE = (
        "no such role",
        Row(
            remedy=sentence(
                "The role does not exist: check its ARN, or create it, and configure the datasource again with its ARN."
            ),
            codes=("NoSuchEntity",),
        ),
    )
    TRUST_POLICY = (
        "trust policy without Lightly's account",
        Row(remedy=remedies.trust(f"The role's trust policy does not let Lightly's account {LIGHTLY_ACCOUNT_ID} in.")),
    )
    TRUST_DENIED = (
        "the trust policy denies Lightly's account",
        Row(
            remedy=sentence(
                "A statement with Effect Deny in the role's trust policy covers Lightly's account, and others: it "
                f"stays, and its owner may except account {LIGHTLY_ACCOUNT_ID} by one more condition: "
                f'"StringNotEquals":{{"aws:PrincipalAccount":"{LIGHTLY_ACCOUNT_ID}"}}.'
            )
        ),
    )
    WRONG_EXTERNAL_ID = (
        "wrong external ID",
        Row(
            remedy=remedies.trust(
                "The external ID in the role's trust policy is not the datasource's: write the same into both."
            )
        ),
    )
    NO_EXTERNAL_ID = (
        "trust policy without an external ID",
        Row(
            remedy=remedies.trust(
                "The role must ask for the external ID, or any other customer of Lightly could name it."
            )
        ),
    )
    SHORT_SESSION = (
        "short session",
        Row(
            remedy=remedies.session,
            wordings=(r"MaxSessionDuration|DurationSeconds exceeds",),
            is_transient=True,
        ),
    )
    REQUESTER_PAYS = ("requester pays", Row(remedy=remedies.payer))
    ARCHIVED = (
        "archived object",
        Row(
            remedy=sentence(
                "The object lies in an archive (Glacier): restore it, or point the datasource at files that are not "
                "archived."
            ),
            codes=("InvalidObjectState",),
        ),
    )
    OBJECT_LOCK = (
        "protected by Object Lock",
        Row(
            remedy=sentence(
                "The object is under Object Lock, so nobody may delete this version before its retention ends: point "
                "Lightly's output at a location without Object Lock."
            ),
            wordings=(r"protected by object lock",),
        ),
    )
    ENDPOINT = (
        "S3-compatible endpoint",
        Row(
            remedy=sentence(
                "Lightly reaches AWS's own S3 only, and has no field for another endpoint: use a bucket in AWS S3."
            )
        ),
    )
    PARTITION = (
        "another AWS partition",
        Row(
            remedy=sentence(
                "Use the key of an IAM user without a KMS key, or a bucket in a region of the partition 'aws'."
            )
        ),
    )
    NOT_AWS = (
        "an answer that is not AWS's",
        Row(
            remedy=sentence(
                "Something else than AWS answered, as a proxy, a firewall or a login page does: check the proxy and "
                "the endpoint of whoever asked; nothing is known of the permissions."
            ),
            codes=("ResponseParserError",),
            wordings=(r"(?i)<!doctype html|<html", "Unable to parse response", "invalid XML received"),
            says_nothing=True,
        ),
    )
    NO_ANSWER = (
        "no answer",
        Row(
            remedy=sentence("AWS did not answer: check the network, the proxy and the endpoint of the AWS connection."),
            is_transient=True,
            says_nothing=True,
        ),
    )
    BUSY = (
        "too many requests",
        Row(
            remedy=sentence("AWS answers that there are too many requests: try again later."),
            codes=(
                *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"),
                *("429", "KMS.ThrottlingException"),
            ),
            is_transient=True,
            says_nothing=True,
        ),
    )
    UNAVAILABLE = (
        "AWS is unavailable",
        Row(
            remedy=sentence("AWS failed on its own side, which says nothing about the permissions: try again later."),
            codes=(
                *("InternalError", "InternalFailure", "ServiceUnavailable", "ServiceFailure", "ServiceException"),
                *("RequestTimeout", "KMSInternalException", "KMS.KMSInternalException", "500", "502", "503", "504"),
            ),
            is_transient=True,
            says_nothing=True,
        ),
    )
    OTHER = (
        "another failure",
        Row(
            remedy=sentence(
                "This failure is not known here, and need not be about permissions: look the code up in AWS's "
                "documentation of that operation."
            )
        ),
    )


def cause_of(error: ErrorText) -> Cause:
    """
    Return the cause of an error: by its wording, else its code, else the type of policy that it names, else its action.

    A message that names the action also has the object's name, which may be worded like anything, so only its form
    counts.

    :param error: The error that AWS returned.
    """
    for cause in Cause:
        if not error.action and any(re.search(pattern, error.text) for pattern in cause.row.wordings):
            return cause
    found = _by_policy(error)
    if found is None and error.code and error.code not in Cause.DENIED.row.codes:
        found = next((cause for cause in Cause if error.code in cause.row.codes), None)
    if found is None and error.action:
        found = next(cause for cause in _of_action(error.action) if cause.row.actions)
    if found is None:
        found = next((cause for cause in Cause if error.code in cause.row.codes), Cause.OTHER)
    return found


def _by_policy(error: ErrorText) -> Cause | None:
    if error.policy_kind is None:
        return None
    for cause in _of_action(error.action or "-"):
        kinds = cause.row.denies if error.explicit else cause.row.lacks
        if error.policy_kind in kinds or kinds == ("",):
            return cause
    return Cause.EXPLICIT_DENY if error.explicit else Cause.MISSING_ALLOW


def _of_action(action: str) -> list[Cause]:
    """Return the causes that apply to an action: first those specific to it, last those of any action."""
    own = [cause for cause in Cause if cause.row.actions not in ("", ".+") and re.fullmatch(cause.row.actions, action)]
    return [*own, *(cause for cause in Cause if cause.row.actions in ("", ".+") and cause not in own)]
