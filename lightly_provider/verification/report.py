"""A verdict as a table and as an error message, and what has changed since an earlier one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.contract import Permission
from lightly_provider.diagnosis.findings import Status, as_json
from lightly_provider.diagnosis.remedies import remedy_for
from lightly_provider.verification.verdict import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lightly_provider.verification.verdict import Check, DatasourceFacts, Verdict


def table(verdict: Verdict) -> str:
    """
    The verdict for the task log: a block per datasource, in it what Lightly says and what this worker saw.

    :param verdict: The verdict.
    """
    blocks = []
    for datasource in dict.fromkeys(check.datasource for check in (*verdict.checks, *verdict.observations)):
        lines = [f"datasource {datasource.purpose}  {datasource.location.uri}  {datasource.access}"]
        for source, checks in ((Source.LIGHTLY, verdict.checks), (Source.WORKER, verdict.observations)):
            own = [check for check in checks if check.datasource == datasource]
            if own:
                lines.append(f"  {source}")
                for check in own:
                    lines += _rows(check)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _rows(check: Check) -> list[str]:
    rows = [f"    {check.subject:<12} {check.status:<8} {check.message}".rstrip()]
    if check.remedy and check.status is not Status.PASS:
        rows += [f"    {'':<12} {'fix':<8} {line}" for line in check.remedy.lines()]
    return rows


def failure_message(verdict: Verdict) -> str:
    """
    What is missing where and why, and what to add; empty when nothing failed.

    :param verdict: The verdict.
    """
    if verdict.ok:
        return ""
    missing: list[str] = []
    remedies: list[str] = []
    for datasource, checks in _by_datasource(verdict.failed):
        subjects = ", ".join(check.subject for check in checks)
        errors = dict.fromkeys(check.error for check in checks if check.error)
        causes = dict.fromkeys(str(check.cause) for check in checks if check.cause)
        reported = f" (the platform reports: {' | '.join(errors)})" if errors else ""
        because = f" ({'; '.join(causes)})" if causes and not errors else ""
        missing.append(f"{subjects} in {_place(datasource)}{reported}{because}")
        remedies += _remedies(datasource, checks)
    notes = dict.fromkeys(
        sentence
        for check in verdict.failed
        if check.status is Status.UNKNOWN
        for sentence in [check.message.rpartition(". ")[2] if ". " in check.message else check.message]
    )
    what = f"{_subject(verdict)} lacks permissions: {'; '.join(missing)}."
    return " ".join([what, *notes, *dict.fromkeys(remedies)])


def _subject(verdict: Verdict) -> str:
    return verdict.dataset_id if verdict.dataset_id.startswith("s3://") else f"Dataset {verdict.dataset_id}"


def _remedies(datasource: DatasourceFacts, checks: list[Check]) -> list[str]:
    """What to do for one datasource, the statements for its identity's policy in one piece."""
    found: list[str] = []
    lacking: list[Permission] = []
    for check in checks:
        remedy = check.remedy
        if remedy is None:
            continue
        if remedy.text or remedy.changes:
            found += remedy.lines()
        elif check.subject in list(Permission):
            lacking.append(Permission(check.subject))
    if lacking:
        statements = remedy_for(None, lacking, datasource).statements
        found.append(f"For {datasource.access}, add to its IAM policy: {as_json(statements)}")
    return found


def _place(datasource: DatasourceFacts) -> str:
    location = datasource.location
    prefix = f"prefix {location.prefix!r}" if location.prefix else "the whole bucket"
    return f"bucket {location.bucket!r}, {prefix} ({datasource.purpose})"


def _by_datasource(checks: Iterable[Check]) -> list[tuple[DatasourceFacts, list[Check]]]:
    groups: dict[DatasourceFacts, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.datasource, []).append(check)
    return list(groups.items())


_GROUPS = (("checks", "Lightly says"), ("from_this_worker", "from this worker"))


def changes_between(earlier: Mapping[str, Any] | None, later: Mapping[str, Any]) -> list[str]:
    """
    Compare two verdicts as they stand in XCom.

    :param earlier: The one before; None if there is none, then nothing changed.
    :param later: The present one.
    :return: A sentence for each check whose status, cause or access is another one now, and for each that came or
        went. Counts of files alone are no change.
    """
    if earlier is None or earlier.get("dataset_id") != later.get("dataset_id"):
        return []
    before, after = _by_place(earlier), _by_place(later)
    changes = []
    for place in dict.fromkeys([*before, *after]):
        was, now = before.get(place), after.get(place)
        if was is None or now is None:
            changes.append(
                f"{' '.join(place)}: {'new' if was is None else 'gone'} ({(now or was or {}).get('status')})"
            )
        elif (told := _told(was)) != _told(now):
            changes.append(f"{' '.join(place)}: {told} -> {_told(now)}")
    return changes


def _by_place(verdict: Mapping[str, Any]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    return {
        (str(check["purpose"]), str(check["permission"]), f"({source})"): check
        for group, source in _GROUPS
        for check in verdict.get(group) or ()
    }


def _told(check: Mapping[str, Any]) -> str:
    cause = f", {check['cause']}" if check.get("cause") else ""
    return f"{check['status']}{cause} at {check['location']}, {check['access']}"
