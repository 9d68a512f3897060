"""
Records what outlives a process, in a checkout of the version that is recorded; see recorded/README.md.

Everything is written by the provider itself and by Airflow, against a sandbox that really runs. What the sandbox and
Airflow made for these tasks only (ids, names, times) is recorded as it is; keys, external IDs and tokens are replaced.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
_HOME = tempfile.TemporaryDirectory(prefix="record-")
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(HERE),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    # Without a key, Airflow stores the arguments of triggers in clear.
    AIRFLOW__CORE__FERNET_KEY="",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME.name}/airflow.db",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)

from tests.integration.sandbox import RunningSandbox, Sandbox  # noqa: E402
from tests.integration.staged_worker import StagedWorker, platform, ready_dataset  # noqa: E402

STAND_INS: dict[str, str] = {}


def hide(secret: str, stand_in: str) -> None:
    """Record a stand-in of the same length instead of a secret."""
    STAND_INS[secret] = (stand_in + "x" * len(secret))[: len(secret)]


# --- tasks in Airflow's database -----------------------------------------------------------------------------------


class Tasks:
    """Tasks of the DAG ``recorded_tasks``: what Airflow keeps of each once it is deferred, or cut off."""

    def __init__(self) -> None:
        from airflow import settings

        airflow = Path(sys.executable).with_name("airflow")
        subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True)
        self._settings = settings
        path = HERE / "recorded_tasks.py"
        try:
            from airflow.dag_processing.bundles.manager import DagBundlesManager
            from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
            from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, in_process_api_server

            DagBundlesManager().sync_bundles_to_db()
            bag = DagBag(path, bundle_name="dags-folder")
            sync_bag_to_db(bag, "dags-folder", None)
            InProcessTestSupervisor._api_client().variables.get("none")
            self._api: Any = in_process_api_server()
        except ImportError:  # Airflow 2
            from airflow.models import DagBag

            import_module("airflow.providers.fab.auth_manager.models")
            bag = DagBag(path, include_examples=False)
            for dag in bag.dags.values():
                dag.sync_to_db()
            self._api = None
        assert not bag.import_errors, bag.import_errors
        self._dag = bag.dags["recorded_tasks"]

    def begin(self, conf: dict[str, Any]) -> str:
        """Make a DAG run; its id."""
        from airflow.utils import timezone

        now, run_id = timezone.utcnow(), f"recorded__{uuid.uuid4().hex[:8]}"
        session = self._settings.Session()
        if self._api is not None:
            from airflow.models.dagrun import get_or_create_dagrun
            from airflow.serialization.serialized_objects import DagSerialization
            from airflow.utils.types import DagRunTriggeredByType

            get_or_create_dagrun(
                dag=DagSerialization.deserialize_dag(DagSerialization.serialize_dag(self._dag)),
                run_id=run_id,
                logical_date=now,
                data_interval=(now, now),
                run_after=now,
                conf=conf,
                triggered_by=DagRunTriggeredByType.TEST,
                triggering_user_name="recording",
                start_date=now,
                session=session,
            )
        else:
            from airflow.models.dag import _get_or_create_dagrun

            _get_or_create_dagrun(
                dag=self._dag,
                start_date=now,
                execution_date=now,
                run_id=run_id,
                session=session,
                conf=conf,
                data_interval=(now, now),
            )
        session.commit()
        session.close()
        return run_id

    def run(self, run_id: str, task_id: str, *, cut_off_at: str = "") -> None:
        """Run a try in a process of its own; it is cut off before it sends a POST whose path ends so."""
        from airflow.utils.state import TaskInstanceState

        session = self._settings.Session()
        instance = self._instance(session, run_id, task_id)
        instance.try_number += 1
        instance.state = TaskInstanceState.SCHEDULED
        session.commit()
        session.close()
        if (pid := os.fork()) == 0:
            try:
                self._run(run_id, task_id, cut_off_at)
            except BaseException:  # noqa: BLE001 - it must not go on as the other process
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.waitpid(pid, 0)

    def _run(self, run_id: str, task_id: str, cut_off_at: str) -> None:
        if cut_off_at:
            import requests

            send = requests.Session.send

            def cut_off(session: Any, request: Any, **kwargs: Any) -> Any:
                if request.method == "POST" and request.url.split("?")[0].endswith(cut_off_at):
                    os._exit(0)
                return send(session, request, **kwargs)

            requests.Session.send = cut_off  # type: ignore[method-assign]
        session = self._settings.Session()
        instance = self._instance(session, run_id, task_id)
        task = self._dag.task_dict[task_id]
        if self._api is not None:
            from airflow.sdk.definitions.dag import _run_task

            del self._api.transport
            _run_task(ti=instance, task=task)
        else:
            from airflow.models.dag import _run_task

            instance.task = task
            _run_task(ti=instance, session=session)
            session.commit()

    def row(self, run_id: str, task_id: str) -> dict[str, Any]:
        """What Airflow keeps of the task."""
        from airflow.models import xcom as xcom_models
        from airflow.models.trigger import Trigger
        from sqlalchemy import select

        # Airflow 2 calls it otherwise.
        stored = getattr(xcom_models, "XComModel", None) or xcom_models.BaseXCom
        session = self._settings.Session()
        instance = self._instance(session, run_id, task_id)
        row: dict[str, Any] = {
            "recorded_at": time.time(),
            "state": str(instance.state),
            "try_number": instance.try_number,
            "max_tries": instance.max_tries,
            "next_method": instance.next_method,
            # As it is in the column.
            "next_kwargs": _column(session, "next_kwargs", instance),
            "xcoms": {
                x.key: _readable(x.value)
                for x in session.scalars(
                    select(stored).filter_by(dag_id=instance.dag_id, run_id=run_id, task_id=task_id)
                )
            },
        }
        if instance.trigger_id is not None:
            trigger = session.get(Trigger, instance.trigger_id)
            row["trigger"] = {"classpath": trigger.classpath, "kwargs": json.loads(trigger.encrypted_kwargs)}
        try:
            from airflow.models.task_state_store import TaskStateStoreModel as State

            states = session.scalars(select(State).filter_by(dag_id=instance.dag_id, run_id=run_id, task_id=task_id))
            row["task_state"] = {state.key: state.value for state in states}
        except ImportError:
            pass
        session.close()
        return row

    def end(self, run_id: str, task_id: str) -> dict[str, Any]:
        """Let the task's trigger wait for its end, and hand its event to the task; what Airflow keeps of it then."""
        from airflow.models.trigger import Trigger

        session = self._settings.Session()
        trigger_id = self._instance(session, run_id, task_id).trigger_id
        trigger = session.get(Trigger, trigger_id)
        module, _, name = trigger.classpath.rpartition(".")
        waiting = getattr(import_module(module), name)(**trigger.kwargs)

        async def event() -> Any:
            async with aclosing(waiting.run()) as events:
                return await anext(events)

        Trigger.submit_event(trigger_id, asyncio.run(event()), session=session)
        session.commit()
        session.close()
        return self.row(run_id, task_id)

    def _instance(self, session: Any, run_id: str, task_id: str) -> Any:
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import select

        return session.scalars(select(TaskInstance).filter_by(run_id=run_id, task_id=task_id, map_index=-1)).one()


