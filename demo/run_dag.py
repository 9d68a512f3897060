"""Runs an example DAG through Airflow, and writes down what its tasks pushed to XCom.

A process of its own, because Airflow reads its configuration when it is imported. It starts beside the sandbox: it
imports Airflow, makes the database and parses the DAGs first, and then waits for the connections on its input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from demo.airflow_database import initialize_database


def main() -> int:
    """
    Run the DAG with ``--conf``; the results go to ``--result``. XComs are by key and task; of a mapped task a list.

    The input is a JSON object of variables for the environment, which is sent when the sandbox is ready.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("dag_id")
    parser.add_argument("--conf", type=json.loads, required=True)
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()

    from airflow.configuration import conf
    from airflow.dag_processing.dagbag import DagBag

    initialize_database()
    bag = DagBag(conf.get("core", "dags_folder"), bundle_name="dags-folder")
    if bag.import_errors:
        print(bag.import_errors, file=sys.stderr)
        return 1
    text = sys.stdin.read()
    if not text:  # the sandbox did not start
        return 1
    os.environ.update(json.loads(text))
    run = bag.dags[arguments.dag_id].test(run_conf=arguments.conf)
    arguments.result.write_text(json.dumps({"state": run.state, "xcoms": xcoms_of(run)}))
    return 0


def xcoms_of(run: Any) -> dict[str, dict[str, Any]]:
    """Return what the tasks of a DAG run pushed, by key and task id; of a mapped task a list."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    xcoms: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        rows = session.scalars(XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id))
        found: list[Any] = list(rows)
        for row in sorted(found, key=lambda row: int(row.map_index)):
            of_key, value = xcoms.setdefault(row.key, {}), XComModel.deserialize_value(row)
            if row.map_index < 0:
                of_key[row.task_id] = value
            else:
                of_key.setdefault(row.task_id, []).append(value)
    return xcoms


if __name__ == "__main__":
    sys.exit(main())
