"""A run from its scheduling to its result, against a platform that follows a script."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from lightly_provider.api.models.run import Observation, Run
from lightly_provider.exceptions import (
    LightlyAuthenticationError,
    LightlyConnectionError,
    LightlyError,
    LightlyForbiddenError,
    LightlyNotFoundError,
    LightlyRunAbortedError,
    LightlyRunCanceledError,
    LightlyRunCrashedError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunTimeoutError,
    LightlyServerError,
)
from lightly_provider.hooks.verbs import runs
from lightly_provider.operators import deadline, worker
from lightly_provider.operators.cancellation import CancelLightlyRunOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.runs import follower, task_state
from lightly_provider.runs.state import decide
from tests.contract.example_calls import ARTIFACT, CONFIG, RUN, SCHEDULED_RUN, TAG
from tests.contract.samples import documented_answer
from tests.contract.schema import assert_fits_contract
from tests.final_errors import final
from tests.unit.api.scripted_platform import Answer, NoAnswer, ScriptedPlatform, Step
from tests.unit.operators.example_operators import DATASET, SELECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RUN_PATH = f"/v1/docker/runs/schedule/{SCHEDULED_RUN}"
LOGS_PATH = f"/v1/docker/runs/{RUN}/logs"
SCHEDULE_PATH = f"/v1/datasets/{DATASET}/docker/worker/schedule"
TAGS_PATH = f"/v1/docker/runs/{RUN}/tags"
READ_URL_PATH = f"/v1/docker/runs/{RUN}/artifacts/{ARTIFACT}/readurl"
CANCEL = ("PUT", f"{SCHEDULE_PATH}/{SCHEDULED_RUN}")

NO_RUN = Answer(404, {"code": "DOCKER_RUN_UNKNOWN", "error": "not picked up yet"})


class RoutedPlatform(ScriptedPlatform):
    """Follows a script per path; the last step of each is repeated."""

    def __init__(self, routes: Mapping[tuple[str, str], list[Step]]) -> None:
        super().__init__([Answer(500)])
        self.routes = {key: list(steps) for key, steps in routes.items()}
        # The only token that is right; empty: any.
        self.right_token = ""

    def _next(self, received: Any) -> Step:
        with self._lock:
            self.received.append(received)
            if self.right_token and dict(received.query)["token"] != self.right_token:
                return Answer(401, {"code": "UNAUTHORIZED", "error": "the token is not known"})
            steps = self.routes.get((received.method, received.path), [Answer(404, {"error": "no route"})])
            return steps.pop(0) if len(steps) > 1 else steps[0]

    def asked(self, method: str, path: str) -> list[Any]:
        return [r for r in self.received if (r.method, r.path) == (method, path)]


def created(id_: str) -> Answer:
    return Answer(201, documented_answer("create_dataset", id=id_))


def run(state: str, **changes: Any) -> Answer:
    answer = documented_answer("get_docker_run_by_scheduled_id", id=RUN, **changes)
    return Answer(200, answer | {"state": state})


def scheduled(*items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_docker_runs_scheduled_by_dataset_id", *items))


def entry(state: str) -> Answer:
    return scheduled({"id": SCHEDULED_RUN, "configId": CONFIG, "state": state})


def logs(cursor: int | None, *lines: str) -> Answer:
    answer = documented_answer("get_docker_run_logs_by_id")
    answer["logs"] = [{"ts": 1, "level": "INFO", "state": "EMBEDDING", "msg": line} for line in lines]
    return Answer(200, answer if cursor is None else answer | {"cursor": cursor})


def tags(*items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_docker_run_tags", *items))


DATASET_PATH = f"/v1/datasets/{DATASET}"
SOURCES_PATH = f"{DATASET_PATH}/datasource/all"
WORKERS_PATH = "/v1/docker/worker"


def dataset(n_samples: int = 0) -> Answer:
    return Answer(200, documented_answer("get_dataset_by_id", id=DATASET, type="Images", nSamples=n_samples))


def sources(*purposes: str) -> Answer:
    items = [{"purpose": purpose, "type": "S3", "fullPath": "s3://bucket/"} for purpose in purposes]
    return Answer(200, documented_answer("get_datasources_by_dataset_id", *items))


def workers(*items: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("get_docker_worker_registry_entries", *items))


# What is asked before a run is scheduled.
CHECKS = [("GET", DATASET_PATH), ("GET", SOURCES_PATH), ("GET", WORKERS_PATH)]

# What is asked for the result.
OF_THE_RESULT = [("GET", DATASET_PATH), ("GET", SOURCES_PATH)]
OF_THE_DATASET = {
    "dataset_id": DATASET,
    "dataset_name": "my name",
    "dataset_url": f"https://app.lightly.ai/dataset/{DATASET}",
    "run_url": "https://app.lightly.ai/compute/runs",
    "input_path": "s3://bucket/",
    "output_path": "s3://bucket/",
}

BASE: dict[tuple[str, str], list[Step]] = {
    ("GET", DATASET_PATH): [dataset()],
    ("GET", SOURCES_PATH): [sources("INPUT_OUTPUT")],
    ("GET", WORKERS_PATH): [workers({"state": "IDLE", "labels": ["gpu"]})],
    ("POST", "/v1/docker/worker/config/vX"): [created(CONFIG)],
    ("POST", SCHEDULE_PATH): [created(SCHEDULED_RUN)],
    ("GET", LOGS_PATH): [logs(0)],
    ("GET", TAGS_PATH): [tags({"id": TAG, "datasetId": DATASET, "name": "a tag", "bitMaskData": "0xff"})],
}


class Time:
    """A clock that goes on by the pauses which are taken, so that nobody waits."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return sum(self.pauses)

    def time(self) -> float:
        return 1_800_000_000.0 + sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(worker, "time", time)
    monkeypatch.setattr(follower, "time", time)
    # A kill is tried for some seconds where the platform fails; here once.
    monkeypatch.setattr(runs, "LONGEST_CANCEL", 0.0)
    return time


