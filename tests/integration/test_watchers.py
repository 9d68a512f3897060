"""Both watchers in a running Airflow, its scheduler and its triggerer: uploads and ended runs start DAG runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from lightly_provider.api.models.datasource import S3UserAccessDatasource
from lightly_provider.contract import DatasetType, Purpose
from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.sandbox import REPOSITORY
from tests.integration.test_uploads_drained import announce_uploads
from tests.system.rest import AirflowRest
from tests.system.services import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

pytest.importorskip("airflow.sdk", reason="Airflow 2 has no watchers")

LONGEST_S = 240
SELECTION = {"n_samples": 2, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}


@dataclass
class Airflow:
    """A running Airflow: its REST API, and what its services printed."""

    rest: AirflowRest
    home: Path

    def dag_runs(self, dag_id: str) -> dict[str, str]:
        """The state of each of a DAG's runs by its id."""
        return {each["dag_run_id"]: each["state"] for each in self.rest.dag_runs(dag_id)}

    def succeeded(self, dag_id: str) -> set[str]:
        """The DAG runs that succeeded; none may have failed."""
        states = self.dag_runs(dag_id)
        assert "failed" not in states.values(), f"{dag_id}: {states}\n{self.logs()}"
        return {run_id for run_id, state in states.items() if state == "success"}

    def logs(self) -> str:
        """The end of what each service and each task printed."""
        files = [*self.home.glob("services/*.log"), *self.home.glob("logs/dag_id*/**/*.log")]
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-1500:]}" for path in files)


