"""``make demo-fleet``: onboard twelve datasets from one file, and show how to fix the one that is refused."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from demo.airflow_process import airflow_process
from demo.environment import REPOSITORY, DemoError, check_disk, connection_variables, shown_path
from demo.fleet_bucket import LIGHTLY, N_PHOTOS, OTHER_OUTPUT, RAW, FleetBucket
from demo.fleet_progress import show_fleet
from demo.sandbox_process import running_sandbox

if TYPE_CHECKING:
    from demo.airflow_process import AirflowProcess

DAG_ID = "lightly_fleet"
NEEDED_MIB = 500
_COLORS = {"onboarded": "green", "unchanged": "green", "in progress": "yellow", "failed": "red", "cannot work": "red"}

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; 0 if all datasets but the one are onboarded, else 1 after one sentence that says what is wrong."""
    parser = argparse.ArgumentParser(description="Onboard a fleet of datasets from one file.")
    parser.add_argument("--datasets", type=int, default=12, help="how many, from 2 to 12 (default 12)")
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "demo-output" / "fleet", help="a folder for all of it"
    )
    arguments = parser.parse_args()
    if not 2 <= arguments.datasets <= 12:
        parser.error(f"--datasets is {arguments.datasets}; give a number from 2 to 12.")
    folder: Path = arguments.output.absolute()
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_disk(folder, NEEDED_MIB)
        _step("Starting Airflow and its database, which takes as long as the next three steps")
        with airflow_process(folder, DAG_ID, {"poll_interval": 1}) as airflow:
            _step("Starting the sandbox: a local Lightly platform, AWS and worker")
            with running_sandbox(folder) as (sandbox, ready_file):
                _demonstrate(folder, FleetBucket(sandbox, arguments.datasets), ready_file, airflow)
    except DemoError as error:
        console.print(f"[bold red]The demo stopped:[/] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _demonstrate(folder: Path, bucket: FleetBucket, ready_file: Path, airflow: AirflowProcess) -> None:
    _step(f"Uploading {N_PHOTOS} real photos for each of {bucket.n_datasets} datasets to {RAW}")
    bucket.upload(ready_file)
    _step(f"Making an IAM user for Lightly: list and read in the bucket, write on {LIGHTLY} only")
    connection = bucket.connection(folder / "bucket-connection.json")
    fleet_file = folder / "lightly_fleet.yaml"
    bucket.write_file(fleet_file)
    _step(f"The fleet is {shown_path(fleet_file)}; {bucket.refused} has its output in {OTHER_OUTPUT} by mistake")
    _step(f"Airflow runs dags/{DAG_ID}.py")
    variables = connection_variables(bucket.sandbox, connection) | {"AIRFLOW_VAR_LIGHTLY_FLEET_FILE": str(fleet_file)}
    airflow.start(variables)
    show_fleet(console, airflow.process, folder / "airflow" / "airflow.db", DAG_ID)
    # The one that is refused makes the DAG run red.
    xcoms = airflow.xcoms(state="failed")
    report = xcoms.get("report", {}).get("report")
    if report is None:
        raise DemoError(f"the task that reports did not; {shown_path(airflow.log)} says why.")
    _show_datasets(report, xcoms["return_value"].get("onboard.run_worker", []))
    statement = _statement_of(report, bucket)
    console.print(f"Everything is in {shown_path(folder)}. A second run does not touch what is onboarded.")
    console.print(f"[bold]Statement to add to the policy of the IAM user, for {bucket.refused}:[/]")
    console.print(json.dumps(statement, indent=2), markup=False)
    console.print(f"{report['n_onboarded']} of {bucket.n_datasets} datasets onboarded")


def _show_datasets(report: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    n_selected = {run["dataset_name"]: str(run["n_selected"]) for run in runs}
    table = Table("dataset", "result", "selected", Column("why", overflow="fold"))
    for dataset in report["datasets"]:
        name, ending = dataset["name"], dataset["ending"]
        why = dataset["reason"].splitlines()[0] if dataset["reason"] else ""
        table.add_row(name, f"[{_COLORS[ending]}]{ending}[/]", n_selected.get(name, "-"), escape(why))
    console.print(table)


def _statement_of(report: dict[str, Any], bucket: FleetBucket) -> dict[str, Any]:
    """The statement in the reason of the dataset that is refused; a DemoError if anything else went wrong."""
    missing = {dataset["name"]: dataset["reason"] for dataset in report["datasets"] if not dataset["onboarded"]}
    if list(missing) != [bucket.refused]:
        others = ", ".join(sorted(missing.keys() - {bucket.refused})) or "none"
        raise DemoError(
            f"not onboarded are {', '.join(missing) or 'none'}; expected was {bucket.refused}, and {others} not."
        )
    reason = missing[bucket.refused]
    try:
        # The lines of the reason: what is missing, then the fix, in which the statement is JSON, then where.
        statement: dict[str, Any] = json.JSONDecoder().raw_decode(reason, reason.index("{\n"))[0]
    except ValueError:
        raise DemoError(f"{bucket.refused} is not onboarded, and no statement would help: {reason}") from None
    if "s3:PutObject" not in json.dumps(statement):
        raise DemoError(f"{bucket.refused} lacks something else than expected: {reason}")
    return statement


def _step(text: str) -> None:
    console.print(f"[bold blue]>[/] {text}")


if __name__ == "__main__":
    sys.exit(main())