@pytest.fixture
def routed(
    platform: Callable[..., ScriptedPlatform], monkeypatch: pytest.MonkeyPatch, clock: Time
) -> Callable[..., RoutedPlatform]:
    """A platform on which a run can be scheduled; what is given comes on top."""
    import json

    started: list[RoutedPlatform] = []
    platform(Answer())  # sets up what all platforms here need

    def start(routes: Mapping[tuple[str, str], list[Step]]) -> RoutedPlatform:
        own = RoutedPlatform({**BASE, **routes})
        started.append(own)
        own.__enter__()
        connection = {"conn_type": "lightly", "host": own.address, "password": "a-token-of-the-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        return own

    yield start  # type: ignore[misc]
    for own in started:
        own.__exit__()
        for received in own.received:
            if received.path.startswith("/v1/"):
                assert_fits_contract(received.method, received.url, received.body)


class PlainlyLogged(RunLightlyWorkerOperator):
    """Airflow 3 logs through structlog, past what pytest captures."""

    log = logging.getLogger("run")


def operator(**arguments: Any) -> RunLightlyWorkerOperator:
    return PlainlyLogged(task_id="a_task", **{"dataset_id": DATASET, "poll_interval": 10} | arguments)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    reported = [record.getMessage() for record in caplog.records if record.name == "run"]
    # Airflow's own remark on how it is tested.
    return [line for line in reported if "outside" not in line]


def test_a_run_is_followed_to_its_result(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = {"id": ARTIFACT, "type": "REPORT_V2_JSON", "fileName": "report_v2.json"}
    own = routed(
        {
            ("GET", RUN_PATH): [
                NO_RUN,
                NO_RUN,
                run("EMBEDDING"),
                run("EMBEDDING"),
                run("SINCE_INVENTED"),
                run("COMPLETED", artifacts=[artifact]),
            ],
            ("GET", SCHEDULE_PATH): [entry("OPEN"), entry("LOCKED")],
            ("GET", LOGS_PATH): [logs(2, "one", "two"), logs(2), logs(3, "three"), logs(4, "four")],
        }
    )
    sizes = {"nInput": 10, "nSelected": 8}
    own.routes["GET", READ_URL_PATH] = [Answer(200, f"{own.address}/report")]
    own.routes["GET", "/report"] = [
        Answer(200, {"generalInformation": {"datasetInformation": {"datasetSizes": sizes}}})
    ]

    with caplog.at_level(logging.INFO):
        result = operator(
            selection_config=SELECTION, worker_config={"use_datapool": True}, runs_on=["gpu"], priority="HIGH"
        ).execute(context)  # type: ignore[arg-type]

    assert result == OF_THE_DATASET | {
        "scheduled_run_id": SCHEDULED_RUN,
        "run_id": RUN,
        "tag_name": "a tag",
        "n_selected": 8,
        "report": sizes,
    }
    assert context["ti"].xcoms == result | {
        "lightly_dataset_url": f"https://app.lightly.ai/dataset/{DATASET}",
        "lightly_runs_url": "https://app.lightly.ai/compute/runs",
    }
    (config,) = own.asked("POST", "/v1/docker/worker/config/vX")
    assert config.json["config"]["docker"] == {"useDatapool": True}
    assert config.json["config"]["selection"]["nSamples"] == 10
    (schedule,) = own.asked("POST", SCHEDULE_PATH)
    assert (schedule.json["priority"], schedule.json["runsOn"]) == ("HIGH", ["gpu"])
    assert [dict(r.query)["cursor"] for r in own.asked("GET", LOGS_PATH)] == ["0", "2", "2", "3"]
    reported = lines(caplog)
    assert [line for line in reported if line.startswith("[worker]")] == [
        f"[worker] INFO EMBEDDING {word}" for word in ("one", "two", "three", "four")
    ]
    assert [
        line.partition(": ")[2]
        for line in reported
        if line.startswith((f"Scheduled run {SCHEDULED_RUN}: ", f"Run {RUN}: "))
    ] == [
        "OPEN: waiting for a worker to take it",
        "LOCKED: a worker took it, the run is about to appear",
        decide(Observation(run=Run(id=RUN, state="EMBEDDING"))).status,
        "SINCE_INVENTED",
        "COMPLETED",
    ]
    assert 5 * 9 <= sum(clock.pauses) <= 5 * 11
    assert max(clock.pauses) <= 1, "a kill is noticed within a second"


def test_the_log_of_a_run_has_each_state_once_and_each_line_at_its_level(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    levels = ("INFO", "WARNING", "ERROR")
    answer = documented_answer("get_docker_run_logs_by_id")
    answer["logs"] = [{"ts": 1, "level": level, "state": "EMBEDDING", "msg": "a line"} for level in levels]
    routed(
        {
            ("GET", RUN_PATH): [
                *[NO_RUN] * 3,
                *[run("EMBEDDING", message=f"{percent} %") for percent in (10, 20, 30)],
                *[run("SAMPLING")] * 3,
                run("COMPLETED", message="done"),
            ],
            ("GET", SCHEDULE_PATH): [scheduled(), *[entry("OPEN")] * 3],
            ("GET", LOGS_PATH): [Answer(200, answer | {"cursor": 3}), logs(3)],
        }
    )
    with caplog.at_level(logging.DEBUG, logger="run"):
        operator().execute(context)  # type: ignore[arg-type]

    records = [record for record in caplog.records if record.name == "run" and "outside" not in record.getMessage()]
    loud = [(record.levelname, record.getMessage()) for record in records if record.levelno >= logging.WARNING]
    assert loud == [(level, f"[worker] {level} EMBEDDING a line") for level in ("WARNING", "ERROR")]
    of_run = (f"Scheduled run {SCHEDULED_RUN}: ", f"Run {RUN}: ")
    assert [line.partition(": ")[2] for line in lines(caplog) if line.startswith(of_run)] == [
        "not in the schedule yet",
        "OPEN: waiting for a worker to take it",
        "EMBEDDING (10 of 22 states): 10 %",
        "SAMPLING (14 of 22 states)",
        "COMPLETED: done",
    ]


def test_without_waiting_only_the_scheduled_run_is_told(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], clock: Time
) -> None:
    own = routed({})
    result = operator(wait_for_completion=False).execute(context)  # type: ignore[arg-type]
    nothing_yet = dict.fromkeys(("run_id", "tag_name", "n_selected", "report"))
    assert result == OF_THE_DATASET | nothing_yet | {"scheduled_run_id": SCHEDULED_RUN}
    assert [(r.method, r.path) for r in own.received] == [
        *CHECKS,
        ("POST", "/v1/docker/worker/config/vX"),
        ("POST", SCHEDULE_PATH),
        *OF_THE_RESULT,
    ]
    assert clock.pauses == []


def test_a_run_that_made_no_tag_selected_nothing(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any]
) -> None:
    routed({("GET", RUN_PATH): [run("COMPLETED")], ("GET", TAGS_PATH): [tags({"datasetId": "0" * 24})]})
    result = operator().execute(context)  # type: ignore[arg-type]
    assert (result["tag_name"], result["n_selected"], result["report"]) == (None, 0, None)


@pytest.mark.parametrize(
    ("name", "returned"),
    [
        ("nul \0 byte", r"nul \x00 byte"),
        ("lone \ud800", r"lone \ud800"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("of a-token-of-the-tests", "of ***"),
    ],
)
def test_a_tag_name_that_xcom_cannot_hold_does_not_lose_the_result(
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    name: str,
    returned: str,
) -> None:
    answer = documented_answer("get_docker_run_tags", {"datasetId": DATASET, "name": "a tag", "bitMaskData": "0xff"})
    answer[0]["name"] = name
    routed({("GET", RUN_PATH): [run("COMPLETED")], ("GET", TAGS_PATH): [Answer(200, answer)]})
    with caplog.at_level(logging.INFO):
        result = operator().execute(context)  # type: ignore[arg-type]
    assert (result["tag_name"], result["n_selected"]) == (returned, 8)
    assert all(line.isprintable() for line in lines(caplog))


@pytest.mark.parametrize(
    ("state", "error"),
    [("FAILED", LightlyRunFailedError), ("CRASHED", LightlyRunCrashedError), ("ABORTED", LightlyRunAbortedError)],
)
@pytest.mark.parametrize(
    ("changes", "reported"), [({"message": "no images found"}, "no images found"), ({}, "it left no message")]
)
def test_a_run_that_failed_fails_the_task_with_its_own_message(
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    state: str,
    error: type[LightlyRunFailedError],
    changes: dict[str, str],
    reported: str,
) -> None:
    routed({("GET", RUN_PATH): [run("STARTED"), run(state, **changes)]})
    with pytest.raises(error) as failed:
        operator().execute(context)  # type: ignore[arg-type]
    assert type(failed.value) is error
    cause, *next_steps, dataset, page, ids, run_id = str(failed.value).splitlines()
    assert cause == f"The run ended as {state}: {reported}."
    assert bool(next_steps) is (state == "CRASHED")
    assert dataset == "Dataset: 'my name'"
    assert page.startswith("Its log and report: https://")
    assert (ids, run_id) == (f"Ids: dataset {DATASET}, scheduled run {SCHEDULED_RUN}, run", f"  {RUN}")
    assert (failed.value.scheduled_run_id, failed.value.run_id) == (SCHEDULED_RUN, RUN)


@pytest.mark.parametrize(
    "in_schedule", [[entry("OPEN"), entry("CANCELED")], [scheduled()], [entry("OPEN"), scheduled()]]
)
def test_a_canceled_run_fails_the_task(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], in_schedule: list[Step]
) -> None:
    routed({("GET", RUN_PATH): [NO_RUN], ("GET", SCHEDULE_PATH): in_schedule})
    with pytest.raises(LightlyRunCanceledError, match="Clear the task to schedule a new one") as canceled:
        operator().execute(context)  # type: ignore[arg-type]
    assert (canceled.value.scheduled_run_id, canceled.value.run_id) == (SCHEDULED_RUN, None)


def test_one_absence_from_the_schedule_is_no_cancelation(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any]
) -> None:
    routed(
        {
            ("GET", RUN_PATH): [NO_RUN, NO_RUN, NO_RUN, NO_RUN, run("COMPLETED")],
            ("GET", SCHEDULE_PATH): [scheduled(), entry("OPEN"), scheduled(), entry("LOCKED")],
        }
    )
    assert operator().execute(context)["run_id"] == RUN  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", [NoAnswer(), Answer(503), Answer(200, b"<html>"), Answer(429)])