@contextmanager
def running_airflow(dags: Path, home: Path, connections: dict[str, str]) -> Iterator[Airflow]:
    """Airflow's services with these DAGs, as ``make airflow`` runs them."""
    from demo.environment import airflow_environment

    port, *log_ports = free_ports(3)
    (home / "services").mkdir(parents=True)
    environment = {
        **airflow_environment(home),
        **connections,
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[0]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[1]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    with (home / "services" / "start.log").open("wb") as log:
        services = psutil.Popen(
            [sys.executable, "-m", "demo.airflow_services"],
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Airflow(_api(f"http://127.0.0.1:{port}", services), home)
    finally:
        everything = [services, *services.children(recursive=True)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in everything:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            everything = psutil.wait_procs(everything, timeout=15)[1]


def _api(url: str, services: psutil.Popen) -> AirflowRest:
    deadline = time.monotonic() + LONGEST_S
    while True:
        assert services.poll() is None, "Airflow ended"
        try:
            return AirflowRest(url)
        except (OSError, ValueError):
            assert time.monotonic() < deadline, "Airflow did not start"
            time.sleep(0.2)


def dataset_with_photos(sandbox: Sandbox, bucket: str, name: str) -> str:
    """A dataset that reads below ``NAME/`` and writes below ``lightly/NAME/``."""
    hook = LightlyHook()
    dataset_id = hook.get_or_create_dataset(name, DatasetType.IMAGES).dataset_id
    for purpose, path in ((Purpose.INPUT, name), (Purpose.LIGHTLY, f"lightly/{name}")):
        hook.set_datasource(
            dataset_id,
            S3UserAccessDatasource(
                purpose=purpose,
                full_path=f"s3://{bucket}/{path}",
                s3_region=sandbox.region,
                s3_access_key_id=sandbox.admin.access_key_id,
                s3_secret_access_key=sandbox.admin.secret_access_key,
            ),
        )
    return dataset_id


def example(name: str, folder: Path, replaced: dict[str, str]) -> None:
    """Write an example DAG with some of its lines changed, as a user changes them."""
    text = (REPOSITORY / "dags" / name).read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)


@pytest.mark.exhaustive(
    sample="tests/integration/test_uploads_drained.py::"
    "test_each_upload_is_in_one_manifest_and_what_is_done_is_not_handed_on_again"
)
@pytest.mark.usefixtures("in_the_sandboxs_region")
def test_uploads_and_ended_runs_start_dag_runs(lightly: Sandbox, dataset_name: str, tmp_path: Path) -> None:
    street, night, web = (f"{dataset_name} {name}".replace(" ", "-") for name in ("street", "night", "web"))
    bucket, own_bucket = lightly.bucket(), lightly.bucket()
    queue_url = announce_uploads(lightly, bucket)
    ids = {name: dataset_with_photos(lightly, bucket, name) for name in (street, night, web)}
    dags = tmp_path / "dags"
    dags.mkdir()
    example(
        "lightly_uploads.py",
        dags,
        {
            '"https://sqs.eu-central-1.amazonaws.com/123456789012/lightly-uploads"': repr(queue_url),
            '{"my-photos": "s3://my-bucket/photos/"}': repr(
                {name: f"s3://{bucket}/{name}/" for name in (street, night)}
            ),
            '"s3://my-bucket/lightly-uploads/"': repr(f"s3://{own_bucket}/manifests/"),
            "queue_url=QUEUE_URL)": "queue_url=QUEUE_URL, quiet_period=4, poll_interval=0.5)",
            "Param(60, ": "Param(1, ",
        },
    )
    example(
        "lightly_labeling.py",
        dags,
        {
            '"s3://my-bucket/to-label/"': repr(f"s3://{own_bucket}/to-label/"),
            "LightlyRunEventTrigger()": "LightlyRunEventTrigger(quiet_period=1, poll_interval=0.5)",
        },
    )
    connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}

    with running_airflow(dags, tmp_path / "airflow", connections) as airflow:

        def wait_for(what: str, reached: Callable[[], object]) -> None:
            import requests

            def is_reached() -> object:
                # A busy machine's API server may take longer than a request.
                with suppress(requests.Timeout):
                    return reached()
                return False

            try:
                airflow.rest.wait_for(what, is_reached, within=LONGEST_S)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{airflow.logs()}") from None

        # The trigger fires when it starts, and the first look starts nothing.
        wait_for("the first look", lambda: airflow.succeeded("lightly_ended_runs"))
        for name in (street, night):
            lightly.seed(f"s3://{bucket}/{name}/", 12)
        wait_for("both datasets' runs", lambda: len(airflow.succeeded("lightly_curate_uploads")) == 2)
        # Somebody starts a run in the web app.
        lightly.seed(f"s3://{bucket}/{web}/", 12)
        LightlyHook().schedule_run(
            ids[web],
            {"workerType": "FULL", "selection": SELECTION, "docker": {"useDatapool": True}},
            priority="MID",
        )
        # Each task takes its time, so only one of the three is waited for until its end.
        wait_for("labeling of all three", lambda: len(airflow.dag_runs("lightly_labeling")) == 3)
        wait_for("the end of one labeling", lambda: airflow.succeeded("lightly_labeling"))
        runs = {name: [each.id for each in LightlyHook().get_runs(ids[name])] for name in ids}
        started = airflow.dag_runs("lightly_labeling")
        n_curated = len(airflow.dag_runs("lightly_curate_uploads"))
        printed = airflow.logs()

    s3 = lightly.aws("s3")
    objects = {key: s3.get_object(Bucket=own_bucket, Key=key)["Body"].read() for key in lightly.keys_under(own_bucket)}
    listed = Counter(
        json.loads(line)["source-ref"]
        for key, body in objects.items()
        if key.startswith("manifests/") and key.endswith(".jsonl")
        for line in body.splitlines()
    )
    uploaded = [key for key in lightly.keys_under(bucket) if key.startswith((f"{street}/", f"{night}/"))]
    assert len(uploaded) == 24
    assert listed == Counter(f"s3://{bucket}/{key}" for key in uploaded)
    assert n_curated == 2, "one DAG run per dataset"
    assert {name: len(of_dataset) for name, of_dataset in runs.items()} == {street: 1, night: 1, web: 1}
    assert set(started) == {f"lightly_run__{of_dataset[0]}" for of_dataset in runs.values()}
    assert {f"to-label/{of_dataset[0]}.jsonl" for of_dataset in runs.values()} & objects.keys()
    assert lightly.token not in printed
    assert lightly.aws_secret_access_key not in printed
