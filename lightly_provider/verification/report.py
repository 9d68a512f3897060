"""Formats a verdict as a table and as an error message, and lists the changes since an earlier one. Pure."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from lightly_provider.contract import Permission
from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.remedies import as_json, merged
from lightly_provider.exceptions import explained, in_lines
from lightly_provider.foreign_text import shown, shown_json
from lightly_provider.verification.verdict import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.aws.policies import Statement
    from lightly_provider.diagnosis.findings import Finding
    from lightly_provider.diagnosis.remedies import Remedy
    from lightly_provider.diagnosis.target import Target
    from lightly_provider.verification.verdict import Check, Verdict


_WIDTH = 120
_MARGIN = " " * 26  # the indentation of a table's messages


def table(verdict: Verdict) -> str:
    """
    Format the verdict for the task log.

    A datasource with nothing to report is one line. Of any other the table has Lightly's checks, this worker's checks,
    and the fix. Without Lightly's checks, the table always has all.

    :param verdict: The verdict.
    """
    in_full, in_short = [], []
    for datasource in dict.fromkeys(check.datasource for check in (*verdict.checks, *verdict.from_this_worker)):
        of_lightly, of_worker = (
            [check for check in checks if check.datasource == datasource]
            for checks in (verdict.checks, verdict.from_this_worker)
        )
        if of_lightly and all(map(_is_well, (*of_lightly, *of_worker))):
            in_short.append("\n".join(_line(datasource, of_lightly, of_worker)))
        else:
            in_full.append("\n".join(_block(datasource, of_lightly, of_worker)))
    return "\n\n".join([*in_full, *(["\n".join(in_short)] if in_short else []), *_meaning_of_unknown(verdict)])


def findings_table(heading: str, findings: Sequence[Finding]) -> str:
    """
    Format findings that belong to no datasource, as :func:`table` does those of one.

    :param heading: What they are about.
    :param findings: The findings; the remedies of those that are not PASS or SKIP follow them.
    """
    lines = _wrapped(heading, "", "  ")
    lines += [line for one in findings for line in _wrapped(one.message, _beginning(one), _MARGIN)]
    remedies = [one.remedy for one in findings if one.remedy and one.status not in _NOTHING_TO_DO]
    return "\n".join([*lines, *_fix(merged(remedies))])


_NOTHING_TO_DO = (Status.PASS, Status.SKIP)
_DATASOURCE = "datasource "


def _line(datasource: Target, of_lightly: Sequence[Check], of_worker: Sequence[Check]) -> list[str]:
    """Return one datasource on one line, or on more if its path is long."""
    status = Status.UNKNOWN if any(map(_is_green_of_either, of_lightly)) else Status.PASS
    granted = ", ".join(check.subject for check in of_lightly if check.status is not Status.SKIP)
    line = f"{datasource.purpose}  {status}  {granted}  {datasource.location.uri}"
    counted = [check.message for check in of_worker if check.subject == "content"]
    for further in (*counted, datasource.access):
        if len(_shown(longer := f"{line}  {further}")) <= _WIDTH - len(_DATASOURCE):
            line = longer
    return _wrapped(line, _DATASOURCE, "  ")


def _block(datasource: Target, of_lightly: Sequence[Check], of_worker: Sequence[Check]) -> list[str]:
    """Return all checks of one datasource, and the fix."""
    lines = _wrapped(f"{datasource.purpose}  {datasource.location.uri}  {datasource.access}", _DATASOURCE, "  ")
    remedies = []
    for source, checks in ((Source.LIGHTLY, of_lightly), (Source.WORKER, of_worker)):
        if checks:
            lines.append(f"  {source}")
            lines += [line for check in checks for line in _row(check)]
        remedies += [check.remedy for check in checks if check.remedy and check.status not in _NOTHING_TO_DO]
    return lines + _fix(merged(remedies))


def _row(check: Check) -> list[str]:
    message = _GREEN if _is_green_of_either(check) else check.message
    return _wrapped(message, _beginning(check), _MARGIN)


def _beginning(one: Check | Finding) -> str:
    return f"    {one.subject:<12} {one.status:<8} "


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
                lines += [f"        {line}" for line in readable_json(part).splitlines()]
    for command in remedy.commands:
        first, *rest = _folded(command)
        lines += [f"    - {first}", *(f"      {line}" for line in rest)]
    return ["  to do", *lines] if lines else []


def _folded(command: str) -> list[str]:
    """Return a command as a shell reads it: on one line, or continued before its options."""
    line = _shown(f"Run: {command}")
    return [line] if len(line) <= _WIDTH - 20 else line.replace(" --", " \\\n  --").splitlines()


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    """Break a text into lines: between words, and within a word that is longer than a line, such as a path."""
    return textwrap.wrap(
        _shown(text), _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    ) or [first.rstrip()]


def _shown(text: str) -> str:
    """Sanitize a text that may contain S3 keys or texts of the platform or AWS. Fixes are not shortened."""
    return shown(text, longest=_LONGEST)


_LONGEST = 100_000
_GREEN = "Lightly's light is green"


def _is_well(check: Check) -> bool:
    return check.status in _NOTHING_TO_DO or _is_green_of_either(check)


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


def failure_message(verdict: Verdict, dataset_name: str | None = None, *, note: str = "") -> str:
    """
    Return what is missing and why, what to do, where, and the dataset's id, each on lines of its own; empty if nothing
    failed.

    :param verdict: The verdict.
    :param dataset_name: The dataset's name. None (default): it is not known.
    :param note: A sentence after the cause. Default: none.
    """
    if verdict.ok:
        return ""
    missing: list[str] = []
    to_do: list[str] = []
    where: list[str] = []
    for datasource, checks in _by_datasource(verdict.failed):
        subjects = ", ".join(check.subject for check in checks)
        causes = dict.fromkeys(
            str(check.cause) if check.cause else check.message
            for check in checks
            if check.cause or check.subject not in list(Permission)
        )
        because = f" ({'; '.join(causes)})" if causes else ""
        missing.append(f"{subjects} in {datasource.purpose}{because}")
        to_do += _steps(merged(check.remedy for check in checks if check.remedy))
        where.append(f"{datasource.purpose}: {datasource.location.uri}, {datasource.access}")
        where += [f"  The platform reports: {error}" for error in dict.fromkeys(c.error for c in checks if c.error)]
    notes = dict.fromkeys(
        sentence
        for check in verdict.failed
        if check.status is Status.UNKNOWN and check.subject in list(Permission)
        for sentence in [check.message.rpartition(". ")[2] if ". " in check.message else check.message]
    )
    is_about_rights = any(check.subject in list(Permission) for check in verdict.failed)
    fault = "lacks permissions" if is_about_rights else "cannot be used"
    is_location = verdict.dataset_id.startswith("s3://")
    named = verdict.dataset_id if dataset_name is None else repr(dataset_name)
    subject = named if is_location else f"Dataset {named}"
    head = _shown(f"{subject} {fault}:")
    faults = [*(_shown(f"{each};") for each in missing[:-1]), _shown(f"{missing[-1]}.")]
    cause = " ".join([head, *faults])
    # What does not fit into the first line begins its own lines.
    is_short = len(in_lines(cause, is_first=True)) == 1
    return explained(
        cause if is_short else head,
        to_do=[*([] if is_short else faults), note, *dict.fromkeys(to_do), *map(_shown, notes)],
        where=map(_shown, where),
        ids="" if is_location or dataset_name is None else f"Dataset id: {verdict.dataset_id}",
    )


def _steps(remedy: Remedy) -> list[str]:
    """Return a fix as the steps of a message: sentences, statements as indented JSON, commands."""
    steps = [_shown(text) for text in remedy.texts]
    for change in remedy.all_changes:
        steps += [_shown(part) if isinstance(part, str) else readable_json(part) for part in change.parts()]
    return [*steps, *("\n".join(_folded(command)) for command in remedy.commands)]


def readable_json(statements: Sequence[Statement]) -> str:
    """
    Return indented JSON for a policy's ``Statement`` element, with a list of one or two short texts on one line.

    :param statements: One statement, or several, which become a list.
    """
    return shown_json(_SHORT_LIST.sub(_on_one_line, as_json(statements, indent=2)))


# A list of texts as JSON is indented. AWS's actions, resources and principals contain no brackets.
_SHORT_LIST = re.compile(r"\[\n\s+(\"[^\"\\\[\]\n]*\"(?:,\n\s+\"[^\"\\\[\]\n]*\")*)\n\s+\]")
_LONGEST_LIST = 80


def _on_one_line(found: re.Match[str]) -> str:
    items = re.sub(r",\n\s+", ", ", found[1])
    return f"[{items}]" if len(items) <= _LONGEST_LIST else found[0]


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
