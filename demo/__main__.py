"""``make demo``: onboard a local bucket of real photos into a local Lightly, by Airflow, and show what was selected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from demo import bucket, provision
from demo.airflow_process import airflow_process
from demo.environment import (
    REPOSITORY,
    DemoError,
    Sandbox,
    check_disk,
    connection_variables,
    sandbox_executable,
    shown_path,
)
from demo.progress import show_run
from demo.sandbox_process import running_sandbox
from lightly_provider.api import calls
from lightly_provider.api.client import ClientSettings, LightlyClient

if TYPE_CHECKING:
    from demo.airflow_process import AirflowProcess

OUTPUT = REPOSITORY / "demo-output"
DAG_ID = "lightly_s3_onboarding"
DATASET = "demo-photos"
CONF = {
    "dataset_name": DATASET,
    "input_path": bucket.INPUT,
    "lightly_path": bucket.LIGHTLY,
    "n_samples": 24,
    "poll_interval": 1,
}
SHOWN_LINES = 3
NEEDED_MIB = 500

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; 0 if it worked, else 1 after one sentence that says what is wrong."""
    started = time.monotonic()
    try:
        OUTPUT.mkdir(exist_ok=True)
        check_disk(OUTPUT, NEEDED_MIB)
        _step("Starting Airflow and its database, which takes as long as the next three steps")
        with airflow_process(OUTPUT, DAG_ID, CONF) as airflow:
            _step("Starting the sandbox: a local Lightly platform, AWS and worker")
            with running_sandbox(OUTPUT) as (sandbox, ready_file):
                _demonstrate(sandbox, ready_file, airflow)
    except DemoError as error:
        console.print(f"[bold red]The demo stopped:[/] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"Done in {time.monotonic() - started:.0f} s. Everything it left is in {shown_path(OUTPUT)}.")
    return 0


def _demonstrate(sandbox: Sandbox, ready_file: Path, airflow: AirflowProcess) -> None:
    _step(f"Uploading {bucket.N_PHOTOS} real photos to {bucket.INPUT}")
    provision.upload_photos(ready_file)
    _step("Making an IAM user for Lightly: list and read on raw/, list, read and write on lightly/")
    connection = provision.bucket_connection(sandbox, OUTPUT / "bucket-connection.json")

    client = LightlyClient(ClientSettings(host=sandbox.lightly_url, token=sandbox.token))
    before = client.send(calls.find_datasets(DATASET))
    seen = {run.id for dataset in before for run in client.send(calls.get_scheduled_runs(dataset.id))}
    _step(f"Airflow runs dags/{DAG_ID}.py")
    returned = _run_dag(client, airflow, connection_variables(sandbox, connection), seen)
    _show_dataset(client, returned, reused=bool(before))
    _show_lights(returned["verify_permissions"])
    _show_selection(returned, ready_file)
    _show_export(sandbox, returned)


def _run_dag(
    client: LightlyClient, airflow: AirflowProcess, connections: dict[str, str], seen: set[str]
) -> dict[str, Any]:
    airflow.start(connections)
    states = show_run(console, client, airflow.process, DATASET, seen)
    returned = airflow.xcoms()["return_value"]
    console.print(f"  states seen: {' > '.join(states)}")
    return returned


def _show_dataset(client: LightlyClient, returned: dict[str, Any], *, reused: bool) -> None:
    dataset = client.send(calls.get_dataset(returned["create_dataset"]))
    how = "re-used, it was there before" if reused else "created"
    console.print(
        f"\n[bold]Dataset[/] {dataset.name!r} ({dataset.type}, {how}), id {dataset.id}, {dataset.n_samples} samples"
    )
    changed = returned["configure"]["changed"]
    console.print(f"Datasources {'set: ' + ', '.join(changed) if changed else 'are up to date, nothing was changed'}")


def _show_lights(verdict: dict[str, Any]) -> None:
    table = Table("purpose", Column("location", no_wrap=True), "list", "read", "write", "overwrite")
    colors = {"PASS": "green", "FAIL": "red", "SKIP": "dim", "UNKNOWN": "yellow", "WARN": "yellow"}
    rows: dict[tuple[str, str], list[str]] = {}
    for check in verdict["checks"]:
        word = "-" if check["status"] == "SKIP" else check["status"]
        cell = f"[{colors[check['status']]}]{word}[/]"
        rows.setdefault((check["purpose"], check["location"]), []).append(cell)
    for (purpose, location), cells in rows.items():
        table.add_row(purpose, location, *cells)
    console.print("[bold]What Lightly may do[/] (-: not needed for this purpose):", table, sep="\n")


def _show_selection(returned: dict[str, Any], ready_file: Path) -> None:
    run, filenames = returned["run_worker"], sorted(returned["print_selection"])
    if run["tag_name"] is None:
        console.print("[bold]Nothing new[/] in the bucket since the last run, so the selection stands.")
    console.print(f"[bold]{len(filenames)} of {bucket.N_PHOTOS} images are selected:[/]")
    console.print("  " + ", ".join(filenames))
    names, sheet = OUTPUT / "selected.json", OUTPUT / "contact-sheet.png"
    names.write_text(json.dumps(filenames, indent=1))
    python = str(Path(sandbox_executable()).with_name("python"))
    command = [python, str(REPOSITORY / "demo" / "contact_sheet.py"), "--ready-file", str(ready_file)]
    command += ["--bucket", bucket.BUCKET, "--prefix", "raw/", "--selected", str(names), "--output", str(sheet)]
    _run(command, dict(os.environ), OUTPUT / "contact-sheet.log")
    console.print(f"Contact sheet: {shown_path(sheet)}")


def _show_export(sandbox: Sandbox, returned: dict[str, Any]) -> None:
    exported = returned["export"]
    bucket, _, key = exported["uri"].removeprefix("s3://").partition("/")
    lines = sandbox.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
    if len(lines) != exported["count"]:
        raise DemoError(f"{exported['uri']} has {len(lines)} lines, and {exported['count']} images were exported.")
    console.print(
        f"\n[bold]Exported[/] as a manifest: {exported['uri']} ({len(lines)} lines, {exported['bytes']} bytes)"
    )
    for line in lines[:SHOWN_LINES]:
        console.print(f"  {line}", markup=False)
    console.print("  …")
    console.print(
        f"Links of the tasks: {sandbox.web_url}/dataset/{returned['create_dataset']} and {sandbox.web_url}/compute/runs"
    )


def _run(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise DemoError(f"{Path(command[0]).name} {command[1]} failed; {shown_path(log)} says why.")


def _step(text: str) -> None:
    console.print(f"[bold blue]>[/] {text}")


if __name__ == "__main__":
    sys.exit(main())
