from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.lab.sandbox import with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Api

KEYS = ("AKIAEXAMPLE", "the-secret")
CONFIG = {"version": "V4", "creator": "USER_PIP", "config": {"workerType": "FULL"}}


class Work:
    """A dataset that may be run on, and what a user and a worker do with it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.label = secrets.token_hex(6)
        self.dataset_id = api.new_dataset()
        api.put_datasource(self.dataset_id, **with_keys("s3://bucket/in", "INPUT", KEYS))
        api.put_datasource(self.dataset_id, **with_keys("s3://bucket/out", "LIGHTLY", KEYS))
        self.config_id = api.ok("POST", "/v1/docker/worker/config/vX", CONFIG)["id"]
        self.worker_id = self.register(f"worker {self.label}")
        self.schedule_path = f"/v1/datasets/{self.dataset_id}/docker/worker/schedule"

    def register(self, name: str) -> str:
        body = {"name": name, "workerType": "FULL", "labels": [self.label, "gpu"]}
        return str(self.api.ok("POST", "/v1/docker/worker", body)["id"])

    def schedule(self, priority: str = "MID", **more: Any) -> str:
        body = {"configId": self.config_id, "priority": priority, "runsOn": [self.label], **more}
        return str(self.api.ok("POST", self.schedule_path, body)["id"])

    def states(self, **query: Any) -> list[tuple[str, str]]:
        return [(entry["id"], entry["state"]) for entry in self.api.ok("GET", self.schedule_path, **query)]

    def offered(self, **query: Any) -> list[str]:
        found = self.api.ok("GET", "/v1/docker/worker/schedule", **{"labels": [self.label, "gpu"], **query})
        return [entry["id"] for entry in found]

    def by_worker(self, scheduled_id: str, state: str, worker_id: str | None = None) -> requests.Response:
        worker = worker_id or self.worker_id
        path = f"/v1/datasets/{self.dataset_id}/docker/worker/{worker}/schedule/{scheduled_id}"
        return self.api.send("PUT", path, {"state": state})

    def begin(self, scheduled_id: str) -> str:
        assert self.by_worker(scheduled_id, "LOCKED").ok
        body = {"dockerVersion": "2.11", "scheduledId": scheduled_id, "datasetId": self.dataset_id}
        return str(self.api.ok("POST", "/v1/docker/runs", body)["id"])

    def run_of(self, scheduled_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.api.ok("GET", f"/v1/docker/runs/schedule/{scheduled_id}")
        return run


@pytest.fixture
def work(api: Api) -> Work:
    return Work(api)


def test_a_run_from_schedule_to_end(work: Work) -> None:
    api = work.api
    scheduled_id = work.schedule()
    assert work.states() == [(scheduled_id, "OPEN")]
    assert work.offered() == [scheduled_id]
    path = f"/v1/docker/runs/schedule/{scheduled_id}"
    assert api.refused("GET", path)[:2] == (404, "DOCKER_RUN_UNKNOWN"), "until a worker took it"
    run_id = work.begin(scheduled_id)
    assert work.states() == [(scheduled_id, "LOCKED")]
    assert work.offered() == []
    run = work.run_of(scheduled_id)
    assert (run["id"], run["state"], run["configId"]) == (run_id, "STARTED", work.config_id)
    for state in ("LOADING_DATASET", "LOADING_DATASET", "EMBEDDING", "SAMPLING"):
        api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": state, "message": f"now {state}"})
        run = work.run_of(scheduled_id)
        assert (run["state"], run["message"]) == (state, f"now {state}")
    api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": "COMPLETED"})
    assert work.by_worker(scheduled_id, "DONE").ok
    assert work.states() == [], "neither open nor taken"
    assert work.states(states=["DONE", "CANCELED"]) == [(scheduled_id, "DONE")]
    assert work.states(state="DONE") == [(scheduled_id, "DONE")]
    run = work.run_of(scheduled_id)
    assert (run["state"], run["message"]) == ("COMPLETED", "now SAMPLING")
    assert [found["id"] for found in api.ok("GET", f"/v1/docker/runs/query/datasetId/{work.dataset_id}")] == [
        run_id
    ]


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CRASHED", "ABORTED"])
def test_the_end_of_a_run_is_final(work: Work, end: str) -> None:
    run_id = work.begin(work.schedule())
    path = f"/v1/docker/runs/{run_id}"
    work.api.ok("PUT", path, {"state": end})
    assert work.api.refused("PUT", path, {"state": "EMBEDDING"})[0] == 409
    assert work.api.ok("GET", path)["state"] == end


def test_a_run_never_goes_back(work: Work) -> None:
    path = f"/v1/docker/runs/{work.begin(work.schedule())}"
    work.api.ok("PUT", path, {"state": "SAMPLING", "message": "now SAMPLING"})
    status, code, error = work.api.refused("PUT", path, {"state": "EMBEDDING"})
    assert (status, code) == (409, "CONFLICT")
    assert "is at SAMPLING and cannot go back to EMBEDDING" in error
    assert work.api.ok("GET", path)["state"] == "SAMPLING"


def test_a_run_whose_worker_is_done_with_it_before_its_end_has_crashed(work: Work) -> None:
    scheduled_id = work.schedule()
    work.begin(scheduled_id)
    assert work.by_worker(scheduled_id, "DONE").ok
    run = work.run_of(scheduled_id)
    assert run["state"] == "CRASHED", "nobody will ever end it"
    assert "done with the run before it had ended" in run["message"]


def test_an_ended_run_makes_no_tag(work: Work) -> None:
    run_id = work.begin(work.schedule())
    work.api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": "CRASHED"})
    body = {"name": "initial-tag", "imgType": "full", "runId": run_id}
    path = f"/v1/datasets/{work.dataset_id}/tags"
    status, code, error = work.api.refused("POST", f"{path}/initial", body)
    assert (status, code) == (409, "CONFLICT")
    assert "has ended as CRASHED" in error
    assert work.api.ok("GET", path) == []


@pytest.mark.parametrize("end", ["FAILED", "CRASHED", "ABORTED"])
def test_what_a_run_added_goes_with_it_unless_a_tag_counts_it(work: Work, end: str) -> None:
    api, samples = work.api, f"/v1/datasets/{work.dataset_id}/samples"
    api.ok("POST", samples, {"fileName": "before.jpg"})
    run_id = work.begin(work.schedule())
    api.ok("POST", samples, {"fileName": "tagged.jpg"})
    tag = {"name": "initial-tag", "imgType": "full", "runId": run_id}
    api.ok("POST", f"/v1/datasets/{work.dataset_id}/tags/initial", tag)
    api.ok("POST", samples, {"fileName": "left.jpg"})
    api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": end})
    left = [(sample["fileName"], sample["index"]) for sample in api.ok("GET", samples)]
    assert left == [("before.jpg", 0), ("tagged.jpg", 1)]


def test_a_completed_run_keeps_what_it_added(work: Work) -> None:
    samples = f"/v1/datasets/{work.dataset_id}/samples"
    run_id = work.begin(work.schedule())
    work.api.ok("POST", samples, {"fileName": "a.jpg"})
    work.api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": "COMPLETED"})
    assert len(work.api.ok("GET", samples)) == 1


def test_what_was_in_the_dataset_before_a_run_outlives_it(work: Work) -> None:
    samples = f"/v1/datasets/{work.dataset_id}/samples"
    work.api.ok("POST", samples, {"fileName": "before.jpg"})
    run_id = work.begin(work.schedule())
    work.api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": "CRASHED"})
    assert len(work.api.ok("GET", samples)) == 1


def test_of_many_workers_one_takes_the_run(work: Work) -> None:
    scheduled_id = work.schedule()
    workers = [work.register(f"worker {work.label} {number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda worker: work.by_worker(scheduled_id, "LOCKED", worker), workers))
    assert sorted(answer.status_code for answer in answers) == [204] + [409] * 7
    winner = workers[[answer.ok for answer in answers].index(True)]
    assert work.api.ok("GET", work.schedule_path)[0]["owner"] == winner
    loser = next(worker for worker in workers if worker != winner)
    assert work.by_worker(scheduled_id, "DONE", loser).status_code == 409


def test_a_dataset_has_one_run_at_a_time(work: Work) -> None:
    first, second = work.schedule(), work.schedule()
    work.begin(first)
    assert work.offered() == []
    assert work.offered(includeUnlockableRuns="true") == [second]
    assert work.by_worker(second, "LOCKED").json()["code"] == "DOCKER_WORKER_SCHEDULE_UPDATE_FAILED"
    assert work.by_worker(first, "DONE").ok
    assert work.offered() == [second]
    assert work.by_worker(second, "LOCKED").ok


def test_the_urgent_comes_first_and_then_the_old(work: Work) -> None:
    low, mid, critical, mid2 = (work.schedule(priority) for priority in ("LOW", "MID", "CRITICAL", "MID"))
    assert work.offered() == [critical, mid, mid2, low]


def test_a_run_is_offered_to_workers_with_all_its_labels(work: Work) -> None:
    both = work.schedule(runsOn=[work.label, "gpu"])
    anywhere = work.schedule(runsOn=[])
    assert {both, anywhere} <= set(work.offered())
    assert both not in work.offered(labels=[work.label])
    assert both not in work.offered(labels=["gpu"])
    assert anywhere in work.offered(labels=["gpu"])
    mine = work.api.ok("GET", f"/v1/docker/worker/{work.worker_id}/schedule")
    assert {both, anywhere} <= {entry["id"] for entry in mine}
    work.begin(both)
    taken = work.api.ok("GET", f"/v1/docker/worker/{work.worker_id}/schedule", state="LOCKED")
    assert [entry["id"] for entry in taken] == [both]
    work.api.ok("PUT", f"{work.schedule_path}/{anywhere}")


def test_only_an_open_run_is_canceled(work: Work) -> None:
    first, second = work.schedule(), work.schedule()
    work.api.ok("PUT", f"{work.schedule_path}/{first}")
    assert work.states(states=["CANCELED"]) == [(first, "CANCELED")]
    assert work.by_worker(first, "LOCKED").status_code == 409
    work.begin(second)
    for scheduled_id in (first, second):
        refused = work.api.refused("PUT", f"{work.schedule_path}/{scheduled_id}")
        assert refused[:2] == (409, "DOCKER_WORKER_SCHEDULE_UPDATE_FAILED")
    assert work.states() == [(second, "LOCKED")]


def test_a_worker_may_give_a_run_back(work: Work) -> None:
    scheduled_id = work.schedule()
    assert work.by_worker(scheduled_id, "LOCKED").ok
    assert work.by_worker(scheduled_id, "OPEN").ok
    assert work.offered() == [scheduled_id]
    assert "owner" not in work.api.ok("GET", work.schedule_path)[0]
    work.begin(scheduled_id)
    refused = work.by_worker(scheduled_id, "OPEN")
    assert refused.status_code == 409, "it has a run, and can have only one"
    assert "has a run already" in refused.json()["error"]


def test_what_is_missing_is_said_before_a_run_is_scheduled(work: Work) -> None:
    api, body = work.api, {"configId": work.config_id, "priority": "MID"}
    unknown = {**body, "configId": "0" * 24}
    assert api.refused("POST", work.schedule_path, unknown)[:2] == (404, "DOCKER_WORKER_CONFIG_UNKNOWN")
    assert api.refused("POST", work.schedule_path, {**body, "priority": "HIGHEST"})[0] == 400
    bare = api.new_dataset()
    path = f"/v1/datasets/{bare}/docker/worker/schedule"
    assert api.refused("POST", path, body)[:2] == (400, "DATASET_DATASOURCE_UNKNOWN")
    api.put_datasource(bare, **with_keys("s3://bucket/in", "INPUT", KEYS))
    assert "LIGHTLY" in api.refused("POST", path, body)[2]
    whole = api.new_dataset()
    api.put_datasource(whole, **with_keys("s3://bucket/in", "INPUT_OUTPUT", KEYS))
    api.ok("POST", f"/v1/datasets/{whole}/docker/worker/schedule", {**body, "runsOn": [work.label]})


def test_a_scheduled_run_has_one_run_and_only_while_it_is_taken(work: Work) -> None:
    scheduled_id = work.schedule()
    body = {"dockerVersion": "2.11", "scheduledId": scheduled_id}
    assert work.api.refused("POST", "/v1/docker/runs", body)[:2] == (409, "CONFLICT")
    work.begin(scheduled_id)
    assert work.api.refused("POST", "/v1/docker/runs", body)[:2] == (409, "CONFLICT")


def test_a_log_is_read_from_a_cursor_on(work: Work) -> None:
    api = work.api
    run_id = work.begin(work.schedule())
    path = f"/v1/docker/runs/{run_id}/logs"

    def line(msg: str, **more: Any) -> dict[str, Any]:
        return {"ts": 1_700_000_000_000, "level": "INFO", "group": "worker", "msg": msg, **more}

    api.ok("PUT", path, [line("one"), line("two", state="SAMPLING", load={"cpu": 12.5, "mem": 1})])
    first = api.ok("GET", path)
    assert [(entry["msg"], entry["state"]) for entry in first["logs"]] == [
        ("one", "STARTED"),
        ("two", "SAMPLING"),
    ]
    api.ok("PUT", path, [line("three")])
    rest = api.ok("GET", path, cursor=first["cursor"])
    assert [entry["msg"] for entry in rest["logs"]] == ["three"]
    assert api.ok("GET", path, cursor=rest["cursor"]) == {"cursor": rest["cursor"], "logs": []}
    assert api.refused("PUT", path, [{**line("four"), "level": "LOUD"}])[:2] == (400, "MALFORMED_REQUEST")


def test_an_artifact_is_there_once_it_is_uploaded_and_confirmed(work: Work) -> None:
    api = work.api
    path = f"/v1/docker/runs/{work.begin(work.schedule())}/artifacts"
    made = api.ok("POST", path, {"fileName": "report.json", "type": "REPORT_V2_JSON"})
    artifact = f"{path}/{made['artifactId']}"
    missing = (404, "DOCKER_RUN_ARTIFACT_UNAVAILABLE")
    assert api.refused("GET", f"{artifact}/readurl")[:2] == missing
    assert api.refused("PUT", f"{artifact}/confirmUpload")[:2] == missing
    assert requests.put(made["signedWriteUrl"], data=b'{"a": 1}', timeout=30).ok
    api.ok("PUT", f"{artifact}/confirmUpload")
    assert requests.get(api.ok("GET", f"{artifact}/readurl"), timeout=30).json() == {"a": 1}
    again = {"fileName": "report.json", "type": "REPORT_V2_JSON"}
    assert api.refused("POST", path, again)[:2] == (409, "DOCKER_RUN_ARTIFACT_EXISTS")
    assert api.refused("GET", f"{path}/{'0' * 24}/readurl")[:2] == (404, "DOCKER_RUN_ARTIFACT_UNKNOWN")


def test_a_worker_keeps_its_id_under_its_name(work: Work) -> None:
    api = work.api
    name = f"worker {work.label}"
    body = {"name": name, "workerType": "FULL", "labels": ["other"], "dockerVersion": "9"}
    assert api.ok("POST", "/v1/docker/worker", body)["id"] == work.worker_id
    api.ok("PUT", f"/v1/docker/worker/{work.worker_id}", {"state": "IDLE"})
    worker = api.ok("GET", f"/v1/docker/worker/{work.worker_id}")
    assert (worker["name"], worker["labels"], worker["state"], worker["dockerVersion"]) == (
        name,
        ["other"],
        "IDLE",
        "9",
    )
    assert worker in api.ok("GET", "/v1/docker/worker")
    api.ok("DELETE", f"/v1/docker/worker/{work.worker_id}")
    assert api.refused("GET", f"/v1/docker/worker/{work.worker_id}")[:2] == (404, "DOCKER_WORKER_UNKNOWN")


def test_the_default_worker_is_always_the_same(api: Api) -> None:
    first, second = (api.ok("GET", "/v1/docker/worker/default") for _ in range(2))
    assert first == second
    assert first["isDefault"] is True


def test_the_run_of_a_worker_that_starts_anew_has_crashed(work: Work) -> None:
    scheduled_id = work.schedule()
    run_id = work.begin(scheduled_id)
    work.register(f"worker {work.label}")
    run = work.api.ok("GET", f"/v1/docker/runs/{run_id}")
    assert run["state"] == "CRASHED"
    assert f"worker {work.label}" in run["message"]
    assert work.states(states=["DONE"]) == [(scheduled_id, "DONE")], "the dataset is free again"


def test_a_dataset_that_is_worked_on_is_deleted_by_force_only(work: Work) -> None:
    api = work.api
    run_id = work.begin(work.schedule())
    path = f"/v1/datasets/{work.dataset_id}"
    assert api.refused("DELETE", path)[:2] == (409, "ILLEGAL_ACTION_RESOURCE_IN_USE")
    api.ok("DELETE", path, force="true")
    assert api.ok("GET", f"/v1/docker/runs/{run_id}")["datasetId"] == work.dataset_id, "the run is remembered"


def test_runs_are_listed_newest_first_and_counted(work: Work) -> None:
    api = work.api
    count = int(api.send("GET", "/v1/docker/runs/count").text)
    first = work.begin(work.schedule())
    second = Work(api)
    newest = second.begin(second.schedule())
    assert int(api.send("GET", "/v1/docker/runs/count").text) == count + 2
    assert [run["id"] for run in api.ok("GET", "/v1/docker/runs", pageSize=2)] == [newest, first]
    assert [run["id"] for run in api.ok("GET", "/v1/docker/runs", pageSize=1, pageOffset=1)] == [first]
