"""What the platform decides about a request when it has faults; nothing is carried out here."""

from __future__ import annotations

import re

import pytest
from pydantic import TypeAdapter

from lightly_sandbox.contract.operations import OPERATIONS, check, fits, operation_at
from lightly_sandbox.faults.rules import (
    Drip,
    DropResponse,
    Fault,
    Faults,
    Plan,
    Reset,
    Spec,
    Status,
    Truncate,
)

SCHEDULE = "/v1/datasets/0123456789abcdef01234567/docker/worker/schedule"


def _faults(*specs: dict[str, object]) -> Faults:
    faults = Faults()
    for spec in specs:
        faults.add(TypeAdapter(Spec).validate_python(spec, by_alias=True))
    return faults


def _decide(faults: Faults, method: str = "POST", path: str = SCHEDULE, *, by_worker: bool = False) -> Plan:
    return faults.decide(method, path, by_worker=by_worker)


def _counts(faults: Faults) -> list[tuple[int, int]]:
    return [(fault.matched, fault.applied) for fault in faults.all()]


@pytest.mark.parametrize(
    ("which", "method", "path", "expected"),
    [
        ("POST */schedule", "POST", SCHEDULE, True),
        ("POST */schedule", "GET", SCHEDULE, False),
        ("* */schedule", "GET", SCHEDULE, True),
        ("POST */schedule", "POST", f"{SCHEDULE}/1", False),
        ("GET /v1/datasets", "GET", "/v1/datasets/1", False),
        ("GET /v1/datasets/*", "GET", "/v1/datasets/1/tags", True),
        ("GET /V1/datasets", "GET", "/v1/datasets", False),
        ("create_docker_run_scheduled_by_dataset_id", "POST", SCHEDULE, True),
        ("create_docker_run_scheduled_by_dataset_id", "GET", SCHEDULE, False),
        ("get_dataset_by_id", "GET", "/v1/datasets/1", True),
        ("get_dataset_by_id", "GET", "/v1/datasets/1/tags", False),
        ("get_dataset_by_id", "GET", "/v1/datasets/enriched", False),
    ],
)
def test_a_fault_is_for_the_requests_that_it_names(
    which: str, method: str, path: str, expected: bool
) -> None:
    assert fits(check(which), method, path) is expected


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_known_by_its_own_path(name: str) -> None:
    method, template = OPERATIONS[name]
    assert operation_at(method, re.sub("{[^/]+}", "0123456789abcdef01234567", template)) == name


@pytest.mark.parametrize(
    "which", ["", "schedule", "*/schedule", "FETCH */schedule", "post */schedule", "GET v1"]
)
def test_what_is_no_operation_is_refused(which: str) -> None:
    with pytest.raises(ValueError, match="no operation of the contract"):
        check(which)


def test_without_a_number_every_request_has_it() -> None:
    faults = _faults({"kind": "reset", "operation": "POST */schedule"})
    assert all(isinstance(_decide(faults).instead, Reset) for _ in range(5))
    assert not _decide(faults, "GET")
    assert _counts(faults) == [(5, 5)]


def test_it_is_applied_so_many_times_and_counted_on() -> None:
    faults = _faults({"kind": "drop-response", "operation": "* *", "times": 2})
    assert [bool(_decide(faults)) for _ in range(4)] == [True, True, False, False]
    assert _counts(faults) == [(4, 2)]


def test_a_share_of_the_requests_has_it_and_with_a_seed_the_same_ones() -> None:
    spec = {"kind": "reset", "operation": "* *", "probability": 0.3, "seed": 7}
    first, second = _faults(spec), _faults(spec)
    hit = [bool(_decide(first)) for _ in range(1000)]
    assert hit == [bool(_decide(second)) for _ in range(1000)]
    assert 250 < sum(hit) < 350
    assert hit != [bool(_decide(_faults({**spec, "seed": 8}))) for _ in range(1000)]


def test_a_share_may_be_limited_too() -> None:
    faults = _faults({"kind": "reset", "operation": "* *", "probability": 0.5, "seed": 1, "times": 3})
    assert sum(bool(_decide(faults)) for _ in range(100)) == 3


def test_a_worker_of_the_sandbox_is_spared_unless_it_is_included() -> None:
    faults = _faults(
        {"kind": "reset", "operation": "* *"},
        {"kind": "status", "status": 500, "operation": "* *", "includeWorker": True},
    )
    assert isinstance(_decide(faults, by_worker=True).instead, Status)
    assert isinstance(_decide(faults).instead, Reset)
    assert _counts(faults) == [(1, 1), (2, 1)]


def test_one_takes_the_place_of_the_request_and_the_next_has_its_turn_later() -> None:
    faults = _faults(
        {"kind": "drop-response", "operation": "* *", "times": 1},
        {"kind": "status", "status": 503, "operation": "* *", "times": 1},
        {"kind": "truncate", "operation": "* *", "times": 1},
        {"kind": "drip", "seconds": 1, "operation": "* *"},
    )
    plans = [_decide(faults) for _ in range(4)]
    assert isinstance(plans[0].instead, Status)
    assert [type(plan.afterwards) for plan in plans] == [type(None), DropResponse, Truncate, Drip]
    assert _counts(faults) == [(4, 1)] * 4


def test_delays_and_skews_add_up() -> None:
    faults = _faults(
        {"kind": "delay", "seconds": 1, "operation": "* *"},
        {"kind": "delay", "seconds": 0.5, "operation": "* *"},
        {"kind": "clock-skew", "seconds": -60, "operation": "* *"},
        {"kind": "clock-skew", "seconds": 20, "operation": "* *"},
        {"kind": "not-json", "operation": "* *"},
    )
    plan = _decide(faults)
    assert (plan.delay_seconds, plan.skew_seconds) == (1.5, -40)
    assert plan.applied == (
        "1 (delay)",
        "2 (delay)",
        "3 (clock-skew)",
        "4 (clock-skew)",
        "5 (not-json)",
    )


def test_a_delay_of_iam_is_about_no_request_and_the_last_one_counts() -> None:
    faults = _faults({"kind": "iam-delay", "seconds": 1}, {"kind": "iam-delay", "seconds": 2})
    assert not _decide(faults)
    assert [fault.shown()["seconds"] for fault in faults.all()] == [2]


def test_what_is_removed_or_cleared_meets_nothing_any_more() -> None:
    faults = _faults(*({"kind": "reset", "operation": "* *"} for _ in range(3)))
    removed = faults.remove("2")
    assert isinstance(removed, Fault)
    assert [fault.id for fault in faults.all()] == ["1", "3"]
    assert faults.remove("2") is None
    faults.clear()
    assert not _decide(faults)
    # An id is not given again: whoever still has an old one means no new fault.
    assert faults.add(removed.spec).id == "4"
