"""
Measures what onboarding a bucket costs: by this provider's operators, and by bare requests in ``@task`` functions.

Both create a dataset, set its input and output, and let the platform verify them, each time for a new dataset, in turn,
in one process, against a sandbox on this machine; its processor time is not counted. Measured twice: as DAG runs by
``dag.test``, in which Airflow's own work for a task counts for both, and the work of the three tasks alone. Shown are
medians, the ratios of the medians, each request that the operators send with what it decides, and what of a DAG run's
time is Airflow's own API storing and returning XComs: what a task leaves to links, to other tasks and to the next run.

The bare form is what one would write first: it checks nothing, repeats nothing, and a second run would fail. It needs
the region, so that both are told it. Needs Airflow 3.3 or newer, and ``lightly-sandbox`` (where LIGHTLY_SANDBOX says,
or on the PATH). Usage: ``python benchmarks/onboarding.py [--rounds 9]``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Targets of ours: times the bare form, as DAG runs.
MOST_WALL, MOST_CPU = 1.15, 1.25
OURS, BARE = "operators", "bare requests"
_LONGEST_START_S = 120.0
# What each request of the operators is for; those of the bare form are marked.
DECIDES = {
    (
        "create",
        "GET /v1/datasets/query/name/<name>",
    ): "is there a dataset of this name already: reuse it, and refuse another type",
    ("create", "POST /v1/datasets"): "(bare, too)",
    (
        "configure",
        "GET /v1/datasets/<id>/datasource/all",
    ): "what is set already: nothing is set again without need",
    ("configure", "PUT /v1/datasets/<id>/datasource"): "(bare, too)",
    ("verify", "GET /v1/datasets/<id>"): "images or videos: whether Lightly must be able to write into the input",
    (
        "verify",
        "GET /v1/datasets/<id>/datasource/all",
    ): "which purposes and thumbnails: what each datasource must grant",
    ("verify", "GET /v1/datasets/<id>/datasource/verify"): "(bare, too)",
}
# Why the operators push each XCom that the bare form does not.
READ_BY = {
    "return_value": "its result, for other tasks",
    "dataset_id": "run.output['dataset_id'] in other tasks",
    "lightly_dataset_url": "the link in Airflow's page",
    "verdict": "the next verification: what has changed, also after a failure",
}


class Sandbox:
    """
    A running sandbox without workers, and a bucket in it.

    :param folder: For its state.
    """

    def __init__(self, folder: Path) -> None:
        ready = folder / "ready.json"
        command = os.environ.get("LIGHTLY_SANDBOX", "lightly-sandbox")
        options = ["--port", "0", "--aws-port", "0", "--workers", "0", "--ready-file", str(ready)]
        self._log = (folder / "sandbox.log").open("w")
        self._process = subprocess.Popen(
            [command, "up", "--state-dir", str(folder / "state"), *options], stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + _LONGEST_START_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("The sandbox did not start; is LIGHTLY_SANDBOX set?")
            time.sleep(0.05)
        self.at: dict[str, Any] = json.loads(ready.read_text())
        self.bucket = f"onboarding-{uuid.uuid4().hex[:8]}"
        place = {"LocationConstraint": self.at["region"]}
        self._s3().create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
        self._s3().put_object(Bucket=self.bucket, Key="raw/a.jpg", Body=b"content")

    def _s3(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.at["aws_url"],
            region_name=self.at["region"],
            aws_access_key_id=self.at["aws_access_key_id"],
            aws_secret_access_key=self.at["aws_secret_access_key"],
        )

    def connections(self) -> dict[str, str]:
        """The Airflow connections to it, as environment variables."""
        at = self.at
        lightly = {"conn_type": "lightly", "host": at["lightly_url"], "password": at["token"]}
        aws = {
            "conn_type": "aws",
            "login": at["aws_access_key_id"],
            "password": at["aws_secret_access_key"],
            "extra": {"endpoint_url": at["aws_url"]},
        }
        return {"AIRFLOW_CONN_LIGHTLY_DEFAULT": json.dumps(lightly), "AIRFLOW_CONN_LIGHTLY_BUCKET": json.dumps(aws)}

    def stop(self) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
        self._log.close()


# --- the two forms -----------------------------------------------------------------------------------------------


def _session() -> tuple[Any, str]:
    import requests
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection("lightly_default")
    session = requests.Session()
    session.params = {"token": str(connection.password)}
    return session, str(connection.host)


def create_dataset(name: str) -> str:
    """The bare form's first task."""
    session, host = _session()
    answer = session.post(f"{host}/v1/datasets", json={"name": name, "type": "Images"})
    answer.raise_for_status()
    return str(answer.json()["id"])


def configure_datasources(dataset_id: str, bucket: str, region: str) -> None:
    """The bare form's second task."""
    from airflow.sdk import BaseHook

    keys = BaseHook.get_connection("lightly_bucket")
    session, host = _session()
    for purpose, prefix in (("INPUT", "raw/"), ("LIGHTLY", "lightly/")):
        body = {
            "type": "S3",
            "purpose": purpose,
            "fullPath": f"s3://{bucket}/{prefix}",
            "s3Region": region,
            "s3AccessKeyId": keys.login,
            "s3SecretAccessKey": keys.password,
        }
        session.put(f"{host}/v1/datasets/{dataset_id}/datasource", json=body).raise_for_status()


