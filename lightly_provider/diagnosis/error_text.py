"""
Reads the text of an AWS error: who was denied which action, on which resource, by which policy. Pure; it knows no
cause.

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
    An error that AWS returned.

    :param code: AWS's error code, e.g. ``AccessDenied``, or the HTTP status if there is none, as with HEAD.
    :param text: AWS's message with the code, on one line and shortened.
    :param action: The denied action, e.g. ``s3:GetObject``; None if the message does not name it.
    :param resource: The ARN of the resource; None if the message does not name it.
    :param principal: The ARN of the denied principal; None if the message does not name it.
    :param region: The bucket's actual region, if AWS named it; None otherwise.
    :param explicit: Whether a policy explicitly denies the action, rather than none allowing it.
    :param policy_kind: AWS's name for the type of policy that denies or lacks an Allow; None if the message names none.
    :param policy_arn: The ARN of the denying policy; None if the message does not name it.
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
    # An object's name may contain anything, also words of AWS's and quotation marks.
    r"(?: on (?:the )?resource: (?:\"(?P<quoted>arn:.*)\"(?=\W*$| because no | with an explicit )|"
    r"\"?(?P<bare>[^\s\"]+)\"?))?",
    re.DOTALL,
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
    :param region: The bucket's actual region from a response header; None if there is no such header.
    """
    who = _WHO.search(message)
    rest = message[who.end() :] if who else message
    explicit, implicit = _EXPLICIT.search(rest), _IMPLICIT.search(rest)
    policy = explicit or implicit
    expected, key = _EXPECTED_REGION.search(message), _KMS_KEY.search(message)
    resource = (who["quoted"] or (who["bare"] or "").rstrip(".") or None) if who else None
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
    """Return a text on one line, shortened for display."""
    return " ".join(text.split())[:SHOWN_CHARACTERS].rstrip(".")