def _column(session: Any, name: str, instance: Any) -> Any:
    from sqlalchemy import text

    where = "run_id = :run_id AND task_id = :task_id"
    statement = text(f"SELECT {name} FROM task_instance WHERE {where}")
    (value,) = session.execute(statement, {"run_id": instance.run_id, "task_id": instance.task_id}).one()
    return _plain(value)


def _readable(value: Any) -> Any:
    try:
        return _plain(value)
    except ValueError:
        return value


def _plain(value: Any) -> Any:
    value = value.decode() if isinstance(value, bytes) else value
    return json.loads(value) if isinstance(value, str) else value


# --- scenes ---------------------------------------------------------------------------------------------------------


def worker_runs(sandbox: Sandbox, tasks: Tasks) -> dict[str, Any]:
    """Runs in each stage, and each way in which the wait for one ends."""
    from lightly_provider.hooks.lightly import LightlyHook

    recorded: dict[str, Any] = {}

    def begin(task_id: str, *, cut_off_at: str = "") -> tuple[StagedWorker, str, str]:
        worker = StagedWorker(sandbox, f"label-{uuid.uuid4().hex[:8]}")
        dataset_id = ready_dataset(sandbox, f"recorded {uuid.uuid4().hex[:8]}")
        conf = {"dataset_id": dataset_id, "label": worker.label}
        if task_id == "watch":
            first = tasks.begin(conf)
            tasks.run(first, "run")
            conf["scheduled_run_id"] = worker.schedule(dataset_id)[0]["id"]
        run_id = tasks.begin(conf)
        tasks.run(run_id, task_id, cut_off_at=cut_off_at)
        return worker, dataset_id, run_id

    def keep(name: str, worker: StagedWorker, dataset_id: str, row: dict[str, Any], task_id: str) -> None:
        entries = worker.schedule(dataset_id)
        configs = {
            e["configId"]: platform(sandbox, "GET", f"/v1/docker/worker/config/vX/{e['configId']}") for e in entries
        }
        recorded[name] = {
            "task_id": task_id,
            "dataset_id": dataset_id,
            "label": worker.label,
            "schedule": [{k: e[k] for k in ("id", "configId", "state")} for e in entries],
            "configs": {config_id: config["config"] for config_id, config in configs.items()},
            **row,
        }

    worker, dataset_id, run_id = begin("run", cut_off_at="/docker/worker/schedule")
    keep("run_config_stored", worker, dataset_id, tasks.row(run_id, "run"), "run")
    for task_id in ("run", "watch", "run_timed", "run_pickup"):
        worker, dataset_id, run_id = begin(task_id)
        keep(f"{task_id}_deferred", worker, dataset_id, tasks.row(run_id, task_id), task_id)
        if task_id in ("run_timed", "run_pickup"):
            keep(f"{task_id}_out", worker, dataset_id, tasks.end(run_id, task_id), task_id)
    for task_id in ("run", "watch"):
        for state in ("COMPLETED", "FAILED", "CRASHED", "ABORTED"):
            worker, dataset_id, run_id = begin(task_id)
            worker.finish(dataset_id, worker.take(dataset_id), state=state)
            keep(f"{task_id}_{state.lower()}", worker, dataset_id, tasks.end(run_id, task_id), task_id)
        worker, dataset_id, run_id = begin(task_id)
        LightlyHook().cancel_scheduled_run(dataset_id, worker.schedule(dataset_id)[0]["id"])
        keep(f"{task_id}_canceled", worker, dataset_id, tasks.end(run_id, task_id), task_id)
        worker, dataset_id, run_id = begin(task_id)
        right = os.environ["AIRFLOW_CONN_LIGHTLY_DEFAULT"]
        os.environ["AIRFLOW_CONN_LIGHTLY_DEFAULT"] = sandbox.lightly_connection(password="a-token-of-nobody")
        keep(f"{task_id}_given_up", worker, dataset_id, tasks.end(run_id, task_id), task_id)
        os.environ["AIRFLOW_CONN_LIGHTLY_DEFAULT"] = right
    return recorded


