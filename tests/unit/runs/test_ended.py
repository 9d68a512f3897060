"""Which runs have ended since the last look: none is lost, whatever is killed, in whatever order they are listed."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from lightly_provider.api.models.run import Run
from lightly_provider.exceptions import LightlyResponseError, LightlyStoredFormError
from lightly_provider.runs.ended import MOST_PER_LOOK, Cursor, Look
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOUR = 3_600_000
START = 1_790_000_000_000


@cache
def run(number: int, *, created: int, state: str = "COMPLETED", modified: int | None = None) -> Run:
    return Run.model_validate(
        {"id": f"{number:024x}", "state": state, "createdAt": created, "lastModifiedAt": modified or created}
    )


def read(cursor: Cursor | None, runs: Sequence[Run], shifted: Callable[[], int] = lambda: 0) -> tuple[Look, int]:
    """Read a platform's runs in this order, and count the calls; a list may lose runs between two pages."""
    look, n_calls, by_id = Look(cursor), 0, {each.id: each for each in runs}
    while (call := look.next_call()) is not None:
        n_calls += 1
        if call.query:
            begin = int(call.query["pageOffset"]) + (shifted() if n_calls > 1 else 0)
            look.take(runs[begin : begin + int(call.query["pageSize"])])
        elif found := by_id.get(call.path.rpartition("/")[2]):
            look.take(found)
        else:
            look.take_missing()
    return look, n_calls


def looked(cursor: Cursor | None, runs: Sequence[Run], now: int, **arguments: Any) -> tuple[Cursor, list[str]]:
    """Look once, as a task that succeeds; the ids that it hands on."""
    look, _ = read(cursor, runs)
    since = arguments.pop("since_ms", None)
    before = cursor or Cursor.first(look, since_ms=since, now_ms=now)
    after, found = before.after(look, owner={}, digest="a", now_ms=now, **arguments)
    return after, [each.id for each in found.new]


ORDERS: dict[str, Callable[[list[Run]], object]] = {
    "newest first": lambda runs: runs.sort(key=lambda each: -each.created_at),
    "oldest first": lambda runs: runs.sort(key=lambda each: each.created_at),
    "last changed first": lambda runs: runs.sort(key=lambda each: -each.last_modified_at),
    "any": lambda runs: random.Random(len(runs)).shuffle(runs),
}


@pytest.mark.parametrize(
    ("order", "seed"),
    thinned([(order, seed) for order in ORDERS for seed in range(5)], keep=4, covering=lambda o, _: o),
)
def test_every_run_that_ends_is_handed_on_whatever_is_killed(order: str, seed: int) -> None:
    chance, now = random.Random(seed), START
    created = [START - chance.randrange(100 * HOUR) for _ in range(250)]
    states = [chance.choice(["COMPLETED", "FAILED", "EMBEDDING"]) for _ in created]

    def listed(n: int) -> list[Run]:
        # When a run is said to be modified is not known: here, at any time.
        runs = [
            run(i, created=created[i], state=states[i], modified=START + crc32(states[i].encode())) for i in range(n)
        ]
        ORDERS[order](runs)
        return runs

    look, _ = read(None, listed(250))
    ended_before = {i for i, state in enumerate(states) if state != "EMBEDDING"}
    stored: Any = Cursor.first(look, since_ms=None, now_ms=now).to_json()
    succeeded, handed_on = True, Counter[str]()
    for step in range(50):
        now += chance.randrange(6 * HOUR)
        is_last = step > 30
        if not is_last:
            created += [now] * chance.randrange(12)
            states += ["STARTED"] * (len(created) - len(states))
        for i, state in enumerate(states):
            if state in ("EMBEDDING", "STARTED") and (is_last or chance.random() < 0.1):
                states[i] = chance.choice(["COMPLETED", "CRASHED", "ABORTED"])
        cursor = Cursor.from_json(json.loads(json.dumps(stored)))
        if not succeeded:
            cursor = cursor.taken_back()
        look, _ = read(cursor, listed(len(states)), lambda: chance.randrange(3))
        after, found = cursor.after(look, owner={}, digest=str(step), now_ms=now, most=25)
        killed = "" if is_last else chance.choice(["before it is stored", "before the task succeeds", "", ""])
        if killed != "before it is stored":
            stored, succeeded = after.to_json(), not killed
        if not killed:
            handed_on.update(each.id for each in found.new)

    assert handed_on.keys() == {f"{i:024x}" for i in range(len(states)) if i not in ended_before}
    assert set(handed_on.values()) == {1}


def test_the_newest_page_is_enough_and_a_run_that_goes_on_for_days_is_looked_up() -> None:
    days = 24 * HOUR
    runs = [run(n, created=START - n * HOUR) for n in range(5_500)]
    runs[5000] = run(5000, created=runs[5000].created_at, state="EMBEDDING")
    cursor, ids = looked(None, runs, START)
    assert ids == []

    look, n_calls = read(cursor, [run(6_001, created=START + days), *runs])
    assert n_calls == 2, "one page, and the run that has not ended"
    cursor, found = cursor.after(look, owner={}, digest="a", now_ms=START + days)
    assert [each.id for each in found.new] == [f"{6_001:024x}"]

    runs[5000] = run(5000, created=runs[5000].created_at)
    assert looked(cursor, runs, START + days)[1] == [runs[5000].id]


