"""Selections by the customer's own data, from the bucket to the tag."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from lightly_sandbox.seeding import photos
from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from tests.lab.worker import Lab

N = 40
SCENES = [scene.name for scene in photos.SCENES]
NAMES = [name for name, _ in photos.frames(N)]
CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(SCENES)]
TOP_LEFT, ALL = [0, 0, 160, 120], [0, 0, 320, 240]


def own_files() -> dict[str, Any]:
    """Every photo's scene as a class and as metadata, and as many objects as its number in the scene."""
    files: dict[str, Any] = {
        "predictions/tasks.json": ["scene", "things"],
        "predictions/scene/schema.json": {"task_type": "classification", "categories": CATEGORIES},
        "predictions/things/schema.json": {"task_type": "object-detection", "categories": CATEGORIES},
        "metadata/schema.json": [
            {"path": "place.scene", "defaultValue": "unknown", "valueDataType": "CATEGORICAL_STRING"},
            {"path": "place.number", "defaultValue": -1, "valueDataType": "NUMERIC_INT"},
        ],
    }
    for name in NAMES:
        scene, own = SCENES.index(photos.scene_of(name)), name.replace(".jpg", ".json")
        number = int(name[-8:-4])
        sure = [1.0 if category == scene else 0.0 for category in range(len(SCENES))]
        unsure = [1 / len(SCENES)] * len(SCENES)
        found = {"category_id": scene, "probabilities": unsure if number == 0 else sure}
        things = [{"category_id": scene, "bbox": TOP_LEFT, "score": 0.9}] * number
        files[f"predictions/scene/{own}"] = {"file_name": name, "predictions": [found]}
        if things:
            files[f"predictions/things/{own}"] = {"file_name": name, "predictions": things}
        metadata = {"place": {"scene": photos.scene_of(name), "number": number}}
        files[f"metadata/{own}"] = {"file_name": name, "type": "image", "metadata": metadata}
    return files


@pytest.fixture(scope="module")
def bucket(lab: Lab) -> str:
    name = lab.photos(N)
    for own, content in own_files().items():
        lab.put(name, f"lightly/.lightly/{own}", json.dumps(content).encode())
    return name


@pytest.fixture
def dataset_id(lab: Lab, bucket: str) -> str:
    created = lab.api.new_dataset()
    lab.datasource(created, "INPUT", f"s3://{bucket}/photos/")
    lab.datasource(created, "LIGHTLY", f"s3://{bucket}/lightly/")
    return created


def entry(source: dict[str, Any], strategy: dict[str, Any]) -> dict[str, Any]:
    return {"input": source, "strategy": strategy}


def select(lab: Lab, dataset_id: str, *strategies: dict[str, Any], **selection: Any) -> list[str]:
    run = lab.do(dataset_id, strategies=strategies, **selection)
    assert run["state"] == "COMPLETED", run["message"]
    return lab.filenames(dataset_id, lab.tags(dataset_id)[-1])


def number_of(name: str) -> int:
    return int(name[-8:-4])


def test_a_balance_of_predictions_and_one_of_metadata_give_each_scene_its_share(
    lab: Lab, dataset_id: str
) -> None:
    predictions = {"type": "PREDICTIONS", "task": "scene", "name": "CLASS_DISTRIBUTION"}
    by_classes = entry(predictions, {"type": "BALANCE", "target": {"motorcycle": 0.5, "coffee": 0.5}})
    by_metadata = entry(
        {"type": "METADATA", "key": "place.scene"},
        {"type": "BALANCE", "distribution": "TARGET", "target": {"motorcycle": 0.5, "coffee": 0.5}},
    )
    # Of the first photo of each scene the model says nothing: leave them out.
    known = entry(
        {"type": "METADATA", "key": "place.number"},
        {"type": "THRESHOLD", "threshold": 1, "operation": "BIGGER_EQUAL"},
    )
    names = select(lab, dataset_id, by_classes, by_metadata, known, nSamples=8)
    assert Counter(photos.scene_of(name) for name in names) == {"motorcycle": 4, "coffee": 4}
    assert min(number_of(name) for name in names) >= 1


@pytest.mark.exhaustive(sample="test_a_balance_of_predictions_and_one_of_metadata_give_each_scene_its_share")
def test_scores_and_counts_are_weights_and_thresholds(lab: Lab, dataset_id: str) -> None:
    uncertain = entry(
        {"type": "SCORES", "task": "scene", "score": "uncertainty_entropy"},
        {"type": "THRESHOLD", "threshold": 0.5, "operation": "SMALLER"},
    )
    crowded = entry(
        {
            "type": "PREDICTIONS",
            "task": "things",
            "name": "CATEGORY_COUNT",
            "categories": ["coffee", "rocket"],
        },
        {"type": "WEIGHTS", "stoppingConditionMaxSum": 12},
    )
    names = select(lab, dataset_id, uncertain, crowded, nSamples=-1)
    counts = sorted(
        (number_of(name) for name in NAMES if photos.scene_of(name) in ("coffee", "rocket")), reverse=True
    )
    expected = itertools.takewhile(lambda total: total <= 12, itertools.accumulate(counts))
    assert len(names) == len(list(expected))
    assert {photos.scene_of(name) for name in names} <= {"coffee", "rocket"}
    assert min(number_of(name) for name in names) >= 1


