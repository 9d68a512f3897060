"""
What a dataset requires of its datasources, and what the platform's permission lights mean for it: pure
decisions.

The platform tests four permissions and answers with one light for each. It does not say which datasource it
tested when a dataset has more than one (lightly 1.5.26, api/datasources_api.py: the operation takes the
dataset's id and nothing else), so every light counts for every datasource that needs its permission, and the
messages say so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.denials import advice_for
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, Permission, Purpose, Statement, statements_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.aws.location import S3Location

__all__ = [
    "Check",
    "DatasourceFacts",
    "Lights",
    "Permission",
    "Purpose",
    "Status",
    "Verdict",
    "check_require",
    "judge",
    "required_permissions",
]

_AUTO = "auto"
_READ_ONLY = frozenset({Permission.LIST, Permission.READ})
# Videos' frames and objects' crops are written beside the input when no other output is given (the vendor's
# guides to videos and to object-level runs).
_TYPES_THAT_WRITE = frozenset({"Videos", "Crops"})
_ERROR_CHARACTERS = 500


class Status(StrEnum):
    """How one check ended."""

    PASS = "PASS"  # noqa: S105  (no password)
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True)
class DatasourceFacts:
    """
    What the verification must know of one datasource.

    :param purpose: What the dataset uses it for.
    :param location: Where it points.
    :param access: How the platform reaches it, as :meth:`UserAccess.describe` says it; shown, so without
        secrets.
    :param thumbnails: Whether the platform stores thumbnails there.
    :param kms_key_arn: The key that encrypts its objects; None when S3's own keys do.
    :param partition: The AWS partition of its bucket.
    """

    purpose: Purpose
    location: S3Location
    access: str
    thumbnails: bool
    kms_key_arn: str | None = None
    partition: str = "aws"


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
    One permission on one datasource.

    :param datasource: The datasource.
    :param permission: The permission.
    :param granted: The platform's light.
    :param required: Whether this use of the dataset needs the permission there.
    :param message: Why the status is what it is.
    :param error: The platform's own text on a failed check; None when it gave none, or the check did not
        fail.
    :param fix: The IAM statements to add; empty unless the check failed for want of one.
    :param advice: What to do where no statement would help, as with a wrong key; None otherwise.
    """

    datasource: DatasourceFacts
    permission: Permission
    granted: bool
    required: bool
    message: str
    error: str | None = None
    fix: tuple[Statement, ...] = ()
    advice: str | None = None

    @property
    def status(self) -> Status:
        """PASS or FAIL for a required permission, SKIP for any other."""
        if not self.required:
            return Status.SKIP
        return Status.PASS if self.granted else Status.FAIL

    def as_dict(self) -> dict[str, Any]:
        """The check in JSON's own types."""
        return {
            "purpose": str(self.datasource.purpose),
            "location": self.datasource.location.uri,
            "access": self.datasource.access,
            "permission": str(self.permission),
            "granted": self.granted,
            "required": self.required,
            "status": str(self.status),
            "message": self.message,
            "error": self.error,
            "fix": list(self.fix),
            "advice": self.advice,
        }


