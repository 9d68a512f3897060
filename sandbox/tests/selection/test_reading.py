from __future__ import annotations

from typing import Any

import pytest

from lightly_sandbox.selection.auto_tasks import tiles
from lightly_sandbox.selection.reading import (
    InvalidSelectionError,
    UnsupportedSelectionError,
    read_selection,
)
from lightly_sandbox.selection.request import (
    AutoTask,
    Balance,
    Box,
    CategoryCount,
    ClassDistribution,
    Distribution,
    Diversity,
    Metadata,
    Operation,
    Query,
    Randomness,
    Score,
    SelectionRequest,
    Similarity,
    SumRange,
    Threshold,
    Typicality,
    Weights,
)

EMBEDDINGS = {"type": "EMBEDDINGS"}
SHARPNESS = {"type": "METADATA", "key": "lightly.sharpness"}
WEATHER = {"type": "METADATA", "key": "weather.description"}
CLASSES = {"type": "PREDICTIONS", "task": "t", "name": "CLASS_DISTRIBUTION"}
COUNT = {"type": "PREDICTIONS", "task": "t", "name": "CATEGORY_COUNT"}
SCORE = {"type": "SCORES", "task": "t", "score": "uncertainty_entropy"}
RANDOM = {"type": "RANDOM"}
QUERY = {**EMBEDDINGS, "tagName": "query"}
DIVERSITY, WEIGHTS, SIMILARITY = {"type": "DIVERSITY"}, {"type": "WEIGHTS"}, {"type": "SIMILARITY"}
THRESHOLD = {"type": "THRESHOLD", "threshold": 2, "operation": "BIGGER_EQUAL"}
UNIFORM = {"type": "BALANCE", "distribution": "UNIFORM"}
DATASET_ID = "0123456789abcdef01234567"


def selection(source: dict[str, Any], strategy: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"strategies": [{"input": source, "strategy": strategy}], **more}


@pytest.mark.parametrize(
    ("source", "strategy", "expected"),
    [
        (
            EMBEDDINGS,
            {**DIVERSITY, "stopping_condition_minimum_distance": 0.3, "strength": 2},
            Diversity(2.0, 0.3),
        ),
        (EMBEDDINGS, {**DIVERSITY, "stopping_condition_minimum_distance": -1}, Diversity(1.0, None)),
        ({**EMBEDDINGS, "task": "t"}, DIVERSITY, Diversity(task="t")),
        (
            EMBEDDINGS,
            {"type": "TYPICALITY", "numNearestNeighbors": 5, "stoppingConditionMinimumTypicality": 0.1},
            Typicality(5, 1.0, 0.1),
        ),
        (QUERY, SIMILARITY, Similarity(Query("query"))),
        (
            {**QUERY, "datasetId": DATASET_ID},
            {**SIMILARITY, "strength": -1},
            Similarity(Query("query", DATASET_ID), -1.0),
        ),
        (SHARPNESS, {**WEIGHTS, "strength": -0.5}, Weights(Metadata("lightly.sharpness"), -0.5)),
        (
            {"type": "METADATA", "key": "weather.temperature"},
            {**WEIGHTS, "stoppingConditionMaxSum": 5},
            Weights(Metadata("weather.temperature"), maximum_sum=5),
        ),
        (
            COUNT,
            {**WEIGHTS, "targetRange": {"minSum": 3, "maxSum": 5}},
            Weights(CategoryCount("t"), target=SumRange(3, 5)),
        ),
        (
            {**COUNT, "categories": ["car", "bus"]},
            WEIGHTS,
            Weights(CategoryCount("t", frozenset({"car", "bus"}))),
        ),
        (SCORE, WEIGHTS, Weights(Score("t", "uncertainty_entropy"))),
        (SCORE, THRESHOLD, Threshold(Score("t", "uncertainty_entropy"), Operation.BIGGER_EQUAL, 2.0)),
        (COUNT, THRESHOLD, Threshold(CategoryCount("t"), Operation.BIGGER_EQUAL, 2.0)),
        (SHARPNESS, THRESHOLD, Threshold(Metadata("lightly.sharpness"), Operation.BIGGER_EQUAL, 2.0)),
        (RANDOM, WEIGHTS, Weights(Randomness(0))),
        ({**RANDOM, "randomSeed": 42}, WEIGHTS, Weights(Randomness(42))),
        (WEATHER, UNIFORM, Balance(Metadata("weather.description"), Distribution.UNIFORM)),
        (
            CLASSES,
            {"type": "BALANCE", "distribution": "INPUT"},
            Balance(ClassDistribution("t"), Distribution.INPUT),
        ),
        (
            CLASSES,
            {"type": "BALANCE", "distribution": "TARGET", "target": {"car": 0.6, "bus": 0.2}},
            Balance(ClassDistribution("t"), Distribution.TARGET, (("car", 0.6), ("bus", 0.2))),
        ),
        (
            WEATHER,
            {"type": "BALANCE", "target": {"sunny": 1}},
            Balance(Metadata("weather.description"), Distribution.TARGET, (("sunny", 1.0),)),
        ),
    ],
)
def test_each_strategy_is_understood(
    source: dict[str, Any], strategy: dict[str, Any], expected: object
) -> None:
    assert read_selection(selection(source, strategy, nSamples=5)) == SelectionRequest((expected,), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "strategy", "named"),
    [
        (
            RANDOM,
            DIVERSITY,
            "RANDOM with DIVERSITY, which do not go together. DIVERSITY goes with EMBEDDINGS",
        ),
        (EMBEDDINGS, WEIGHTS, "METADATA and PREDICTIONS and RANDOM and SCORES"),
        (SCORE, UNIFORM, "SCORES with BALANCE"),
        (EMBEDDINGS, SIMILARITY, "lacks tagName"),
        ({"type": "METADATA"}, WEIGHTS, "lacks key"),
        ({"type": "SCORES", "task": "t"}, WEIGHTS, "lacks score"),
        ({**SCORE, "task": ""}, WEIGHTS, "empty task"),
        ({"type": "PREDICTIONS", "task": "t"}, UNIFORM, "lacks name"),
        (SHARPNESS, {"type": "THRESHOLD", "threshold": 5}, "lacks operation"),
        (SHARPNESS, {"type": "THRESHOLD", "operation": "BIGGER"}, "lacks threshold"),
        (QUERY, DIVERSITY, "has tagName, which means nothing there"),
        ({**SHARPNESS, "task": "t"}, WEIGHTS, "has task"),
        (SHARPNESS, {**WEIGHTS, "threshold": 5}, "has threshold"),
        (SHARPNESS, {**THRESHOLD, "strength": 2}, "has strength"),
        (EMBEDDINGS, {**DIVERSITY, "stoppingConditionMaxSum": 5}, "has stoppingConditionMaxSum"),
        (QUERY, {**SIMILARITY, "numNearestNeighbors": 5}, "has numNearestNeighbors"),
        ({**CLASSES, "categories": ["car"]}, UNIFORM, "has categories"),
        (CLASSES, WEIGHTS, "goes with CATEGORY_COUNT"),
        (COUNT, UNIFORM, "goes with CLASS_DISTRIBUTION"),
        (SHARPNESS, UNIFORM, r"lightly\.sharpness, which is a number"),
        (CLASSES, {"type": "BALANCE"}, "lacks the target"),
        (CLASSES, {"type": "BALANCE", "distribution": "TARGET"}, "lacks the target"),
        (CLASSES, {**UNIFORM, "target": {"car": 1.0}}, "beside the distribution UNIFORM"),
        (CLASSES, {"type": "BALANCE", "target": {"car": 1.2}}, "share from 0 to 1"),
        (CLASSES, {"type": "BALANCE", "target": {"car": "half"}}, "'half' as the target of 'car'"),
        (CLASSES, {"type": "BALANCE", "target": {"car": 0.7, "bus": 0.7}}, r"add up to 1\.4"),
        (COUNT, {**WEIGHTS, "targetRange": {"minSum": 6, "maxSum": 5}}, "minSum 6"),
    ],
)
def test_what_cannot_be_meant_is_named(source: dict[str, Any], strategy: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSelectionError, match=named):
        read_selection(selection(source, strategy))


