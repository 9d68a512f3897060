"""Runs a DAG with Airflow (``dag.test``), on 2.11 and 3.x alike, and reads the results from the database."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class DagOutcome:
    """
    The outcome of a DAG run.

    :param state: The DAG run's state.
    :param tasks: State by task id.
    :param xcoms: Value by (task id, key).
    """

    state: str
    tasks: dict[str, str]
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)


def run_dag(dag_id: str, conf: dict[str, Any], database: Path) -> DagOutcome:
    """Run one of the example DAGs in this process until it ends."""
    dag = example_dags()[dag_id]
    run = dag.test(run_conf=conf)
    return outcome_of(database, dag_id, run.run_id)


def run_own_dag(dag: Any, database: Path, **options: Any) -> DagOutcome:
    """Run a test's own DAG in this process until it ends; the options are those of ``dag.test``."""
    store(dag)
    return outcome_of(database, dag.dag_id, dag.test(**options).run_id)


def store(dag: Any) -> None:
    """Store a DAG in Airflow's database, as the DAG processor does, so that it can be run or triggered."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # Airflow 2
        from airflow.models.serialized_dag import SerializedDagModel

        define_users_table()
        dag.sync_to_db()
        SerializedDagModel.write_dag(dag)
        return
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.devnull, bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def define_users_table() -> None:
    """Airflow 2 defines its users' table in a provider, and its own tables refer to it."""
    import_module("airflow.providers.fab.auth_manager.models")


def mark_success(database: Path, dag_id: str, task_id: str) -> None:
    """Mark a task as success where it failed, as a person does in Airflow's page."""
    with sqlite3.connect(database) as connection:
        marked = connection.execute(
            "UPDATE task_instance SET state = 'success' WHERE dag_id = ? AND task_id = ? AND state = 'failed'",
            (dag_id, task_id),
        )
        assert marked.rowcount > 0


@cache
def example_dags() -> dict[str, Any]:
    """Return the DAGs of the folder ``dags/`` by id; parsed once."""
    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    try:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(folder, bundle_name="dags-folder")
    except ImportError:  # Airflow 2
        from airflow.models import DagBag

        bag = DagBag(folder, include_examples=False)
    if bag.import_errors:
        raise RuntimeError(str(bag.import_errors))
    return dict(bag.dags)


def outcome_of(database: Path, dag_id: str, run_id: str) -> DagOutcome:
    """Read a run's states and XComs."""
    with sqlite3.connect(database) as connection:
        key = (dag_id, run_id)
        (state,) = connection.execute("SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", key).fetchone()
        tasks = dict(
            connection.execute("SELECT task_id, state FROM task_instance WHERE dag_id = ? AND run_id = ?", key)
        )
        rows = connection.execute("SELECT task_id, key, value FROM xcom WHERE dag_id = ? AND run_id = ?", key)
        # Airflow 2 stores the JSON as bytes, Airflow 3 as JSON.
        xcoms = {(task, name): _decoded(value) for task, name, value in rows}
    return DagOutcome(state=state, tasks=tasks, xcoms=xcoms)


def _decoded(value: Any) -> Any:
    if not isinstance(value, str | bytes):  # SQLite returns numbers as numbers
        return value
    decoded = json.loads(value)
    return json.loads(decoded) if isinstance(decoded, str) and decoded[:1] in {"{", "[", '"'} else decoded


def without_requests_to_mask(printed: str) -> str:
    """
    Leave out the lines of the supervisor that Airflow 3 runs inside ``dag.test``.

    At DEBUG it prints each message from a task, also those that ask for a secret to be masked.
    """
    return "\n".join(line for line in printed.splitlines() if "loc=supervisor.py" not in line)


def lines_with(secret: str, *places: str) -> list[str]:
    """Return the beginnings of the lines that contain a secret; a whole DEBUG log would hide them."""
    return [line[:200] for place in places for line in place.splitlines() if secret in line]


def everything_stored(database: Path) -> str:
    """Return the whole database as text: rendered fields, XComs, serialized DAGs, logs."""
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        cells = [
            cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
            for table in tables
            for row in connection.execute(f'SELECT * FROM "{table}"')
            for cell in row
        ]
    return "\n".join(cells)