def test_since_hands_on_what_ended_later_in_the_first_look_and_the_rest_in_the_next_ones() -> None:
    runs = [
        run(n, created=START - 3000 * HOUR + n * HOUR, modified=START - 3000 * HOUR + n * HOUR) for n in range(3000)
    ]
    # Began before, and ended after.
    runs[10] = run(10, created=runs[10].created_at, modified=START)
    cursor, ids = looked(None, runs, START, since_ms=START - 1000 * HOUR)
    handed_on = list(ids)
    assert len(ids) == MOST_PER_LOOK
    assert ids[0] == runs[10].id
    while ids:
        cursor, ids = looked(cursor, runs, START)
        handed_on += ids
    assert sorted(handed_on) == sorted([runs[10].id, *(each.id for each in runs[2000:])])


def test_the_stored_cursor_has_less_than_64_kb() -> None:
    runs = [run(n, created=START + n * 1000, state="EMBEDDING") for n in range(2000)]
    cursor, _ = looked(None, [], START)
    cursor, _ = looked(cursor, runs, START + HOUR)
    later = START + 30 * HOUR
    more = [run(5000 + n, created=later + n) for n in range(2000)]
    owner = dict.fromkeys(["dag_id", "run_id", "task_id"], "x" * 250)
    for digest in ("a" * 16, "b" * 16, "c" * 16):
        look, _ = read(cursor, [*runs, *more])
        cursor, found = cursor.after(look, owner=owner, digest=digest, now_ms=later + HOUR)
        assert len(found.new) == MOST_PER_LOOK
    assert 30_000 < len(json.dumps(cursor.to_json())) < 65_535


def test_a_cleared_task_hands_on_the_same_again() -> None:
    cursor, _ = looked(None, [], START)
    runs = [run(1, created=START)]
    look, _ = read(cursor, runs)
    cursor, found = cursor.after(look, owner={"run_id": "1"}, digest="1", now_ms=START)
    assert [each.id for each in found.new] == [runs[0].id]
    look, _ = read(cursor, runs)
    cursor, found = cursor.after(look, owner={"run_id": "2"}, digest="2", now_ms=START)
    assert (found.new, found.again) == ([], [])
    look, _ = read(cursor, runs)
    assert [each.id for each in cursor.after(look, owner={}, digest="1", now_ms=START)[1].again] == [runs[0].id]


def test_a_clock_of_the_platform_that_jumps_hides_no_later_run() -> None:
    cursor, _ = looked(None, [run(1, created=START)], START)
    jumped = run(2, created=START + 99_999 * HOUR)
    for now in (START + HOUR, START + 2 * HOUR):
        cursor, _ = looked(cursor, [jumped, run(1, created=START)], now)
    assert looked(cursor, [jumped, run(3, created=START + 3 * HOUR)], START + 3 * HOUR)[1] == [f"{3:024x}"]


def test_an_unknown_state_counts_as_running() -> None:
    cursor, _ = looked(None, [], START)
    cursor, ids = looked(cursor, [run(1, created=START, state="POLISHING")], START)
    assert ids == []
    assert looked(cursor, [run(1, created=START)], START)[1] == [f"{1:024x}"]


def test_an_answer_that_cannot_be_right_hands_on_nothing() -> None:
    with pytest.raises(LightlyResponseError, match="without the time of its creation"):
        read(None, [Run.model_validate({"id": "a" * 24, "state": "COMPLETED"})])
    look = Look(None)
    page = [run(n, created=START) for n in range(5000)]
    look.take(page)
    with pytest.raises(LightlyResponseError, match="repeats the same page of runs from 4980 on"):
        look.take(page)


def test_a_list_that_loses_many_runs_while_it_is_read_is_read_again_from_the_start() -> None:
    look, runs = Look(None), [run(n, created=START - n) for n in range(5_500)]
    look.take(runs[:5000])
    assert look.next_call().query["pageOffset"] == 4980  # type: ignore[union-attr]
    runs = runs[100:]
    look.take(runs[4980:])
    assert look.next_call().query["pageOffset"] == 0  # type: ignore[union-attr]
    while (call := look.next_call()) is not None:
        look.take(runs[call.query["pageOffset"] :][:5000])
    assert len(look.runs) == 5_500
    look = Look(None)
    for n in range(11):
        look.take(runs[5000:] if n % 2 else runs[:5000])
    with pytest.raises(LightlyResponseError, match="changed while it was read, 6 times in a row"):
        look.take(runs[5000:])


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        ([], "not a JSON object"),
        ({"horizon_ms": 1}, "newest_ms"),
        ({**Cursor(horizon_ms=1).to_json(), "done": []}, "is missing or invalid"),
        ({**Cursor(horizon_ms=1).to_json(), "newest_ms": float("inf")}, "is missing or invalid"),
    ],
)
def test_what_is_no_cursor_is_refused(stored: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Cursor.from_json(stored)
    with pytest.raises(LightlyStoredFormError):
        Cursor.from_json({"version": 99})