def test_polls_that_fail_are_not_a_run_that_failed(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], failure: Step, caplog: pytest.LogCaptureFixture
) -> None:
    # Each poll sends up to six requests.
    nine_polls = [failure] * 54
    routed({("GET", RUN_PATH): [*nine_polls, run("EMBEDDING"), *nine_polls, run("COMPLETED")]})
    with caplog.at_level(logging.WARNING):
        assert operator().execute(context)["run_id"] == RUN  # type: ignore[arg-type]
    assert [line.split(",")[0] for line in lines(caplog)] == [f"Poll failed ({n} in a row)" for n in range(1, 10)] * 2


def test_ten_failed_polls_in_a_row_end_the_task(routed: Callable[..., RoutedPlatform], context: dict[str, Any]) -> None:
    own = routed({("GET", RUN_PATH): [Answer(503)]})
    with pytest.raises(LightlyServerError):
        operator().execute(context)  # type: ignore[arg-type]
    assert len(own.asked("GET", RUN_PATH)) == 60
    assert not own.asked(*CANCEL), "the run goes on"


def test_a_refusal_ends_the_task_at_once(routed: Callable[..., RoutedPlatform], context: dict[str, Any]) -> None:
    own = routed({("GET", RUN_PATH): [Answer(403, {"code": "FORBIDDEN", "error": "no"})]})
    # Below Airflow 3.3 it is the cause of an error that Airflow does not retry.
    with pytest.raises((LightlyForbiddenError, AirflowFailException), match="HTTP 403 FORBIDDEN"):
        operator().execute(context)  # type: ignore[arg-type]
    assert len(own.asked("GET", RUN_PATH)) == 1


