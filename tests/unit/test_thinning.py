"""The default run has a sample of each exhaustive matrix, and always the same one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.thinning import thinned, without_sample

CASES = [(kind, number) for kind in ("a", "b", "c") for number in range(10)]


def kept(params: list[Any]) -> list[tuple[Any, ...]]:
    """The cases of the default run."""
    return [param.values for param in params if not param.marks]


def test_every_exhaustive_matrix_has_a_sample_in_the_default_run(collected: list[pytest.Item]) -> None:
    if not any(item.get_closest_marker("exhaustive") for item in collected):
        pytest.skip("no exhaustive matrix is among the tests that were collected")

    assert without_sample(collected) == set()


def test_a_matrix_of_which_nothing_is_left_is_noticed(collected: list[pytest.Item], request: Any) -> None:
    (mine,) = [item for item in collected if item.nodeid == request.node.nodeid]
    assert without_sample([mine]) == set()
    mine.add_marker("exhaustive")
    try:
        assert without_sample([mine]) == {mine.nodeid}
    finally:
        mine.own_markers.pop()
    mine.add_marker(pytest.mark.exhaustive(sample="test_the_sample_has_each_kind_of_case"))
    try:
        assert without_sample([mine]) == {mine.nodeid}, "the sample it names is not there"
        assert without_sample(collected) == set()
    finally:
        mine.own_markers.pop()


def test_the_sample_is_as_long_as_asked_and_the_rest_is_exhaustive() -> None:
    params = thinned(CASES, keep=7)

    assert [param.values for param in params] == CASES
    assert len(kept(params)) == 7
    assert [mark.name for param in params for mark in param.marks] == ["exhaustive"] * 23


def test_the_sample_is_the_same_every_time_and_another_with_another_seed() -> None:
    assert kept(thinned(CASES, keep=7)) == kept(thinned(CASES, keep=7))
    assert kept(thinned(CASES, keep=7)) != kept(thinned(CASES, keep=7, seed=1))


def test_the_sample_has_each_kind_of_case() -> None:
    assert {kind for kind, _ in kept(thinned(CASES, keep=1, covering=lambda kind, _: kind))} == {"a", "b", "c"}


def test_a_case_keeps_its_id_and_its_marks() -> None:
    case = pytest.param(1, id="one", marks=pytest.mark.xfail)

    params = thinned([case, 2, 3], keep=1)

    one = params[0]
    assert one.id == "one"
    assert "xfail" in {mark.name for mark in one.marks}
