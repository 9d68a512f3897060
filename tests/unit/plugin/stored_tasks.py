"""Writes into Airflow's database what tasks of the provider leave there, without running them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

WEB_URL = "https://app.lightly.test"
VERIFY, RUN, CREATE = (
    "VerifyDatasourcePermissionsOperator",
    "RunLightlyWorkerOperator",
    "CreateLightlyDatasetOperator",
)
_BUNDLE = "stored-tasks"
_numbers = count(1)


def dataset_id(number: int) -> str:
    """An id as the platform gives it."""
    return f"{number:024x}"


def link(number: int) -> str:
    """The dataset's page on the platform."""
    return f"{WEB_URL}/dataset/{dataset_id(number)}"


def verdict(number: int, status: str = "PASS", *, name: str | None = None, **changes: Any) -> dict[str, Any]:
    """A verdict as the operator stores it, with one datasource."""
    check = {
        "purpose": "INPUT",
        "location": "s3://bucket/raw/",
        "access": "user access",
        "granted": True,
        "required": True,
        "status": "PASS",
        "cause": None,
        "message": "Lightly's light is green",
        "error": None,
    }
    failed = {} if status == "PASS" else {"status": status, "granted": False, "cause": "missing permission"}
    return {
        "dataset_id": dataset_id(number),
        **({"dataset_name": name} if name else {}),
        "ok": status == "PASS",
        "status": status,
        "checks": [check | {"permission": "list"}, check | {"permission": "read"} | failed | changes],
        "from_this_worker": [],
        "changes": [],
    }


@dataclass
class StoredTasks:
    """
    The tasks that a test stores.

    :param session: A session on Airflow's database.
    """

    session: Session
    _dags: set[str] = field(default_factory=set)

    def add_dag(self, dag_id: str) -> None:
        """Store a DAG, once."""
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel

        if dag_id in self._dags:
            return
        self._dags.add(dag_id)
        if self.session.get(DagBundleModel, _BUNDLE) is None:
            self.session.add(DagBundleModel(name=_BUNDLE))
            self.session.flush()
        self.session.add(DagModel(dag_id=dag_id, bundle_name=_BUNDLE, is_paused=True, timetable_summary="None"))
        self.session.flush()

    def add_run(self, dag_id: str, *, age: timedelta = timedelta(hours=1)) -> tuple[int, str, datetime]:
        """Store a DAG run; return its key, its id, and when it started."""
        from airflow.models.dagrun import DagRun
        from sqlalchemy import insert

        self.add_dag(dag_id)
        started = datetime.now(UTC) - age
        run_id = f"manual__{next(_numbers)}"
        values = {
            "dag_id": dag_id,
            "run_id": run_id,
            "queued_at": started,
            "start_date": started,
            "run_after": started,
            "logical_date": None,
            "state": "success",
            "run_type": "manual",
            "clear_number": 0,
            "log_template_id": None,
        }
        key = self.session.execute(insert(DagRun.__table__).values(values)).inserted_primary_key[0]
        return key, run_id, started

    def add_task(
        self,
        dag_id: str,
        task_id: str,
        xcoms: dict[str, Any],
        *,
        run: tuple[int, str, datetime] | None = None,
        operator: str = "ExportLightlyTagOperator",
        state: str = "success",
        map_index: int = -1,
        map_name: str | None = None,
        rendered: dict[str, Any] | None = None,
        age: timedelta = timedelta(hours=1),
    ) -> str:
        """Store a task instance with its XComs and rendered fields; return the id of its DAG run."""
        from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from sqlalchemy import insert

        key, run_id, started = run or self.add_run(dag_id, age=age)
        place = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id, "map_index": map_index}
        task = {
            **place,
            "state": state,
            "operator": operator,
            "start_date": started,
            "end_date": started + timedelta(minutes=1),
            "pool": "default_pool",
            "pool_slots": 1,
            "rendered_map_index": map_name,
            "span_status": "not_started",
        }
        self.session.execute(insert(TaskInstance.__table__).values(task))
        rows = [
            {**place, "dag_run_id": key, "key": name, "value": value, "timestamp": started + timedelta(minutes=1)}
            for name, value in xcoms.items()
        ]
        if rows:
            self.session.execute(insert(XComModel.__table__), rows)
        if rendered is not None:
            self.session.execute(insert(Rendered.__table__).values({**place, "rendered_fields": rendered}))
        return run_id

    def clear(self) -> None:
        """Delete what was stored."""
        from airflow.models.dag import DagModel
        from airflow.models.dagrun import DagRun
        from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from sqlalchemy import delete

        for model in (XComModel, Rendered, TaskInstance, DagRun, DagModel):
            table: Any = model.__table__
            self.session.execute(delete(table).where(table.c.dag_id.in_(self._dags)))
        self.session.commit()
        self._dags.clear()


def many(tasks: StoredTasks, *, n_datasets: int, n_tasks: int) -> None:
    """Store many tasks at once: four of each dataset in each DAG run."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import insert

    operators = {"create": CREATE, "configure": "ConfigureS3DatasourceOperator", "verify": VERIFY, "run": RUN}
    table: Any = TaskInstance.__table__
    instances, xcoms = [], []
    n_rounds = n_tasks // (n_datasets * len(operators))
    for turn in range(n_rounds):
        for number in range(n_datasets):
            dag_id = f"fleet_{number % 25}"
            key, run_id, started = tasks.add_run(dag_id, age=timedelta(hours=n_rounds - turn, seconds=number))
            for task_id, operator in operators.items():
                place = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id, "map_index": -1}
                instances.append(
                    {
                        **place,
                        "state": "success",
                        "operator": operator,
                        "start_date": started,
                        "end_date": started,
                        "pool": "default_pool",
                        "pool_slots": 1,
                        "span_status": "not_started",
                    }
                )
                values: dict[str, Any] = {"lightly_dataset_url": link(number)}
                if task_id == "verify":
                    values["verdict"] = verdict(number, "FAIL" if number % 10 == 0 else "PASS")
                if task_id == "run":
                    values |= {"scheduled_run_id": "a" * 24, "return_value": {"dataset_name": f"fleet {number}"}}
                xcoms += [
                    {**place, "dag_run_id": key, "key": name, "value": value, "timestamp": started}
                    for name, value in values.items()
                ]
    tasks.session.execute(insert(table), instances)
    tasks.session.execute(insert(XComModel.__table__), xcoms)