@dataclass(frozen=True)
class Verdict:
    """
    All checks of one dataset.

    :param dataset_id: The dataset.
    :param checks: Every permission on every datasource, datasource by datasource.
    """

    dataset_id: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every required permission is granted."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The required permissions that are not granted."""
        return tuple(check for check in self.checks if check.status is Status.FAIL)

    def as_dict(self) -> dict[str, Any]:
        """The verdict in JSON's own types, for XCom."""
        return {
            "dataset_id": self.dataset_id,
            "ok": self.ok,
            "checks": [check.as_dict() for check in self.checks],
        }

    def table(self) -> str:
        """The verdict for the task log: a row per datasource, and below it what each failed check needs."""
        rows = [["purpose", "location", "access", *map(str, Permission)]]
        for datasource, checks in _by_datasource(self.checks):
            cells = [str(datasource.purpose), datasource.location.uri, datasource.access]
            rows.append(cells + [str(check.status) for check in checks])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        for check in self.failed:
            lines += [
                "",
                f"{check.status}: {check.message}",
                check.advice or _remedy(check.datasource, _json(check.fix, indent=2)),
            ]
        return "\n".join(lines)

    def failure_message(self) -> str:
        """
        The failed checks for an exception: what is missing where and why, and what to add.

        Empty when nothing failed.
        """
        if self.ok:
            return ""
        missing: list[str] = []
        remedies: list[str] = []
        for datasource, checks in _by_datasource(self.failed):
            permissions = [check.permission for check in checks]
            errors = dict.fromkeys(check.error for check in checks if check.error)
            reported = f" (the platform reports: {' | '.join(errors)})" if errors else ""
            missing.append(f"{', '.join(permissions)} in {_place(datasource)}{reported}")
            lacking = [check.permission for check in checks if not check.advice]
            remedies += dict.fromkeys(check.advice for check in checks if check.advice)
            if lacking:
                remedies.append(_remedy(datasource, _json(_fix(lacking, datasource))))
        denied = {check.permission for check in self.failed if not check.advice}
        notes = _notes(denied, len(_by_datasource(self.checks))) if denied else []
        what = f"Dataset {self.dataset_id} lacks permissions: {'; '.join(missing)}."
        return " ".join([what, *notes, *dict.fromkeys(remedies)])


def required_permissions(dataset_type: str, purpose: Purpose, thumbnails: bool) -> frozenset[Permission]:
    """
    What a datasource must grant for this use of the dataset.

    :param dataset_type: The dataset's type on the platform: ``Images``, ``Videos``, ``Crops``.
    :param purpose: What the datasource is for.
    :param thumbnails: Whether the platform stores thumbnails there.
    """
    if purpose == Purpose.INPUT_OUTPUT and not thumbnails and dataset_type not in _TYPES_THAT_WRITE:
        return _READ_ONLY
    return PURPOSE_PERMISSIONS[purpose]


def check_require(require: str | Sequence[str], *, argument: str = "require") -> frozenset[Permission] | None:
    """
    Read which permissions a user requires.

    :param require: ``"auto"``, or the names of permissions, at least one.
    :param argument: The name of the operator's argument, for the message.
    :return: The permissions; None for ``"auto"``.
    :raises ValueError: With the name that was probably meant.
    """
    if require == _AUTO:
        return None
    if isinstance(require, str):
        remedy = f"write [{require!r}]." if require in list(Permission) else _did_you_mean(require, _AUTO)
        raise ValueError(f"{argument}={require!r} is neither {_AUTO!r} nor a list of permissions; {remedy}")
    if not require:
        raise ValueError(f"{argument} is empty, so nothing would be verified; name a permission, or write {_AUTO!r}.")
    for name in require:
        if name not in list(Permission):
            raise ValueError(f"{argument} names {name!r}, which is no permission; {_did_you_mean(name)}")
    return frozenset(map(Permission, require))