def verifications(sandbox: Sandbox, tasks: Tasks) -> dict[str, Any]:
    """Verifications that wait for a grant in the triggerer, without and with a grant in the same DAG run."""
    from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator

    recorded = {}
    for task_id in ("verify", "verify_after_grant"):
        bucket, keys = sandbox.bucket(), sandbox.user()
        hide(keys.secret_access_key, "a-secret-of-nobody")
        dataset_id = ready_dataset(sandbox, f"recorded {uuid.uuid4().hex[:8]}")
        os.environ["AIRFLOW_CONN_OF_NOBODY"] = sandbox.aws_connection(keys)
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset_id,
            resource_path=f"s3://{bucket}/raw/",
            datasource_aws_conn_id="of_nobody",
            region=sandbox.region,
        ).execute({"ti": ByHand()})
        user_name = f"recorded-{uuid.uuid4().hex[:8]}"
        resource_path = f"s3://{bucket}/raw/"
        run_id = tasks.begin({"dataset_id": dataset_id, "user_name": user_name, "resource_path": resource_path})
        granted = None
        if task_id == "verify_after_grant":
            tasks.run(run_id, "grant")
            granted = tasks.row(run_id, "grant")
        tasks.run(run_id, task_id)
        recorded[f"{task_id}_deferred"] = {
            "task_id": task_id,
            "dataset_id": dataset_id,
            "bucket": bucket,
            **tasks.row(run_id, task_id),
            "xcoms_of_the_grant": granted["xcoms"] if granted else {},
        }
        recorded[f"{task_id}_resumed"] = {"task_id": task_id, "dataset_id": dataset_id, **tasks.end(run_id, task_id)}
    return recorded