@pytest.mark.parametrize("failure", [Answer(403), Answer(404), Answer(503), Answer(200, {"logs": "none"}), NoAnswer()])
def test_a_log_that_cannot_be_read_is_no_reason_to_leave_the_run(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], failure: Step, caplog: pytest.LogCaptureFixture
) -> None:
    states = [run("EMBEDDING")] * 15
    routed({("GET", RUN_PATH): [*states, run("COMPLETED")], ("GET", LOGS_PATH): [failure]})
    with caplog.at_level(logging.WARNING):
        assert operator().execute(context)["run_id"] == RUN  # type: ignore[arg-type]
    assert any(line.startswith("The run's log could not be read: ") for line in lines(caplog))


def test_an_answer_without_a_cursor_does_not_tell_the_whole_log_again(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any]
) -> None:
    own = routed(
        {
            ("GET", RUN_PATH): [run("EMBEDDING"), run("EMBEDDING"), run("COMPLETED")],
            ("GET", LOGS_PATH): [logs(5, "a line"), logs(None)],
        }
    )
    operator().execute(context)  # type: ignore[arg-type]
    assert [dict(r.query)["cursor"] for r in own.asked("GET", LOGS_PATH)] == ["0", "5", "5"]


@pytest.mark.parametrize("failure", [Answer(403), Answer(200, "http://127.0.0.1:9/x"), Answer(200, {}), Answer(503)])
def test_a_report_that_cannot_be_read_is_none(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], failure: Step
) -> None:
    artifact = {"id": ARTIFACT, "type": "REPORT_V2_JSON", "fileName": "report_v2.json"}
    routed({("GET", RUN_PATH): [run("COMPLETED", artifacts=[artifact])], ("GET", READ_URL_PATH): [failure]})
    result = operator().execute(context)  # type: ignore[arg-type]
    assert (result["n_selected"], result["report"]) == (8, None)


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "polls"), [(25, 4), (5, 2), (100, 11)])
def test_a_run_is_waited_for_until_the_timeout_and_then_canceled(
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    timeout: float,
    polls: int,
) -> None:
    monkeypatch.setattr(worker.random, "uniform", lambda *_: 1.0)
    in_schedule = [entry("OPEN")] * polls + [entry("CANCELED")]
    own = routed({("GET", RUN_PATH): [NO_RUN], ("GET", SCHEDULE_PATH): in_schedule, CANCEL: [Answer(200)]})
    with pytest.raises(LightlyRunTimeoutError) as over:
        operator(timeout=timeout).execute(context)  # type: ignore[arg-type]
    assert sum(clock.pauses) == pytest.approx(timeout)
    assert len(own.asked("GET", RUN_PATH)) == polls
    assert len(own.asked(*CANCEL)) == 1
    text = str(over.value)
    assert f"did not end within {timeout} s (last status: OPEN: waiting for a worker to take it)" in text
    assert f"Scheduled run {SCHEDULED_RUN} was canceled before a worker took it." in text


