"""
Reads from Airflow's database what Lightly's tasks left there: XComs, rendered fields, and the states of the tasks.

Nothing is asked of the platform, and nothing is written. Each query is bounded by a period and a number of rows, and
restricted to the DAGs that the user may read.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

# The XCom keys that the operators push. Each operator that has a dataset pushes the link to it.
_LINK, _VERDICT, _SCHEDULED, _RESULT = "lightly_dataset_url", "verdict", "scheduled_run_id", "return_value"
_RUNS = ("RunLightlyWorkerOperator", "LightlyRunSensor")
_CREATES = ("CreateLightlyDatasetOperator",)
# The newest tasks that are looked at; 500 datasets with four tasks each, once an hour, for a day.
MOST_TASKS = 50_000
_ROWS_PER_QUERY = 200


class Kind(StrEnum):
    """What a task left about its dataset."""

    VERDICT = "verdict"
    RUN = "run"
    CREATION = "creation"
    OTHER = "other"


class TaskKey(NamedTuple):
    """The primary key of a task's XComs, without the XCom's own key."""

    dag_run_id: int
    task_id: str
    map_index: int


class Record(NamedTuple):
    """
    The newest task of one kind about one dataset in one DAG.

    :param key: The key of its XComs.
    :param kind: What it left.
    :param dag_id: Its DAG.
    :param run_id: Its DAG run.
    :param link: URL of the dataset's page on the platform, as the task stored it.
    :param stored_at: When it stored that.
    :param state: Its state; None: it has none yet.
    :param operator: Name of its operator's class.
    :param started_at: When its last try started; None: it has not.
    :param ended_at: When it ended; None: it has not.
    :param map_name: What Airflow shows in place of the map index; None: the index.
    :param dataset_name: The dataset's name, as far as the task stored it.
    :param is_ok: Whether its verdict is good; None: it has none that could be read.
    """

    key: TaskKey
    kind: Kind
    dag_id: str
    run_id: str
    link: Any
    stored_at: datetime
    state: str | None
    operator: str | None
    started_at: datetime | None
    ended_at: datetime | None
    map_name: str | None
    dataset_name: str | None
    is_ok: bool | None


class Records(NamedTuple):
    """
    What was read.

    :param newest: For each dataset, DAG and kind the newest task.
    :param is_cut: Whether there were more than :data:`MOST_TASKS` tasks, so that older ones were left out.
    """

    newest: list[Record]
    is_cut: bool


def dags_with_datasets(session: Session, *, since: datetime) -> set[str]:
    """
    Return the ids of the DAGs whose tasks stored a link to a dataset.

    :param session: A session on Airflow's database.
    :param since: DAG runs before this are left out.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    found = (
        select(XComModel.dag_id)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .where(XComModel.key == _LINK, DagRun.run_after >= since)
        .distinct()
    )
    return set(session.scalars(found))


