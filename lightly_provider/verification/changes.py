"""What changed between two verdicts on the same dataset. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
