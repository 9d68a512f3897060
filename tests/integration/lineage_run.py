"""
One DAG run whose lineage OpenLineage writes to a file: in a process of its own, because Airflow loads plugins once.

``python -m tests.integration.lineage_run '<JSON>'`` runs the DAG below; :func:`run_with_lineage` starts that.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.integration.airflow_run import DagOutcome, define_users_table, outcome_of, run_own_dag

REPOSITORY = Path(__file__).resolve().parents[2]
AIRFLOW_3 = int(version("apache-airflow").split(".")[0]) >= 3
DAG_ID = "lightly_lineage"
SELECTIONS, DATASETS, CURATED = "lightly-selections", "lightly-datasets", "x-team://curated"
SELECTION = {"n_samples": 4, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}


@dataclass(frozen=True, kw_only=True)
class LineageRun:
    """
    What one DAG run left behind.

    :param outcome: States and XComs.
    :param events: The OpenLineage events of its tasks, in order.
    :param asset_events: Its asset events: task id, address of the asset, extra.
    :param everything: All that OpenLineage wrote, and all that the process printed.
    """

    outcome: DagOutcome
    events: list[dict[str, Any]]
    asset_events: list[tuple[str, str, dict[str, Any]]]
    everything: str

    def last_event(self, task_id: str) -> dict[str, Any]:
        """The event of the task's end."""
        return [event for event in self.events if event["job"]["name"] == f"{DAG_ID}.{task_id}"][-1]

    def edges(self, task_id: str) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
        """How the task ended, and namespace and name of what it read and wrote."""
        event = self.last_event(task_id)
        inputs, outputs = ([(d["namespace"], d["name"]) for d in event[side]] for side in ("inputs", "outputs"))
        return event["eventType"], inputs, outputs


def run_with_lineage(plan: dict[str, Any], folder: Path, database: Path, **environment: str) -> LineageRun:
    """
    Run the DAG.

    :param plan: Its values; see :func:`build`.
    :param folder: Where the events are written.
    :param database: Airflow's database.
    :param environment: Airflow's connections.
    """
    written = folder / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(written), "append": True}
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(plan)],
        env={
            **os.environ,
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            # What OpenLineage sends at most.
            "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
            **environment,
        },
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    with sqlite3.connect(database) as connection:
        ((run_id,),) = connection.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", (DAG_ID,)).fetchall()
    lines = written.read_text().splitlines()
    return LineageRun(
        outcome=outcome_of(database, DAG_ID, run_id),
        events=[event for event in map(json.loads, lines) if "." in event["job"]["name"]],
        asset_events=asset_events(database, run_id),
        everything="\n".join([*lines, done.stdout]),
    )


