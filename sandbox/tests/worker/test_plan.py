from __future__ import annotations

from typing import Any

import pytest

from lightly_sandbox.selection.request import Diversity, SelectionRequest
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.plan import DEFAULT_CORRUPTION_THRESHOLD, plan_run

DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}


def config(
    *strategies: dict[str, Any], docker: dict[str, Any] | None = None, **selection: Any
) -> dict[str, Any]:
    return {
        "workerType": "FULL",
        "docker": docker or {},
        "selection": {"strategies": list(strategies or (DIVERSITY,)), **selection},
    }


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
    ("docker", "named"),
    [
        ({"enableTraining": True}, r"docker\.enableTraining"),
        ({"checkpoint": "a.ckpt"}, r"docker\.checkpoint"),
        ({"pretagging": True}, r"docker\.pretagging"),
        ({"normalizeEmbeddings": False}, r"docker\.normalizeEmbeddings"),
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


def test_a_selection_that_cannot_be_is_refused() -> None:
    with pytest.raises(RunFailed, match="no selection"):
        plan_run("Images", {"workerType": "FULL"})
    with pytest.raises(RunFailed, match="lightlyPathRegex is beyond the sandbox"):
        plan_run("Images", config(lightlyPathRegex=".*"))
