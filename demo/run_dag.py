"""Runs the onboarding DAG through Airflow, and writes down what its tasks returned.

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

DAG_ID = "lightly_s3_onboarding"


def main() -> int:
    """
    Run the DAG with ``--conf``; the results go to ``--result``.

    The input is a JSON object of variables for the environment, which is sent when the sandbox is ready.
    """
    parser = argparse.ArgumentParser()
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
    run = bag.dags[DAG_ID].test(run_conf=arguments.conf)
    arguments.result.write_text(json.dumps({"state": run.state, "returned": _returned(run)}))
    return 0


def _returned(run: Any) -> dict[str, Any]:
    from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.scalars(XComModel.get_many(run_id=run.run_id, dag_ids=DAG_ID, key=XCOM_RETURN_KEY))
        found: list[Any] = list(rows)
        return {row.task_id: XComModel.deserialize_value(row) for row in found}


if __name__ == "__main__":
    sys.exit(main())
