"""Runs on the test's platform that take the place of those that were recorded."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.integration.staged_worker import StagedWorker, platform, ready_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sandbox import Sandbox
    from tests.upgrade.recordings import Scene

LONGEST_S = 60


@dataclass(frozen=True)
class Present:
    """A scheduled run on the test's platform that takes the place of the recorded one."""

    worker: StagedWorker
    dataset_id: str
    scheduled_run_id: str

    @classmethod
    def of(cls, sandbox: Sandbox, config: dict[str, Any]) -> Present:
        """Schedule it with a configuration, by the platform's API alone."""
        worker = StagedWorker(sandbox, f"upgrade-{uuid.uuid4().hex[:8]}")
        dataset_id = ready_dataset(sandbox, f"upgrade {uuid.uuid4().hex[:12]}")
        return cls(worker, dataset_id, schedule(sandbox, dataset_id, worker.label, config))

    def in_place_of(self, recorded: Scene, run_id: str = "") -> dict[str, str]:
        """The ids to read instead of those that were recorded."""
        event = recorded.next_kwargs().get("event") or {}
        ids = {recorded["dataset_id"]: self.dataset_id, recorded["label"]: self.worker.label}
        ids |= {entry["id"]: self.scheduled_run_id for entry in recorded["schedule"]}
        return ids | ({event["run"]["id"]: run_id} if event.get("run") else {})

    def states(self) -> list[str]:
        """The states of the dataset's schedule."""
        return [entry["state"] for entry in self.worker.schedule(self.dataset_id)]

    def end(self, state: str) -> str:
        """Let the worker do the run; the run's id."""
        run_id = self.worker.take(self.dataset_id)
        self.worker.finish(self.dataset_id, run_id, state=state)
        return run_id


def config_of(recorded: Scene) -> dict[str, Any]:
    """The configuration that the earlier version stored for its run."""
    (config,) = recorded["configs"].values()
    return dict(config)


def schedule(sandbox: Sandbox, dataset_id: str, label: str, config: dict[str, Any]) -> str:
    """Schedule a run by the platform's API alone; its id."""
    config_id = platform(
        sandbox, "POST", "/v1/docker/worker/config/vX", {"version": "V4", "creator": "USER_PIP", "config": config}
    )["id"]
    body = {"configId": config_id, "priority": "HIGH", "runsOn": [label]}
    return str(platform(sandbox, "POST", f"/v1/datasets/{dataset_id}/docker/worker/schedule", body)["id"])


def event_of(trigger: Any, meanwhile: Callable[[], Any] = lambda: None) -> Any:
    """What the trigger fires, while something happens."""

    async def first() -> Any:
        async with aclosing(trigger.run()) as events:
            waiting = asyncio.ensure_future(anext(events))
            # Whatever it has to find out at its start.
            await asyncio.wait([waiting], timeout=0.3)
            await asyncio.to_thread(meanwhile)
            return (await asyncio.wait_for(waiting, LONGEST_S)).payload

    return asyncio.run(first())
