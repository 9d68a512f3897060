"""Derives the verdict from the platform's lights and this worker's findings. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure, read_text, remedy_for
from lightly_provider.diagnosis.findings import DELETE, Finding, Status
from lightly_provider.diagnosis.remedies import Remedy
from lightly_provider.diagnosis.target import Target
from lightly_provider.verification.inference import infer
from lightly_provider.verification.requirements import AUTO, DatasetUse, required_of, why_not
from lightly_provider.verification.verdict import Check, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightly_provider.api.models.datasource import PermissionLights
    from lightly_provider.verification.inference import Inferred

_ERROR_CHARACTERS = 500
# Subjects that concern the whole datasource: if one fails, so does each of its permissions.
_OF_ALL = ("keys", "role", "bucket", "region", "credentials", "endpoint", "partition")
# Unspecific causes, for which this worker's own finding may be more precise.
_VAGUE = frozenset({Cause.DENIED, Cause.HIDDEN, Cause.OTHER, Cause.CANNOT_ASSUME, Cause.MISSING_ALLOW, Cause.NOT_AWS})
# The causes that this worker sees if a network condition denies its own access only.
_OF_A_CONDITION = frozenset(
    {Cause.DENIED, Cause.MISSING_ALLOW, Cause.EXPLICIT_DENY, Cause.BUCKET_POLICY, Cause.VPC_ENDPOINT}
)


def judge(
    dataset_id: str,
    use: DatasetUse,
    datasources: Sequence[Target],
    lights: PermissionLights | None,
    require: str | Sequence[str] = AUTO,
    findings: Mapping[Purpose, Sequence[Finding]] | None = None,
    n_others: int = 0,
) -> Verdict:
    """
    Decide what each datasource grants, and which of it is required.

    The platform's lights decide wherever they can. This worker's findings with the same access show which datasource
    a light is about, and why it is red. With ``"auto"`` the use of the dataset determines what is required; named
    permissions are required exactly (see :func:`required_of`).

    :param dataset_id: The dataset; for a location without one, its URI.
    :param use: How the dataset is used.
    :param datasources: All its datasources that can be judged.
    :param lights: The result of the platform's check; None: the platform was not asked, and this worker's findings
        decide.
    :param require: ``"auto"``, or the names of permissions.
    :param findings: This worker's findings, by purpose.
    :param n_others: Number of its further datasources, e.g. in another cloud, which a light may be about. Default: 0.
    :raises ValueError: The dataset has no datasource, or ``require`` contains an unknown permission.
    """
    if not datasources:
        raise ValueError(f"Dataset {dataset_id} has no datasource, so there is nothing to verify; configure one first.")
    purposes = [datasource.purpose for datasource in datasources]
    required = [required_of(use, one.purpose, one.thumbnails, purposes, require) for one in datasources]
    because = [why_not(use, one.purpose, purposes, require) for one in datasources]
    seen = [list((findings or {}).get(one.purpose, ())) for one in datasources]
    checks: list[Check] = []
    if lights is not None:
        green, failures = green_lights(lights), failures_reported(lights)
        # To the lights, several others are like one.
        all_of_them = [*datasources, *([_OTHER] if n_others else [])]
        inferred = infer(green, failures, all_of_them, _facts(datasources, seen), _reachable(seen))
        for index in range(len(datasources)):
            reader = _Reader(index, datasources, n_others, required, lights, failures, inferred, seen[index])
            checks += [
                reader.check(permission, permission in required[index], because[index]) for permission in Permission
            ]
    return Verdict(dataset_id, tuple(checks), tuple(_seen_here(datasources, seen, required, checks)))


# Stands for the datasources that cannot be judged. No text that names a bucket, a role or a user is about it.
_OTHER = Target(S3Location("another", ""), "another access", purpose=Purpose.INPUT_OUTPUT, principal_arn="another")


def green_lights(lights: PermissionLights) -> frozenset[Permission]:
    """The permissions whose light is green."""
    return frozenset(permission for permission in Permission if getattr(lights, f"can_{permission}"))


def failures_reported(lights: PermissionLights) -> dict[Permission, Failure]:
    """Return the failures parsed from the texts of the red lights."""
    return {
        permission: read_text(text, list_denied=not lights.can_list and permission is Permission.READ)
        for permission in Permission
        if permission not in green_lights(lights) and (text := _error(lights, permission))
    }


def _error(lights: PermissionLights, permission: Permission) -> str | None:
    return getattr(lights.errors, f"can_{permission}") or None


def _facts(datasources: Sequence[Target], seen: Sequence[Sequence[Finding]]) -> dict[tuple[int, Permission], bool]:
    """Return which permissions this worker saw granted or denied."""
    facts: dict[tuple[int, Permission], bool] = {}
    for index, (datasource, findings) in enumerate(zip(datasources, seen, strict=True)):
        by_subject = {finding.subject: finding for finding in findings}
        for permission in Permission:
            finding = by_subject.get(permission)
            if finding is None:
                continue
            may_delete = by_subject.get(DELETE)
            if permission is Permission.OVERWRITE and may_delete and may_delete.status is Status.FAIL:
                finding = may_delete
            if finding.status is Status.FAIL:
                facts[index, permission] = False
            # A role can only be checked with IAM's simulator, which sees nothing but the role's own policies.
            elif finding.status is Status.PASS and not datasource.role_arn:
                facts[index, permission] = True
        if any(one.status is Status.FAIL for one in findings if one.subject in ("keys", "role", "bucket")):
            facts |= {(index, permission): False for permission in Permission}
    return facts


def _reachable(seen: Sequence[Sequence[Finding]]) -> list[int]:
    return [
        index
        for index, findings in enumerate(seen)
        if any(one.subject in ("keys", "role") and one.status in (Status.PASS, Status.WARN) for one in findings)
    ]


class _Reader:
    """Creates one datasource's checks from what was inferred."""

    def __init__(
        self,
        index: int,
        datasources: Sequence[Target],
        n_others: int,
        required: Sequence[frozenset[Permission]],
        lights: PermissionLights,
        failures: Mapping[Permission, Failure],
        inferred: Inferred,
        findings: Sequence[Finding],
    ) -> None:
        self._index = index
        self._datasource = datasources[index]
        self._datasources = datasources
        self._n_datasources = len(datasources) + n_others
        self._required = required
        self._lights = lights
        self._green = green_lights(lights)
        self._failures = failures
        self._inferred = inferred
        self._findings = {finding.subject: finding for finding in findings}

    def check(self, permission: Permission, required: bool, because: str) -> Check:
        """Return the check of one permission by Lightly's light."""
        light = permission in self._green
        check = Check(Source.LIGHTLY, self._datasource, permission, Status.SKIP, required, because, granted=light)
        if not required:
            return check
        granted = self._inferred.granted.get((self._index, permission))
        if granted:
            return replace(check, status=Status.PASS, message="granted" if light else self._why_granted(permission))
        if granted is None and light:
            return replace(check, status=Status.UNKNOWN, message=self._which_was_tested("green"))
        if granted is None and (explaining := self._explaining(permission)):
            message = self._why_explained(permission, explaining)
            return replace(check, status=Status.UNKNOWN, message=message, is_explained=True)
        failure = self._failure(permission, light)
        error = None if light else _cut(_error(self._lights, permission))
        says_nothing = failure is not None and failure.cause.row.says_nothing
        status = Status.UNKNOWN if granted is None or says_nothing else Status.FAIL
        return replace(
            check,
            status=status,
            message=self._why_denied(permission, failure, status),
            failure=failure,
            error=error,
            remedy=remedy_for(failure, [permission], self._datasource),
        )

    def _own(self, permission: Permission) -> Finding | None:
        """Return this worker's finding for the permission, or for the whole datasource if that fails."""
        for subject in _OF_ALL:
            finding = self._findings.get(subject)
            if finding and finding.status is Status.FAIL:
                return finding
        if permission is Permission.OVERWRITE:
            may_delete = self._findings.get(DELETE)
            if may_delete and may_delete.status is Status.FAIL:
                return may_delete
        return self._findings.get(permission)

    def _explaining(self, permission: Permission) -> list[int]:
        """
        Return the other datasources that are the reason for the red light; empty if it may be about this one.

        The index after the last one stands for those that cannot be judged.
        """
        others = [other for other in range(len(self._datasources) + 1) if other != self._index]
        denying = [other for other in others if self._inferred.granted.get((other, permission)) is False]
        suspects = self._inferred.suspects.get(permission, {self._index})
        return denying or ([] if self._index in suspects else [other for other in others if other in suspects])

    def _why_explained(self, permission: Permission, explaining: Sequence[int]) -> str:
        in_s3 = [other for other in explaining if other < len(self._datasources)]
        if in_s3 == explaining and not any(permission in self._required[other] for other in in_s3):
            return self._tested_where_not_needed(permission, in_s3)
        another = "another datasource" if in_s3 else "a datasource that is not in S3 or of an unknown purpose"
        error = "" if in_s3 else f". {self._said(permission)}"
        return f"Lightly's red light is about {another}; this one cannot be checked until that one is fixed{error}"

    def _tested_where_not_needed(self, permission: Permission, explaining: Sequence[int]) -> str:
        purposes = " and ".join(str(self._datasources[other].purpose) for other in explaining)
        how = (
            "a role can be tried by Lightly only, so a run shows it"
            if self._datasource.role_arn
            else "give the AWS connection with its keys, and this worker tries it"
        )
        return (
            f"The platform tested {purposes}, where {permission} is neither needed nor granted; leave that so. Whether "
            f"it is granted here is not known: {how}. {self._said(permission)}"
        )

    def _said(self, permission: Permission) -> str:
        error = _cut(_error(self._lights, permission))
        return f"The platform reports: {error}." if error else "The platform gives no reason."

    def _failure(self, permission: Permission, light: bool) -> Failure | None:
        reported = None if light else self._failures.get(permission)
        if reported and self._index not in self._inferred.suspects.get(permission, {self._index}):
            reported = None
        own = self._own(permission)
        if own and own.status is Status.FAIL and own.failure and (reported is None or reported.cause in _VAGUE):
            return own.failure
        works_here = own is not None and own.status is Status.PASS and not self._datasource.role_arn
        if works_here and (reported is None or reported.cause in _OF_A_CONDITION):
            return replace(reported or Failure(Cause.DENIED), cause=Cause.SOURCE_RESTRICTED)
        return reported

    def _why_granted(self, permission: Permission) -> str:
        return (
            f"granted: {permission} works here with the same access, so that Lightly's red light is about another "
            "datasource"
        )

    def _why_denied(self, permission: Permission, failure: Failure | None, status: Status) -> str:
        cause = f"{failure.cause}: " if failure else ""
        place = describe_place(self._datasource)
        said = (
            "Lightly's green light is about another datasource."
            if permission in self._green
            else self._said(permission)
        )
        if status is Status.FAIL:
            return f"{cause}{permission} is not granted in {place}. {said}"
        is_hidden = permission is Permission.READ and not self._lights.can_list and self._n_datasources == 1
        if failure and failure.cause.row.says_nothing:
            hint = "That says nothing about the permission."
        elif is_hidden or (failure and failure.cause is Cause.HIDDEN):
            # AWS docs: S3 API reference, GetObject, "Permissions".
            hint = "While list is denied, S3 answers 403 for a missing object too, so read may turn green with list."
        else:
            hint = f"{self._which_was_tested('red')}; if the right is there, leave it out of the argument require."
        return f"{cause}{permission} may not be granted in {place}. {said} {hint}"

    def _which_was_tested(self, color: str) -> str:
        return (
            f"Lightly's light is {color}, and the platform's check does not say which of the {self._n_datasources} "
            "datasources it tested"
        )


