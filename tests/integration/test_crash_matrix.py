"""
At every request that the operator sends, in both modes: the answer is lost after the platform applied it, or the task's
process is killed before or after it. Then Airflow tries again. Each time there is one scheduled run, and its result.
"""

from __future__ import annotations

import os
import signal
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.airflow_run import outcome_of
from tests.integration.lossy_proxy import LossyProxy
from tests.integration.staged_worker import SIZES, StagedWorker, of_the_dataset, ready_dataset
from tests.thinning import thinned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox
    from tests.integration.task_tries import TaskTries

FAULTS = ("answer lost", "killed before", "killed after")
MOST_TRIES = 4
SAMPLE = 3
# A try is mostly a wait for answers, of the platform and of Airflow's API.
SIDE_BY_SIDE = 4


@dataclass
class Scene:
    """
    What the proxy between task and platform does.

    :param worker: The worker, which does its next step at every second look at the run.
    :param dataset_id: The dataset.
    :param fault: What happens once; empty: nothing.
    :param at: At which request, counted from 0.
    """

    worker: StagedWorker
    dataset_id: str
    fault: str = ""
    at: int = 0
    pid: Future[int] = field(default_factory=Future)
    met: str = ""
    requests: list[str] = field(default_factory=list)
    looks: int = 0
    run_id: str = ""
    trouble: list[str] = field(default_factory=list)

    def drops(self, method: str, path: str) -> bool:
        """Before the platform hears of a request."""
        if path.startswith("/v1/docker/runs/schedule/"):
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - in the proxy thread, where nobody would hear of it
                self.trouble.append(repr(error))
        self.requests.append(f"{method} {path}")
        return self.fault == "killed before" and self._strikes(method, path)

    def loses(self, method: str, path: str) -> bool:
        """After the platform answered it."""
        return self.fault in ("answer lost", "killed after") and self._strikes(method, path)

    def _strikes(self, method: str, path: str) -> bool:
        if self.met or len(self.requests) != self.at + 1:
            return False
        self.met = f"{method} {path}"
        if self.fault.startswith("killed"):
            os.kill(self.pid.result(60), signal.SIGKILL)
        return True

    def _work(self) -> None:
        self.looks += 1
        if self.looks == 2:
            self.run_id = self.worker.take(self.dataset_id)
        elif self.looks == 4:
            self.worker.finish(self.dataset_id, self.run_id)


def play(
    sandbox: Sandbox, tries: TaskTries, database: Path, worker: StagedWorker, mode: str, fault: str = "", at: int = 0
) -> tuple[Scene, int]:
    """Run the task with one fault until it succeeds, check what it came to; the scene, and how many tries it took."""
    scene = Scene(worker, ready_dataset(sandbox, f"crash {uuid.uuid4().hex[:12]}"), fault, at)
    run_id = tries.begin("worker_tries", {"dataset_id": scene.dataset_id, "label": worker.label})
    states = []
    with LossyProxy(sandbox.lightly_url, scene.loses, drops=scene.drops) as proxy:
        connection = sandbox.lightly_connection(host=proxy.url)
        while len(states) < MOST_TRIES and states[-1:] != ["success"]:
            pid = tries.start(run_id, mode, AIRFLOW_CONN_LIGHTLY_DEFAULT=connection)
            if not states:
                # It is the first try that is killed.
                scene.pid.set_result(pid)
            states.append(tries.end(pid))
    where = f"{mode}, {fault} at request {at} ({scene.met}): {states}\n{tries.log()[-6000:]}"
    assert scene.trouble == [], where
    assert states[-1] == "success", where
    entries = worker.schedule(scene.dataset_id)
    assert [entry["state"] for entry in entries] == ["DONE"], where
    result: dict[str, Any] = outcome_of(database, "worker_tries", run_id).xcoms[mode, "return_value"]
    assert result == of_the_dataset(sandbox, scene.dataset_id) | {
        "scheduled_run_id": entries[0]["id"],
        "run_id": scene.run_id,
        "tag_name": None,
        "n_selected": 0,
        "report": SIZES,
    }, where
    return scene, len(states)


def points(n_requests: int, share: str) -> list[tuple[int, str]]:
    """At which requests what happens, in the sample of the default run or in all the rest."""
    every = [pytest.param(at, fault) for at in range(n_requests) for fault in FAULTS]
    drawn = thinned(every, keep=SAMPLE, covering=lambda _, fault: fault)
    return [param.values for param in drawn if bool(param.marks) == (share == "the rest")]


@pytest.mark.parametrize(
    "share", ["a sample", pytest.param("the rest", marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])]
)
@pytest.mark.parametrize("mode", [pytest.param("waiting", marks=pytest.mark.exhaustive), "deferred"])
def test_wherever_the_task_is_cut_off_there_is_one_run_and_its_result(
    mode: str,
    share: str,
    lightly: Sandbox,
    tries: TaskTries,
    database: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker = StagedWorker(lightly, f"matrix-{mode}-{uuid.uuid4().hex[:6]}")
    undisturbed, n_tries = play(lightly, tries, database, worker, mode)
    assert n_tries == 1

    def strike(at: int, fault: str) -> None:
        scene, n_tries = play(lightly, tries, database, worker, mode, fault, at)
        assert scene.met, f"{mode}: there was no request {at}"
        expected = 2 if fault.startswith("killed") else 1
        assert n_tries == expected, f"{mode}, {fault} {scene.met}: {tries.log()[-9000:]}"

    n_requests = len(undisturbed.requests)
    assert n_requests * len(FAULTS) >= 36
    mine = points(n_requests, share)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for strikes in [pool.submit(strike, *point) for point in mine]:
            strikes.result()

    with capsys.disabled():
        print(
            f"\n{mode}: {share}, {len(mine)} points of {n_requests} requests by {len(FAULTS)} faults, one run at each"
        )
