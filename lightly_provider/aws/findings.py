"""One thing that was looked at in AWS, and what was found. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightly_provider.aws.denials import Denial
    from lightly_provider.aws.fixes import Remedy


class Status(StrEnum):
    """How one check ended."""

    PASS = "PASS"  # noqa: S105  (no password)
    FAIL = "FAIL"
    WARN = "WARN"
    SKIP = "SKIP"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Finding:
    """
    One thing that was looked at.

    :param subject: What: ``list``, ``read``, ``write``, ``overwrite``, ``delete``; or ``keys``, ``role``,
        ``region``, ``content``, ``partition``, …
    :param status: How it ended.
    :param message: What was seen, or why nothing could be seen; without secrets.
    :param denial: AWS's refusal; None if there was none.
    :param remedy: What to do; None where nothing is to be done.
    :param counts: Numbers that belong to it, e.g. ``objects`` and ``images``.
    """

    subject: str
    status: Status
    message: str
    denial: Denial | None = None
    remedy: Remedy | None = None
    counts: dict[str, int] = field(default_factory=dict)
