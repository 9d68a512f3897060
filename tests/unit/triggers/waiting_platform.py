"""A platform on 127.0.0.1 with as much of runs as those who wait for them ask about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.contract.samples import documented_answer
from tests.contract.schema import assert_fits_contract
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform, Step

if TYPE_CHECKING:
    from collections.abc import Callable

DATASET, CONFIG = "a" * 24, "f" * 24
_FIRST_CREATED_MS = 1_790_000_000_000


def id_of(number: int) -> str:
    """An id of the platform."""
    return f"{number:024x}"


@dataclass
class ScheduledRun:
    """A scheduled run, and its run if it has a state."""

    number: int
    scheduled_state: str | None = "OPEN"
    run_state: str = ""
    is_listed: bool = True
    message: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return id_of(self.number)

    @property
    def run_id(self) -> str:
        return id_of(self.number + 1_000_000)


class WaitingPlatform(ScriptedPlatform):
    """Answers from its runs; ``fails`` are answers that come first, to whatever is asked."""

    token = "CANARY-token"

    def __init__(self) -> None:
        super().__init__([Answer(500)])
        self.runs: dict[str, ScheduledRun] = {}
        self.fails: list[Step] = []
        # The only token that is right; empty: any.
        self.right_token = ""
        self._events: list[tuple[str, int, Callable[[], object]]] = []

    def add(self, number: int, **state: Any) -> ScheduledRun:
        run = ScheduledRun(number, **state)
        self.runs[run.id] = run
        return run

    def asked(self, part: str = "/v1/") -> int:
        return len([r for r in self.received if part in r.path])

    def after(self, requests: tuple[str, int], event: Callable[[], object]) -> None:
        """Let this happen as soon as so many requests with that part in their path have been answered."""
        self._events.append((*requests, event))

    def _next(self, received: Any) -> Step:
        with self._lock:
            for part, count, event in self._events:
                if self.asked(part) >= count:
                    event()
            self.received.append(received)
            assert_fits_contract(received.method, received.url, received.body)
            if self.right_token and dict(received.query)["token"] != self.right_token:
                return Answer(401, {"code": "UNAUTHORIZED", "error": "the token is not known"})
            if self.fails:
                return self.fails.pop(0)
            return self._step_for(received.path.split("/")[2:])

    def _step_for(self, path: list[str]) -> Step:
        match path:
            case ["docker", "worker", "schedule"]:
                return self._entries([r for r in self.runs.values() if r.scheduled_state == "OPEN" and r.is_listed])
            case ["docker", "runs"]:
                listed = [self._run(r) for r in self.runs.values() if r.run_state and r.is_listed]
                return Answer(200, documented_answer("get_docker_runs", *listed))
            case ["docker", "runs", "schedule", scheduled_run_id]:
                run = self.runs.get(scheduled_run_id)
                if run is None or not run.run_state:
                    return Answer(404, {"code": "DOCKER_RUN_UNKNOWN", "error": "not picked up yet"})
                return Answer(200, documented_answer("get_docker_run_by_scheduled_id", **self._run(run)))
            case ["docker", "runs", run_id, "logs"]:
                run = next(r for r in self.runs.values() if r.run_id == run_id)
                lines = [{"ts": 1, "level": "INFO", "state": run.run_state, "msg": line} for line in run.log]
                cursor = int(dict(self.received[-1].query)["cursor"])
                answer = documented_answer("get_docker_run_logs_by_id") | {"logs": lines[cursor:]}
                return Answer(200, answer | {"cursor": len(lines)})
            case ["datasets", _, "docker", "worker", "schedule"]:
                return self._entries([r for r in self.runs.values() if r.scheduled_state])
        return Answer(404, {"code": "NOT_FOUND", "error": "no route"})

    def _entries(self, runs: list[ScheduledRun]) -> Answer:
        items = [{"id": r.id, "datasetId": DATASET, "configId": CONFIG, "state": r.scheduled_state} for r in runs]
        return Answer(200, documented_answer("get_docker_runs_scheduled_by_dataset_id", *items))

    def _run(self, run: ScheduledRun) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": run.run_id, "scheduledId": run.id, "state": run.run_state, "datasetId": DATASET}
        shown["createdAt"] = _FIRST_CREATED_MS + run.number
        return shown | ({"message": run.message} if run.message else {})
