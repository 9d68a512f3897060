"""What a provider costs a DAG file, beside four peers, measured side by side in one run.

    make benchmarks

Each cost is measured in fresh interpreters, and shown as a median:

- import: what importing the operators adds to ``import airflow.sdk``, in milliseconds and MiB of resident memory.
- parse: one DAG file that uses them, from reading the file to the serialized DAG, as `airflow dags list-import-errors`,
  a test or a worker does it.
- again: the same in Airflow's DAG processor, which forks a process for each file and each time, and imports modules
  before the fork if their names begin with `airflow.`. So a provider of Apache's pays for its imports once, and one of
  another name in each parse.

The subjects take turns, so that a slow moment of the machine meets all. The budget of our own import is 50 ms and
5 MiB.

Each DAG has what its provider is for, in as few tasks as it takes: to start a job and wait for it. Ours has five tasks,
because the dataset and its access belong to the job. A parse that only uses Airflow's own empty operator is the
floor that all share.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BUDGET_MS, BUDGET_MIB = 50.0, 5.0


@dataclass(frozen=True)
class Subject:
    """A provider: the modules that a DAG author imports from, and a DAG file."""

    modules: tuple[str, ...]
    dag: str


_HEAD = """from datetime import datetime
from airflow.sdk import DAG
{imports}
with DAG("measured", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False):
"""


def _dag_file(imports: str, *tasks: str) -> str:
    return _HEAD.format(imports=imports) + "".join(f"    {task}\n" for task in tasks)


OURS = "airflow-provider-lightly"
NOTHING = "(no provider)"
SUBJECTS = {
    OURS: Subject(
        (
            "lightly_provider.operators.cancellation",
            "lightly_provider.operators.dataset",
            "lightly_provider.operators.datasource",
            "lightly_provider.operators.results",
            "lightly_provider.operators.verification",
            "lightly_provider.operators.worker",
            "lightly_provider.sensors.worker",
        ),
        _dag_file(
            "from lightly_provider.operators.dataset import CreateLightlyDatasetOperator\n"
            "from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator\n"
            "from lightly_provider.operators.results import ExportLightlyTagOperator\n"
            "from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator\n"
            "from lightly_provider.operators.worker import RunLightlyWorkerOperator",
            'dataset = CreateLightlyDatasetOperator(task_id="dataset", dataset_name="photos").output',
            'configure = ConfigureS3DatasourceOperator(task_id="configure", dataset_id=dataset,'
            ' datasource_aws_conn_id="bucket", resource_path="s3://photos/raw/",'
            ' output_resource_path="s3://photos/lightly/")',
            'verify = VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset)',
            'run = RunLightlyWorkerOperator(task_id="run", dataset_id=dataset, deferrable=True, selection_config='
            '{"n_samples": 100, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]})',
            'ExportLightlyTagOperator(task_id="export", dataset_id=dataset, tag_name=run.output["tag_name"],'
            ' format="manifest", destination="s3://photos/curated/{{ ds }}.jsonl", aws_conn_id="team")',
            "configure >> verify >> run",
        ),
    ),
    "apache-airflow-providers-dbt-cloud": Subject(
        ("airflow.providers.dbt.cloud.operators.dbt",),
        _dag_file(
            "from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator",
            'DbtCloudRunJobOperator(task_id="run", job_id=1, deferrable=True)',
        ),
    ),
    "apache-airflow-providers-databricks": Subject(
        ("airflow.providers.databricks.operators.databricks",),
        _dag_file(
            "from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator",
            'DatabricksRunNowOperator(task_id="run", job_id=1, deferrable=True)',
        ),
    ),
    "apache-airflow-providers-airbyte": Subject(
        ("airflow.providers.airbyte.operators.airbyte",),
        _dag_file(
            "from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator",
            'AirbyteTriggerSyncOperator(task_id="run", connection_id="one", deferrable=True)',
        ),
    ),
    "airflow-provider-fivetran-async": Subject(
        ("fivetran_provider_async.operators",),
        _dag_file(
            "from fivetran_provider_async.operators import FivetranOperator",
            'FivetranOperator(task_id="run", connector_id="one", deferrable=True)',
        ),
    ),
}
FLOOR = _dag_file(
    "from airflow.providers.standard.operators.empty import EmptyOperator", 'EmptyOperator(task_id="nothing")'
)

_IMPORT = """
import importlib, json, sys, time
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096 / 2**20
import airflow.sdk
airflow.sdk.BaseOperator, airflow.sdk.DAG  # they load on first use, and every DAG uses them
memory, started = resident(), time.perf_counter()
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps([(time.perf_counter() - started) * 1000, resident() - memory]))
"""

# As airflow/dag_processing/processor.py of 3.3 parses a file, in _parse_file. Airflow itself is imported before the
# fork, so it is not measured; what else is, _pre_import_airflow_modules decides.
_PARSE = """
import importlib, json, sys, time
from pathlib import Path
import airflow.sdk
airflow.sdk.BaseOperator, airflow.sdk.DAG
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.utils.file import iter_airflow_imports
file = Path(sys.argv[1])
if sys.argv[2] == "again":
    for module in iter_airflow_imports(str(file)):
        importlib.import_module(module)
