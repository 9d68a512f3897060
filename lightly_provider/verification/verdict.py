"""The values of a verification: the targets, the checks, the verdict. It does not depend on the report. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.regions import partition_of
from lightly_provider.contract import Purpose
from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.target import Target
from lightly_provider.foreign_text import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.aws.policies import Statement
    from lightly_provider.diagnosis.causes import Cause
    from lightly_provider.diagnosis.failures import Failure
    from lightly_provider.diagnosis.remedies import Remedy


# The platform has no light for these, so this worker's check decides.
_SEEN_HERE_ONLY = frozenset({"content"})


class Source(StrEnum):
    """Who did a check."""

    LIGHTLY = "Lightly says"
    WORKER = "from this worker"


def target_of(datasource: Datasource) -> Target:
    """Return the target for a datasource that the platform stores, without its secrets."""
    access: UserAccess | DelegatedAccess
    if datasource.s3_arn:
        access = DelegatedAccess(datasource.s3_arn, datasource.s3_external_id or "")
    else:
        access = UserAccess(datasource.s3_access_key_id or "", datasource.s3_secret_access_key or "")
    return Target(
        location=S3Location.from_stored(datasource.full_path),
        access=access.describe(),
        purpose=Purpose(datasource.purpose),
        thumbnails=bool(datasource.thumb_suffix),
        kms_key_arn=datasource.kms_key_arn,
        partition=partition_of(datasource.s3_region or ""),
        region=datasource.s3_region,
        role_arn=datasource.s3_arn,
    )


@dataclass(frozen=True)
class Check:
    """
    The result of one check on one datasource.

    :param source: Who did the check.
    :param datasource: The datasource.
    :param subject: A :class:`Permission`; or, from this worker, ``keys``, ``role``, ``region``, ``content``, …
    :param status: How the check ended.
    :param required: Whether this use of the dataset requires it.
    :param message: The reason for the status.
    :param granted: The platform's light; None for this worker's own checks.
    :param failure: The AWS failure, as far as it is known; None if there was none.
    :param error: The platform's own text on a failed check; None if it returned none, or the check did not
        fail.
    :param remedy: What to do; None if nothing needs to be done.
    :param counts: Related numbers.
    :param is_explained: Whether another datasource is known to be the reason for the platform's red light.
    """

    source: Source
    datasource: Target
    subject: str
    status: Status
    required: bool
    message: str
    granted: bool | None = None
    failure: Failure | None = None
    error: str | None = None
    remedy: Remedy | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    is_explained: bool = False

    @property
    def is_suspect(self) -> bool:
        """Whether a required permission is not granted, or a red light may mean so."""
        return self.required and (
            self.status is Status.FAIL
            or (self.status is Status.UNKNOWN and self.granted is False and not self.is_explained)
        )

    @property
    def cause(self) -> Cause | None:
        """Why it is denied; None if it is not denied, or the cause is unknown."""
        return self.failure.cause if self.failure else None

    @property
    def fix(self) -> tuple[Statement, ...]:
        """The statements to add to the identity's IAM policy."""
        return self.remedy.statements if self.remedy else ()

    @property
    def advice(self) -> str | None:
        """What to do in addition to, or instead of, adding statements; None if the statements are sufficient."""
        return (" ".join(self.remedy.texts) or None) if self.remedy else None

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON types, for XCom. A text may contain an S3 key that a database cannot store."""
        return {
            "purpose": str(self.datasource.purpose),
            "location": self.datasource.location.uri,
            "access": self.datasource.access,
            "permission": str(self.subject),
            "granted": self.granted,
            "required": self.required,
            "status": str(self.status),
            "cause": str(self.cause) if self.cause else None,
            "message": storable(self.message),
            "error": self.error and storable(self.error),
            "fix": list(self.fix),
            "fix_elsewhere": [change.as_dict() for change in self.remedy.changes] if self.remedy else [],
            "commands": [storable(command) for command in self.remedy.commands] if self.remedy else [],
            "advice": self.advice and storable(self.advice),
            **({"counts": dict(self.counts)} if self.counts else {}),
        }


@dataclass(frozen=True)
class Verdict:
    """
    All checks of one dataset.

    :param dataset_id: The dataset; for a location without one, its URI.
    :param checks: The check of every permission on every datasource by Lightly's lights, grouped by datasource.
        Empty if Lightly was not asked.
    :param from_this_worker: This worker's own checks.
    """

    dataset_id: str
    checks: tuple[Check, ...]
    from_this_worker: tuple[Check, ...] = ()

    @property
    def deciding(self) -> tuple[Check, ...]:
        """The checks that decide: Lightly's; this worker's only if Lightly was not asked."""
        return self.checks or self.from_this_worker

    @property
    def ok(self) -> bool:
        """Whether no required check fails, and every red light for a required permission is explained."""
        return not self.failed

    @property
    def status(self) -> Status:
        """FAIL, UNKNOWN, WARN or PASS: the worst of the deciding checks, or a warning from this worker."""
        required = {check.status for check in self.deciding if check.required} | {one.status for one in self.failed}
        for status in (Status.FAIL, Status.UNKNOWN):
            if status in required:
                return status
        warned = any(check.status is Status.WARN for check in (*self.checks, *self.from_this_worker))
        return Status.WARN if warned else Status.PASS

    @property
    def failed(self) -> tuple[Check, ...]:
        """The required checks that are not granted, or may not be granted."""
        seen = [check for check in self.from_this_worker if check.subject in _SEEN_HERE_ONLY] if self.checks else []
        return tuple(check for check in (*self.deciding, *seen) if check.is_suspect)

    @property
    def is_transient(self) -> bool:
        """Whether waiting may help, for example right after a grant. Never for an explicit deny."""
        return bool(self.failed) and all(
            check.failure.is_transient if check.failure else check.source is Source.LIGHTLY for check in self.failed
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON types, for XCom."""
        return {
            "dataset_id": self.dataset_id,
            "ok": self.ok,
            "status": str(self.status),
            "checks": [check.as_dict() for check in self.checks],
            "from_this_worker": [check.as_dict() for check in self.from_this_worker],
        }