def verify_permissions(dataset_id: str) -> None:
    """The bare form's third task."""
    session, host = _session()
    answer = session.get(f"{host}/v1/datasets/{dataset_id}/datasource/verify")
    answer.raise_for_status()
    lights = answer.json()
    if not all(lights[light] for light in ("canList", "canRead", "canWrite", "canOverwrite")):
        raise RuntimeError(f"Lightly lacks permissions: {lights}")


def _operators(name: Any, bucket: str, region: str) -> tuple[Any, Any, Any]:
    from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
    from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
    from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator

    create = CreateLightlyDatasetOperator(task_id="create", dataset_name=name)
    configure = ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id="{{ ti.xcom_pull(task_ids='create') }}",
        resource_path=f"s3://{bucket}/raw/",
        output_resource_path=f"s3://{bucket}/lightly/",
        datasource_aws_conn_id="lightly_bucket",
        region=region,
    )
    verify = VerifyDatasourcePermissionsOperator(
        task_id="verify", dataset_id="{{ ti.xcom_pull(task_ids='create') }}", propagation_timeout=0.0
    )
    return create, configure, verify


def _dags(bucket: str, region: str) -> dict[str, Any]:
    from airflow.sdk import DAG, task

    name = "{{ dag_run.conf['name'] }}"
    with DAG("onboarding_operators", schedule=None, start_date=datetime(2026, 1, 1)) as ours:
        create, configure, verify = _operators(name, bucket, region)
        create >> configure >> verify
    with DAG("onboarding_bare", schedule=None, start_date=datetime(2026, 1, 1)) as bare:
        dataset_id: Any = task(task_id="create")(create_dataset)(name)
        configured = task(task_id="configure")(configure_datasources)(dataset_id, bucket, region)
        configured >> task(task_id="verify")(verify_permissions)(dataset_id)
    return {OURS: ours, BARE: bare}


# --- what is measured --------------------------------------------------------------------------------------------


class Requests:
    """Counts the requests to the platform, by form and task."""

    def __init__(self) -> None:
        import requests

        self.of: dict[tuple[str, str], Counter[str]] = {}
        self.task = OURS, ""
        send = requests.Session.send

        def counted(session: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            path = re.sub(r"[0-9a-f]{24}", "<id>", str(request.url).split("?")[0])
            path = re.sub(r"onboarding%20\w+", "<name>", path)
            if "/v1/" in path:
                sent = f"{request.method} /v1/{path.split('/v1/', 1)[1]}"
                self.of.setdefault(self.task, Counter())[sent] += 1
            return send(session, request, **kwargs)

        requests.Session.send = counted  # type: ignore[method-assign, assignment]

    def total(self, form: str) -> int:
        """How many a form sent."""
        return sum(sent.total() for (of, _), sent in self.of.items() if of == form)


class XComs:
    """Counts and times what the tasks ask of Airflow's API about XComs, by form."""

    def __init__(self) -> None:
        from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

        self.of: dict[str, Counter[tuple[str, str]]] = {OURS: Counter(), BARE: Counter()}
        self.seconds = {OURS: 0.0, BARE: 0.0}
        self.form = OURS
        send = InProcessSupervisorComms.send

        def counted(comms: InProcessSupervisorComms, msg: Any) -> Any:
            kind, began = type(msg).__name__, time.perf_counter()
            try:
                return send(comms, msg)
            finally:
                if "XCom" in kind or kind in ("GetTICount", "GetPreviousDagRun"):
                    self.of[self.form][kind, getattr(msg, "key", "") or ""] += 1
                    self.seconds[self.form] += time.perf_counter() - began

        InProcessSupervisorComms.send = counted  # type: ignore[method-assign, assignment]


def _without_airflow(bucket: str, region: str, requests: Requests) -> dict[str, Callable[[str], None]]:
    """The work of the tasks alone."""

    def ours(name: str) -> None:
        create, configure, verify = _operators(name, bucket, region)
        context: Any = {"ti": ByHand()}
        requests.task = OURS, "create"
        dataset_id = create.execute(context)
        configure.dataset_id = verify.dataset_id = dataset_id
        requests.task = OURS, "configure"
        configure.execute(context)
        requests.task = OURS, "verify"
        verify.execute(context)

    def bare(name: str) -> None:
        requests.task = BARE, "create"
        dataset_id = create_dataset(name)
        requests.task = BARE, "configure"
        configure_datasources(dataset_id, bucket, region)
        requests.task = BARE, "verify"
        verify_permissions(dataset_id)

    return {OURS: ours, BARE: bare}


class ByHand:
    """What Airflow's task instance is to an operator that is executed without Airflow."""

    task_id, try_number, map_index = "by_hand", 1, -1

    def xcom_push(self, key: str, value: Any) -> None:
        """Nobody reads it."""

    def xcom_pull(self, **_: Any) -> None:
        """Nothing was before."""


def _as_dag_runs(bucket: str, region: str, xcoms: XComs) -> dict[str, Callable[[str], None]]:
    """Whole DAG runs."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    dags = _dags(bucket, region)
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(os.devnull, bundle_name="dags-folder")
    for dag in dags.values():
        bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)

    def run(form: str, dag: Any) -> Callable[[str], None]:
        def once(name: str) -> None:
            xcoms.form = form
            state = dag.test(run_conf={"name": name}).state
            if state != "success":
                raise RuntimeError(f"The DAG run of {dag.dag_id} ended as {state}.")

        return once

    return {form: run(form, dag) for form, dag in dags.items()}


def medians_of(forms: Mapping[str, Callable[[str], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Run the forms in turn, each time for a new dataset; for each, seconds on the wall and of the processor."""
    taken: dict[str, list[tuple[float, float]]] = {form: [] for form in forms}
    for number in range(rounds + 1):
        # The order changes, as the second one finds the processor's caches warm.
        for form, run in sorted(forms.items(), reverse=bool(number % 2)):
            name = f"onboarding {uuid.uuid4().hex[:12]}"
            wall, cpu = time.perf_counter(), time.process_time()
            run(name)
            # The first round imports what the others find.
            if number:
                taken[form].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        form: (statistics.median(wall for wall, _ in times), statistics.median(cpu for _, cpu in times))
        for form, times in taken.items()
    }


