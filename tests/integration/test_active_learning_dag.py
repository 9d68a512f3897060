"""Two rounds of the active-learning DAG on real photos: what the model predicts decides what is selected."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.airflow_run import example_dags, run_dag
from tests.integration.conftest import TaskInstance
from tests.integration.worker_runs import onboarded, worker_task

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.airflow_run import DagOutcome
    from tests.integration.sandbox import Sandbox

DAG_ID = "lightly_active_learning"
N_PHOTOS = 48
N_SAMPLES = 8


@dataclass(frozen=True)
class Rounds:
    """
    Two rounds, and the same two selections without predictions.

    :param bucket: The bucket.
    :param first: The first round.
    :param second: The second round.
    :param predicted: The model's probabilities in the second round, by file name.
    :param without_predictions: What two runs by diversity alone select, the first and the second.
    """

    bucket: str
    first: DagOutcome
    second: DagOutcome
    predicted: dict[str, list[float]]
    without_predictions: tuple[list[str], list[str]]

    def uncertainty(self, names: list[str]) -> float:
        """The mean entropy of the images' predictions, of at most 1."""
        entropies = [-sum(p * math.log(p) for p in self.predicted[name] if p) for name in names]
        return sum(entropies) / len(entropies) / math.log(len(self.predicted[names[0]]))


@pytest.fixture(scope="module")
def rounds(sandbox: Sandbox, airflow_db: Path) -> Rounds:
    """Run them."""
    bucket = sandbox.bucket()
    sandbox.seed(f"s3://{bucket}/raw/", N_PHOTOS)
    conf = {
        "dataset_name": f"rounds {uuid.uuid4().hex[:12]}",
        "input_path": f"s3://{bucket}/raw/",
        "lightly_path": f"s3://{bucket}/lightly/",
        "work_path": f"s3://{bucket}/rounds/",
        "n_samples": N_SAMPLES,
        "poll_interval": 0.2,
    }
    context = {"ti": TaskInstance()}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", sandbox.lightly_connection())
        for name in ("AWS_DEFAULT", "LIGHTLY_BUCKET"):
            environment.setenv(f"AIRFLOW_CONN_{name}", sandbox.aws_connection(sandbox.admin))
        first, second = (run_dag(DAG_ID, conf, airflow_db) for _ in range(2))
        predicted = {
            key.removeprefix("rounds/predictions/").replace(".json", ".jpg"): json.loads(content)
            for key, content in contents(sandbox, bucket, "rounds/predictions/").items()
            if not key.endswith("schema.json")
        }
        others = onboarded(f"no {conf['dataset_name']}", conf["input_path"], f"s3://{bucket}/other/", context)
        selection = {
            "n_samples": N_SAMPLES,
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
        }
        options = {"use_datapool": True, "upload_report": False}
        arguments = {"selection_config": selection, "only_new": False, "worker_config": options}
        tags = [worker_task(others, **arguments).execute(context)["tag_name"] for _ in range(2)]
        names = [LightlyHook().get_filenames(others, tag) for tag in tags]
    return Rounds(
        bucket,
        first,
        second,
        {name: found["predictions"][0]["probabilities"] for name, found in predicted.items()},
        (names[0], names[1]),
    )


def contents(sandbox: Sandbox, bucket: str, prefix: str) -> dict[str, str]:
    """The objects below a prefix."""
    s3 = sandbox.aws("s3")
    keys = [key for key in sandbox.keys_under(bucket) if key.startswith(prefix)]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}


def selected(sandbox: Sandbox, rounds: Rounds, outcome: DagOutcome) -> list[str]:
    """What a round had labeled: the lines of its manifest."""
    uri = outcome.xcoms["export", "return_value"]["uri"]
    lines = contents(sandbox, rounds.bucket, uri.removeprefix(f"s3://{rounds.bucket}/"))
    (manifest,) = lines.values()
    return [json.loads(line)["source-ref"].removeprefix(f"s3://{rounds.bucket}/raw/") for line in manifest.splitlines()]


@pytest.mark.exhaustive(sample="test_the_example_asks_nobody_unless_it_is_told_to")
def test_each_round_labels_other_images(rounds: Rounds, sandbox: Sandbox) -> None:
    for outcome in (rounds.first, rounds.second):
        assert outcome.state == "success", outcome.tasks
        assert set(outcome.tasks.values()) == {"success"}
        assert outcome.xcoms["run_worker", "return_value"]["n_selected"] == N_SAMPLES
        assert outcome.xcoms["export", "return_value"]["count"] == N_SAMPLES
        assert outcome.xcoms["label", "return_value"] == N_SAMPLES
    first, second = (selected(sandbox, rounds, outcome) for outcome in (rounds.first, rounds.second))
    assert len({*first, *second}) == 2 * N_SAMPLES
    assert len(rounds.predicted) == N_PHOTOS
    labels = contents(sandbox, rounds.bucket, "rounds/labels/")
    assert len(labels) == 2
    labeled = [json.loads(line) for lines in labels.values() for line in lines.splitlines()]
    assert {entry["filename"]: entry["label"] for entry in labeled} == {
        name: name.split("/")[0] for name in (*first, *second)
    }


@pytest.mark.exhaustive(sample="test_the_example_asks_nobody_unless_it_is_told_to")
def test_the_model_chooses_what_it_is_least_certain_of(
    rounds: Rounds, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    by_scores = selected(sandbox, rounds, rounds.second)
    labeled = {*selected(sandbox, rounds, rounds.first)}
    without = [name for name in rounds.without_predictions[1] if name not in labeled]
    rest = [name for name in rounds.predicted if name not in labeled]

    means = [rounds.uncertainty(names) for names in (by_scores, without, rest)]

    with capsys.disabled():
        print("\nmean uncertainty: selected by scores {:.3f}, by diversity alone {:.3f}, of all {:.3f}".format(*means))
    assert means[0] > 1.2 * means[1]
    assert means[0] > 1.5 * means[2]


@pytest.mark.exhaustive(sample="test_the_example_asks_nobody_unless_it_is_told_to")
def test_the_second_round_finds_classes_that_have_no_label_yet(rounds: Rounds, sandbox: Sandbox) -> None:
    known = {name.split("/")[0] for name in selected(sandbox, rounds, rounds.first)}
    found = {name.split("/")[0] for name in selected(sandbox, rounds, rounds.second)}

    assert found - known


def test_the_example_asks_nobody_unless_it_is_told_to() -> None:
    assert "approve" not in example_dags()[DAG_ID].task_ids
