"""
Which part of a long matrix the default run tests.

A matrix (each way to break access, each point at which a task can be killed) runs in full in
``make test-all`` and in CI. ``make test`` runs a sample of it: all other cases have the marker
``exhaustive``, which it leaves out. The sample is drawn with a fixed seed, so it is the same in every run
and on every machine, and changes only with the matrix.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


def thinned(
    cases: Sequence[Any], *, keep: int, covering: Callable[..., Any] | None = None, seed: int = 0
) -> list[Any]:
    """
    Mark all cases but a sample as exhaustive.

    :param cases: The cases, as ``pytest.mark.parametrize`` takes them.
    :param keep: How many cases the sample has; more only if there are more kinds to cover.
    :param covering: The kind of a case, called with its values; the sample has one case of each kind. None:
        all cases are of one kind.
    :param seed: Another seed draws another sample, for a second test of the same cases.
    """
    params = [_param(case) for case in cases]
    order = random.Random(seed).sample(range(len(params)), len(params))
    kinds: dict[Any, int] = {}
    for index in order:
        kinds.setdefault(covering(*params[index].values) if covering else None, index)
    rest = [index for index in order if index not in kinds.values()]
    sample = {*kinds.values(), *rest[: max(0, keep - len(kinds))]}
    return [
        param
        if index in sample
        else pytest.param(*param.values, marks=[*param.marks, pytest.mark.exhaustive], id=param.id)
        for index, param in enumerate(params)
    ]


def _param(case: Any) -> Any:
    if isinstance(case, type(pytest.param())):
        return case
    return pytest.param(*case) if isinstance(case, tuple) else pytest.param(case)


def without_sample(items: Collection[pytest.Item]) -> set[str]:
    """
    The test functions of which the default run has nothing: all of their cases are exhaustive, and the
    marker names no other test that has the sample: ``exhaustive(sample="test_...")`` of the same module, or
    ``exhaustive(sample="tests/worker/test_....py::test_...")``.
    """
    default = {_function(item) for item in items if not item.get_closest_marker("exhaustive")}
    missing = set()
    for item in items:
        marker = item.get_closest_marker("exhaustive")
        if marker and _function(item) not in default:
            sample = str(marker.kwargs.get("sample"))
            if "::" not in sample:
                sample = f"{_function(item).rpartition('::')[0]}::{sample}"
            if sample not in default:
                missing.add(_function(item))
    return missing


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