def newest_records(session: Session, *, dag_ids: Collection[str], since: datetime) -> Records:
    """
    Return for each dataset, DAG and kind the newest task.

    :param session: A session on Airflow's database.
    :param dag_ids: DAGs that the user may read.
    :param since: DAG runs before this are left out.
    """
    if not dag_ids:
        return Records([], is_cut=False)
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import JSON, and_, case, exists, func, select, type_coerce
    from sqlalchemy.orm import aliased

    link = aliased(XComModel)

    def has(key: str) -> Any:
        other = aliased(XComModel)
        return exists().where(
            other.dag_run_id == link.dag_run_id,
            other.task_id == link.task_id,
            other.map_index == link.map_index,
            other.key == key,
        )

    kind = case(
        (has(_VERDICT), Kind.VERDICT.value),
        (TaskInstance.operator.in_(_RUNS), Kind.RUN.value),
        (TaskInstance.operator.in_(_CREATES), Kind.CREATION.value),
        # A subclass of an operator has another name.
        (has(_SCHEDULED), Kind.RUN.value),
        else_=Kind.OTHER.value,
    )
    tasks = (
        select(
            link.dag_run_id,
            link.task_id,
            link.map_index,
            link.dag_id,
            link.run_id,
            link.value,
            link.timestamp,
            TaskInstance.state,
            TaskInstance.operator,
            TaskInstance.start_date,
            TaskInstance.end_date,
            # The attribute of the same name is not a column: without a name, it returns the map index.
            TaskInstance.__table__.c.rendered_map_index.label("map_name"),
            kind.label("kind"),
        )
        .join(DagRun, DagRun.id == link.dag_run_id)
        .join(
            TaskInstance,
            and_(
                TaskInstance.dag_id == link.dag_id,
                TaskInstance.task_id == link.task_id,
                TaskInstance.run_id == link.run_id,
                TaskInstance.map_index == link.map_index,
            ),
        )
        .where(link.key == _LINK, link.dag_id.in_(dag_ids), DagRun.run_after >= since)
        .order_by(link.dag_run_id.desc())
        .limit(MOST_TASKS + 1)
        .subquery()
    )
    number = func.row_number().over(
        partition_by=(tasks.c.value, tasks.c.kind, tasks.c.dag_id), order_by=tasks.c.timestamp.desc()
    )
    ranked = select(tasks, number.label("number"), func.count().over().label("n_tasks")).subquery()

    def member(key: str, name: str) -> Any:
        other = aliased(XComModel)
        return (
            select(other.value[name].as_string())
            .where(
                other.dag_run_id == ranked.c.dag_run_id,
                other.task_id == ranked.c.task_id,
                other.map_index == ranked.c.map_index,
                other.key == key,
            )
            .scalar_subquery()
        )

    rendered_name = (
        select(type_coerce(Rendered.rendered_fields, JSON)["dataset_name"].as_string())
        .where(
            Rendered.dag_id == ranked.c.dag_id,
            Rendered.task_id == ranked.c.task_id,
            Rendered.run_id == ranked.c.run_id,
            Rendered.map_index == ranked.c.map_index,
        )
        .scalar_subquery()
    )
    name = case(
        (ranked.c.kind == Kind.VERDICT.value, member(_VERDICT, "dataset_name")),
        (ranked.c.kind == Kind.RUN.value, member(_RESULT, "dataset_name")),
        (ranked.c.kind == Kind.CREATION.value, rendered_name),
        else_=None,
    )
    is_ok = case((ranked.c.kind == Kind.VERDICT.value, member(_VERDICT, "ok")), else_=None)
    rows = session.execute(select(ranked, name.label("name"), is_ok.label("is_ok")).where(ranked.c.number == 1)).all()
    return Records([_record(row) for row in rows], is_cut=bool(rows) and rows[0].n_tasks > MOST_TASKS)


def _record(row: Any) -> Record:
    return Record(
        key=TaskKey(row.dag_run_id, row.task_id, row.map_index),
        kind=Kind(row.kind),
        dag_id=row.dag_id,
        run_id=row.run_id,
        link=_decoded(row.value),
        stored_at=row.timestamp,
        state=None if row.state is None else str(row.state),
        operator=row.operator,
        started_at=row.start_date,
        ended_at=row.end_date,
        map_name=row.map_name,
        dataset_name=row.name,
        # SQLite and MySQL return numbers, PostgreSQL words.
        is_ok=None if row.is_ok is None else str(row.is_ok).lower() in ("true", "1"),
    )


def verdicts(session: Session, records: Sequence[Record]) -> dict[TaskKey, dict[str, Any]]:
    """Return the verdicts of these tasks; without those that are not stored in Airflow's database."""
    return _objects(session, records, _VERDICT)


def results(session: Session, records: Sequence[Record]) -> dict[TaskKey, dict[str, Any]]:
    """Return the results of these tasks; without those that have none yet, and those that are stored elsewhere."""
    return _objects(session, records, _RESULT)


def _objects(session: Session, records: Sequence[Record], key: str) -> dict[TaskKey, dict[str, Any]]:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select, tuple_

    found: dict[TaskKey, dict[str, Any]] = {}
    wanted = [tuple(record.key) for record in records]
    columns = (XComModel.dag_run_id, XComModel.task_id, XComModel.map_index)
    for start in range(0, len(wanted), _ROWS_PER_QUERY):
        some = select(*columns, XComModel.value).where(
            tuple_(*columns).in_(wanted[start : start + _ROWS_PER_QUERY]), XComModel.key == key
        )
        for dag_run_id, task_id, map_index, value in session.execute(some):
            if isinstance(decoded := _decoded(value), dict):
                found[TaskKey(dag_run_id, task_id, map_index)] = decoded
    return found


def _decoded(value: Any) -> Any:
    """Return an XCom's value, which Airflow stores as JSON, or as JSON within a JSON string."""
    if isinstance(value, str) and value[:1] in ("{", "[", '"'):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