@pytest.mark.exhaustive(sample="test_a_balance_of_predictions_and_one_of_metadata_give_each_scene_its_share")
def test_similarity_finds_the_scene_of_a_tag_in_another_dataset(
    lab: Lab, bucket: str, dataset_id: str
) -> None:
    queried = lab.api.new_dataset()
    lab.datasource(queried, "INPUT", f"s3://{bucket}/photos/chelsea/")
    lab.datasource(queried, "LIGHTLY", f"s3://{bucket}/lightly/")
    lab.do(queried, nSamples=1)
    query = {"type": "EMBEDDINGS", "datasetId": queried, "tagName": "initial-tag"}
    names = select(lab, dataset_id, entry(query, {"type": "SIMILARITY"}), nSamples=2)
    assert {photos.scene_of(name) for name in names} == {"chelsea"}


@pytest.mark.exhaustive(sample="test_a_balance_of_predictions_and_one_of_metadata_give_each_scene_its_share")
def test_objects_and_tiles_can_be_diverse_instead_of_images(lab: Lab, dataset_id: str) -> None:
    things = entry({"type": "EMBEDDINGS", "task": "things"}, {"type": "DIVERSITY"})
    tiles = entry({"type": "EMBEDDINGS", "task": "tiles"}, {"type": "TYPICALITY", "numNearestNeighbors": 5})
    auto = [{"type": "TILING", "name": "tiles", "numRows": 2, "numCols": 2}]
    run = lab.do(dataset_id, strategies=(things, tiles), autoTasks=auto, nSamples=5)
    names = lab.filenames(dataset_id, lab.tags(dataset_id)[-1])
    # Images without any thing come last.
    assert min(number_of(name) for name in names) >= 1
    states = [line["state"] for line in lab.logs(run)]
    assert [state for state, _ in itertools.groupby(states)][:8] == [
        "INITIALIZING",
        "LOADING_DATASET",
        "LOADING_PREDICTION",
        "CHECKING_CORRUPTNESS",
        "COMPUTING_METADATA",
        "EMBEDDING",
        "EMBEDDING_OBJECT_CROPS",
        "SAMPLING",
    ]
    assert any("images have no predictions of things" in line["msg"] for line in lab.logs(run))


@pytest.mark.parametrize(
    ("own", "content", "source", "said"),
    thinned(
        [
            (
                f"metadata/{NAMES[0].replace('.jpg', '.json')}",
                {"file_name": NAMES[0], "metadata": {"place": {"number": "many"}}},
                {"type": "METADATA", "key": "place.number"},
                f"the metadata place.number of {NAMES[0]} is 'many', which is not a number",
            ),
            (
                f"predictions/things/{NAMES[0].replace('.jpg', '.json')}",
                {"file_name": NAMES[0], "predictions": [{"category_id": 99, "bbox": ALL}]},
                {"type": "PREDICTIONS", "task": "things", "name": "CATEGORY_COUNT"},
                "the schema has no category with the category_id 99",
            ),
            (
                "predictions/scene/schema.json",
                {"task_type": "classification", "categories": CATEGORIES},
                {"type": "SCORES", "task": "scene", "score": "uncertainty_margin"},
                f"about one of the {N} files of this run",
            ),
        ],
        keep=1,
    ),
)
def test_a_run_whose_own_files_are_wrong_fails_and_names_the_file(
    lab: Lab, bucket: str, own: str, content: Any, source: dict[str, Any], said: str
) -> None:
    """In a place of their own, with the schemas and this file alone."""
    lightly = f"{own.replace('/', '-')}/"
    for name, of in {**own_files(), own: content}.items():
        if name.endswith(("schema.json", "tasks.json")) or name == own:
            lab.put(bucket, f"{lightly}.lightly/{name}", json.dumps(of).encode())
    dataset_id = lab.api.new_dataset()
    lab.datasource(dataset_id, "INPUT", f"s3://{bucket}/photos/")
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{bucket}/{lightly}")
    run = lab.do(dataset_id, strategies=(entry(source, {"type": "WEIGHTS"}),), nSamples=5)
    assert run["state"] == "FAILED"
    assert said in run["message"]
    assert lab.tags(dataset_id) == []