def test_a_run_that_a_worker_took_goes_on_after_the_timeout_and_that_is_said(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any]
) -> None:
    refused = Answer(400, {"code": "DOCKER_WORKER_SCHEDULE_UPDATE_FAILED", "error": "not OPEN"})
    own = routed({("GET", RUN_PATH): [run("TRAINING")], CANCEL: [refused], ("GET", SCHEDULE_PATH): [entry("LOCKED")]})
    with pytest.raises(
        LightlyRunTimeoutError,
        match=r"a worker took it \(LOCKED\),\s+and it continues: the platform documents no way to stop it.\sSee https",
    ):
        operator(timeout=30).execute(context)  # type: ignore[arg-type]
    assert len(own.asked(*CANCEL)) == 1


def test_a_run_that_ends_in_the_last_moment_is_not_timed_out(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any]
) -> None:
    own = routed({("GET", RUN_PATH): [run("TRAINING"), run("COMPLETED")]})
    assert operator(timeout=5).execute(context)["run_id"] == RUN  # type: ignore[arg-type]
    assert not own.asked(*CANCEL)


def test_a_far_platform_is_not_asked_more_often_than_it_likes(
    platform: Callable[..., ScriptedPlatform],
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import json

    own = routed({("GET", RUN_PATH): [run("STARTED"), run("COMPLETED")]})
    # The platform on this machine stands behind a proxy here, and so is a far one.
    connection = {
        "conn_type": "lightly",
        "host": "http://api.test",
        "password": "a-token-of-the-tests",
        "extra": {"proxies": {"http": own.address}},
    }
    own.routes = {(m, f"http://api.test{p}"): s for (m, p), s in own.routes.items()} | own.routes
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
    with caplog.at_level(logging.WARNING):
        operator(poll_interval=10).execute(context)  # type: ignore[arg-type]
    assert 27 <= sum(clock.pauses) <= 33
    assert any(
        "poll_interval is 10 s; the platform limits the rate of requests, so 30 s are used" in line
        for line in lines(caplog)
    )


LAST_LOOKS: list[Step] = [
    Answer(503),
    Answer(429),
    Answer(401, {"code": "UNAUTHORIZED", "error": "no"}),
    Answer(403, {"code": "FORBIDDEN", "error": "no"}),
    Answer(403, b"<html>"),
    Answer(404, b"<html>"),
    Answer(404, {"code": "DATASET_UNKNOWN", "error": "no"}),
    Answer(200, b"<html>"),
    NoAnswer(),
]


def run_until_the_deadline(context: Any, clock: Time, *, deferrable: bool) -> None:
    made = operator(timeout=5, deferrable=deferrable)
    try:
        made.execute(context)
    except TaskDeferred as deferred:
        # Instead of a triggerer: the trigger's own event when its time is up.
        trigger: Any = deferred.trigger
        clock.sleep(5)
        event = {"step": "timed_out", "status": trigger.status, "scheduled_run_id": SCHEDULED_RUN, "run": None}
        event |= {"log_cursor": trigger.log_cursor, "deadline": trigger.deadline, "error": None}
        operator(timeout=5, deferrable=True).execute_complete(context, event)


@pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])
@pytest.mark.parametrize("failure", LAST_LOOKS)
def test_at_the_deadline_the_run_is_canceled_however_the_last_look_fails(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], clock: Time, failure: Step, deferrable: bool
) -> None:
    own = routed({("GET", RUN_PATH): [run("TRAINING"), failure], ("GET", SCHEDULE_PATH): [failure], CANCEL: [failure]})
    with pytest.raises(LightlyRunTimeoutError, match=r"did not end within 5 s \(last status: TRAINING") as over:
        run_until_the_deadline(context, clock, deferrable=deferrable)
    assert "could not be canceled" in str(over.value)
    assert own.asked(*CANCEL)