class ByHand:
    """What Airflow's task instance is to an operator that is executed by hand."""

    try_number, map_index = 1, -1
    dag_id, task_id, run_id = "by_hand", "by_hand", "by_hand"

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep it."""
        self.pushed[key] = value

    def xcom_pull(self, **_: Any) -> Any:
        """Nothing was before."""
        return None


def verdicts(sandbox: Sandbox, _: Tasks) -> dict[str, Any]:
    """The XCom of verifications that passed and failed, with keys and with a role."""
    from lightly_provider.operators.access import CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator
    from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
    from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator

    recorded = {}
    for kind, create in (("user", CreateLightlyAccessUserOperator), ("role", CreateLightlyAccessRoleOperator)):
        name, bucket = f"recorded-{kind}-{uuid.uuid4().hex[:6]}", sandbox.bucket()
        sandbox.seed(f"s3://{bucket}/raw/", 2)
        places = {"resource_path": f"s3://{bucket}/raw/", "output_resource_path": f"s3://{bucket}/lightly/"}
        conn_id = f"secretsmanager://aws_default/{name}"
        arguments: dict[str, Any] = {f"{kind}_name": name}
        create(task_id="create", access_conn_id=conn_id, **places, **arguments).execute({"ti": ByHand()})
        made = platform(sandbox, "POST", "/v1/datasets", {"name": f"recorded {name}", "type": "Images"})
        dataset_id = str(made["id"])
        configure = ConfigureS3DatasourceOperator(
            task_id="configure", dataset_id=dataset_id, datasource_aws_conn_id=conn_id, **places
        )
        configured = configure.execute({"ti": ByHand()})
        verify = VerifyDatasourcePermissionsOperator(
            task_id="verify",
            dataset_id=dataset_id,
            datasource_aws_conn_id=conn_id,
            aws_conn_id="aws_default",
            on_failure="warn",
            propagation_timeout=0.0,
        )
        passed = verify.execute({"ti": ByHand()})
        iam = sandbox.aws("iam")
        put, names = getattr(iam, f"put_{kind}_policy"), {f"{kind.capitalize()}Name": name}
        deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/lightly/*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        put(**names, PolicyName="stop", PolicyDocument=document)
        failed = verify.execute({"ti": ByHand()})
        recorded[kind] = {"bucket": bucket, "name": name, "configured": configured, "passed": passed, "failed": failed}
    return recorded


# --- kept accesses --------------------------------------------------------------------------------------------------


@contextmanager
def airflow_api(conn_id: str) -> Iterator[list[dict[str, Any]]]:
    """As much of Airflow's API as stores a connection: the body that arrives is the connection from then on."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            names = ("conn_type", "login", "password", "extra")
            os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps({n: body[n] for n in names})
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PATCH  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}", "password": "a-token"}
    os.environ["AIRFLOW_CONN_AIRFLOW_API"] = json.dumps(address)
    yield bodies
    server.shutdown()
    server.server_close()


