"""What a dataset still needs, from what the platform has: differences of its datasources, and whether a run is due."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.api.models.wire import drop_none
from lightly_provider.contract import EXTERNAL_ID_PATTERN, SHORTEST_EXTERNAL_ID, RunState
from lightly_provider.fleet.schedule import latest_before
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from datetime import datetime

    from lightly_provider.api.models.datasource import Datasource, S3Datasource
    from lightly_provider.api.models.run import Run

# The members of a datasource on the wire, in words.
_WORDS = {
    "fullPath": "location",
    "s3Region": "region",
    "type": "kind of access",
    "s3AccessKeyId": "access key",
    "s3SecretAccessKey": "secret key",
    "s3ARN": "role",
    "s3ExternalId": "external ID",
    "thumbSuffix": "thumbnails",
    "s3ServerSideEncryptionKMSKey": "KMS key",
}
# What a secret looks like. What the platform returns instead of one does not: ***, or one character repeated.
_SECRETS = {"s3SecretAccessKey": r"[A-Za-z0-9/+=]{40,128}", "s3ExternalId": EXTERNAL_ID_PATTERN}


def difference(present: Datasource | None, wanted: S3Datasource) -> str:
    """
    Return how a datasource differs from what is wanted; empty: it does not.

    Where the platform hides a secret in its answer, the rest decides: a new key pair has a new key id, too. Whether
    the access works is then shown by the platform's own check.

    :param present: The dataset's datasource of this purpose. None: it has none.
    :param wanted: The datasource that the file means.
    """
    if present is None:
        return f"no datasource {wanted.purpose.value} yet"
    mine = drop_none(present.model_dump(by_alias=True, exclude={"id"}))
    theirs = wanted.to_wire()
    for members in (mine, theirs):
        if not members.get("thumbSuffix"):
            members.pop("thumbSuffix", None)
    for name, form in _SECRETS.items():
        if name in theirs and not _is_secret(mine.get(name), form):
            mine.pop(name, None)
            del theirs[name]
    names = [name for name in dict.fromkeys([*theirs, *mine]) if mine.get(name) != theirs.get(name)]
    if not names:
        return ""
    return f"datasource {wanted.purpose.value} has another {', '.join(_WORDS.get(name, name) for name in names)}"


def _is_secret(value: object, form: str) -> bool:
    if not isinstance(value, str) or len(value) < SHORTEST_EXTERNAL_ID or len(set(value)) == 1:
        return False
    return re.fullmatch(form, value) is not None


@dataclass(frozen=True, kw_only=True)
class RunsSeen:
    """
    A dataset's runs, as far as they matter.

    :param waiting: Id of a scheduled run that no worker has taken. None (default): there is none.
    :param taken: Id of a scheduled run that a worker has taken. None (default): there is none.
    :param is_other: Whether the run that waits or is in progress is not one that the file means. Default: False.
    :param newest: The newest run. None (default): there is none.
    :param newest_equal: The newest completed run with the configuration of the file. None (default): none was found.
    :param changed_at: When the input was changed, in seconds since the epoch. None (default): a run has read it since,
        or it never was.
    """

    waiting: str | None = None
    taken: str | None = None
    is_other: bool = False
    newest: Run | None = None
    newest_equal: Run | None = None
    changed_at: int | None = None

    @property
    def in_progress(self) -> str:
        """The run that a worker has taken and that has not ended, in words; empty: there is none."""
        if self.newest is not None:
            state = RunState.parse(self.newest.state)
            if state is None or not state.is_terminal:
                return f"run {self.newest.id} is {shown(self.newest.state, longest=50)}"
        return "" if self.taken is None else f"a worker has taken scheduled run {self.taken}"


@dataclass(frozen=True)
class Need:
    """
    Whether something is to be done, and why, or why not; the reason may be empty if nothing is.

    :param is_needed: Whether a run is needed.
    :param reason: Why, or why not.
    :param in_progress: Whether none is needed only because one has not ended yet. Default: False.
    :param is_taken: Whether a worker has taken that one, so that nothing of the dataset may be changed. Default: False.
    :param reads_all: Whether the run must read all files, not only new ones. Default: False.
    """

    is_needed: bool
    reason: str = ""
    in_progress: bool = False
    is_taken: bool = False
    reads_all: bool = False


def need_of_run(seen: RunsSeen, schedule: str | None, now: datetime) -> Need:
    """
    Decide whether a dataset needs a run of the worker.

    :param seen: Its runs.
    :param schedule: Its schedule. None: one run, until something changes.
    :param now: The time, with a time zone.
    """
    if seen.in_progress:
        return Need(False, seen.in_progress, in_progress=True, is_taken=True)
    if seen.waiting is not None:
        other = " with another selection, other options of the worker or other labels" if seen.is_other else ""
        cancel = "cancel it, by CancelLightlyRunOperator or in the web app"
        way_out = f"for one as the file says, {cancel}" if seen.is_other else f"if none takes it, {cancel}"
        return Need(False, f"scheduled run {seen.waiting}{other} waits for a worker; {way_out}", in_progress=True)
    newest = seen.newest
    if newest is None:
        return Need(True, "no run yet")
    # What a run with another selection, or of another input, has read is not new, and would not be selected.
    equal, changed_at = seen.newest_equal, seen.changed_at
    is_older = equal is not None and changed_at is not None and equal.created_at < changed_at * 1000
    reads_all = equal is None or is_older
    state = RunState.parse(newest.state)
    if state is not RunState.COMPLETED:
        because = f": {shown(newest.message, longest=200)}" if newest.message else ""
        return Need(True, f"the last run is {state}{because}", reads_all=reads_all)
    if equal is None:
        return Need(True, "no run with this selection and these options of the worker yet", reads_all=True)
    if is_older:
        return Need(True, "no run has read all files since the input or the selection changed", reads_all=True)
    if schedule is not None:
        due = latest_before(schedule, now)
        # Compared as numbers: what the platform says may be no moment that Python knows.
        if equal.created_at < due.timestamp() * 1000:
            return Need(True, f"a run is due since {due:%Y-%m-%d %H:%M} UTC ({schedule})")
    return Need(False)
