from __future__ import annotations

from typing import Any

import pytest

from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.plan import DEFAULT_CORRUPTION_THRESHOLD, plan_run
from lightly_sandbox.worker.selection import (
    Diversity,
    Metadata,
    Randomness,
    SelectionRequest,
    Threshold,
    Typicality,
    Weights,
)

DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}


def config(
    *strategies: dict[str, Any], docker: dict[str, Any] | None = None, **selection: Any
) -> dict[str, Any]:
    return {
        "workerType": "FULL",
        "docker": docker or {},
        "selection": {"strategies": list(strategies or (DIVERSITY,)), **selection},
    }


def entry(source: dict[str, Any], strategy: dict[str, Any]) -> dict[str, Any]:
    return {"input": source, "strategy": strategy}


def test_what_is_not_said_has_the_documented_defaults() -> None:
    plan = plan_run("Images", config(nSamples=24))
    assert plan.selection == SelectionRequest((Diversity(),), n_samples=24)
    assert not plan.process_all
    assert not plan.use_datapool
    assert plan.corruption_threshold == DEFAULT_CORRUPTION_THRESHOLD
    assert plan.upload_report


def test_what_is_said_is_taken_over() -> None:
    docker = {
        "useDatapool": True,
        "uploadReport": False,
        "datasource": {"processAll": True},
        "corruptnessCheck": {"corruptionThreshold": 0.0},
    }
    plan = plan_run("Images", config(docker=docker, proportionSamples=0.25))
    assert (plan.use_datapool, plan.upload_report, plan.process_all) == (True, False, True)
    assert plan.corruption_threshold == 0.0
    assert plan.selection.proportion == 0.25


@pytest.mark.parametrize(
    ("source", "strategy", "expected"),
    [
        (
            {"type": "EMBEDDINGS"},
            {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.3, "strength": 2},
            Diversity(2.0, 0.3),
        ),
        (
            {"type": "EMBEDDINGS"},
            {"type": "DIVERSITY", "stopping_condition_minimum_distance": -1},
            Diversity(1.0, None),
        ),
        (
            {"type": "EMBEDDINGS"},
            {"type": "TYPICALITY", "numNearestNeighbors": 5, "stoppingConditionMinimumTypicality": 0.1},
            Typicality(5, 1.0, 0.1),
        ),
        (
            {"type": "METADATA", "key": "lightly.sharpness"},
            {"type": "WEIGHTS", "strength": -0.5},
            Weights(Metadata("lightly.sharpness"), -0.5),
        ),
        (
            {"type": "METADATA", "key": "lightly.sizeInBytes"},
            {"type": "THRESHOLD", "threshold": 1000, "operation": "BIGGER"},
            Threshold(Metadata("lightly.sizeInBytes"), "BIGGER", 1000.0),
        ),
        ({"type": "RANDOM", "randomSeed": 42}, {"type": "WEIGHTS"}, Weights(Randomness(42))),
    ],
)
def test_each_strategy_is_understood(
    source: dict[str, Any], strategy: dict[str, Any], expected: object
) -> None:
    assert plan_run("Images", config(entry(source, strategy))).selection.strategies == (expected,)


def test_minus_one_sets_no_limit() -> None:
    assert plan_run("Images", config(nSamples=-1)).selection == SelectionRequest((Diversity(),))


@pytest.mark.parametrize(
    ("source", "strategy", "named"),
    [
        ({"type": "SCORES", "task": "t", "score": "s"}, {"type": "WEIGHTS"}, "SCORES with WEIGHTS"),
        (
            {"type": "PREDICTIONS", "task": "t", "name": "CLASS_DISTRIBUTION"},
            {"type": "BALANCE", "distribution": "UNIFORM"},
            "PREDICTIONS with BALANCE",
        ),
        (
            {"type": "EMBEDDINGS", "tagName": "initial-tag"},
            {"type": "SIMILARITY"},
            "EMBEDDINGS with SIMILARITY",
        ),
        ({"type": "EMBEDDINGS", "tagName": "initial-tag"}, {"type": "DIVERSITY"}, "tagName"),
        ({"type": "METADATA", "key": "weather"}, {"type": "WEIGHTS"}, "'weather'"),
        (
            {"type": "METADATA", "key": "lightly.sharpness"},
            {"type": "WEIGHTS", "stoppingConditionMaxSum": 5},
            "stoppingConditionMaxSum",
        ),
        (
            {"type": "METADATA", "key": "lightly.sharpness"},
            {"type": "THRESHOLD", "threshold": 5},
            "operation",
        ),
        ({"type": "RANDOM"}, {"type": "DIVERSITY"}, "RANDOM with DIVERSITY"),
    ],
)
def test_a_strategy_beyond_the_worker_is_named(
    source: dict[str, Any], strategy: dict[str, Any], named: str
) -> None:
    with pytest.raises(RunFailed, match=named):
        plan_run("Images", config(entry(source, strategy)))


