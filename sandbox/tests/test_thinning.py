from __future__ import annotations

import pytest

from tests.lab.thinning import thinned, without_sample

CASES = [(kind, number) for kind in ("a", "b", "c") for number in range(10)]


def test_every_exhaustive_matrix_has_a_sample_in_the_default_run(collected: list[pytest.Item]) -> None:
    if not any(item.get_closest_marker("exhaustive") for item in collected):
        pytest.skip("no exhaustive matrix is among the tests that were collected")
    assert without_sample(collected) == set()


def test_a_sample_is_always_the_same_and_has_each_kind_of_case() -> None:
    params = thinned(CASES, keep=5, covering=lambda kind, _: kind)
    kept = [param.values for param in params if not param.marks]
    assert [param.values for param in params] == CASES
    assert len(kept) == 5
    assert {kind for kind, _ in kept} == {"a", "b", "c"}
    again = thinned(CASES, keep=5, covering=lambda kind, _: kind)
    assert kept == [param.values for param in again if not param.marks]
