"""What must be there before a run is scheduled."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lightly_provider.runs.once import missing_datasource, missing_worker, not_empty


@dataclass(frozen=True)
class Worker:
    name: str
    state: str
    labels: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("purposes", "expected"),
    [
        ((), "no datasource for INPUT and LIGHTLY"),
        (("INPUT",), "no datasource for LIGHTLY"),
        (("LIGHTLY",), "no datasource for INPUT,"),
        (("INPUT", "LIGHTLY"), None),
        (("INPUT_OUTPUT",), None),
        (("INPUT_OUTPUT", "INPUT"), None),
    ],
)
def test_a_run_needs_its_input_and_a_place_for_its_files(purposes: tuple[str, ...], expected: str | None) -> None:
    error = missing_datasource("d", purposes)
    assert (error is None) == (expected is None)
    assert expected is None or expected in str(error)


@pytest.mark.parametrize(
    ("n", "use_datapool", "fits"), [(0, False, True), (0, True, True), (1, True, True), (1, False, False)]
)
def test_a_dataset_with_samples_needs_the_datapool(n: int, use_datapool: bool, fits: bool) -> None:
    assert (not_empty("d", n, use_datapool=use_datapool) is None) is fits


@pytest.mark.parametrize(
    ("workers", "runs_on", "expected"),
    [
        ([], [], "No worker is registered for this token"),
        ([], ["gpu"], "No worker with the labels gpu is registered"),
        ([Worker("a", "IDLE")], [], None),
        ([Worker("a", "IDLE")], ["gpu"], "No worker with the labels gpu is registered"),
        ([Worker("a", "BUSY", ("gpu", "big"))], ["gpu"], None),
        ([Worker("a", "SINCE_INVENTED")], [], None),
        ([Worker("a", "OFFLINE"), Worker("b", "CRASHED")], [], "start one of a (OFFLINE), b (CRASHED)"),
        ([Worker("a", "OFFLINE"), Worker("b", "IDLE")], [], None),
        ([Worker("a", "OFFLINE", ("gpu",)), Worker("b", "IDLE")], ["gpu"], "start one of a (OFFLINE)"),
    ],
)
def test_a_worker_must_have_all_labels_and_run(workers: list[Worker], runs_on: list[str], expected: str | None) -> None:
    error = missing_worker(workers, runs_on)
    assert (error is None) == (expected is None)
    assert expected is None or expected in str(error)