started = time.perf_counter()
bag = BundleDagBag(dag_folder=file, bundle_path=file.parent, bundle_name="measured", load_op_links=False)
(dag,) = bag.dags.values()
LazyDeserializedDAG(data=DagSerialization.to_dict(dag), last_loaded=dag.last_loaded)
print(json.dumps([(time.perf_counter() - started) * 1000]))
"""


def _measured(name: str, script: str, arguments: list[str], home: str) -> list[float]:
    """What the script prints in one fresh interpreter."""
    environment = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    # With it, each interpreter compiles all modules anew, and that is measured.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name} could not be measured: {done.stderr.strip().splitlines()[-1]}")
    numbers: list[float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


@dataclass(frozen=True)
class Cost:
    """The medians of one subject, in milliseconds and MiB. Importing nothing costs nothing, and is not measured."""

    parse: float
    again: float
    imported: float | None = None
    mib: float | None = None


def measure(home: Path, rounds: int) -> dict[str, Cost]:
    """What each subject costs."""
    files = {name: subject.dag for name, subject in SUBJECTS.items()} | {NOTHING: FLOOR}
    for name, text in files.items():
        folder = home / "dags" / name.strip("()")
        folder.mkdir(parents=True)
        (folder / "measured.py").write_text(text, encoding="utf-8")
    taken: dict[str, list[list[float]]] = {name: [] for name in files}
    for of_round in range(rounds + 1):
        for name in files:
            file = str(home / "dags" / name.strip("()") / "measured.py")
            costs = _measured(name, _PARSE, [file, "first"], str(home))
            costs += _measured(name, _PARSE, [file, "again"], str(home))
            if name in SUBJECTS:
                costs += _measured(name, _IMPORT, [*SUBJECTS[name].modules], str(home))
            if of_round:  # the first round fills the caches: bytecode, and the files' own
                taken[name].append(costs)
    return {name: Cost(*map(statistics.median, zip(*costs, strict=True))) for name, costs in taken.items()}


def row(name: str, cost: Cost, ours: Cost) -> str:
    """A line of the table: each time, and how many times ours it is."""

    def times(value: float | None, of_ours: float | None) -> str:
        return f"{value:>9.1f}{value / of_ours:>7.1f}x" if value is not None and of_ours else f"{'-':>9}{'':>8}"

    mib = f"{cost.mib:>8.1f}" if cost.mib is not None else f"{'-':>8}"
    parses = times(cost.parse, ours.parse) + times(cost.again, ours.again)
    return f"{name:<38}{times(cost.imported, ours.imported)}{mib}{parses}"


def main() -> int:
    """Print the table; 1 if our own is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="interpreters per subject and cost (default 7)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        costs = measure(Path(home), rounds)
    ours = costs[OURS]
    print(f"{'':<38}{'import ms':>9}{'':>8}{'MiB':>8}{'parse ms':>9}{'':>8}{'again ms':>9}")
    for name, cost in costs.items():
        print(row(name, cost, ours))
    over = (ours.imported or 0) > BUDGET_MS or (ours.mib or 0) > BUDGET_MIB
    print(f"budget of our import: {BUDGET_MS:g} ms, {BUDGET_MIB:g} MiB: {'EXCEEDED' if over else 'kept'}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
