"""
From what the tasks left to what the page shows: each dataset with its last verdict and its last run. Pure.

Everything in a record comes from an XCom, which any task of the DAG can write: links are checked, texts are shortened,
and a member of another type than expected counts as missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from lightly_provider.contract import ID_PATTERN, Permission
from lightly_provider.foreign_text import shown
from lightly_provider.plugin.records import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from lightly_provider.plugin.records import Record, TaskKey

_LONGEST_NAME, _LONGEST_TEXT = 200, 600
_MOST_DATASOURCES, _MOST_CHECKS = 10, 50
_NOT_IN_LINK = re.compile(r"[\s@?#\\<>\"'`]")
_DATASET_PAGE = re.compile(rf"(?P<web>.*)/dataset/(?P<id>{ID_PATTERN.removeprefix('^').removesuffix('$')})")
_VERIFICATION = "VerifyDatasourcePermissionsOperator"
_FAILED = ("failed", "upstream_failed", "up_for_retry")
# What a check's status means for the one who reads the page.
_STATUSES = ("PASS", "WARN", "FAIL", "UNKNOWN", "SKIP")


class TaskLink(NamedTuple):
    """
    A task instance on Airflow's own pages.

    :param label: Its DAG and task; of a mapped task, also the name or number of its instance.
    :param path: Path of its page below Airflow's root.
    """

    label: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Light:
    """
    One permission in one datasource.

    :param permission: ``list``, ``read``, ``write`` or ``overwrite``.
    :param status: How the check ended; see :class:`~lightly_provider.diagnosis.findings.Status`.
    :param granted: The platform's light; None: it was not asked.
    :param required: Whether the use of the dataset requires it.
    """

    permission: str
    status: str
    granted: bool | None
    required: bool


@dataclass(frozen=True, kw_only=True)
class Problem:
    """
    What was found wrong.

    :param subject: The permission, or what was looked at.
    :param cause: The cause; None: unknown.
    :param message: The reason.
    """

    subject: str
    cause: str | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Datasource:
    """
    A datasource in a verdict.

    :param purpose: Its purpose.
    :param location: Its address.
    :param lights: Its permissions, in the platform's order.
    :param problems: What was found wrong.
    """

    purpose: str
    location: str
    lights: tuple[Light, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    The newest verdict about a dataset.

    :param status: ``PASS``, ``WARN``, ``FAIL`` or ``UNKNOWN``; ``?``: it is not in Airflow's database.
    :param is_ok: Whether nothing required is missing; None: not known.
    :param datasources: Its datasources.
    :param task: The task that verified.
    :param at: When.
    """

    status: str
    is_ok: bool | None
    datasources: tuple[Datasource, ...]
    task: TaskLink
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Run:
    """
    The newest run on a dataset.

    :param state: State of the task that scheduled it or waited for it.
    :param tag_name: Tag that it created; None: none, or not known yet.
    :param n_selected: Number of samples in it; None: not known yet.
    :param url: Page of the platform's runs.
    :param task: The task.
    :param at: When the task ended, or started.
    """

    state: str
    tag_name: str | None
    n_selected: int | None
    url: str
    task: TaskLink
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """
    A dataset as the page shows it.

    :param id: Its id.
    :param name: Its name; empty: no task stored it.
    :param url: Its page on the platform.
    :param dag_ids: The DAGs that work on it.
    :param last_activity: When a task last stored something about it.
    :param needs_attention: Whether its last verdict is not good, its last run failed, or its last verification failed
        without a verdict.
    :param verdict_record: The newest task with a verdict; None: there is none.
    :param run_record: The newest task with a run; None: there is none.
    :param unfinished_verification: A verification that failed without a verdict, after the newest verdict; None: none.
    """

    id: str
    name: str
    url: str
    dag_ids: tuple[str, ...]
    last_activity: datetime
    needs_attention: bool
    verdict_record: Record | None = field(repr=False)
    run_record: Record | None = field(repr=False)
    unfinished_verification: TaskLink | None

    def is_found_by(self, words: str) -> bool:
        """Whether the id, the name or a DAG contains these words."""
        return any(words.lower() in text.lower() for text in (self.id, self.name, *self.dag_ids))

    def verdict(self, verdicts: Mapping[TaskKey, Mapping[str, Any]]) -> Verdict | None:
        """Return the newest verdict; None: there is none."""
        record = self.verdict_record
        if record is None:
            return None
        stored = verdicts.get(record.key)
        checks = [] if stored is None else [*_checks(stored, "checks"), *_checks(stored, "from_this_worker")]
        return Verdict(
            status="?" if stored is None else _status(stored),
            is_ok=record.is_ok,
            datasources=_datasources(checks),
            task=task_link(record),
            at=record.ended_at or record.stored_at,
        )

    def run(self, results: Mapping[TaskKey, Mapping[str, Any]]) -> Run | None:
        """Return the newest run; None: there is none."""
        record = self.run_record
        if record is None:
            return None
        result: Mapping[str, Any] = results.get(record.key, {})
        n_selected = result.get("n_selected")
        return Run(
            state=record.state or "no state",
            tag_name=_text(result.get("tag_name"), _LONGEST_NAME) or None,
            n_selected=n_selected if isinstance(n_selected, int) and not isinstance(n_selected, bool) else None,
            url=f"{self.url.rpartition('/dataset/')[0]}/compute/runs",
            task=task_link(record),
            at=record.ended_at or record.started_at or record.stored_at,
        )