def _seen_here(
    datasources: Sequence[Target],
    seen: Sequence[Sequence[Finding]],
    required: Sequence[frozenset[Permission]],
    checks: Sequence[Check],
) -> list[Check]:
    """Return this worker's findings as checks. If Lightly has the access, a failure only here becomes a warning."""
    by_subject = {(check.datasource.purpose, check.subject): check for check in checks}
    found = []
    for datasource, findings, wanted in zip(datasources, seen, required, strict=True):
        of_lightly = [by_subject[datasource.purpose, one] for one in wanted if (datasource.purpose, one) in by_subject]
        all_well = bool(of_lightly) and all(check.status is Status.PASS for check in of_lightly)
        for finding in findings:
            same = by_subject.get((datasource.purpose, finding.subject))
            fine = same.status is Status.PASS if same else all_well
            status, message, remedy = finding.status, finding.message, _remedy(finding, datasource)
            decides = finding.subject == "content"
            is_of_worker = status is Status.FAIL and fine and not decides
            if is_of_worker:
                status, message = Status.WARN, f"{message}; Lightly can, so this concerns this worker only"
            # Do not recommend a policy change for something that Lightly can already do.
            is_refuted = is_of_worker or (fine and finding.failure is not None and finding.failure.action is not None)
            if is_refuted and remedy.changes_policies:
                remedy = Remedy()
            is_permission = bool(finding.permissions) and not finding.needs
            found.append(
                Check(
                    Source.WORKER,
                    datasource,
                    finding.subject,
                    status,
                    any(one in wanted for one in finding.permissions)
                    if is_permission
                    else finding.subject in _OF_ALL or (decides and status is Status.FAIL),
                    message,
                    failure=finding.failure,
                    remedy=remedy,
                    counts=finding.counts,
                )
            )
    return found


def _remedy(finding: Finding, datasource: Target) -> Remedy:
    if finding.remedy is not None or finding.failure is None:
        return finding.remedy or Remedy()
    return remedy_for(finding.failure, finding.permissions, datasource)


def describe_place(datasource: Target) -> str:
    """Return a description of a datasource's location, e.g. ``bucket 'photos', prefix 'raw/' (INPUT)``."""
    location = datasource.location
    prefix = f"prefix {location.prefix!r}" if location.prefix else "the whole bucket"
    return f"bucket {location.bucket!r}, {prefix} ({datasource.purpose})"


def _cut(text: str | None) -> str | None:
    return " ".join((text or "").split())[:_ERROR_CHARACTERS].rstrip(".") or None
