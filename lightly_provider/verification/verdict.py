"""The values of a verification: what is known of a datasource, the platform's lights, the checks, the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.target import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.aws.policies import Statement
    from lightly_provider.contract import Permission, Purpose
    from lightly_provider.diagnosis.denials import Cause, Denial
    from lightly_provider.diagnosis.findings import Remedy


class Source(StrEnum):
    """Who says it."""

    LIGHTLY = "Lightly says"
    WORKER = "from this worker"


@dataclass(frozen=True, kw_only=True)
class DatasourceFacts(Place):
    """
    What the verification must know of one datasource: its place, and beside it what it is for.

    :param purpose: What the dataset uses it for.
    :param thumbnails: Whether the platform stores thumbnails there.
    """

    purpose: Purpose
    thumbnails: bool


@dataclass(frozen=True)
class Lights:
    """
    The platform's answer: one light per permission, green for True, and its texts for those that are red.

    :param list: Whether it could list the datasource's files.
    :param read: Whether it could read one.
    :param write: Whether it could write a new one.
    :param overwrite: Whether it could replace that.
    :param errors: Texts by permission; one may be missing. They are shown as they are, so secrets must be
        gone.
    """

    list: bool
    read: bool
    write: bool
    overwrite: bool
    errors: Mapping[Permission, str] = field(default_factory=dict)

    def granted(self, permission: Permission) -> bool:
        """Whether the light of this permission is green."""
        return bool(getattr(self, permission))


@dataclass(frozen=True)
class Check:
    """
    One thing that was looked at on one datasource.

    :param source: Who says it.
    :param datasource: The datasource.
    :param subject: A :class:`Permission`; or, from this worker, ``keys``, ``role``, ``region``, ``content``, …
    :param status: How it ended.
    :param required: Whether this use of the dataset needs it there.
    :param message: Why the status is what it is.
    :param granted: The platform's light; None for what this worker saw.
    :param denial: AWS's refusal, as far as it is known; None if there was none.
    :param error: The platform's own text on a failed check; None when it gave none, or the check did not
        fail.
    :param remedy: What to do; None where nothing is to be done.
    :param counts: Numbers that belong to it.
    :param is_explained: Whether another datasource is known to be why the platform's light is red.
    """

    source: Source
    datasource: DatasourceFacts
    subject: str
    status: Status
    required: bool
    message: str
    granted: bool | None = None
    denial: Denial | None = None
    error: str | None = None
    remedy: Remedy | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    is_explained: bool = False

    @property
    def permission(self) -> str:
        """The subject, where it is a permission."""
        return self.subject

    @property
    def is_suspect(self) -> bool:
        """Whether something required is not granted, or a red light may mean that."""
        return self.required and (
            self.status is Status.FAIL
            or (self.status is Status.UNKNOWN and self.granted is False and not self.is_explained)
        )

    @property
    def cause(self) -> Cause | None:
        """Why it is denied; None if it is not, or nobody knows."""
        return self.denial.cause if self.denial else None

    @property
    def fix(self) -> tuple[Statement, ...]:
        """The statements to add to the identity's IAM policy."""
        return self.remedy.statements if self.remedy else ()

    @property
    def advice(self) -> str | None:
        """What to do beside or instead of adding statements; None where the statements are all."""
        return (self.remedy.text or None) if self.remedy else None

    def as_dict(self) -> dict[str, Any]:
        """The check in JSON's own types."""
        return {
            "purpose": str(self.datasource.purpose),
            "location": self.datasource.location.uri,
            "access": self.datasource.access,
            "permission": str(self.subject),
            "granted": self.granted,
            "required": self.required,
            "status": str(self.status),
            "cause": str(self.cause) if self.cause else None,
            "message": self.message,
            "error": self.error,
            "fix": list(self.fix),
            "fix_elsewhere": self.remedy.elsewhere() if self.remedy else [],
            "commands": list(self.remedy.commands) if self.remedy else [],
            "advice": self.advice,
            **({"counts": dict(self.counts)} if self.counts else {}),
        }


@dataclass(frozen=True)
class Verdict:
    """
    All checks of one dataset.

    :param dataset_id: The dataset; for a location without one, its URI.
    :param checks: Every permission on every datasource as Lightly's lights decide it, datasource by datasource.
        Empty where Lightly was not asked.
    :param observations: What this worker saw itself.
    """

    dataset_id: str
    checks: tuple[Check, ...]
    observations: tuple[Check, ...] = ()

    @property
    def deciding(self) -> tuple[Check, ...]:
        """The checks that decide: Lightly's, and this worker's only where Lightly was not asked."""
        return self.checks or self.observations

    @property
    def ok(self) -> bool:
        """Whether nothing required fails, and no red light stands for something required that nothing explains."""
        return not any(check.is_suspect for check in self.deciding)

    @property
    def status(self) -> Status:
        """FAIL, UNKNOWN, WARN or PASS: the worst of what decides, or a warning of this worker's."""
        required = {check.status for check in self.deciding if check.required}
        for status in (Status.FAIL, Status.UNKNOWN):
            if status in required:
                return status
        warned = any(check.status is Status.WARN for check in (*self.checks, *self.observations))
        return Status.WARN if warned else Status.PASS

    @property
    def failed(self) -> tuple[Check, ...]:
        """What is required and not granted, or may not be."""
        return tuple(check for check in self.deciding if check.is_suspect)

    @property
    def may_pass(self) -> bool:
        """Whether waiting may turn it, as right after a grant. Never where something is denied explicitly."""
        return bool(self.failed) and all(check.denial is None or check.denial.may_pass for check in self.failed)

    def as_dict(self) -> dict[str, Any]:
        """The verdict in JSON's own types, for XCom."""
        return {
            "dataset_id": self.dataset_id,
            "ok": self.ok,
            "status": str(self.status),
            "checks": [check.as_dict() for check in self.checks],
            "from_this_worker": [check.as_dict() for check in self.observations],
        }

    def table(self) -> str:
        """The verdict for the task log."""
        from lightly_provider.verification.report import table

        return table(self)

    def failure_message(self) -> str:
        """
        The failed checks for an exception: what is missing where and why, and what to add.

        Empty when nothing failed.
        """
        from lightly_provider.verification.report import failure_message

        return failure_message(self)
