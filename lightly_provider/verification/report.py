"""Formats a verdict as a table and as an error message, and lists the changes since an earlier one. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from lightly_provider.contract import Permission
from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.remedies import as_json, merged
from lightly_provider.foreign_text import shown
from lightly_provider.verification.judging import describe_place
from lightly_provider.verification.verdict import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lightly_provider.diagnosis.remedies import Remedy
    from lightly_provider.diagnosis.target import Target
    from lightly_provider.verification.verdict import Check, Verdict


_WIDTH = 120
_MARGIN = " " * 26  # the indentation of a table's messages


def table(verdict: Verdict) -> str:
    """
    Format the verdict for the task log: for each datasource, Lightly's checks, this worker's checks, and the fix.

    :param verdict: The verdict.
    """
    blocks = []
    for datasource in dict.fromkeys(check.datasource for check in (*verdict.checks, *verdict.from_this_worker)):
        lines = [_shown(f"datasource {datasource.purpose}  {datasource.location.uri}  {datasource.access}")]
        remedies = []
        for source, checks in ((Source.LIGHTLY, verdict.checks), (Source.WORKER, verdict.from_this_worker)):
            own = [check for check in checks if check.datasource == datasource]
            if own:
                lines.append(f"  {source}")
                lines += [line for check in own for line in _row(check)]
            remedies += [check.remedy for check in own if check.remedy and check.status not in _NOTHING_TO_DO]
        lines += _fix(merged(remedies))
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, *_meaning_of_unknown(verdict)])


_NOTHING_TO_DO = (Status.PASS, Status.SKIP)


def _row(check: Check) -> list[str]:
    first = f"    {check.subject:<12} {check.status:<8} "
    message = _GREEN if _is_green_of_either(check) else check.message
    return _wrapped(message, first, _MARGIN)


def _fix(remedy: Remedy) -> list[str]:
    """Format a fix: sentences, then each policy change with its statements as indented JSON, then commands."""
    lines = []
    for text in remedy.texts:
        lines += _wrapped(text, "    - ", "      ")
    for change in remedy.all_changes:
        mark = "    - "
        for part in change.parts():
            if isinstance(part, str):
                lines += _wrapped(part, mark, "      ")
                mark = "      "
            else:
                lines += [f"        {line}" for line in as_json(part, indent=2).splitlines()]
    for command in remedy.commands:
        lines.append(_shown(f"    - Run: {command}"))
    return ["  to do", *lines] if lines else []


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        _shown(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _shown(text: str) -> str:
    """Sanitize a text that may contain S3 keys or texts of the platform or AWS. Fixes are not shortened."""
    return shown(text, longest=_LONGEST)


_LONGEST = 100_000
_GREEN = "Lightly's light is green"


def _is_green_of_either(check: Check) -> bool:
    return check.status is Status.UNKNOWN and check.granted is True


def _meaning_of_unknown(verdict: Verdict) -> list[str]:
    """Explain once what it means that no light is red and yet nothing is proven."""
    if not any(map(_is_green_of_either, verdict.checks)):
        return []
    text = (
        "UNKNOWN beside a green light: the platform's check does not say which of the datasources it tested, so the "
        "light proves nothing about one alone. Nothing is known to be wrong, and the task does not fail for it. An "
        "IAM user's keys could be tried from this worker; a role can be assumed by Lightly only."
    )
    return ["\n".join(_wrapped(text, "", ""))]


def failure_message(verdict: Verdict) -> str:
    """
    Return on one line what is missing, where and why, and what to do; empty if nothing failed.

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
        missing.append(f"{subjects} in {describe_place(datasource)}{reported}{because}")
        remedies += merged(check.remedy for check in checks if check.remedy).lines()
    notes = dict.fromkeys(
        sentence
        for check in verdict.failed
        if check.status is Status.UNKNOWN or check.subject not in list(Permission)
        for sentence in [check.message.rpartition(". ")[2] if ". " in check.message else check.message]
    )
    what = f"{_subject(verdict)} lacks permissions: {'; '.join(missing)}."
    return _shown(" ".join([what, *notes, *dict.fromkeys(remedies)]))


def _subject(verdict: Verdict) -> str:
    return verdict.dataset_id if verdict.dataset_id.startswith("s3://") else f"Dataset {verdict.dataset_id}"


def _by_datasource(checks: Iterable[Check]) -> list[tuple[Target, list[Check]]]:
    groups: dict[Target, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.datasource, []).append(check)
    return list(groups.items())


_GROUPS = (("checks", "Lightly says"), ("from_this_worker", "from this worker"))


def changes_between(earlier: Mapping[str, Any] | None, later: Mapping[str, Any]) -> list[str]:
    """
    Compare two verdicts in the form that is stored in XCom.

    :param earlier: The previous verdict; None if there is none. Then there are no changes, nor if its form has another
        version (see :mod:`lightly_provider.stored_forms`).
    :param later: The current verdict.
    :return: A sentence for each change of a status, cause or access, and for each added or removed check; checks with
        the same change share a sentence. A change in file counts only is not reported.
    """
    if earlier is None or any(earlier.get(member) != later.get(member) for member in ("dataset_id", "version")):
        return []
    before, after = _by_place(earlier), _by_place(later)
    changes: dict[tuple[str, str, str], _Change] = {}
    for place in dict.fromkeys([*before, *after]):
        purpose, subject, source = place
        was, now = before.get(place), after.get(place)
        if (
            was is not None
            and now is not None
            and all(was.get(member) == now.get(member) for member in ("status", "cause", "location", "access"))
        ):
            continue
        if was is None or now is None:
            kind = (f"{'new' if was is None else 'gone'} ({(now or was or {}).get('status')})", "")
        elif _where(was) == _where(now):
            kind = (f"{was['status']} -> {now['status']}", f" at {_where(now)}")
        else:
            kind = (f"{was['status']} at {_where(was)} -> {now['status']}", f" at {_where(now)}")
        change = changes.setdefault((purpose, *kind), _Change({}, {}, {}))
        change.subjects[subject] = change.sources[source] = None
        if was is not None and now is not None and now.get("cause"):
            change.causes[f", {now['cause']}"] = None
    return [
        _shown(
            f"{purpose} {', '.join(change.subjects)} ({', '.join(change.sources)}): "
            f"{how}{''.join(change.causes)}{where}"
        )
        for (purpose, how, where), change in changes.items()
    ]


class _Change(NamedTuple):
    """Checks with the same change, as ordered sets."""

    subjects: dict[str, None]
    sources: dict[str, None]
    causes: dict[str, None]


def _by_place(verdict: Mapping[str, Any]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    return {
        (str(check["purpose"]), str(check["permission"]), source): check
        for group, source in _GROUPS
        for check in verdict.get(group) or ()
    }


def _where(check: Mapping[str, Any]) -> str:
    return f"{check['location']}, {check['access']}"