def kept(sandbox: Sandbox, conn_id: str) -> dict[str, Any]:
    """What is kept under a name, as the place itself holds it."""
    service, _, rest = conn_id.partition("://")
    name = rest.partition("/")[2]
    if service == "secretsmanager":
        client = sandbox.aws("secretsmanager")
        tags = client.describe_secret(SecretId=name).get("Tags", [])
        return {"value": client.get_secret_value(SecretId=name)["SecretString"], "tags": tags}
    if service == "ssm":
        found = sandbox.aws("ssm").get_parameter(Name=f"/{name}", WithDecryption=True)["Parameter"]
        return {"value": found["Value"], "type": found["Type"]}
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.query(Connection).filter(Connection.conn_id == conn_id).one()
        return {"conn_type": row.conn_type, "login": row.login, "password": row.password, "extra": row.extra}


def accesses(sandbox: Sandbox, _: Tasks) -> dict[str, Any]:
    """Roles and users with what is kept of them in each place, settled, and in the middle of a rotation."""
    from lightly_provider.operators.access import CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator

    is_airflow_2 = version("apache-airflow").startswith("2.")
    recorded = {}
    for kind, create in (("user", CreateLightlyAccessUserOperator), ("role", CreateLightlyAccessRoleOperator)):
        for store in ("secretsmanager", "ssm", "airflow"):
            name, bucket = f"recorded-{kind}-{store}", f"recorded-{kind}-{store}"
            sandbox.aws("s3").create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": sandbox.region}
            )
            plain = f"kept_{kind}"
            conn_id = plain if store == "airflow" else f"{store}://aws_default/lightly/{name}"
            arguments: dict[str, Any] = {
                f"{kind}_name": name,
                "access_conn_id": conn_id,
                "resource_path": f"s3://{bucket}/raw/",
                "output_resource_path": f"s3://{bucket}/lightly/",
                "tags": {"team": "vision"},
            }
            if store == "airflow" and not is_airflow_2:
                with airflow_api(plain) as bodies:
                    arguments["airflow_api_conn_id"] = "airflow_api"
                    outcome = create(task_id="create", **arguments).execute({"ti": ByHand()})
                    found = {"body": bodies[-1]}
            else:
                outcome = create(task_id="create", **arguments).execute({"ti": ByHand()})
                found = kept(sandbox, conn_id)
            recorded[f"{kind}_{store}"] = {
                "arguments": arguments,
                "outcome": outcome,
                "kept": found,
                "iam": principal(sandbox, kind, name),
            }
    for kind, create in (("user", CreateLightlyAccessUserOperator), ("role", CreateLightlyAccessRoleOperator)):
        recorded[f"{kind}_rotation_begun"] = rotation_begun(sandbox, kind, create)
    return recorded


def principal(sandbox: Sandbox, kind: str, name: str) -> dict[str, Any]:
    """What IAM says of a role or user."""
    iam, names = sandbox.aws("iam"), {f"{kind.capitalize()}Name": name}
    found = getattr(iam, f"get_{kind}")(**names)[kind.capitalize()]
    policies = getattr(iam, f"list_{kind}_policies")(**names)["PolicyNames"]
    members = ("Arn", "Path", "Tags", "Description", "MaxSessionDuration", "AssumeRolePolicyDocument")
    got = {p: getattr(iam, f"get_{kind}_policy")(**names, PolicyName=p)["PolicyDocument"] for p in policies}
    reported = {member: found[member] for member in members if member in found} | {"policies": got}
    if kind == "user":
        reported["keys"] = [k["AccessKeyId"] for k in iam.list_access_keys(**names)["AccessKeyMetadata"]]
    return reported


