"""The result of one check in AWS. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from lightly_provider.contract import Permission

if TYPE_CHECKING:
    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.remedies import Remedy

# Lightly replaces a file by deleting it first, so overwriting requires the permission to delete.
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
    The result of one check. The remedy for its failure is determined later, when everything is known.

    :param subject: What was checked: ``list``, ``read``, ``write``, ``overwrite``, ``delete``; or ``keys``, ``role``,
        ``region``, ``content``, ``partition``, …
    :param status: How the check ended.
    :param message: What was found, or why the check was not possible; without secrets.
    :param failure: The AWS failure; None if there was none.
    :param remedy: What to do, if it does not follow from an AWS failure; None otherwise.
    :param counts: Related numbers, e.g. ``objects`` and ``images``.
    :param needs: The permissions that it affects, if the subject is not a permission.
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
        """The permissions that the finding affects."""
        if self.subject == DELETE:
            return (Permission.OVERWRITE,)
        return (Permission(self.subject),) if self.subject in list(Permission) else self.needs