def print_times(title: str, medians: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Print what both forms took, and return the ratios."""
    print(f"\n{title:38} wall ms  processor ms")
    for form, (wall, cpu) in medians.items():
        print(f"  {form:36} {wall * 1000:7.1f}  {cpu * 1000:12.1f}")
    wall, cpu = (ours / bare for ours, bare in zip(medians[OURS], medians[BARE], strict=True))
    print(f"  {'times the bare form':36} {wall:7.2f}  {cpu:12.2f}")
    return wall, cpu


def print_requests(requests: Requests) -> None:
    """Each request of the operators with what it decides."""
    print(f"\nRequests for one new dataset: {requests.total(OURS)} beside {requests.total(BARE)}")
    for (form, task_id), sent in requests.of.items():
        for request, count in sent.items() if form == OURS else ():
            print(f"  {task_id:10} {count} x {request:40} {DECIDES.get((task_id, request), 'not explained here')}")


def print_xcoms(xcoms: XComs, n_runs: int) -> None:
    """What the operators store beyond the bare form, and what all of it takes of a DAG run."""
    per_run = {form: xcoms.seconds[form] * 1000 / n_runs for form in (OURS, BARE)}
    print(f"\nAirflow's API about XComs, ms per DAG run: {per_run[OURS]:.0f} beside {per_run[BARE]:.0f}")
    for (kind, key), count in sorted((xcoms.of[OURS] - xcoms.of[BARE]).items()):
        why = READ_BY.get(key, "") if kind == "SetXCom" else "what the earlier tasks and runs left"
        print(f"  {count / n_runs:4.1f} x {kind:22} {key:20} {why}")


@contextmanager
def logs_elsewhere(file: Path) -> Iterator[None]:
    """Let the tasks' log lines, which both forms write, go to a file."""
    sys.stdout.flush()
    saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    with file.open("w") as log:
        for descriptor, _ in saved:
            os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        for descriptor, kept in saved:
            os.dup2(kept, descriptor)
            os.close(kept)


def main() -> int:
    """Measure, print the tables, and say whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="onboarding-") as home:
        folder = Path(home)
        sandbox = Sandbox(folder)
        try:
            # Airflow reads its configuration once, at import.
            os.environ.update(
                sandbox.connections(),
                AIRFLOW_HOME=home,
                AIRFLOW__CORE__LOAD_EXAMPLES="False",
                AIRFLOW__CORE__UNIT_TEST_MODE="False",
                AWS_EC2_METADATA_DISABLED="true",
            )
            with logs_elsewhere(folder / "benchmark.log"):
                airflow = str(Path(sys.executable).with_name("airflow"))
                subprocess.run([airflow, "db", "migrate"], check=True)
                region, requests = sandbox.at["region"], Requests()
                alone = _without_airflow(sandbox.bucket, region, requests)
                for form in alone.values():
                    form(f"onboarding {uuid.uuid4().hex[:12]}")
                sent = copy.deepcopy(requests.of)
                medians_alone = medians_of(alone, 3 * rounds)
                xcoms = XComs()
                medians_of_runs = medians_of(_as_dag_runs(sandbox.bucket, region, xcoms), rounds)
        finally:
            sandbox.stop()
    requests.of = sent
    print(f"Onboarding a bucket, medians of {rounds} rounds of both forms in turn")
    wall, cpu = print_times("As DAG runs", medians_of_runs)
    print_times("The work of the tasks alone", medians_alone)
    print_requests(requests)
    print_xcoms(xcoms, rounds + 1)
    met = wall <= MOST_WALL and cpu <= MOST_CPU
    print(f"\nTarget as DAG runs: at most {MOST_WALL} and {MOST_CPU}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