def rotated(own: RoutedPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the platform takes only the new token, and the Airflow connection has it."""
    import json

    connection = {"conn_type": "lightly", "host": own.address, "password": "the-new-token"}
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
    own.right_token = "the-new-token"


def test_a_token_that_is_rotated_during_the_wait_is_read_again(
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = routed({("GET", RUN_PATH): [run("TRAINING"), run("COMPLETED")]})
    sleep = clock.sleep

    def rotating(seconds: float) -> None:
        rotated(own, monkeypatch)
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", rotating)
    with caplog.at_level(logging.WARNING):
        assert operator().execute(context)["run_id"] == RUN  # type: ignore[arg-type]
    assert [line for line in lines(caplog) if "Poll failed" in line] == []


def test_a_token_that_is_rotated_before_the_kill_is_read_again(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = routed({CANCEL: [Answer(200)], ("GET", SCHEDULE_PATH): [entry("CANCELED")]})
    made = operator(wait_for_completion=False)
    made.execute(context)  # type: ignore[arg-type]
    rotated(own, monkeypatch)
    made.on_kill()
    assert [dict(r.query)["token"] for r in own.asked(*CANCEL)][-1] == "the-new-token"
    with pytest.raises(LightlyRunCanceledError):
        made._stop_if_killed(SCHEDULED_RUN)


@pytest.mark.parametrize(
    "arguments", [{"timeout": 60, "pickup_timeout": 61}, {"timeout": timedelta(hours=1), "pickup_timeout": 3601.0}]
)
def test_a_pickup_timeout_that_is_longer_than_the_timeout_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"^pickup_timeout is .*, longer than timeout, which is .*; give a shorter one"
    ):
        operator(**arguments)


# --- kill ---------------------------------------------------------------------------------------------------------


def test_a_killed_task_cancels_its_run(routed: Callable[..., RoutedPlatform], context: dict[str, Any]) -> None:
    own = routed({CANCEL: [Answer(200)], ("GET", SCHEDULE_PATH): [entry("CANCELED")]})
    made = operator(wait_for_completion=False)
    made.execute(context)  # type: ignore[arg-type]
    made.on_kill()
    assert len(own.asked(*CANCEL)) == 1


def test_a_kill_whose_answer_was_lost_is_seen_to_have_worked(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    routed({CANCEL: [NoAnswer()], ("GET", SCHEDULE_PATH): [entry("CANCELED")]})
    made = operator(wait_for_completion=False)
    made.execute(context)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO):
        made.on_kill()
    assert lines(caplog)[-1] == f"Scheduled run {SCHEDULED_RUN} was canceled before a worker took it."


def test_a_killed_task_that_must_leave_its_run_alone_does(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any]
) -> None:
    own = routed({CANCEL: [Answer(200)]})
    made = operator(wait_for_completion=False, cancel_on_kill=False)
    made.execute(context)  # type: ignore[arg-type]
    made.on_kill()
    assert not own.asked(*CANCEL)


def test_a_run_whose_time_is_up_is_canceled_though_the_task_has_tries_left(
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = routed({CANCEL: [Answer(200)], ("GET", SCHEDULE_PATH): [entry("OPEN"), entry("CANCELED")]})
    context["ti"].max_tries = 1
    made = operator()

    def interrupted(_: float) -> None:
        # What Airflow's alarm does at execution_timeout; then it calls on_kill.
        raise AirflowTaskTimeout

    monkeypatch.setattr(clock, "sleep", interrupted)
    # Whatever Airflow's own answer would be, it is not asked: a next try shall not wait for a run without end.
    monkeypatch.setattr(task_state, "reason_for_next_try", lambda _: pytest.fail("asked"))
    as_airflow_ends_it(made, lambda: made.execute(context))  # type: ignore[arg-type]
    assert len(own.asked(*CANCEL)) == 1


def as_airflow_ends_it(made: RunLightlyWorkerOperator, method: Callable[[], object]) -> None:
    """As all versions of Airflow do at ``execution_timeout``."""
    try:
        method()
    except AirflowTaskTimeout:
        made.on_kill()
    else:
        pytest.fail("it did not end so")


def test_a_task_that_airflow_2_resumes_too_late_cancels_its_run(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = routed({CANCEL: [Answer(200)], ("GET", SCHEDULE_PATH): [entry("CANCELED")]})
    operator(wait_for_completion=False).execute(context)  # type: ignore[arg-type]
    monkeypatch.setattr(task_state, "reason_for_next_try", lambda _: pytest.fail("asked"))

    def fail_fast() -> None:
        raise AirflowTaskTimeout

    first = operator(deferrable=True)
    first.pre_execute(context)  # type: ignore[arg-type]
    as_airflow_ends_it(first, fail_fast)
    assert not own.asked(*CANCEL), "a task that was not deferred has no run yet"

    context["ti"].next_method = "execute_complete"
    resumed = operator(deferrable=True)
    resumed.pre_execute(context)  # type: ignore[arg-type]
    as_airflow_ends_it(resumed, fail_fast)
    assert len(own.asked(*CANCEL)) == 1


def test_on_airflow_2_the_trigger_fires_before_airflow_ends_the_task(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed({("GET", RUN_PATH): [run("TRAINING")]})
    monkeypatch.setattr(deadline, "AIRFLOW_V_3_0_PLUS", False)
    context["ti"].start_date = datetime.fromtimestamp(clock.time() - 600, UTC)
    with pytest.raises(TaskDeferred) as deferred:
        operator(deferrable=True, execution_timeout=timedelta(hours=1)).execute(context)  # type: ignore[arg-type]
    assert deferred.value.trigger.serialize()[1]["deadline"] == clock.time() + 3600 - 600 - 60


# As airflow 3.3.2 and 2.11.2 write them.
TIMEOUTS = ("Trigger timeout", "Trigger/execution timeout")


@pytest.mark.parametrize(
    ("error", "reason", "cancels"),
    [
        *((error, "it has tries left", True) for error in TIMEOUTS),
        ("Trigger failure", "it has tries left", False),
        ("Trigger failure", "", True),
    ],
)
def test_a_wait_that_airflow_ends_itself_cancels_the_run_unless_the_next_try_needs_it(
    routed: Callable[..., RoutedPlatform],
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    reason: str,
    cancels: bool,
) -> None:
    own = routed({CANCEL: [Answer(200)], ("GET", SCHEDULE_PATH): [entry("CANCELED")]})
    operator(wait_for_completion=False).execute(context)  # type: ignore[arg-type]
    monkeypatch.setattr(task_state, "reason_for_next_try", lambda _: reason)
    with pytest.raises(AirflowException, match=error):
        operator(deferrable=True).resume_execution("__fail__", {"error": error}, context)  # type: ignore[arg-type]
    assert len(own.asked(*CANCEL)) == cancels


def test_a_wait_that_airflow_ends_itself_ends_so_though_the_run_is_not_known(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = routed({})

    def gone(**_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(context["ti"], "xcom_pull", gone)
    with pytest.raises(AirflowException, match="Trigger timeout"):
        operator(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, context)  # type: ignore[arg-type]
    assert own.received == []


def test_a_task_that_is_killed_before_it_scheduled_anything_asks_nothing(routed: Callable[..., RoutedPlatform]) -> None:
    own = routed({})
    operator().on_kill()
    assert own.received == []


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_task_that_is_killed_before_it_scheduled_anything_schedules_nothing(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    own = routed({})
    # Airflow 3 lets the task continue after on_kill.
    made = operator(reset_processed_until="2026-01-01")
    if when == "before":
        made.on_kill()
    reset = made.on_kill if when == "during" else lambda: pytest.fail("it was reset")
    monkeypatch.setattr(made, "_reset_processed_until", lambda _: reset())
    with pytest.raises(LightlyError, match=r"^The task was killed; nothing was scheduled\.$"):
        made.execute(context)  # type: ignore[arg-type]
    assert own.asked("GET", DATASET_PATH)
    assert not own.asked("POST", SCHEDULE_PATH)


@pytest.mark.parametrize("failure", [Answer(400), Answer(404), Answer(503), NoAnswer()])
def test_a_kill_never_raises_and_says_that_the_run_may_go_on(
    routed: Callable[..., RoutedPlatform], context: dict[str, Any], failure: Step, caplog: pytest.LogCaptureFixture
) -> None:
    routed({CANCEL: [failure], ("GET", SCHEDULE_PATH): [entry("OPEN")]})
    made = operator(wait_for_completion=False)
    made.execute(context)  # type: ignore[arg-type]
    caplog.clear()
    made.on_kill()
    (line,) = lines(caplog)
    assert line.startswith(f"Scheduled run {SCHEDULED_RUN} could not be canceled: ")
    assert line.endswith("See https://app.lightly.ai/compute/runs")


# --- canceling as a task of its own --------------------------------------------------------------------------------


class Store(dict[str, Any]):
    """A task's own part of the task state store of Airflow 3.3."""

    set = dict.__setitem__


@pytest.mark.parametrize(
    ("routes", "arguments", "pushed"),
    [
        pytest.param(
            {("GET", SCHEDULE_PATH): [Answer(503)], ("GET", RUN_PATH): [Answer(503)]},
            {},
            SCHEDULED_RUN,
            id="platform away",
        ),
        pytest.param(
            {("GET", SOURCES_PATH): [Answer(403)]},
            {"relevant_filenames": ["a.jpg"]},
            SCHEDULED_RUN,
            id="datasources forbidden",
        ),
        pytest.param({}, {"lightly_conn_id": "missing"}, SCHEDULED_RUN, id="no connection"),
        pytest.param({("GET", DATASET_PATH): [dataset(3)]}, {"durable": False}, None, id="not durable"),
    ],
)
def test_a_further_try_that_fails_early_leaves_the_earlier_run_for_a_teardown(
    routed: Callable[..., RoutedPlatform],
    context: Any,
    routes: Mapping[tuple[str, str], list[Step]],
    arguments: dict[str, Any],
    pushed: str | None,
) -> None:
    context["task_state_store"] = Store()
    routed({})
    operator(wait_for_completion=False).execute(context)
    context["ti"].xcoms.clear()  # as Airflow does before each try
    own = routed(routes)
    with pytest.raises(Exception):  # noqa: B017, PT011 - however it ends
        operator(**arguments).execute(context)
    assert not own.asked("POST", SCHEDULE_PATH)
    assert context["ti"].xcoms.get("scheduled_run_id") == pushed


class PlainlyLoggedCancel(CancelLightlyRunOperator):
    """Airflow 3 logs through structlog, past what pytest captures."""

    log = logging.getLogger("run")


def cancel(if_taken: str) -> CancelLightlyRunOperator:
    return PlainlyLoggedCancel(task_id="cancel", dataset_id=DATASET, scheduled_run_id=SCHEDULED_RUN, if_taken=if_taken)


DATASET_UNKNOWN = Answer(404, {"code": "DATASET_UNKNOWN", "error": "no"})


@pytest.mark.parametrize("if_taken", ["warn", "fail"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(NoAnswer(), LightlyConnectionError, id="no answer"),
        pytest.param(Answer(503), LightlyServerError, id="down"),
        pytest.param(Answer(401), LightlyAuthenticationError, id="wrong token"),
        pytest.param(Answer(403), LightlyForbiddenError, id="forbidden"),
        pytest.param(DATASET_UNKNOWN, LightlyNotFoundError, id="unknown dataset"),
    ],
)
def test_a_run_of_which_nothing_is_known_is_not_said_to_be_looked_at(
    routed: Callable[..., RoutedPlatform], context: Any, answer: Step, error: type[Exception], if_taken: str
) -> None:
    routed({CANCEL: [answer], ("GET", SCHEDULE_PATH): [answer]})
    with pytest.raises(final(error)):
        cancel(if_taken).execute(context)


def rendered_cancel(
    template: str, run: str | None, *, native: bool = False, dataset_id: str = DATASET
) -> CancelLightlyRunOperator:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1), render_template_as_native_obj=native):
        made = PlainlyLoggedCancel(task_id="cancel", dataset_id=dataset_id, scheduled_run_id=template)
    made.render_template_fields({"params": {"run": run}})  # type: ignore[typeddict-item,arg-type,unused-ignore]
    return made


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("template", ["{{ params.run or '' }}", '{{ params.run or"" }}'])
def test_a_teardown_succeeds_where_no_run_is_known(
    routed: Callable[..., RoutedPlatform],
    context: Any,
    caplog: pytest.LogCaptureFixture,
    template: str,
    nothing: str | None,
    native: bool,
) -> None:
    own = routed({})
    made = rendered_cancel(template, nothing, native=native, dataset_id="{{ params.run or '' }}")
    with caplog.at_level(logging.WARNING):
        assert made.execute(context) is False
    assert lines(caplog) == ["No scheduled run is known; an earlier try may have scheduled one."]
    assert own.received == []


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("template", ["{{ params.run }}", "{{ params.run or None }}"])
def test_a_run_that_is_missing_by_mistake_is_refused(context: Any, template: str, nothing: str | None) -> None:
    with pytest.raises(ValueError, match=r"^scheduled_run_id is "):
        rendered_cancel(template, nothing).execute(context)