@pytest.mark.parametrize(
    ("docker", "named"),
    [
        ({"enableTraining": True}, r"docker\.enableTraining"),
        ({"checkpoint": "a.ckpt"}, r"docker\.checkpoint"),
        ({"pretagging": True}, r"docker\.pretagging"),
        ({"normalizeEmbeddings": False}, r"docker\.normalizeEmbeddings"),
        (
            {"datasource": {"inputExpiration": {"minDaysToExpiration": 3, "handlingStrategy": "SKIP"}}},
            r"docker\.datasource\.inputExpiration",
        ),
        ({"useDatapool": True, "datasource": {"enableDatapoolUpdate": False}}, r"enableDatapoolUpdate"),
    ],
)
def test_a_setting_beyond_the_worker_is_named(docker: dict[str, Any], named: str) -> None:
    with pytest.raises(RunFailed, match=named):
        plan_run("Images", config(docker=docker))


@pytest.mark.parametrize(
    "docker",
    [{"enableTraining": False}, {"selectedSequenceLength": 1}, {"pretagging": False}, {"cacheSize": 5}],
)
def test_a_setting_that_asks_for_nothing_special_is_fine(docker: dict[str, Any]) -> None:
    assert plan_run("Images", config(docker=docker)).selection.strategies == (Diversity(),)


def test_videos_are_worked_frame_by_frame_unless_the_config_says_otherwise() -> None:
    plan = plan_run("Videos", config(nSamples=5))
    assert (plan.is_video, plan.frame_format, plan.sequence_length) == (True, "png", 1)
    docker = {"outputImageFormat": "jpg", "selectedSequenceLength": 5}
    plan = plan_run("Videos", config(docker=docker, nSamples=20))
    assert (plan.frame_format, plan.sequence_length) == ("jpg", 5)


@pytest.mark.parametrize(
    ("dataset_type", "docker", "named"),
    [
        ("Images", {"selectedSequenceLength": 5}, r"selectedSequenceLength is 5.*videos only"),
        ("Videos", {"selectedSequenceLength": 4}, r"nSamples is 10.*no multiple of.*4"),
        ("Videos", {"outputImageFormat": "gif"}, r"outputImageFormat is 'gif'.*png, jpg"),
        ("Images", {"relevantFilenamesFile": "names.txt"}, r"'names\.txt'.*below \.lightly/"),
        ("Crops", {}, "type is Crops"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(dataset_type: str, docker: dict[str, Any], named: str) -> None:
    with pytest.raises(RunFailed, match=named):
        plan_run(dataset_type, config(docker=docker, nSamples=10))


@pytest.mark.parametrize(("name", "taken"), [("", None), (".lightly/a.txt", ".lightly/a.txt")])
def test_a_file_of_relevant_filenames_is_taken_over(name: str, taken: str | None) -> None:
    plan = plan_run("Images", config(docker={"relevantFilenamesFile": name}))
    assert plan.relevant_filenames == taken


def test_a_lightly_config_that_has_no_effect_is_remarked_on() -> None:
    with_lightly = config() | {"lightly": {"trainer": {"maxEpochs": 5}, "seed": 1}}
    (remark,) = plan_run("Images", with_lightly).remarks
    assert "lightly config (seed, trainer) has no effect" in remark
    assert plan_run("Images", config()).remarks == ()


def test_a_number_and_a_proportion_together_are_refused() -> None:
    with pytest.raises(RunFailed, match=r"nSamples 5 and for proportionSamples 0\.5"):
        plan_run("Images", config(nSamples=5, proportionSamples=0.5))


def test_a_config_without_a_selection_is_refused() -> None:
    with pytest.raises(RunFailed, match="no selection"):
        plan_run("Images", {"workerType": "FULL"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lightlyPathRegex", ".*"),
        ("autoTasks", [{"type": "TILING", "name": "t", "numRows": 2, "numCols": 2}]),
    ],
)
def test_parts_of_a_selection_beyond_the_worker_are_named(name: str, value: Any) -> None:
    with pytest.raises(RunFailed, match=name):
        plan_run("Images", config(nSamples=5, **{name: value}))
