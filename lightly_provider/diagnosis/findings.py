"""One thing that was looked at in AWS, and what was found. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from lightly_provider.contract import Permission

if TYPE_CHECKING:
    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.remedies import Remedy

# Lightly replaces a file by deleting it first, so who may not delete may not overwrite.
DELETE = "delete"


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
    One thing that was looked at. What to do about its failure is worked out later, when all is known.

    :param subject: What: ``list``, ``read``, ``write``, ``overwrite``, ``delete``; or ``keys``, ``role``,
        ``region``, ``content``, ``partition``, …
    :param status: How it ended.
    :param message: What was seen, or why nothing could be seen; without secrets.
    :param failure: What AWS refused or failed at; None if nothing did.
    :param remedy: What to do, where no failure of AWS's says it; None otherwise.
    :param counts: Numbers that belong to it, e.g. ``objects`` and ``images``.
    :param needs: The permissions that it is about, where the subject is none.
    """

    subject: str
    status: Status
    message: str
    failure: Failure | None = None
    remedy: Remedy | None = None
    counts: dict[str, int] = field(default_factory=dict)
    needs: tuple[Permission, ...] = ()

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """The permissions that it is about."""
        if self.subject == DELETE:
            return (Permission.OVERWRITE,)
        return (Permission(self.subject),) if self.subject in list(Permission) else self.needs
