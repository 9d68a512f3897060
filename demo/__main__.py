"""``make demo``: onboard a local bucket of real photos into a local Lightly, by Airflow, and show what was selected."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Column, Table

from demo import bucket, provision
from demo.environment import (
    REPOSITORY,
    DemoError,
    Sandbox,
    airflow_environment,
    connection_variables,
    sandbox_executable,
)
from demo.progress import show_run
from lightly_provider.api import calls
from lightly_provider.api.client import ClientSettings, LightlyClient

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUT = REPOSITORY / "demo-output"
AIRFLOW_LOG, RESULT = OUTPUT / "airflow-run.log", OUTPUT / "result.json"
DATASET = "demo-photos"
N_SAMPLES = 24
SHOWN_LINES = 3
START_DEADLINE_S = 60.0
NEEDED_MIB = 500

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; 0 if it worked, else 1 after one sentence that says what is wrong."""
    started = time.monotonic()
    try:
        OUTPUT.mkdir(exist_ok=True)
        _check_disk()
        with _airflow() as airflow, _sandbox() as (sandbox, ready_file):
            _demonstrate(sandbox, ready_file, airflow)
    except DemoError as error:
        console.print(f"[bold red]The demo stopped:[/] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"Done in {time.monotonic() - started:.0f} s. Everything it left is in {_shown(OUTPUT)}.")
    return 0


def _demonstrate(sandbox: Sandbox, ready_file: Path, airflow: subprocess.Popen[bytes]) -> None:
    _step(f"Uploading {bucket.N_PHOTOS} real photos to {bucket.INPUT}")
    provision.upload_photos(ready_file)
    _step("Making an IAM user for Lightly: list and read on raw/, list, read and write on lightly/")
    connection = provision.bucket_connection(sandbox, OUTPUT / "bucket-connection.json")

    client = LightlyClient(ClientSettings(host=sandbox.lightly_url, token=sandbox.token))
    before = client.send(calls.find_datasets(DATASET))
    seen = {run.id for dataset in before for run in client.send(calls.get_scheduled_runs(dataset.id))}
    _step("Airflow runs dags/lightly_s3_onboarding.py")
    returned = _run_dag(client, airflow, connection_variables(sandbox, connection), seen)
    _show_dataset(client, returned, reused=bool(before))
    _show_lights(returned["verify_permissions"])
    _show_selection(returned, ready_file)
    _show_export(sandbox, returned)


@contextmanager
def _airflow() -> Iterator[subprocess.Popen[bytes]]:
    """The process that runs the DAG; it gets ready beside the sandbox, and then waits for the connections."""
    _step("Starting Airflow and its database, which takes as long as the next three steps")
    RESULT.unlink(missing_ok=True)
    conf = {
        "dataset_name": DATASET,
        "input_path": bucket.INPUT,
        "lightly_path": bucket.LIGHTLY,
        "n_samples": N_SAMPLES,
        "poll_interval": 1,
    }
    command = [sys.executable, "-m", "demo.run_dag", "--conf", json.dumps(conf), "--result", str(RESULT)]
    with AIRFLOW_LOG.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=airflow_environment(OUTPUT / "airflow"),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()


def _run_dag(
    client: LightlyClient, airflow: subprocess.Popen[bytes], connections: dict[str, str], seen: set[str]
) -> dict[str, Any]:
    # Without a reader, the process has ended, and its log says why.
    with suppress(BrokenPipeError), cast("IO[bytes]", airflow.stdin) as waiting:
        waiting.write(json.dumps(connections).encode())
    states = show_run(console, client, airflow, DATASET, seen)
    outcome: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"state": "broken"}
    if outcome["state"] != "success":
        raise DemoError(f"the DAG run ended as {outcome['state']}; {_shown(AIRFLOW_LOG)} says why.")
    console.print(f"  states seen: {' > '.join(states)}")
    returned: dict[str, Any] = outcome["returned"]
    return returned


def _show_dataset(client: LightlyClient, returned: dict[str, Any], *, reused: bool) -> None:
    dataset = client.send(calls.get_dataset(returned["create_dataset"]))
    how = "re-used, it was there before" if reused else "created"
    console.print(
        f"\n[bold]Dataset[/] {dataset.name!r} ({dataset.type}, {how}), id {dataset.id}, {dataset.n_samples} samples"
    )
    changed = returned["configure_input"]["changed"] + returned["configure_lightly"]["changed"]
    console.print(f"Datasources {'set: ' + ', '.join(changed) if changed else 'are up to date, nothing was changed'}")


def _show_lights(verdict: dict[str, Any]) -> None:
    table = Table("purpose", Column("location", no_wrap=True), "list", "read", "write", "overwrite")
    colours = {"PASS": "green", "FAIL": "red", "SKIP": "dim", "UNKNOWN": "yellow", "WARN": "yellow"}
    rows: dict[tuple[str, str], list[str]] = {}
    for check in verdict["checks"]:
        word = "-" if check["status"] == "SKIP" else check["status"]
        cell = f"[{colours[check['status']]}]{word}[/]"
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
    console.print(f"Contact sheet: {_shown(sheet)}")


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


@contextmanager
def _sandbox() -> Iterator[tuple[Sandbox, Path]]:
    """A sandbox on free ports with its state under the output folder, for the duration of the demo."""
    _step("Starting the sandbox: a local Lightly platform, AWS and worker")
    state, log = OUTPUT / "sandbox", OUTPUT / "sandbox.log"
    ready_file = state / "ready.json"
    _stop_left_over(ready_file)
    command = [sandbox_executable(), "up", "--state-dir", str(state), "--port", "0", "--aws-port", "0"]
    command += ["--workers", "1", "--ready-file", str(ready_file), "--hide-secrets"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_DEADLINE_S
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:]
                    raise DemoError(f"the sandbox did not start ({' '.join(last)}); {_shown(log)} says why.")
                time.sleep(0.1)
            yield Sandbox.read(ready_file), ready_file
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()


def _stop_left_over(ready_file: Path) -> None:
    """Stop the sandbox of a demo that was killed; it removes its ready file when it ends."""
    if not ready_file.exists():
        return
    pid = Sandbox.read(ready_file).pid
    if _is_sandbox(pid):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_DEADLINE_S
    while _is_sandbox(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    ready_file.unlink(missing_ok=True)


def _is_sandbox(pid: int) -> bool:
    try:
        return "lightly-sandbox" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def _run(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise DemoError(f"{Path(command[0]).name} {command[1]} failed; {_shown(log)} says why.")


def _check_disk() -> None:
    free = shutil.disk_usage(OUTPUT).free // 2**20
    if free < NEEDED_MIB:
        raise DemoError(f"only {free} MiB of disk are free, and it needs {NEEDED_MIB}; free some space.")


def _step(text: str) -> None:
    console.print(f"[bold blue]>[/] {text}")


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    sys.exit(main())