def test_a_measurement_that_the_sandbox_does_not_make_is_named_beside_those_that_it_makes() -> None:
    with pytest.raises(UnsupportedSelectionError, match=r"'lightly\.mood'.*lightly\.sharpness"):
        read_selection(selection({"type": "METADATA", "key": "lightly.mood"}, WEIGHTS))


def test_minus_one_sets_no_limit() -> None:
    assert read_selection(selection(EMBEDDINGS, DIVERSITY, nSamples=-1)).n_samples is None


def test_a_number_and_a_proportion_together_are_refused() -> None:
    with pytest.raises(InvalidSelectionError, match=r"nSamples 5 and for proportionSamples 0\.5"):
        read_selection(selection(EMBEDDINGS, DIVERSITY, nSamples=5, proportionSamples=0.5))


TILING = {"type": "TILING", "name": "quarters", "numRows": 2, "numCols": 2}
CROP = {"type": "CROP", "name": "middle", "bboxs": [[0.25, 0.25, 0.5, 0.5]]}


def test_auto_tasks_are_parts_of_every_image() -> None:
    request = read_selection(
        {
            "strategies": [
                {"input": {**EMBEDDINGS, "task": "quarters"}, "strategy": DIVERSITY},
                {"input": {**QUERY, "task": "middle"}, "strategy": SIMILARITY},
            ],
            "autoTasks": [TILING, CROP],
        }
    )
    assert request.auto_tasks == (
        AutoTask("quarters", tiles(2, 2, 0.0)),
        AutoTask("middle", (Box(0.25, 0.25, 0.5, 0.5),)),
    )
    assert request.object_tasks == {"quarters", "middle"}
    assert request.prediction_tasks == frozenset()


@pytest.mark.parametrize(
    ("tasks", "source", "strategy", "error", "named"),
    [
        ([TILING], EMBEDDINGS, DIVERSITY, UnsupportedSelectionError, "No strategy uses .*'quarters'"),
        ([TILING, TILING], {**EMBEDDINGS, "task": "quarters"}, DIVERSITY, InvalidSelectionError, "several"),
        ([TILING], {**COUNT, "task": "quarters"}, WEIGHTS, InvalidSelectionError, "no predictions"),
    ],
)
def test_auto_tasks_that_lead_to_nothing_are_refused(
    tasks: list[Any], source: dict[str, Any], strategy: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        read_selection(selection(source, strategy, autoTasks=tasks))


@pytest.mark.parametrize(
    ("overlap", "width"), [(0.0, 1 / 3), (0.1, 1 / 2.8), (0.5, 0.5), (1.0, 1.0), (3.0, 1.0)]
)
def test_tiles_cover_the_image_with_the_overlap_asked_for(overlap: float, width: float) -> None:
    first, second, third = tiles(1, 3, overlap)
    assert first.width == pytest.approx(width)
    assert (first.left, first.top, first.height) == (0.0, 0.0, 1.0)
    assert third.left + third.width == pytest.approx(1.0)
    assert first.left + first.width - second.left == pytest.approx(min(overlap, 1.0) * width)
