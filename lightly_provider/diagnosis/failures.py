"""A failure of AWS, read: botocore's exception, or AWS's words that somebody passed on; a cause comes out. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from lightly_provider.diagnosis.causes import Cause, cause_of
from lightly_provider.diagnosis.error_text import ErrorText, one_line, read_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.contract import Permission
    from lightly_provider.diagnosis.remedies import Remedy
    from lightly_provider.diagnosis.target import Target


@dataclass(frozen=True)
class Failure(ErrorText):
    """
    What AWS said, or what was seen of it, with its cause.

    :param cause: Why.
    """

    cause: Cause

    @property
    def is_transient(self) -> bool:
        """Whether waiting may help, as for a right that was granted a moment ago. Never on an explicit deny."""
        return self.cause.row.is_transient and not self.explicit

    @property
    def is_about_rights(self) -> bool:
        """Whether S3 denied this for want of a right, and not for what would make any request fail."""
        return self.cause.row.is_about_rights

    @property
    def is_traceable(self) -> bool:
        """Whether policies or a key's owner can be read that say more about it."""
        return self.cause.row.traced_in is not None or self.cause is Cause.UNKNOWN_ACCESS_KEY

    @property
    def is_refusal(self) -> bool:
        """Whether AWS refused what was asked, rather than failing at it or not having it."""
        return self.code in Cause.DENIED.row.codes


# What S3 answers about a missing object too to whoever may not list.
_OF_A_MISSING_OBJECT = (None, "s3:ListBucket", "s3:GetObject")


def classify(code: str, message: str, *, region: str | None = None, list_denied: bool = False) -> Failure:
    """
    Read one error of AWS.

    :param code: AWS's error code, or the HTTP status as text where there is none, as with HEAD.
    :param message: Its message.
    :param region: The bucket's own region as a header of the answer named it; None if none did.
    :param list_denied: Whether listing the location is denied as well: S3 then says 403 for a missing object too.
    """
    error = read_error(code, message, region=region)
    cause = cause_of(error)
    if list_denied and cause.row.is_about_rights and error.action in _OF_A_MISSING_OBJECT:
        cause = Cause.HIDDEN
    return Failure(cause, **asdict(error))


def read_text(text: str, *, list_denied: bool = False) -> Failure:
    """
    Read a failure that somebody passed on as text.

    :param text: Anything that holds AWS's words, with or without the error code before them.
    :param list_denied: See :func:`classify`.
    """
    words = " ".join(text.split())
    known = [code for cause in Cause for code in cause.row.codes if not code.isdigit()]
    found = re.search(rf"(?<![\w.])({'|'.join(map(re.escape, known))})(?!\w)[):\s]*", words)
    code = found[1] if found else ""
    message = words[found.end() :] if found and found.start() == 0 else words
    return replace(classify(code, message, list_denied=list_denied), text=one_line(text))


def failure_of(failure: Exception, *, list_denied: bool = False) -> Failure:
    """
    Read what botocore raised.

    :param failure: A ``ClientError``, which has AWS's answer; for anything else there was no answer.
    :param list_denied: See :func:`classify`.
    """
    response = getattr(failure, "response", None)
    if not isinstance(response, dict):
        # Its class says what failed (EndpointConnectionError, SSLError); its text may hold a proxy's address.
        name = type(failure).__name__
        return Failure(Cause.NOT_AWS if name in Cause.NOT_AWS.row.codes else Cause.NO_ANSWER, text=name)
    error = response.get("Error", {})
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    code = str(error.get("Code", ""))
    found = classify(
        code,
        str(error.get("Message", "")),
        region=error.get("Region") or headers.get("x-amz-bucket-region") or None,
        list_denied=list_denied,
    )
    # botocore puts the HTTP status in the place of a code where the body is none of AWS's. To HEAD, AWS itself answers
    # so, but with the id of the request.
    if code.isdigit() and not found.cause.row.says_nothing and not any(name in headers for name in _REQUEST_IDS):
        return Failure(Cause.NOT_AWS, code=code, text=found.text)
    return found


_REQUEST_IDS = ("x-amz-request-id", "x-amzn-requestid", "x-amz-bucket-region")


def remedy_for(failure: Failure | None, permissions: Sequence[Permission], target: Target) -> Remedy:
    """
    What to do about a failure. It is worked out once, when all is known that will be.

    :param failure: What AWS said; None if nobody knows, then the statements that are needed.
    :param permissions: What was tried, or is needed.
    :param target: Whose access to what.
    """
    known = failure or Failure(Cause.DENIED)
    return known.cause.row.remedy(known, permissions, target)
