"""The table of the guide that `make test-matrix` writes: each combination once, the newest Airflow first."""

from __future__ import annotations

from release.distributions import REPOSITORY
from release.matrix import TABLE, Combination, Outcome, combinations, table

FOUND = {"amazon": "9.30.0", "common-compat": "1.15.0"}


def test_a_row_of_an_earlier_run_stays_until_its_combination_is_tried_again() -> None:
    oldest, newest = combinations()[-1], combinations()[0]
    first = table([Outcome(oldest, found=FOUND, tests="5 passed in 1.23s"), Outcome(newest, not_run="no python")])
    second = table([Outcome(newest, found=FOUND, faults=("it failed",), tests="1 failed")], first)
    assert first.splitlines()[2:] == [
        f"| {newest.airflow} | {newest.python} | - | not run: no python |",
        f"| {oldest.airflow} | {oldest.python} | amazon 9.30.0, common-compat 1.15.0 | 5 passed |",
    ]
    assert second.splitlines()[:2] == first.splitlines()[:2]
    assert second.splitlines()[2:] == [
        f"| {newest.airflow} | {newest.python} | amazon 9.30.0, common-compat 1.15.0 | 1 faults |",
        first.splitlines()[3],
    ]


def test_a_combination_that_is_tried_no_longer_has_no_row() -> None:
    gone = "| 2.10.0 | 3.9 | - | 3 passed |\n"
    assert gone not in table([Outcome(Combination("3.3.2", "3.11"), tests="1 passed")], gone)


def test_the_guide_has_a_row_for_each_combination() -> None:
    found = TABLE.search((REPOSITORY / "docs" / "compatibility.md").read_text(encoding="utf-8"))
    assert found is not None
    rows = [tuple(line.strip("| ").split(" | ")[:2]) for line in found[0].splitlines()[2:]]
    assert rows == [(each.airflow, each.python) for each in combinations()]
