"""
An error of AWS as AWS words it: who was denied what, on what, and by which policy. Pure; it knows no cause.

Sources: AWS docs, "Troubleshoot access denied error messages" of the IAM user guide; AWS security blog, "Enhanced
access denied error messages with policy ARNs": within one account or organization the message ends with the
denying policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHOWN_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True)
class ErrorText:
    """
    What AWS said.

    :param code: AWS's error code, e.g. ``AccessDenied``, or the HTTP status where there is none, as with HEAD.
    :param text: AWS's words with the code, in one line and not too long.
    :param action: The action that was denied, e.g. ``s3:GetObject``; None if AWS did not say.
    :param resource: The ARN that it was denied on; None if AWS did not say.
    :param principal: The ARN of who was denied; None if AWS did not say.
    :param region: The bucket's own region, where AWS named it; None otherwise.
    :param explicit: Whether some policy denies it, rather than none allowing it.
    :param policy_kind: What AWS calls the kind of policy that denies it or lacks an Allow; None if it did not say.
    :param policy_arn: The ARN of the policy that denies it; None if AWS did not name one.
    """

    code: str = ""
    text: str = ""
    action: str | None = None
    resource: str | None = None
    principal: str | None = None
    region: str | None = None
    explicit: bool = False
    policy_kind: str | None = None
    policy_arn: str | None = None


_WHO = re.compile(
    r"(?:User: (?P<principal>arn:\S+) )?is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on (?:the )?resource: \"?(?P<resource>[^\s\"]+)\"?)?"
)
_EXPLICIT = re.compile(
    r"with an explicit deny in an? (?P<kind>[\w -]*?(?:policy|boundary))\b(?:: (?P<arn>arn:[\w-]+:[^\s\",;)]+))?"
)
_IMPLICIT = re.compile(r"because no (?P<kind>[\w -]*?(?:policy|boundary)) allows")
_KMS_KEY = re.compile(r"arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+")
_EXPECTED_REGION = re.compile(r"expecting '([a-z0-9-]+)'")


def read_error(code: str, message: str, *, region: str | None = None) -> ErrorText:
    """
    Read one error.

    :param code: AWS's error code, or the HTTP status as text where there is none.
    :param message: Its message.
    :param region: The bucket's own region as a header of the answer named it; None if none did.
    """
    who, explicit, implicit = _WHO.search(message), _EXPLICIT.search(message), _IMPLICIT.search(message)
    policy = explicit or implicit
    expected, key = _EXPECTED_REGION.search(message), _KMS_KEY.search(message)
    resource = who["resource"].rstrip(".") if who and who["resource"] else None
    return ErrorText(
        code=code,
        text=one_line(f"{code}: {message}" if code else message),
        action=who["action"] if who else None,
        resource=resource or (key[0] if key else None),
        principal=who["principal"] if who else None,
        region=region or (expected[1] if expected else None),
        explicit=explicit is not None,
        policy_kind=policy["kind"].strip() if policy else None,
        policy_arn=explicit["arn"].rstrip(".") if explicit and explicit["arn"] else None,
    )


def one_line(text: str) -> str:
    """A text in one line, and not too long to be shown."""
    return " ".join(text.split())[:SHOWN_CHARACTERS].rstrip(".")