def datasets_of(records: Iterable[Record]) -> list[Dataset]:
    """
    Return the datasets that these tasks worked on: those that need attention first, then by their last activity.

    :param records: See :func:`lightly_provider.plugin.records.newest_records`. One whose link leads to no dataset is
        left out.
    """
    by_link: dict[str, list[Record]] = {}
    for record in records:
        if (url := checked_link(record.link)) is not None:
            by_link.setdefault(url, []).append(record)
    found = [_dataset(url, sorted(each, key=_by_time, reverse=True)) for url, each in by_link.items()]
    return sorted(found, key=lambda one: (not one.needs_attention, -one.last_activity.timestamp(), one.id))


def checked_link(link: Any) -> str | None:
    """Return a link to a dataset's page; None for anything else, e.g. an address with a login or a script."""
    if not isinstance(link, str) or len(link) > 2000 or not link.isprintable() or _NOT_IN_LINK.search(link):
        return None
    try:
        parts = urlsplit(link)
        host = parts.hostname
    except ValueError:
        return None
    is_page = parts.scheme in ("http", "https") and bool(host) and _DATASET_PAGE.fullmatch(link) is not None
    return link if is_page else None


def task_link(record: Record) -> TaskLink:
    """Return the link to a task instance on Airflow's own pages."""
    task_id = record.key.task_id
    path = f"dags/{_part(record.dag_id)}/runs/{_part(record.run_id)}/tasks/{_part(task_id)}"
    label = f"{record.dag_id} / {task_id}"
    if record.key.map_index >= 0:
        path = f"{path}/mapped/{record.key.map_index}"
        label = f"{label} [{record.map_name or record.key.map_index}]"
    return TaskLink(shown(label, longest=_LONGEST_NAME), path)


def dag_path(dag_id: str) -> str:
    """Return the path of a DAG's page below Airflow's root."""
    return f"dags/{_part(dag_id)}"


def _part(text: str) -> str:
    return quote(text, safe="")


def _by_time(record: Record) -> datetime:
    return record.stored_at


def _dataset(url: str, records: Sequence[Record]) -> Dataset:
    verdict, run = _newest(records, Kind.VERDICT), _newest(records, Kind.RUN)
    broken = next((one for one in records if one.operator == _VERIFICATION and one.kind is not Kind.VERDICT), None)
    if broken is not None and (broken.state not in _FAILED or (verdict and verdict.stored_at > broken.stored_at)):
        broken = None
    names = (one.dataset_name or (one.map_name if one.key.map_index >= 0 else None) for one in records)
    return Dataset(
        id=url.rpartition("/")[2],
        name=shown(next(filter(None, names), ""), longest=_LONGEST_NAME).strip(),
        url=url,
        dag_ids=tuple(sorted({one.dag_id for one in records})),
        last_activity=records[0].stored_at,
        needs_attention=bool(
            broken or (verdict and verdict.is_ok is False) or (run is not None and run.state in _FAILED)
        ),
        verdict_record=verdict,
        run_record=run,
        unfinished_verification=None if broken is None else task_link(broken),
    )


def _newest(records: Sequence[Record], kind: Kind) -> Record | None:
    return next((one for one in records if one.kind is kind), None)


# --- the members of a stored verdict -----------------------------------------------------------------------------


def _checks(stored: Mapping[str, Any], group: str) -> list[Mapping[str, Any]]:
    checks = stored.get(group)
    return [check for check in checks[:_MOST_CHECKS] if isinstance(check, dict)] if isinstance(checks, list) else []


def _datasources(checks: Iterable[Mapping[str, Any]]) -> tuple[Datasource, ...]:
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for check in checks:
        place = (_text(check.get("purpose"), 100), _text(check.get("location"), _LONGEST_TEXT))
        by_place.setdefault(place, []).append(check)
    return tuple(
        Datasource(purpose=purpose, location=location, lights=_lights(each), problems=_problems(each))
        for (purpose, location), each in list(by_place.items())[:_MOST_DATASOURCES]
    )


def _lights(checks: Iterable[Mapping[str, Any]]) -> tuple[Light, ...]:
    # The platform's own check comes first; without it, this worker's counts.
    by_permission: dict[str, Mapping[str, Any]] = {}
    for each in checks:
        by_permission.setdefault(_text(each.get("permission"), 100), each)
    return tuple(
        Light(
            permission=str(one),
            status=_status(check),
            granted=granted if isinstance(granted := check.get("granted"), bool) else None,
            required=check.get("required") is True,
        )
        for one in Permission
        if (check := by_permission.get(str(one))) is not None
    )


def _problems(checks: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
    found = {}
    for check in checks:
        if _status(check) in ("PASS", "SKIP") or (_status(check) == "UNKNOWN" and check.get("granted") is True):
            continue
        problem = Problem(
            subject=_text(check.get("permission"), 100),
            cause=_text(check.get("cause"), 100) or None,
            message=_text(check.get("error") or check.get("message"), _LONGEST_TEXT),
        )
        found[(problem.subject, problem.cause)] = problem
    return tuple(found.values())


def _status(stored: Mapping[str, Any]) -> str:
    status = stored.get("status")
    return status if isinstance(status, str) and status in _STATUSES else "UNKNOWN"


def _text(value: Any, longest: int) -> str:
    return shown(value, longest=longest) if isinstance(value, str) else ""