def test_an_empty_id_in_the_dag_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^scheduled_run_id is ''"):
        CancelLightlyRunOperator(task_id="cancel", dataset_id=DATASET, scheduled_run_id="")


@pytest.mark.parametrize("if_taken", ["warn", "fail"])
def test_a_run_that_the_platform_does_not_know_fails_the_cancelation(
    routed: Callable[..., RoutedPlatform], context: Any, if_taken: str
) -> None:
    routed({CANCEL: [Answer(404)], ("GET", SCHEDULE_PATH): [scheduled()], ("GET", RUN_PATH): [NO_RUN]})
    with pytest.raises(LightlyRunError, match="neither in the schedule nor among the runs"):
        cancel(if_taken).execute(context)


def test_a_run_that_stays_open_fails_the_cancelation(routed: Callable[..., RoutedPlatform], context: Any) -> None:
    routed({CANCEL: [Answer(200)], ("GET", SCHEDULE_PATH): [entry("OPEN")]})
    with pytest.raises(LightlyServerError, match=r"stays\s+OPEN"):
        cancel("warn").execute(context)


@pytest.mark.parametrize(
    ("seen", "state", "says"),
    [
        pytest.param(entry("CANCELED"), None, "was canceled before a worker took it", id="canceled"),
        pytest.param(entry("DONE"), None, "a worker has finished it", id="done"),
        *(pytest.param(scheduled(), state, "a worker has finished it", id=state) for state in ("COMPLETED", "ABORTED")),
    ],
)
def test_a_run_that_is_over_is_a_success_whoever_ended_it(
    routed: Callable[..., RoutedPlatform],
    context: Any,
    caplog: pytest.LogCaptureFixture,
    seen: Step,
    state: str | None,
    says: str,
) -> None:
    routed(
        {CANCEL: [Answer(409)], ("GET", SCHEDULE_PATH): [seen], ("GET", RUN_PATH): [run(state) if state else NO_RUN]}
    )
    with caplog.at_level(logging.INFO):
        assert cancel("fail").execute(context) is ("canceled before" in says)
    (line,) = lines(caplog)
    assert says in line


@pytest.mark.parametrize(
    ("seen", "state"), [(entry("LOCKED"), None), (scheduled(), "TRAINING")], ids=["in the schedule", "only a run"]
)
def test_of_a_run_that_continues_the_author_decides(
    routed: Callable[..., RoutedPlatform],
    context: Any,
    caplog: pytest.LogCaptureFixture,
    seen: Step,
    state: str | None,
) -> None:
    routed(
        {CANCEL: [Answer(409)], ("GET", SCHEDULE_PATH): [seen], ("GET", RUN_PATH): [run(state) if state else NO_RUN]}
    )
    says = rf"took\s+it\s+\({state or 'LOCKED'}\),\s+and\s+it\s+continues"
    assert cancel("warn").execute(context) is False
    (line,) = lines(caplog)
    assert re.search(says, line)
    with pytest.raises(LightlyRunError, match=says):
        cancel("fail").execute(context)
