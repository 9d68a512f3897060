"""What a follower decides, logs and passes on, whatever the platform writes."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightly_provider.api.models.run import Artifact, LogEntry, LogPage, Observation, Run
from lightly_provider.exceptions import (
    LightlyApiError,
    LightlyAuthenticationError,
    LightlyBadRequestError,
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyForbiddenError,
    LightlyNotFoundError,
    LightlyServerError,
    from_json,
)
from lightly_provider.runs.follower import Ending, RunFollower, that_fits_xcom
from lightly_provider.runs.state import FAILED_POLLS_IN_A_ROW, Decision, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

DATASET, SCHEDULED_RUN, RUN = "a" * 24, "b" * 24, "c" * 24
# Any text at all: also what UTF-8, PostgreSQL, a terminal and Airflow's log page do not keep as it is.
TEXTS = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["nul \0 byte", "\ud800", "\x1b]0;title\x07", "a\nb", "::group::x", "##[group]", "x" * 50_000, "\u202e"]
)


class Recorded(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


def follower() -> tuple[RunFollower, Recorded]:
    log, recorded = logging.Logger("follower", logging.DEBUG), Recorded()
    log.addHandler(recorded)
    return RunFollower(dataset_id=DATASET, scheduled_run_id=SCHEDULED_RUN, log=log), recorded


def run(state: str, message: str | None = None, artifacts: tuple[Artifact, ...] = ()) -> Observation:
    # Not validated: the follower must hold also where the border before it failed.
    return Observation(run=Run.model_construct(id=RUN, state=state, message=message, artifacts=list(artifacts)))


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from texts_in(name)
            yield from texts_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def assert_fits_postgresql(event: dict[str, Any]) -> None:
    """JSONB takes JSON without NUL and lone surrogates, and without numbers that JSON does not have."""
    assert len(json.dumps(event, allow_nan=False)) < 100_000
    for text in texts_in(event):
        assert "\0" not in text
        text.encode()


def assert_is_one_plain_line(line: str) -> None:
    assert line.isprintable()
    assert re.search(r"::(end)?group::|##\[(end)?group\]", line) is None
    assert len(line) < 30_000


@given(state=st.sampled_from(["COMPLETED", "FAILED", "CRASHED"]) | TEXTS, message=st.none() | TEXTS)
def test_what_a_run_writes_fits_the_event_and_the_log(state: str, message: str | None) -> None:
    following, recorded = follower()
    seen = run(state, message)
    ending = following.take(seen) or Ending(decision=Decision(step=Step.FAIL, status="unknown"), run=seen.run)

    event = following.event_of(ending)

    assert_fits_postgresql(event)
    assert Run.model_validate(event["run"]).id == RUN
    for line in recorded.lines:
        assert_is_one_plain_line(line)


@given(text=TEXTS, retry_after=st.none() | st.floats(0, 86_400))
def test_what_an_error_writes_fits_the_event(text: str, retry_after: float | None) -> None:
    following, _ = follower()
    error = LightlyForbiddenError(
        text, operation="get", status=403, code="FORBIDDEN", request_id=text[:100], retry_after=retry_after
    )

    ending = following.take(error)

    assert ending is not None
    event = following.event_of(ending)
    assert_fits_postgresql(event)
    assert isinstance(from_json(event["error"]), LightlyForbiddenError)


@given(level=TEXTS, state=TEXTS, message=TEXTS)
def test_a_line_of_a_worker_is_one_line_of_the_tasks_log(level: str, state: str, message: str) -> None:
    following, recorded = follower()
    following.take_log(
        LogPage.model_construct(cursor=1, logs=[LogEntry.model_construct(level=level, state=state, msg=message)])
    )
    (line,) = recorded.lines
    assert line.startswith("[worker] ")
    assert_is_one_plain_line(line)


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("VERBOSE", logging.INFO),
        ("DEBUG", logging.INFO),
        ("INFO", logging.INFO),
        ("SINCE_INVENTED", logging.INFO),
        ("WARNING", logging.WARNING),
        ("ERROR", logging.ERROR),
        ("CRITICAL", logging.ERROR),
    ],
)
def test_a_line_of_a_worker_keeps_its_level(level: str, logged: int) -> None:
    following, recorded = follower()
    following.take_log(LogPage(cursor=1, logs=[LogEntry(level=level, state="EMBEDDING", msg="a line")]))
    assert [(record.levelno, record.getMessage()) for record in recorded.records] == [
        (logged, f"[worker] {level} EMBEDDING a line")
    ]


def test_a_flood_of_lines_is_cut_and_the_rest_is_counted() -> None:
    following, recorded = follower()
    following.take_log(LogPage(cursor=70_000, logs=[LogEntry(msg=str(number)) for number in range(70_000)]))
    assert len(recorded.lines) == 1001
    assert recorded.lines[-1] == "[worker] 69000 more lines were not copied; the platform's page of the run has them."
    assert following.log_cursor == 70_000


@pytest.mark.parametrize("cursor", [0, 1, 50])
def test_an_earlier_cursor_does_not_copy_the_log_again(cursor: int) -> None:
    following, _ = follower()
    following.log_cursor = 50
    following.take_log(LogPage(cursor=cursor, logs=[LogEntry(msg="a line")]))
    assert following.log_cursor == 50


def test_of_many_artifacts_only_the_report_is_passed_on() -> None:
    following, _ = follower()
    report = Artifact(id="e" * 24, type="REPORT_V2_JSON", file_name="report.json")
    others = tuple(Artifact(id="f" * 24, type="MEMLOG", file_name="x" * 1000) for _ in range(1000))
    ending = following.take(run("COMPLETED", artifacts=(*others, report, *others)))
    assert ending is not None
    event = following.event_of(ending)
    assert Run.model_validate(event["run"]).artifacts == [report]
    assert_fits_postgresql(event)


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ({"nInput": 10, "nSelected": 8}, {"nInput": 10, "nSelected": 8}),
        # Airflow's processes exchange numbers of 64 bits.
        ({"nInput": 10**300, "nSelected": 8, "nCorrupt": -(2**63)}, {"nSelected": 8}),
        ({"nul \0": 1}, {r"nul \x00": 1}),
        ({str(number): number for number in range(1000)}, {str(number): number for number in range(100)}),
    ],
)
def test_a_report_fits_xcom(counts: dict[str, int], kept: dict[str, int]) -> None:
    assert that_fits_xcom(counts) == kept


# --- errors that may pass ----------------------------------------------------------------------------------------


def refused(cls: type[LightlyApiError], status: int, code: str | None) -> LightlyApiError:
    return cls("no", operation="list_docker_runs", status=status, code=code)


@pytest.mark.parametrize(
    ("error", "ends_at_once"),
    [
        (refused(LightlyServerError, 503, None), False),
        (LightlyConnectionError("no", operation="x", maybe_applied=False), False),
        # A token that is being rotated.
        (refused(LightlyAuthenticationError, 401, "UNAUTHORIZED"), False),
        (refused(LightlyAuthenticationError, 401, None), False),
        # A firewall, nginx, and a proxy that writes JSON of its own.
        (refused(LightlyForbiddenError, 403, None), False),
        (refused(LightlyNotFoundError, 404, None), False),
        (refused(LightlyBadRequestError, 418, "err.proxy-denied"), False),
        # The platform itself.
        (refused(LightlyForbiddenError, 403, "FORBIDDEN"), True),
        (refused(LightlyNotFoundError, 404, "DATASET_UNKNOWN"), True),
        (refused(LightlyBadRequestError, 400, "SINCE_INVENTED"), True),
        (LightlyConnectionConfigError("no"), True),
    ],
)
def test_only_what_the_platform_itself_refuses_ends_the_wait_at_once(error: LightlyError, ends_at_once: bool) -> None:
    following, _ = follower()
    following.take(Observation(scheduled_state="OPEN"))
    ending = following.take(error)
    assert (ending is not None) is ends_at_once
    for _ in range(FAILED_POLLS_IN_A_ROW - 1):
        ending = following.take(error)
    assert ending is not None
    assert (ending.decision.step, ending.error) == (Step.GIVE_UP, error)


def test_a_token_that_never_worked_ends_the_wait_at_once() -> None:
    following, _ = follower()
    ending = following.take(refused(LightlyAuthenticationError, 401, "UNAUTHORIZED"))
    assert ending is not None
    assert ending.decision.step is Step.GIVE_UP


# --- from one process to the next --------------------------------------------------------------------------------


def test_what_one_process_saw_the_next_one_remembers() -> None:
    first, _ = follower()
    first.take(Observation(scheduled_state="OPEN"))
    first.log_cursor = 7
    for _ in range(3):
        first.take(refused(LightlyServerError, 503, None))

    second, recorded = follower()
    second.recall(json.loads(json.dumps(first.to_json())))

    assert (second.log_cursor, second.watch.failed_polls) == (7, 3)
    second.take(Observation(scheduled_state="OPEN"))
    assert recorded.lines == [], "its status is in the log already"


def test_two_absences_count_also_in_two_processes() -> None:
    first, _ = follower()
    assert first.take(Observation()) is None
    second, _ = follower()
    second.recall(first.to_json())
    ending = second.take(Observation())
    assert ending is not None
    assert ending.decision.step is Step.CANCELED


@pytest.mark.parametrize(
    "memory", [None, "", [], {}, {"scheduled_run_id": "another"}, {"scheduled_run_id": SCHEDULED_RUN, "watch": 1}]
)
def test_what_is_no_memory_of_this_run_is_ignored(memory: Any) -> None:
    following, _ = follower()
    following.recall(memory)
    assert (following.log_cursor, following.watch.failed_polls, following.watch.status) == (0, 0, "")