def asset_events(database: Path, run_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the asset events of a DAG run: task id, address, extra."""
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        kind = "asset" if "asset_event" in tables else "dataset"
        rows = connection.execute(
            f"SELECT e.source_task_id, a.uri, e.extra FROM {kind}_event e JOIN {kind} a ON a.id = e.{kind}_id "
            "WHERE e.source_dag_id = ? AND e.source_run_id = ? ORDER BY e.id",
            (DAG_ID, run_id),
        ).fetchall()
    return [(task_id, uri, json.loads(extra)) for task_id, uri, extra in rows]


# --- in the process of the DAG run ---------------------------------------------------------------------------------


def build(plan: dict[str, Any]) -> Any:
    """The DAG: a whole chain in each mode, a run that fails, a task without an operator, and a refused token."""
    from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, task

    from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
    from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
    from lightly_provider.operators.results import (
        DownloadLightlyArtifactsOperator,
        ExportLightlyTagOperator,
        UploadLightlyMetadataOperator,
    )
    from lightly_provider.operators.tag import CreateLightlyTagOperator
    from lightly_provider.operators.worker import RunLightlyWorkerOperator

    bucket = plan["bucket"]
    fast = {"selection_config": SELECTION, "poll_interval": 0.2}

    @task(trigger_rule="all_done")
    def by_hook() -> str:
        from lightly_provider.hooks.lightly import LightlyHook

        return LightlyHook().get_or_create_dataset(plan["names"][1], "Images").dataset_id

    @task
    def only_reads() -> int:
        from lightly_provider.hooks.lightly import LightlyHook

        return len(LightlyHook().get_datasets())

    with DAG(DAG_ID, schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        create = CreateLightlyDatasetOperator(
            task_id="create",
            dataset_name=plan["names"][0],
            dataset_type="auto",
            resource_path=f"s3://{bucket}/raw/",
            outlets=[AssetAlias(DATASETS)],
        )
        configure = ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=create.output,
            resource_path=f"s3://{bucket}/raw/",
            output_resource_path=f"s3://{bucket}/{plan['names'][0][-6:]}/",
            datasource_aws_conn_id="lightly_bucket",
        )
        run = RunLightlyWorkerOperator(
            task_id="run", dataset_id=create.output, outlets=[AssetAlias(SELECTIONS), Asset(CURATED)], **fast
        )
        again = RunLightlyWorkerOperator(
            task_id="run_again",
            dataset_id=create.output,
            worker_config={"use_datapool": True, "shutdown_when_job_finished": False},
            outlets=[AssetAlias(SELECTIONS)],
            **fast,
        )
        export = ExportLightlyTagOperator(
            task_id="export",
            dataset_id=create.output,
            tag_name=run.output["tag_name"],
            format="manifest",
            destination=f"s3://{bucket}/curated/lineage.jsonl",
            outlets=[AssetAlias(SELECTIONS)],
        )
        tag = CreateLightlyTagOperator(
            task_id="create_tag",
            dataset_id=create.output,
            tag_name="lineage night",
            from_tag=run.output["tag_name"],
            outlets=[AssetAlias(SELECTIONS)],
        )
        download = DownloadLightlyArtifactsOperator(
            task_id="download",
            run_id=run.output["run_id"],
            destination=f"s3://{bucket}/runs",
            types=["REPORT_V2_JSON"],
            outlets=[AssetAlias("lightly-files")],
        )
        metadata = UploadLightlyMetadataOperator(
            task_id="metadata",
            dataset_id=create.output,
            source=f"s3://{bucket}/metadata/*.csv",
            format="csv",
            if_unmatched="upload",
            outlets=[AssetAlias(DATASETS)],
        )
        configure >> run >> [export, tag, download, metadata] >> again

        refused = RunLightlyWorkerOperator(
            task_id="run_refused", dataset_id="0" * 24, lightly_conn_id="refused", **fast
        )
        # In this one process, what a hook has reported stays for all later tasks that describe nothing themselves.
        hooked = by_hook()
        [only_reads(), refused] >> hooked
        configure_role = ConfigureS3DatasourceOperator(
            task_id="configure_role",
            dataset_id=hooked,
            resource_path=f"s3://{bucket}/raw/",
            output_resource_path=f"s3://{bucket}/{plan['names'][1][-6:]}/",
            region=plan["region"],
            role_arn=plan["role_arn"],
            external_id=plan["external_id"],
        )
        deferred = RunLightlyWorkerOperator(
            task_id="run_deferred", dataset_id=hooked, deferrable=True, outlets=[AssetAlias(SELECTIONS)], **fast
        )
        configure_role >> deferred

        create_empty = CreateLightlyDatasetOperator(task_id="create_empty", dataset_name=plan["names"][2])
        configure_empty = ConfigureS3DatasourceOperator(
            task_id="configure_empty",
            dataset_id=create_empty.output,
            resource_path=f"s3://{bucket}/empty/",
            datasource_aws_conn_id="lightly_bucket",
        )
        failing = RunLightlyWorkerOperator(
            task_id="run_failing", dataset_id=create_empty.output, outlets=[AssetAlias(SELECTIONS)], **fast
        )
        configure_empty >> failing
    return dag


def main() -> None:
    """Run the DAG."""
    dag = build(json.loads(sys.argv[1]))
    if not AIRFLOW_3:
        # dag.test of Airflow 2 does not store the aliases, without which an alias's event cannot be stored.
        define_users_table()
        dag.sync_to_db()
    run_own_dag(dag, Path(os.environ["AIRFLOW_HOME"]) / "airflow.db")


if __name__ == "__main__":
    main()