def judge(
    dataset_id: str,
    dataset_type: str,
    datasources: Sequence[DatasourceFacts],
    lights: Lights,
    require: str | Sequence[str] = _AUTO,
) -> Verdict:
    """
    Decide which of the lights matter.

    With ``"auto"`` the purpose, the dataset's type and the thumbnails decide. Named permissions are required
    exactly, each on the datasources whose purpose uses it, so that asking for ``write`` does not ask to write
    into a read-only input beside an output; one that no datasource's purpose uses is required of all.

    :param dataset_id: The dataset.
    :param dataset_type: Its type on the platform.
    :param datasources: All its datasources.
    :param lights: What the platform's check answered for the dataset.
    :param require: ``"auto"``, or the names of permissions.
    :raises ValueError: When the dataset has no datasource, or ``require`` names what is no permission.
    """
    if not datasources:
        raise ValueError(f"Dataset {dataset_id} has no datasource, so there is nothing to verify; configure one first.")
    wanted = check_require(require)
    used = frozenset[Permission]().union(*(PURPOSE_PERMISSIONS[datasource.purpose] for datasource in datasources))
    checks = []
    for datasource in datasources:
        if wanted is None:
            required = required_permissions(dataset_type, datasource.purpose, datasource.thumbnails)
            because = f"not needed for {_use(datasource, dataset_type)}"
        else:
            required = wanted & (PURPOSE_PERMISSIONS[datasource.purpose] | (wanted - used))
            because = f"not required of {datasource.purpose}"
        denied = {permission for permission in required if not lights.granted(permission)}
        for permission in Permission:
            if permission in denied:
                notes = _notes(denied if permission is Permission.READ else (), len(datasources))
                checks.append(_failed_check(datasource, permission, lights.errors.get(permission), notes))
            else:
                needed, granted = permission in required, lights.granted(permission)
                checks.append(Check(datasource, permission, granted, needed, "granted" if needed else because))
    return Verdict(dataset_id, tuple(checks))


def _failed_check(datasource: DatasourceFacts, permission: Permission, text: str | None, notes: Sequence[str]) -> Check:
    error = " ".join((text or "").split())[:_ERROR_CHARACTERS].rstrip(".") or None
    said = f"The platform reports: {error}." if error else "The platform gives no reason."
    advice = advice_for(error)
    # The notes are about missing rights; a wrong key is no reason to require less.
    message = " ".join([f"{permission} is not granted in {_place(datasource)}.", said, *(() if advice else notes)])
    fix = () if advice else tuple(_fix([permission], datasource))
    return Check(datasource, permission, False, True, message, error, fix, advice)


def _notes(denied: Iterable[Permission], n_datasources: int) -> list[str]:
    """What a reader must know to read the lights rightly."""
    notes = []
    if {Permission.LIST, Permission.READ} <= set(denied):
        # AWS docs: S3 API reference, GetObject, "Permissions".
        notes.append("While list is denied, S3 answers 403 for a missing object too, so read may turn green with list.")
    if n_datasources > 1:
        notes.append(
            f"The platform's check does not say which of the {n_datasources} datasources it tested, so this "
            "may concern another one; if the right is there, leave it out of the argument require."
        )
    return notes


def _fix(permissions: Iterable[Permission], datasource: DatasourceFacts) -> list[Statement]:
    return statements_for(
        permissions,
        datasource.location,
        kms_key_arn=datasource.kms_key_arn,
        partition=datasource.partition,
    )


def _remedy(datasource: DatasourceFacts, statements: str) -> str:
    return f"For {datasource.access}, add to its IAM policy: {statements}"


def _place(datasource: DatasourceFacts) -> str:
    location = datasource.location
    prefix = f"prefix {location.prefix!r}" if location.prefix else "the whole bucket"
    return f"bucket {location.bucket!r}, {prefix} ({datasource.purpose})"


def _use(datasource: DatasourceFacts, dataset_type: str) -> str:
    if datasource.purpose == Purpose.INPUT_OUTPUT:
        return f"{datasource.purpose} of {dataset_type} without thumbnails"
    return str(datasource.purpose)


def _by_datasource(checks: Iterable[Check]) -> list[tuple[DatasourceFacts, list[Check]]]:
    groups: dict[DatasourceFacts, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.datasource, []).append(check)
    return list(groups.items())


def _json(statements: Sequence[Statement], indent: int | None = None) -> str:
    """Statements as a policy's ``Statement`` member takes them: one alone, several in a list."""
    value = statements[0] if len(statements) == 1 else list(statements)
    return json.dumps(value, indent=indent, separators=(",", ":") if indent is None else None)


def _did_you_mean(name: str, *more: str) -> str:
    import difflib  # only a refusal needs it

    names = [*map(str, Permission), *more]
    near = difflib.get_close_matches(str(name).lower(), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(names)}."
