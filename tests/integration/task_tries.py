"""
Runs the tries of a task on one metadata database, each in its own process that can be killed.

``TaskTries`` starts ``python -m tests.integration.task_tries``: it imports Airflow once, and forks for each try;
several tries may run at a time. That process also counts the tries, as the scheduler would, and runs the task like
``dag.test``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.integration.airflow_run import define_users_table
from tests.integration.forking_process import ForkingProcess

DAGS = Path(__file__).with_name("dags")
LONGEST_TRY_S = 180


class TaskTries:
    """Context manager: the process that forks for each try."""

    def __enter__(self) -> TaskTries:
        self._newest = 0
        self._asking = threading.Lock()
        log = Path(os.environ["AIRFLOW_HOME"]) / f"tries-{uuid.uuid4().hex[:8]}.log"
        self._process = ForkingProcess(__name__, log=log, environment={"AIRFLOW__CORE__DAGS_FOLDER": str(DAGS)})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def begin(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Create a DAG run; return its id."""
        return str(self._ask(command="begin", dag_id=dag_id, conf=conf))

    def clear(self, run_id: str, task_id: str, map_index: int = -1) -> None:
        """Do what a user's click on "clear" does."""
        self._ask(command="clear", run_id=run_id, task_id=task_id, map_index=map_index)

    def set_state(self, run_id: str, task_id: str, state: str) -> None:
        """Change a task's state while it runs, as others may."""
        self._ask(command="set_state", run_id=run_id, task_id=task_id, state=state)

    def start(self, run_id: str, task_id: str, map_index: int = -1, **environment: str) -> int:
        """Start the next try; return its process id."""
        task = {"run_id": run_id, "task_id": task_id, "map_index": map_index}
        self._newest = int(self._ask(command="start", **task, environment=environment))
        return self._newest

    def end(self, pid: int | None = None) -> str:
        """Wait for a try's process (None: the last one); return the task's state after it, or ``killed``."""
        pid, deadline = pid or self._newest, time.monotonic() + LONGEST_TRY_S
        while (state := self._ask(command="end", pid=pid)) is None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise RuntimeError(f"The try did not end within {LONGEST_TRY_S} s:\n{self.log()[-4000:]}")
            time.sleep(0.05)
        return str(state)

    def log(self) -> str:
        """Return the whole output."""
        return self._process.log()

    def _ask(self, **command: Any) -> Any:
        with self._asking:
            print(json.dumps(command), file=self._process.commands, flush=True)
            if not select.select([self._process.answers], [], [], LONGEST_TRY_S)[0]:
                raise RuntimeError(f"No answer to {command} within {LONGEST_TRY_S} s:\n{self.log()[-4000:]}")
            answer = self._process.answers.readline()
        if not answer:
            raise RuntimeError(f"The process of the tries ended:\n{self.log()[-4000:]}")
        return json.loads(answer)


# --- in the process of the tries ---------------------------------------------------------------------------------


