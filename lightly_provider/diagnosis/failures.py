"""Finds the cause of an AWS failure, from a botocore exception or from AWS's text as passed on by others. Pure."""

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
    An error of an AWS request, with its cause.

    :param cause: Why the request failed.
    """

    cause: Cause

    @property
    def is_transient(self) -> bool:
        """Whether waiting may help, for example after a permission was just granted. Never for an explicit deny."""
        return self.cause.row.is_transient and not self.explicit

    @property
    def is_about_rights(self) -> bool:
        """Whether S3 denied this for lack of a permission, and not for a reason that fails every request."""
        return self.cause.row.is_about_rights

    @property
    def is_traceable(self) -> bool:
        """Whether reading policies, or looking up the key's owner, can explain it further."""
        return self.cause.row.traced_in is not None or self.cause is Cause.UNKNOWN_ACCESS_KEY

    @property
    def is_refusal(self) -> bool:
        """Whether AWS refused the request, as opposed to an AWS failure or a missing resource."""
        return self.code in Cause.DENIED.row.codes


# S3 also returns these for a missing object if the caller may not list.
_OF_A_MISSING_OBJECT = (None, "s3:ListBucket", "s3:GetObject")


def classify(code: str, message: str, *, region: str | None = None, list_denied: bool = False) -> Failure:
    """
    Read one error of AWS.

    :param code: AWS's error code, or the HTTP status as text where there is none, as with HEAD.
    :param message: Its message.
    :param region: The bucket's actual region from a response header; None if there is no such header.
    :param list_denied: Whether listing the location is also denied: S3 then returns 403 for a missing object, too.
    """
    error = read_error(code, message, region=region)
    cause = cause_of(error)
    if list_denied and cause.row.is_about_rights and error.action in _OF_A_MISSING_OBJECT:
        cause = Cause.HIDDEN
    return Failure(cause, **asdict(error))


def read_text(text: str, *, list_denied: bool = False) -> Failure:
    """
    Read a failure from a text.

    :param text: Any text that contains AWS's message, with or without the error code before it.
    :param list_denied: See :func:`classify`.
    """
    words = " ".join(text.split())
    known = [code for cause in Cause for code in cause.row.codes if not code.isdigit()]
    # A code within the name of a file is not the failure's code.
    found = re.search(rf"(?<![\w./-])({'|'.join(map(re.escape, known))})(?![\w/-]|\.\w)[):\s]*", words)
    code = found[1] if found else ""
    message = words[found.end() :] if found and found.start() == 0 else words
    return replace(classify(code, message, list_denied=list_denied), text=one_line(text))


def failure_of(failure: Exception, *, list_denied: bool = False) -> Failure:
    """
    Read an exception that botocore raised.

    :param failure: A ``ClientError``, which has AWS's response; any other exception means that there was no response.
    :param list_denied: See :func:`classify`.
    """
    response = getattr(failure, "response", None)
    if not isinstance(response, dict):
        # The class name describes the failure (EndpointConnectionError, SSLError); the text may contain a proxy's
        # address.
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
    # botocore uses the HTTP status as the code if the body is not an AWS error. AWS itself responds to HEAD without a
    # body, but with a request id.
    if code.isdigit() and not found.cause.row.says_nothing and not any(name in headers for name in _REQUEST_IDS):
        return Failure(Cause.NOT_AWS, code=code, text=found.text)
    return found


_REQUEST_IDS = ("x-amz-request-id", "x-amzn-requestid", "x-amz-bucket-region")


def remedy_for(failure: Failure | None, permissions: Sequence[Permission], target: Target) -> Remedy:
    """
    Return the remedy for a failure. Call this once, at the end, when everything is known.

    :param failure: The failure; None if it is unknown, then the remedy is the required statements.
    :param permissions: The permissions that were tried or are needed.
    :param target: The principal and the location.
    """
    known = failure or Failure(Cause.DENIED)
    return known.cause.row.remedy(known, permissions, target)