def rotation_begun(sandbox: Sandbox, kind: str, create: Any) -> dict[str, Any]:
    """A rotation that was cut off once the new secret was kept, before any datasource had it."""
    import requests

    from lightly_provider.operators.access import RotateLightlyAccessOperator
    from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator

    name, bucket = f"recorded-{kind}-rotation", f"recorded-{kind}-rotation"
    sandbox.aws("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": sandbox.region})
    conn_id = f"secretsmanager://aws_default/{name}"
    arguments: dict[str, Any] = {
        f"{kind}_name": name,
        "access_conn_id": conn_id,
        "resource_path": f"s3://{bucket}/raw/",
    }
    create(task_id="create", **arguments).execute({"ti": ByHand()})
    before = json.loads(kept(sandbox, conn_id)["value"])
    dataset_id = ready_dataset(sandbox, f"recorded {uuid.uuid4().hex[:8]}")
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        datasource_aws_conn_id=conn_id,
        resource_path=f"s3://{bucket}/raw/",
    ).execute({"ti": ByHand()})
    send = requests.Session.send

    def cut_off(session: Any, request: Any, **kwargs: Any) -> Any:
        if request.method == "PUT":
            raise KeyboardInterrupt
        return send(session, request, **kwargs)

    requests.Session.send = cut_off  # type: ignore[method-assign]
    try:
        RotateLightlyAccessOperator(
            task_id="rotate", access_conn_id=conn_id, dataset_ids=[dataset_id], **{f"{kind}_name": name}
        ).execute({"ti": ByHand()})
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the rotation was not cut off")
    finally:
        requests.Session.send = send  # type: ignore[method-assign]
    found = kept(sandbox, conn_id)
    return {
        "arguments": arguments,
        "before": before,
        "kept": found,
        "iam": principal(sandbox, kind, name),
        "dataset_id": dataset_id,
    }


# --- all together ---------------------------------------------------------------------------------------------------


def hide_secrets(value: Any) -> None:
    """Find the secrets of kept accesses wherever they stand in what was recorded."""
    match value:
        case {"password": str(secret), **_rest} if secret:
            hide(secret, "a-secret-of-nobody")
        case {"ExternalId": str(secret), **_rest}:
            hide(secret, "an-external-id-of-nobody-" + str(len(STAND_INS)))
        case {"sts:ExternalId": secrets, **_rest}:
            for secret in [secrets] if isinstance(secrets, str) else secrets:
                if secret not in STAND_INS:
                    hide(secret, "an-external-id-of-nobody-" + str(len(STAND_INS)))
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            hide_secrets(one)
    elif isinstance(value, str) and value[:1] == "{":
        hide_secrets(json.loads(value))


PARTS = ("accesses", "verdicts", "verifications", "worker_runs")


def main(folder: Path, parts: Sequence[str]) -> None:
    """
    Record.

    :param folder: The version's folder; the recording is in a folder for this Airflow there.
    :param parts: Which parts; none: all.
    """
    own = folder / f"airflow-{version('apache-airflow')}"
    own.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state, RunningSandbox(Path(state) / "state") as sandbox:
        hide(sandbox.token, "a-token-of-nobody")
        hide(sandbox.aws_secret_access_key, "a-secret-of-nobody")
        os.environ["AIRFLOW_CONN_LIGHTLY_DEFAULT"] = sandbox.lightly_connection()
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = sandbox.aws_connection(sandbox.admin, region_name=sandbox.region)
        tasks = Tasks()
        for part in parts or PARTS:
            scenes = globals()[part](sandbox, tasks)
            hide_secrets(scenes)
            written = json.dumps(scenes, indent=1, sort_keys=True)
            addresses = {
                sandbox.web_url: "http://127.0.0.1:1/web",
                sandbox.lightly_url: "http://127.0.0.1:1",
                sandbox.aws_url: "http://127.0.0.1:2",
            }
            for recorded, stand_in in (STAND_INS | addresses).items():
                written = written.replace(recorded, stand_in)
            (own / f"{part}.json").write_text(written + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
