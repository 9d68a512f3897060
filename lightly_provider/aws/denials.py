"""What AWS's own words for a failure say must be done, where no IAM statement would help. Pure.

Sources: AWS docs, "Error responses" of the S3 API, and "AssumeRole" of the STS API.
"""

from __future__ import annotations

import re

from lightly_provider.aws.policies import LIGHTLY_ACCOUNT_ID

_ADVICE = {
    r"InvalidAccessKeyId|InvalidClientTokenId": (
        "The access key does not exist or is not active: put the IAM user's present key into the AWS connection, and "
        "configure the datasource again."
    ),
    r"SignatureDoesNotMatch": (
        "The secret access key does not belong to the access key: correct the AWS connection, and configure the "
        "datasource again."
    ),
    r"AssumeRole|MaxSessionDuration|DurationSeconds": (
        f"Lightly cannot assume the role: its trust policy must let the account {LIGHTLY_ACCOUNT_ID} do sts:AssumeRole "
        "with exactly this external ID, and its maximum session duration must be 12 hours."
    ),
    r"NoSuchBucket": "The bucket does not exist: check its name, or create it.",
    r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException": (
        "The bucket lies in another region: set the datasource's region to the bucket's own."
    ),
}


def advice_for(error: str | None) -> str | None:
    """
    What to do about a failure that is no missing IAM permission.

    :param error: AWS's text, with its error code somewhere in it; None if there is none.
    :return: A sentence; None if a missing permission is the likely cause.
    """
    for codes, advice in _ADVICE.items():
        if error and re.search(rf"\b(?:{codes})\b", error):
            return advice
    return None
