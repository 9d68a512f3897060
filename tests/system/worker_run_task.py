"""A task that runs the worker, as the system tests see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.system.rest import TaskKey
from tests.system.services import TRIGGERERS

if TYPE_CHECKING:
    from tests.system.hand_worker import HandWorker
    from tests.system.rest import AirflowRest
    from tests.system.services import Services


class WorkerRunTask:
    """A task that runs the worker on a dataset, from its start to its end, seen from both sides."""

    def __init__(
        self,
        dag_id: str,
        dag_run_id: str,
        dataset_id: str,
        rest: AirflowRest,
        worker: HandWorker,
        *,
        map_index: int = -1,
    ) -> None:
        self._dag_id, self._dag_run_id, self._map_index = dag_id, dag_run_id, map_index
        self._dataset_id, self._rest, self._worker = dataset_id, rest, worker

    @classmethod
    def start(cls, dag_id: str, dataset_id: str, rest: AirflowRest, worker: HandWorker) -> WorkerRunTask:
        """Start a DAG run whose task ``run`` runs the worker on one dataset."""
        return cls(dag_id, rest.start(dag_id, {"dataset_id": dataset_id}), dataset_id, rest, worker)

    @classmethod
    def start_mapped(
        cls, dag_id: str, dataset_ids: list[str], rest: AirflowRest, worker: HandWorker
    ) -> list[WorkerRunTask]:
        """Start a DAG run whose task ``run`` is mapped over datasets; one for each map index."""
        dag_run_id = rest.start(dag_id, {"dataset_ids": dataset_ids})
        return [
            cls(dag_id, dag_run_id, dataset_id, rest, worker, map_index=index)
            for index, dataset_id in enumerate(dataset_ids)
        ]

    @property
    def key(self) -> TaskKey:
        """Which task it is."""
        return TaskKey(self._dag_id, self._dag_run_id, "run", self._map_index)

    def states_of_scheduled_runs(self) -> list[str]:
        """The state of everything that the task ever scheduled, oldest first."""
        return [str(scheduled["state"]) for scheduled in self._worker.scheduled_runs(self._dataset_id)]

    def wait_until(self, *states: str, within: float = 90) -> str:
        """Wait until the task is in one of the states; which."""
        return self._rest.wait_for_state(self.key, *states, within=within)

    def wait_until_scheduled(self, count: int = 1) -> None:
        """Wait until the task has scheduled so many runs."""
        self._rest.wait_for(f"{count} scheduled runs", lambda: len(self.states_of_scheduled_runs()) >= count, within=90)

    def wait_until_canceled(self) -> None:
        """Wait until the platform says that the scheduled run is canceled."""
        self._rest.wait_for("CANCELED", lambda: self.states_of_scheduled_runs() == ["CANCELED"], within=90)

    def wait_for_log(self, services: Services, text: str, within: float = 90) -> None:
        """Wait until the task's log says so."""
        self._rest.wait_for(f"{text!r} in the log", lambda: text in services.task_log(self.key), within=within)

    def begin(self) -> str:
        """Let the worker take the run and begin."""
        run_id = self._worker.take(self._dataset_id)
        self._worker.say(run_id, "SAMPLING", "selecting")
        return run_id

    def finish(self, run_id: str) -> None:
        """Let the worker end the run well."""
        self._worker.finish(self._dataset_id, run_id)

    def wait_until_in_triggerer(self, services: Services) -> None:
        """Wait until a triggerer has the task's present try."""
        self.wait_until("deferred")
        self.wait_for_log(services, f"/run/{self._map_index}/{self.try_number()} (ID ")

    def wait_until_waiting(self, services: Services) -> None:
        """Wait until the task waits for its scheduled run, in a triggerer if it defers."""
        self.wait_until_scheduled()
        self.wait_for_log(services, "OPEN: waiting for a worker to take it")
        if self._dag_id.startswith("deferred"):
            self.wait_until_in_triggerer(services)

    def scheduled_run_id(self) -> str:
        """The id of the first that the task scheduled."""
        return str(self._worker.scheduled_runs(self._dataset_id)[0]["id"])

    def pid(self) -> int:
        """The process of the task's present try."""
        return int(self._rest.task(self.key)["pid"])

    def on(self, dataset_id: str) -> WorkerRunTask:
        """The same task, which runs the worker on another dataset now."""
        return WorkerRunTask(
            self._dag_id, self._dag_run_id, dataset_id, self._rest, self._worker, map_index=self._map_index
        )

    def triggerer(self) -> str:
        """The name of the triggerer in which the task waits."""
        waits_in = ""

        def known() -> bool:
            nonlocal waits_in
            job = self._rest.task(self.key).get("triggerer_job") or {}
            waits_in = str(job.get("hostname") or "")
            return waits_in in TRIGGERERS

        self._rest.wait_for("a triggerer to have the task", known, within=60)
        return waits_in

    def try_number(self) -> int:
        """How many times the task was begun."""
        return int(self._rest.task(self.key)["try_number"])

    def result(self) -> object:
        """What the task returned."""
        return self._rest.xcom(self.key)

    def mark_failed(self) -> None:
        """As a person does at Airflow's page."""
        self._rest.mark(self.key, "failed")

    def mark_dag_run_failed(self) -> None:
        """As a person does at Airflow's page."""
        self._rest.mark_dag_run(self._dag_id, self._dag_run_id, "failed")

    def clear_with_upstream(self, upstream: str) -> None:
        """Clear the task, all of its map indexes, and another one before it."""
        self._rest.clear(self._dag_id, self._dag_run_id, upstream, "run")

    def clear(self) -> None:
        """As a person does at Airflow's page."""
        task_id, map_index = self.key[2:]
        self._rest.clear(self._dag_id, self._dag_run_id, task_id if map_index < 0 else (task_id, map_index))

    def ends_well(self, run_id: str) -> None:
        """Finish the run, and see that the task returns its result and that nothing else was ever scheduled."""
        self.finish(run_id)
        self.ended_well(run_id)

    def ended_well(self, run_id: str) -> None:
        """See that the task returns the result of its finished run, and that nothing else was ever scheduled."""
        assert self.wait_until("success", "failed") == "success"
        assert self.result()["run_id"] == run_id  # type: ignore[index]
        assert self.states_of_scheduled_runs() == ["DONE"]