class Tries:
    """Answers the commands."""

    def __init__(self) -> None:
        from airflow import settings

        self._settings = settings
        self._tasks: dict[int, tuple[str, str, int]] = {}
        self._api: Any
        try:
            from airflow.dag_processing.bundles.manager import DagBundlesManager
            from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
            from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, in_process_api_server

            DagBundlesManager().sync_bundles_to_db()
            bag = DagBag(DAGS, bundle_name="dags-folder")
            sync_bag_to_db(bag, "dags-folder", None)
            # The first request initializes Airflow's API, which takes some seconds: do this once for all tries.
            InProcessTestSupervisor._api_client().variables.get("none")
            self._api = in_process_api_server()
        except ImportError:
            from airflow.models import DagBag
            from airflow.models.serialized_dag import SerializedDagModel

            define_users_table()
            bag = DagBag(DAGS, include_examples=False)
            for dag in bag.dags.values():
                dag.sync_to_db()
                # A clear reads the task's retries from the serialized DAG.
                SerializedDagModel.write_dag(dag)
            self._api = None
        if bag.import_errors:
            raise RuntimeError(str(bag.import_errors))
        self._dags: dict[str, Any] = dict(bag.dags)
        # Import in advance what each try would import.
        for module in (
            "aiohttp",
            "requests",
            "tenacity",
            "lightly_provider.api.calls",
            "lightly_provider.triggers.worker",
        ):
            import_module(module)

    def begin(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Create a DAG run."""
        from airflow.utils import timezone

        dag, now, run_id = self._dags[dag_id], timezone.utcnow(), f"try__{uuid.uuid4().hex[:12]}"
        session = self._settings.Session()
        if self._api is not None:
            from airflow.models.dagrun import get_or_create_dagrun
            from airflow.serialization.serialized_objects import DagSerialization
            from airflow.utils.types import DagRunTriggeredByType

            get_or_create_dagrun(
                dag=DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)),
                run_id=run_id,
                logical_date=now,
                data_interval=(now, now),
                run_after=now,
                conf=conf,
                triggered_by=DagRunTriggeredByType.TEST,
                triggering_user_name="tests",
                start_date=now,
                session=session,
            )
        else:
            from airflow.models.dag import _get_or_create_dagrun

            _get_or_create_dagrun(
                dag=dag,
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

    def clear(self, run_id: str, task_id: str, map_index: int) -> None:
        """Clear a task with Airflow's own function."""
        from airflow.models.taskinstance import clear_task_instances

        session = self._settings.Session()
        clear_task_instances([self._instance(session, run_id, task_id, map_index)], session)
        session.commit()
        session.close()

    def set_state(self, run_id: str, task_id: str, state: str) -> None:
        """Set a task's state."""
        session = self._settings.Session()
        self._instance(session, run_id, task_id, -1).state = state
        session.commit()
        session.close()

    def start(self, run_id: str, task_id: str, map_index: int, environment: dict[str, str]) -> int:
        """Fork for the next try."""
        from airflow.utils.state import TaskInstanceState

        session = self._settings.Session()
        instance = self._instance(session, run_id, task_id, map_index)
        instance.try_number += 1
        instance.state = TaskInstanceState.SCHEDULED
        # A new try starts from the beginning, also after one that was killed while deferred.
        instance.next_method = instance.next_kwargs = None
        session.commit()
        session.close()
        pid = os.fork()
        if pid == 0:
            os.environ.update(environment)
            try:
                self._run(run_id, task_id, map_index)
            except BaseException:  # noqa: BLE001 - it must not go on as the other process
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        self._tasks[pid] = run_id, task_id, map_index
        return pid

    def end(self, pid: int) -> str | None:
        """Check whether a fork has ended."""
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        task = self._tasks.pop(pid)
        if os.WIFSIGNALED(status):
            return "killed"
        session = self._settings.Session()
        state = str(self._instance(session, *task).state)
        session.close()
        return state

    def _run(self, run_id: str, task_id: str, map_index: int) -> None:
        session = self._settings.Session()
        instance = self._instance(session, run_id, task_id, map_index)
        task = self._dags[instance.dag_id].task_dict[task_id]
        if self._api is not None:
            from airflow.sdk.definitions.dag import _run_task

            # The thread that served it remained in the parent process.
            del self._api.transport

            _run_task(ti=instance, task=task, run_triggerer=True)
        else:
            from airflow.models.dag import _run_task

            instance.task = task
            _run_task(ti=instance, inline_trigger=True, session=session)

    def _instance(self, session: Any, run_id: str, task_id: str, map_index: int) -> Any:
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import select

        key = {"run_id": run_id, "task_id": task_id, "map_index": map_index}
        return session.scalars(select(TaskInstance).filter_by(**key)).one()


def main() -> None:
    """Answer commands until there are no more."""
    commands, answers = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "w")
    tries = Tries()
    for line in commands:
        arguments = json.loads(line)
        answer = getattr(tries, arguments.pop("command"))(**arguments)
        print(json.dumps(answer), file=answers, flush=True)
    # Not by the interpreter's own end, which would wait for the thread of Airflow's API.
    os._exit(0)


if __name__ == "__main__":
    main()
